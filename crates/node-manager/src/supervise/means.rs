//! What the owners of all instances of a node share.

use std::collections::HashMap;
use std::sync::Arc;

use cgroup::{Group, Groups};
use durable::{Disk, Lock};
use model::InstanceId;
use model::lifecycle::BootId;

use super::handle::Refusal;
use super::launcher::Launcher;
use super::stated::Statements;
use crate::commit::Commits;
use crate::layout;
use crate::logs::Logs;
use crate::record::{ObservedRecord, Unusable};

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
    /// What programs begin with as their `oom_score_adj`; `None`: what the launcher has.
    pub(crate) oom_score: Option<i32>,
    /// What programs print.
    pub(crate) logs: Logs,
    /// What versions say of how they are run.
    pub(crate) statements: Statements,
}

/// The control groups that an earlier manager left, by name: nobody has to look for each of a thousand.
#[derive(Debug)]
pub(crate) enum LeftGroups {
    /// All of them.
    These(HashMap<String, Group>),
    /// Each has to be looked for.
    Unknown,
}

impl LeftGroups {
    /// That of this instance, if there is one.
    pub(super) fn of(&self, groups: &Groups, id: &InstanceId) -> Option<Group> {
        match self {
            LeftGroups::These(left) => left.get(&short_name(id)).cloned(),
            LeftGroups::Unknown => groups.find(&short_name(id)),
        }
    }
}

impl Means {
    /// Records what is true of an instance, without a sync. Blocking.
    pub(super) fn observe(
        &self,
        id: &InstanceId,
        observed: &ObservedRecord,
    ) -> Result<(), Refusal> {
        let path = layout::observed(self.boot.as_str(), id);
        durable::record::write_unsynced(&self.disk, &path, observed).map_err(|source| {
            Refusal::Observed { instance: id.clone(), source: Unusable::Disk { path, source } }
        })
    }
}

/// The manager ends: if no instance has a group, that of the node is of no use either. The tree is still
/// locked, so that no other manager has begun to use it.
impl Drop for Means {
    fn drop(&mut self) {
        if let Err(error) = self.groups.remove() {
            tracing::debug!(%error, "the control group of the node stays");
        }
    }
}

/// A service that is to be among the last when memory runs out is not so for what its programs take: they
/// are as likely to go as any other. A score that is above that of others is theirs too.
pub(crate) fn oom_score_of_programs() -> Option<i32> {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    own.trim().parse().ok().and_then(|own: i32| (own < 0).then_some(0))
}

/// The name of an instance's control group, and of what is its own in `run/<boot>`.
pub(crate) fn short_name(id: &InstanceId) -> String {
    format!("{}.{}.{}", id.installation.title, id.installation.number, id.number)
}
