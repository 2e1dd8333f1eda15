//! Uploads that requests are at work on right now: the one open file of each, and whose turn it is to
//! write each part. Nothing here outlives the process; a restart begins with no session.
//!
//! **One writer a part.** When a part is sent a second time while the first is still coming, the second
//! takes over: the first connection may be one whose client is long gone. The first goes on reading and
//! hashing, writes nothing any more, and shares the answer of the second. So two clients with the same
//! upload both get on, a dead connection holds up nobody, and once a part is recorded as received no byte
//! of it is ever written again.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use durable::{Disk, DiskError, StagedFile};
use model::UploadId;

use crate::layout;

/// The uploads that requests are at work on.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<UploadId, Weak<Session>>>);

/// One upload that requests are at work on.
#[derive(Debug, Default)]
pub(super) struct Session {
    file: Mutex<Option<Arc<StagedFile>>>,
    seats: Mutex<HashMap<u32, Arc<Seat>>>,
    /// Held by whoever verifies the whole.
    pub(super) completing: Mutex<()>,
}

/// The right to write one part.
#[derive(Debug, Default)]
pub(super) struct Seat {
    taken: Mutex<Sitting>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Sitting {
    /// The turn of whoever may write; turns are counted up.
    turn: u64,
    /// Is that one still at it?
    occupied: bool,
    /// Did the last one to leave bring the part home?
    received: bool,
}

/// One sender's turn. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    seat: Arc<Seat>,
    number: u64,
}

impl Sessions {
    /// Joins the session of an upload, or begins one.
    pub(super) fn join(&self, upload: UploadId) -> Arc<Session> {
        let mut open = locked(&self.0);
        if let Some(session) = open.get(&upload).and_then(Weak::upgrade) {
            return session;
        }
        open.retain(|_, session| session.strong_count() > 0);
        let session = Arc::new(Session::default());
        open.insert(upload, Arc::downgrade(&session));
        session
    }
}

impl Session {
    /// The upload's file, `size` bytes long; parts that did not come are zeros.
    pub(super) fn file(
        &self,
        disk: &Disk,
        upload: UploadId,
        size: u64,
    ) -> Result<Arc<StagedFile>, DiskError> {
        let mut open = locked(&self.file);
        if let Some(file) = &*open {
            return Ok(file.clone());
        }
        let file = disk.resume_file(&layout::staged(upload))?;
        if file.len() != size {
            file.set_len(size)?;
        }
        let file = Arc::new(file);
        *open = Some(file.clone());
        Ok(file)
    }

    /// The upload's file for one owner, as it is. The next [`Session::file`] opens it anew.
    pub(super) fn file_to_publish(
        &self,
        disk: &Disk,
        upload: UploadId,
    ) -> Result<StagedFile, DiskError> {
        let mut open = locked(&self.file);
        *open = None;
        disk.resume_file(&layout::staged(upload))
    }

    /// Takes a turn at a part, unless `received` says that it came already. `received` is asked while
    /// nobody can bring the part home.
    pub(super) fn turn<E>(
        &self,
        part: u32,
        received: impl FnOnce() -> Result<bool, E>,
    ) -> Result<Option<Turn>, E> {
        let seat = locked(&self.seats).entry(part).or_default().clone();
        let mut sitting = locked(&seat.taken);
        if received()? {
            return Ok(None);
        }
        sitting.turn += 1;
        sitting.occupied = true;
        sitting.received = false;
        let number = sitting.turn;
        drop(sitting);
        Ok(Some(Turn { seat, number }))
    }
}

impl Turn {
    /// Writes, unless somebody took over.
    pub(super) fn write<E>(&self, write: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let sitting = locked(&self.seat.taken);
        if sitting.turn == self.number { write() } else { Ok(()) }
    }

    /// Brings the part home by `record`, or waits for the answer of whoever took over. `false`: that one
    /// failed.
    pub(super) fn bring_home<E>(self, record: impl FnOnce() -> Result<(), E>) -> Result<bool, E> {
        let mut sitting = locked(&self.seat.taken);
        if sitting.turn == self.number {
            record()?;
            sitting.received = true;
            return Ok(true);
        }
        while sitting.occupied {
            sitting = self.seat.left.wait(sitting).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(sitting.received)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut sitting = locked(&self.seat.taken);
        if sitting.turn == self.number {
            sitting.occupied = false;
            self.seat.left.notify_all();
        }
    }
}

/// A panic of another request leaves these maps and counters as they were before or after its change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
