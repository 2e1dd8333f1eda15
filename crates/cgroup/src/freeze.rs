//! Halting all processes of a group and letting them go on.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::control::{self, ControlError};
use crate::events;
use crate::group::Group;
use crate::places::Where;

/// Why a group is not frozen.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// Nothing here can freeze.
    #[error("no control group here can freeze processes")]
    NoFreezer,
    /// The kernel refused.
    #[error("cannot freeze or thaw a control group")]
    Control(#[from] ControlError),
    /// A process hangs in the kernel. The order stands: it freezes when it comes back.
    #[error("the processes are not yet frozen after {within:?}")]
    NotInTime {
        /// How long it was waited for.
        within: Duration,
    },
}

impl Group {
    /// Halts all processes in it, and waits until they are.
    ///
    /// # Errors
    /// If nothing here can freeze, or it takes longer than `within`; [`Group::thaw`] takes the order back.
    pub fn freeze(&self, within: Duration) -> Result<(), FreezeError> {
        match self.freezer() {
            Some(Where::Unified) => unified(&self.dir(Where::Unified), within),
            Some(tree) => legacy(&self.dir(tree), within),
            None => Err(FreezeError::NoFreezer),
        }
    }

    /// Lets all processes go on.
    ///
    /// # Errors
    /// If nothing here can freeze.
    pub fn thaw(&self) -> Result<(), FreezeError> {
        match self.freezer() {
            Some(Where::Unified) => {
                Ok(control::write(&self.dir(Where::Unified).join("cgroup.freeze"), "0")?)
            }
            Some(tree) => Ok(control::write(&self.dir(tree).join("freezer.state"), "THAWED")?),
            None => Err(FreezeError::NoFreezer),
        }
    }

    /// Whether it was told to freeze and not to thaw since.
    ///
    /// # Errors
    /// If nothing here can freeze.
    pub fn is_frozen(&self) -> Result<bool, FreezeError> {
        let (tree, file) = match self.freezer() {
            Some(Where::Unified) => (Where::Unified, "cgroup.freeze"),
            Some(tree) => (tree, "freezer.self_freezing"),
            None => return Err(FreezeError::NoFreezer),
        };
        Ok(control::read(&self.dir(tree).join(file))?.trim() == "1")
    }

    fn freezer(&self) -> Option<Where> {
        let unified =
            (self.places.freezes && self.trees.has(Where::Unified)).then_some(Where::Unified);
        unified.or(self.places.freezer.filter(|tree| self.trees.has(*tree)))
    }
}

/// Freezes a group of version 2.
pub(crate) fn unified(group: &Path, within: Duration) -> Result<(), FreezeError> {
    control::write(&group.join("cgroup.freeze"), "1")?;
    match events::wait(group, "frozen", 1, within)? {
        true => Ok(()),
        false => Err(FreezeError::NotInTime { within }),
    }
}

/// Freezes a group of version 1. The kernel sends no event for it, and a process that was missed is tried again
/// only when the state is read or written: the one place of this crate that asks at intervals, up to `within`.
pub(crate) fn legacy(group: &Path, within: Duration) -> Result<(), FreezeError> {
    let state = group.join("freezer.state");
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_micros(100);
    control::write(&state, "FROZEN")?;
    while control::read(&state)?.trim() != "FROZEN" {
        if Instant::now() >= deadline {
            return Err(FreezeError::NotInTime { within });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
