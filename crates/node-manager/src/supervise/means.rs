//! What the owners of all instances of a node share.

use std::sync::Arc;

use cgroup::Groups;
use durable::{Disk, Lock};
use model::InstanceId;
use model::lifecycle::BootId;

use super::launcher::Launcher;
use crate::commit::Commits;
use crate::logs::Logs;

/// What it takes to own an instance.
#[derive(Debug)]
pub(crate) struct Means {
    /// The tree of the node.
    pub(crate) disk: Disk,
    /// The way to it for what should be.
    pub(crate) commits: Commits,
    /// The id of this boot.
    pub(crate) boot: BootId,
    /// The lock of the tree: held for as long as anybody may change something.
    pub(crate) _tenure: Arc<Lock>,
    /// The way to the parent of all programs.
    pub(crate) launcher: Launcher,
    /// What the kernel holds programs together with.
    pub(crate) groups: Groups,
    /// What programs print.
    pub(crate) logs: Logs,
}

/// The name of an instance's control group, and of what is its own in `run/<boot>`.
pub(crate) fn short_name(id: &InstanceId) -> String {
    format!("{}.{}.{}", id.installation.title, id.installation.number, id.number)
}
