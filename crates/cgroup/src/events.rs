//! `cgroup.events` of version 2: what changes in a group, and waiting for it.
//!
//! The kernel wakes whoever polls the open file for `POLLPRI` when it has changed since it was last read.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use crate::control::{self, ControlError};

/// Whether a key has a value now.
pub(crate) fn is(group: &Path, key: &str, value: u64) -> Result<bool, ControlError> {
    Ok(Events::open(group)?.value(key)? == value)
}

/// Waits until a key has a value; false if that takes longer.
pub(crate) fn wait(
    group: &Path,
    key: &str,
    value: u64,
    within: Duration,
) -> Result<bool, ControlError> {
    let events = Events::open(group)?;
    let deadline = Instant::now() + within;
    loop {
        // Reading takes note of the change: one that comes after it ends the wait at once.
        if events.value(key)? == value {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        events.changed(left)?;
    }
}

struct Events {
    file: OwnedFd,
    path: PathBuf,
}

impl Events {
    fn open(group: &Path) -> Result<Events, ControlError> {
        let path = group.join("cgroup.events");
        Ok(Events { file: control::open(&path, OFlags::RDONLY)?, path })
    }

    fn value(&self, key: &str) -> Result<u64, ControlError> {
        let mut text = [0; 256];
        let count = pread(&self.file, &mut text, 0).map_err(|errno| self.failed(errno))?;
        let text = String::from_utf8_lossy(&text[..count]);
        control::keyed(&text, key).ok_or_else(|| self.failed(Errno::NODATA))
    }

    fn changed(&self, within: Duration) -> Result<(), ControlError> {
        let timeout = within.try_into().ok();
        match poll(&mut [PollFd::new(&self.file, PollFlags::PRI)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn failed(&self, errno: Errno) -> ControlError {
        ControlError::new("read", &self.path, errno)
    }
}
