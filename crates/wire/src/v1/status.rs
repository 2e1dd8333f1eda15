//! The body that every server and node answers with when asked what it is.

use model::Profile;
use serde::{Deserialize, Serialize};

/// What answers, and what it enforces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBody {
    /// `server` or `node`.
    pub kind: String,
    /// The version of fettle that it runs.
    pub fettle: String,
    /// Where its data lies.
    pub data: String,
    /// The file of settings that it read at its start.
    pub config: Option<String>,
    /// The repository that a node installs from.
    pub server: Option<String>,
    /// What a node can run, the best first.
    pub profiles: Option<Vec<Profile>>,
    /// What a node can hold programs to, and by what.
    #[serde(default)]
    pub enforced: Option<Vec<EnforcedBody>>,
    /// What it does not check, in words.
    pub warnings: Vec<String>,
}

/// One thing that a node may hold programs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcedBody {
    /// `memory`, `cpu`, `tasks`, `kill` (of all that a program started), `freeze` and so on.
    pub what: String,
    /// By what; `null`: it cannot be.
    pub by: Option<String>,
    /// Why it cannot be; beside a `by`, why not by a control group, which would hold better.
    pub why: Option<String>,
}
