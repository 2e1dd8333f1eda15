//! Bodies about what a change would do, asked before it is asked for.

use model::{Reference, Version};
use serde::{Deserialize, Serialize};

use crate::problem::ErrorBody;

/// Asks what updates of several things would do. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatePlanRequest {
    /// Installations (`TITLE/N`) and instances (`TITLE/N/M`).
    pub names: Vec<String>,
    /// Another reference than the ones that they were installed by. Installations only.
    #[serde(default)]
    pub to: Option<Reference>,
    /// Also to versions that an instance rejected?
    #[serde(default)]
    pub again: bool,
}

/// One thing that a change would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanLine {
    /// What would be done.
    pub action: PlanAction,
    /// With what: a reference, installation, instance or object, or the name of content in the store.
    pub name: String,
    /// The version that it is on.
    pub from: Option<Version>,
    /// The version that it would be on.
    pub to: Option<Version>,
    /// Bytes to download, or that are freed on the disk.
    pub bytes: Option<u64>,
    /// Why it would not be done.
    pub error: Option<ErrorBody>,
}

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanAction {
    /// An application is installed.
    Install,
    /// An installation or instance moves to another version.
    Update,
    /// It is refused, as the change would be.
    Refuse,
    /// An object is downloaded.
    Download,
    /// An archive that is there is unpacked.
    Unpack,
    /// An instance is made and started.
    Start,
    /// An instance that runs is stopped and started again.
    Restart,
    /// Nothing needs this afterwards: a collection removes it.
    Free,
}

impl PlanAction {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            PlanAction::Install => "install",
            PlanAction::Update => "update",
            PlanAction::Refuse => "refuse",
            PlanAction::Download => "download",
            PlanAction::Unpack => "unpack",
            PlanAction::Start => "start",
            PlanAction::Restart => "restart",
            PlanAction::Free => "free",
        }
    }
}

impl std::fmt::Display for PlanAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
