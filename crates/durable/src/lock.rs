//! Locks that hold across processes: `flock` on a file made for it.
//!
//! The kernel drops a lock when its last handle is closed, so that a killed process leaves none.
//! The file itself stays and is empty; nothing is promised about it after a power cut.

use std::fs::File;

/// Who else may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody.
    Exclusive,
    /// Others that asked for it shared.
    Shared,
}

/// A lock that is held until this value is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when this value is dropped"]
pub struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn held_by(file: File) -> Lock {
        Lock { _file: file }
    }
}
