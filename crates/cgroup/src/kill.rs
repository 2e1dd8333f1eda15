//! Ending every process of a group, also those that left their parents and those that are just being started.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::control::{self, ControlError};
use crate::group::{Group, LookError};

/// Why not all processes were told to end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KillError {
    /// It is not known which there are.
    #[error("cannot end the processes of a control group")]
    Look(#[from] LookError),
    /// The kernel refused.
    #[error("cannot end the processes of a control group")]
    Control(#[from] ControlError),
    /// Nothing can freeze them, and they start new ones faster than they can be ended one by one.
    #[error("the processes of `{name}` multiply faster than they can be ended: {count} are left")]
    Restless {
        /// The group's name.
        name: String,
        /// How many were there at the last look.
        count: usize,
    },
}

impl Group {
    /// Sends SIGKILL to all processes in it and in the groups below it. When it returns all have it; they are
    /// gone when [`Group::is_populated`] says so. A frozen group is thawed where it must be to die, and a
    /// group that has been removed has nothing to end.
    ///
    /// # Errors
    /// If there is no group, the kernel refuses, or the processes multiply too fast.
    pub fn kill(&self) -> Result<(), KillError> {
        let killed = if self.places.kills_at_once {
            self.members_dir()
                .map_err(KillError::from)
                .and_then(|dir| Ok(control::write(&dir.join("cgroup.kill"), "1")?))
        } else {
            self.kill_one_by_one()
        };
        match killed {
            Err(KillError::Control(error) | KillError::Look(LookError::Control(error)))
                if error.is_absent() =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Without help from the kernel. A process that has a SIGKILL starts no other one, so it is done when a
    /// look finds none that was not there at the look before.
    pub(crate) fn kill_one_by_one(&self) -> Result<(), KillError> {
        let mut known = BTreeSet::new();
        for _ in 0..ROUNDS {
            // Frozen ones neither start others nor end, so that the list stays true. Where that cannot be
            // had, rounds make up for it.
            let freezes = self.freeze(FREEZE_WITHIN).is_ok();
            let signalled = self.signal_all();
            if freezes || self.is_frozen().unwrap_or(false) {
                // Version 1 lets a frozen process die only when it is thawed.
                match self.thaw() {
                    Ok(()) | Err(crate::FreezeError::NoFreezer) => {}
                    Err(crate::FreezeError::Control(error)) => return Err(error.into()),
                    Err(crate::FreezeError::NotInTime { .. }) => {} // only freezing waits
                }
            }
            let signalled = signalled?;
            if freezes || signalled.is_subset(&known) {
                return Ok(());
            }
            known = signalled;
        }
        Err(KillError::Restless { name: self.name().to_owned(), count: known.len() })
    }

    /// One look, one signal to each that is still there.
    fn signal_all(&self) -> Result<BTreeSet<u32>, KillError> {
        let handles: Vec<(u32, OwnedFd)> = self
            .processes()?
            .into_iter()
            .filter_map(|pid| {
                let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
                Some((pid, pidfd_open(process, PidfdFlags::empty()).ok()?))
            })
            .collect();
        // A number may have passed to a stranger before its handle was opened: those still listed after it
        // are ours, and the handle stays with the process.
        let listed: BTreeSet<u32> = self.processes()?.into_iter().collect();
        for (pid, handle) in &handles {
            if listed.contains(pid) {
                let _ = pidfd_send_signal(handle, Signal::KILL); // it may have ended by itself
            }
        }
        Ok(listed)
    }
}

const FREEZE_WITHIN: Duration = Duration::from_millis(500);
const ROUNDS: usize = 1000;
