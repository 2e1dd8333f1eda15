//! The repository as plain, blocking code: what can be done with objects and uploads, and in which order
//! it reaches the disk and the catalog so that a crash at any point is harmless.
//!
//! The order is always the same: bytes into `staging/`, hashed on their way; synced; announced in the
//! catalog (`writing`); renamed into `blobs/`; `present`; and last one conditional insert takes the name.

mod error;
mod pour;
mod put;
mod read;
mod recover;
mod session;
mod shelf;
mod upload;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable::{Blobs, Disk, Lock, LockMode};
use tokio::sync::Notify;

use crate::catalog::Catalog;
use crate::catalog::sqlite::Sqlite;
use crate::config::{Clock, Config};
use crate::layout;
use session::Sessions;

pub use error::{
    BeginError, CompleteError, DeleteError, OpenError, PartError, PutError, ReadError, StorageError,
};
pub use put::{NewObject, Stated, Stored};
pub use read::Content;
pub(crate) use read::Found;
pub use upload::UploadStatus;

/// A binary repository that is open. All methods but those of the server block.
#[derive(Debug)]
pub struct BinaryRepository {
    disk: Disk,
    blobs: Blobs,
    catalog: Arc<dyn Catalog>,
    clock: Clock,
    sessions: Sessions,
    /// Held by whoever puts a blob in place or takes one away.
    shelf: Mutex<()>,
    /// Rung when there may be something to sweep, now or later.
    pub(crate) bell: Notify,
    _lock: Lock,
}

impl BinaryRepository {
    /// Opens the repository and repairs what a crash left.
    ///
    /// # Errors
    /// See [`OpenError`]; in particular another server has it open, or a newer fettle wrote it.
    pub fn open(config: &Config) -> Result<Arc<BinaryRepository>, OpenError> {
        let disk = Disk::create(&config.data).map_err(StorageError::from)?;
        let lock = take_lock(&disk)?;
        let catalog = Arc::new(Sqlite::open(&config.database)?);
        BinaryRepository::assemble(disk, lock, catalog, config.clock.clone())
    }

    /// Like [`BinaryRepository::open`], on a disk and a catalog that are open already.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(
        disk: Disk,
        catalog: Arc<dyn Catalog>,
        clock: Clock,
    ) -> Result<Arc<BinaryRepository>, OpenError> {
        let lock = take_lock(&disk)?;
        BinaryRepository::assemble(disk, lock, catalog, clock)
    }

    fn assemble(
        disk: Disk,
        lock: Lock,
        catalog: Arc<dyn Catalog>,
        clock: Clock,
    ) -> Result<Arc<BinaryRepository>, OpenError> {
        let repository = BinaryRepository {
            blobs: layout::blobs(&disk),
            disk,
            catalog,
            clock,
            sessions: Sessions::default(),
            shelf: Mutex::new(()),
            bell: Notify::new(),
            _lock: lock,
        };
        repository.recover()?;
        Ok(Arc::new(repository))
    }

    pub(crate) fn catalog(&self) -> &dyn Catalog {
        &*self.catalog
    }

    pub(crate) fn now(&self) -> model::Timestamp {
        self.clock.now()
    }

    /// Is there room for so many bytes more?
    fn room_for(&self, wanted: u64) -> Result<(), StorageError> {
        let free = self.disk.space()?.free_bytes;
        if free < wanted { Err(StorageError::NoRoom { wanted, free }) } else { Ok(()) }
    }
}

fn take_lock(disk: &Disk) -> Result<Lock, OpenError> {
    let lock = disk.try_lock(layout::lock(), LockMode::Exclusive).map_err(StorageError::from)?;
    lock.ok_or_else(|| OpenError::Locked { data: disk.root().to_path_buf() })
}

/// How long bytes are kept for somebody who was told that they are here and does not come back: a day, so
/// that a publisher whose line is down in the evening goes on in the morning.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);
