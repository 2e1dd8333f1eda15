//! For tests: what a disk does when it fails, when the process dies, and when the power goes.
//!
//! A [`Recorder`] stands in the gate that every change passes. It logs each change with its data,
//! and a [`Script`] may fail or kill at the n-th. It forces nothing to the real disk: what a power cut
//! leaves is worked out from the log by [`PowerCut`], state by state.

mod model;
mod power_cut;
mod snapshot;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Disk;
use crate::error::DiskError;
use crate::gate::Gate;
pub use crate::op::{Ino, Op};
pub use power_cut::{PowerCut, State};
pub use snapshot::Snapshot;

/// Sees every change of the disks that it was given to, in one order. Clones are the same recorder.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<Mutex<Recording>>,
}

#[derive(Debug)]
struct Recording {
    log: Log,
    script: Script,
    /// How many operations were tried since the script was set.
    tried: usize,
    killed: bool,
}

/// What was done, and what it was done to.
#[derive(Debug, Clone)]
pub struct Log {
    /// The tree as it was before the first operation; all of it counts as durable.
    pub start: Snapshot,
    /// What happened, in order.
    pub ops: Vec<Op>,
}

/// What goes wrong. Operations are counted from 0 at [`Recorder::play`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Nothing.
    Nothing,
    /// Operation `at` does not happen and fails with this errno.
    FailOnce {
        /// Which one.
        at: usize,
        /// The system's error number.
        errno: i32,
    },
    /// Operation `at` and all after it do not happen and fail with this errno.
    FailFrom {
        /// Which one is the first.
        at: usize,
        /// The system's error number.
        errno: i32,
    },
    /// Operation `at` and all after it do not happen, clean-ups included: the disk is left exactly as
    /// a killed process leaves it.
    Kill {
        /// Which one is the first.
        at: usize,
    },
    /// The process aborts before operation `at`.
    Abort {
        /// Which one.
        at: usize,
    },
}

impl Recorder {
    /// Starts from the tree under `base` as it is now. Disks that are recorded lie beneath it.
    pub fn new(base: &Path) -> io::Result<Recorder> {
        let log = Log { start: Snapshot::take(base)?, ops: Vec::new() };
        let recording = Recording { log, script: Script::Nothing, tried: 0, killed: false };
        Ok(Recorder { inner: Arc::new(Mutex::new(recording)) })
    }

    /// Sets the script and counts anew. A killed recorder lives again.
    pub fn play(&self, script: Script) {
        self.with(|recording| {
            recording.script = script;
            recording.tried = 0;
            recording.killed = false;
        });
    }

    /// Forgets what happened and starts from the tree under `base` as it is now.
    pub fn start_over(&self, base: &Path) -> io::Result<()> {
        let start = Snapshot::take(base)?;
        self.with(|recording| recording.log = Log { start, ops: Vec::new() });
        Ok(())
    }

    /// How many operations were tried since the script was set.
    pub fn tried(&self) -> usize {
        self.with(|recording| recording.tried)
    }

    /// How many operations happened.
    pub fn len(&self) -> usize {
        self.with(|recording| recording.log.ops.len())
    }

    /// Whether none happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    pub fn log(&self) -> Log {
        self.with(|recording| recording.log.clone())
    }

    /// One change: its turn is taken, it happens, it is logged, and nothing comes between.
    pub(crate) fn change<T>(
        &self,
        call: impl FnOnce() -> io::Result<T>,
        describe: impl FnOnce(&T) -> io::Result<Op>,
    ) -> io::Result<T> {
        self.with(|recording| {
            recording.take_turn()?;
            let done = call()?;
            recording.log.ops.push(describe(&done)?);
            Ok(done)
        })
    }

    /// One sync, which is logged and does not happen.
    pub(crate) fn sync(
        &self,
        _call: impl FnOnce() -> io::Result<()>,
        describe: impl FnOnce() -> io::Result<Op>,
    ) -> io::Result<()> {
        self.change(|| Ok(()), |()| describe())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Recording) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Recording {
    fn take_turn(&mut self) -> io::Result<()> {
        let turn = self.tried;
        self.tried += 1;
        match self.script {
            Script::FailOnce { at, errno } if turn == at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Script::FailFrom { at, errno } if turn >= at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            Script::Kill { at } if self.killed || turn >= at => {
                self.killed = true;
                Err(io::Error::other(Killed))
            }
            Script::Abort { at } if turn == at => std::process::abort(),
            _ => Ok(()),
        }
    }
}

impl Log {
    /// Which operations are syncs.
    pub fn syncs(&self) -> Vec<usize> {
        (0..self.ops.len()).filter(|&at| self.ops[at].is_sync()).collect()
    }

    /// The same log with one operation left out, as if its verb had forgotten it.
    #[must_use]
    pub fn without(&self, at: usize) -> Log {
        let mut log = self.clone();
        log.ops.remove(at);
        log
    }
}

impl Disk {
    /// [`Disk::open`] with every change passing `recorder`.
    pub fn open_recorded(root: &Path, recorder: &Recorder) -> Result<Disk, DiskError> {
        Disk::open_through(root, Gate { recorder: Some(recorder.clone()) })
    }

    /// [`Disk::create`] with every change passing `recorder`.
    pub fn create_recorded(root: &Path, recorder: &Recorder) -> Result<Disk, DiskError> {
        Disk::create_through(root, Gate { recorder: Some(recorder.clone()) })
    }
}

/// The process is dead; nothing that it does any more reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed by the script")]
pub struct Killed;
