//! The groups of one node: opening, making, finding, sweeping.
//!
//! What a crash leaves is groups; [`Groups::sweep`] removes those without processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::io::Errno;

use crate::capability::Capabilities;
use crate::control::{self, ControlError};
use crate::delegate;
use crate::group::Group;
use crate::limits::Limits;
use crate::name::{self, NameError};
use crate::places::{Places, Trees};
use crate::probe;

/// The groups of one node, below the process's own group. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Groups {
    pub(crate) node: Arc<str>,
    pub(crate) places: Arc<Places>,
    capabilities: Arc<Capabilities>,
}

/// Why groups could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The node's name cannot be that of a directory.
    #[error("the node's name cannot be that of a group")]
    Name(#[from] NameError),
}

/// Why a group could not be made, or its limits not be set.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The name cannot be that of a group.
    #[error("no group can have this name")]
    Name(#[from] NameError),
    /// The kernel refused the group or a limit of it.
    #[error("cannot make a control group or set its limits")]
    Control(#[from] ControlError),
    /// It has processes that start new ones faster than they can be moved.
    #[error("the processes of `{name}` multiply faster than they can be moved to a new limit")]
    Restless {
        /// The group's name.
        name: String,
    },
}

/// Why controllers could not be taken back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// The node's name cannot be that of a directory.
    #[error("the node's name cannot be that of a group")]
    Name(#[from] NameError),
    /// The own group cannot be found.
    #[error("cannot find the own control group: {0}")]
    Hidden(String),
    /// The kernel refused: a program may have handed controllers down below its own group.
    #[error("cannot take controllers back from the groups of the node")]
    Control(#[from] ControlError),
}

/// Why the groups that are there could not be listed or removed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// The kernel did not tell.
    #[error("cannot list the control groups of the node")]
    Control(#[from] ControlError),
}

impl Groups {
    /// Makes a directory for this node below the own group in every tree that can be used, and tries what
    /// can be done there; `node` is one plain name that stays the same over restarts and that no other node
    /// on this machine has, like `fettle-1f2e3d4c`. Can be repeated.
    ///
    /// In version 2 this may move this process and what it has started into [`crate::MANAGER_LEAF`].
    ///
    /// # Errors
    /// For a bad name only. Where nothing can be done, [`Groups::capabilities`] says why.
    pub fn open(node: &str) -> Result<Groups, OpenError> {
        let node = name::escape(node)?;
        Ok(Groups::of(&node, probe::establish(&node)))
    }

    pub(crate) fn of(node: &str, (places, capabilities): (Places, Capabilities)) -> Groups {
        Groups { node: node.into(), places: Arc::new(places), capabilities: Arc::new(capabilities) }
    }

    /// Takes the controllers of version 2 back from this node's groups, so that a process may be put into the
    /// manager's own group again. For `ExecStartPre=` of a unit under a systemd older than 254, that knows no
    /// `DelegateSubgroup=`: such a process runs in `.control` beside the node's groups. Programs that run lose
    /// their limits until the manager makes their groups again. Where nothing was handed down nothing is done.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn withdraw(node: &str) -> Result<(), WithdrawError> {
        let node = name::escape(node)?;
        Ok(delegate::take_back(&probe::base().map_err(WithdrawError::Hidden)?, &node)?)
    }

    /// What is enforced by what, and why something is not.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Makes a group with limits. One that is there already is taken, with its processes, and thawed.
    /// A limit that nothing here can enforce is left out: [`Groups::capabilities`] has said so.
    ///
    /// # Errors
    /// If the kernel refuses the group or a value.
    pub fn make(&self, name: &str, limits: &Limits) -> Result<Group, MakeError> {
        let mut group = Group::new(self.places.clone(), name, Trees::default())?;
        let mut is_new = true;
        for tree in self.places.members.into_iter().chain(self.places.freezer) {
            is_new &= group.enter(tree)?;
        }
        if is_new {
            group.give(limits, false)?;
        } else {
            group.trees = group.present();
            // Left over by a group of this name with other limits, or halted.
            group.set_limits(limits)?;
            match group.thaw() {
                Ok(()) | Err(crate::FreezeError::NoFreezer) => {}
                Err(crate::FreezeError::Control(error)) => return Err(error.into()),
                Err(crate::FreezeError::NotInTime { .. }) => {} // only freezing waits
            }
        }
        Ok(group)
    }

    /// The group of this name, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Group> {
        let mut group = Group::new(self.places.clone(), name, Trees::default()).ok()?;
        group.trees = group.present();
        group.trees.has(self.places.members?).then_some(group)
    }

    /// Removes every group of this node without processes, and gives those that have some, by name. Must not
    /// run between [`Groups::make`] and the start of the first process in the group: at the start of a
    /// manager, after the launcher has said what it is doing.
    ///
    /// # Errors
    /// If a directory cannot be listed.
    pub fn sweep(&self) -> Result<Vec<Group>, ListError> {
        let mut kept = BTreeMap::<String, Trees>::new();
        for tree in self.places.trees() {
            let node = self.places.node(tree);
            for directory in control::children(node)? {
                let top = node.join(&directory);
                match control::remove_tree(&top) {
                    Ok(()) => {}
                    Err(error) if error.errno() == Errno::BUSY => {
                        remove_what_is_empty(&top)?;
                        if let Some(name) = name::of_directory(&directory) {
                            kept.entry(name).or_default().insert(tree);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // As `find` has it: a group whose processes cannot be told is none.
        let known = |trees: &Trees| self.places.members.is_some_and(|tree| trees.has(tree));
        let kept = kept.into_iter().filter(|(_, trees)| known(trees));
        let group =
            |(name, trees): (String, Trees)| Group::new(self.places.clone(), &name, trees).ok();
        Ok(kept.filter_map(group).collect())
    }

    /// Removes the node's own directories, if no group is left in them: for a node that is given up.
    ///
    /// # Errors
    /// If there still are groups.
    pub fn remove(&self) -> Result<(), ListError> {
        for tree in self.places.trees() {
            control::remove_dir(self.places.node(tree))?;
        }
        Ok(())
    }
}

/// Removes the groups below that are empty though another one is not.
fn remove_what_is_empty(top: &std::path::Path) -> Result<(), ControlError> {
    for below in control::tree(top)?.iter().skip(1).rev() {
        match control::remove_dir(below) {
            Err(error) if error.errno() != Errno::BUSY => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
