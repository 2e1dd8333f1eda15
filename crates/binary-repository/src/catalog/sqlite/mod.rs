//! The catalog in one SQLite file: write-ahead log, synced at every commit, one connection that writes
//! and one that reads. Power cuts and kills are SQLite's promise; a change is one transaction.

mod blobs;
mod holds;
mod objects;
mod row;
mod uploads;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::lifecycle::BlobState;
use model::{Digest, ObjectName, Part, Timestamp, UploadId};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::schema::{self, Found};
use super::{
    Begun, Catalog, CatalogError, Claim, Holding, NewUpload, ObjectRecord, Removal, Taken,
    UploadPart, UploadRecord, Verification,
};

/// The catalog in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenCatalogError {
    /// SQLite refused.
    #[error("the catalog `{}` cannot be opened", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// A newer fettle wrote it.
    #[error(
        "the catalog `{}` has version {found}, this fettle knows {known}",
        path.display(), known = schema::VERSION
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

impl Sqlite {
    /// Opens the file, and makes it and its tables if they are missing. The file may hold tables of
    /// others.
    ///
    /// # Errors
    /// See [`OpenCatalogError`].
    pub fn open(path: &Path) -> Result<Sqlite, OpenCatalogError> {
        let database = |source| OpenCatalogError::Database { path: path.to_path_buf(), source };
        let mut writer = connect(path).map_err(database)?;
        match schema::prepare(&mut writer).map_err(database)? {
            Found::Known => {}
            Found::TooNew(found) => {
                return Err(OpenCatalogError::TooNew { path: path.to_path_buf(), found });
            }
        }
        let reader = connect(path).map_err(database)?;
        reader.pragma_update(None, "query_only", true).map_err(database)?;
        Ok(Sqlite { writer: Mutex::new(writer), reader: Mutex::new(reader) })
    }

    /// Asks something of one consistent state.
    fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, RowError>,
    ) -> Result<T, CatalogError> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = connection.unchecked_transaction().map_err(|source| database(doing, source))?;
        work(&tx).map_err(|error| error.doing(doing))
    }

    /// Changes something, whole or not at all.
    fn change<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, RowError>,
    ) -> Result<T, CatalogError> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| database(doing, source))?;
        let answer = work(&tx).map_err(|error| error.doing(doing))?;
        tx.commit().map_err(|source| database(doing, source))?;
        Ok(answer)
    }
}

impl Catalog for Sqlite {
    fn object(&self, name: &ObjectName) -> Result<Option<ObjectRecord>, CatalogError> {
        self.read("look up an object", |c| objects::find(c, name))
    }

    fn object_parts(&self, name: &ObjectName) -> Result<Vec<Part>, CatalogError> {
        self.read("look up the parts of an object", |c| objects::parts(c, name))
    }

    fn objects(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: u32,
    ) -> Result<Vec<ObjectRecord>, CatalogError> {
        self.read("list objects", |c| objects::page(c, prefix, after, limit))
    }

    fn take_name(
        &self,
        object: &ObjectRecord,
        parts: &[Part],
        own_lease: Timestamp,
        upload: Option<UploadId>,
    ) -> Result<Taken, CatalogError> {
        self.change("take a name", |tx| objects::take_name(tx, object, parts, own_lease, upload))
    }

    fn remove_object(&self, name: &ObjectName, now: Timestamp) -> Result<Removal, CatalogError> {
        self.change("remove an object", |tx| objects::remove(tx, name, now))
    }

    fn begin_upload(&self, new: &NewUpload) -> Result<Begun, CatalogError> {
        self.change("begin an upload", |tx| uploads::begin(tx, new))
    }

    fn upload(&self, id: UploadId) -> Result<Option<UploadRecord>, CatalogError> {
        self.read("look up an upload", |c| uploads::find(c, id))
    }

    fn upload_in_progress(&self, name: &ObjectName) -> Result<Option<UploadRecord>, CatalogError> {
        self.read("look up an upload", |c| uploads::in_progress(c, name))
    }

    fn upload_parts(&self, id: UploadId) -> Result<Vec<UploadPart>, CatalogError> {
        self.read("look up the parts of an upload", |c| uploads::parts(c, id))
    }

    fn upload_part(&self, id: UploadId, number: u32) -> Result<Option<UploadPart>, CatalogError> {
        self.read("look up a part", |c| uploads::part(c, id, number))
    }

    fn part_received(&self, id: UploadId, number: u32) -> Result<bool, CatalogError> {
        self.change("record a part", |tx| uploads::part_received(tx, id, number))
    }

    fn begin_verifying(&self, id: UploadId) -> Result<Verification, CatalogError> {
        self.change("begin verifying an upload", |tx| uploads::begin_verifying(tx, id))
    }

    fn want_all_parts(&self, id: UploadId) -> Result<(), CatalogError> {
        self.change("want all parts of an upload", |tx| uploads::want_all_parts(tx, id))
    }

    fn drop_upload(&self, id: UploadId) -> Result<(), CatalogError> {
        self.change("forget an upload", |tx| uploads::forget(tx, id))
    }

    fn uploads_in_progress(&self) -> Result<Vec<UploadRecord>, CatalogError> {
        self.read("list uploads", uploads::all_in_progress)
    }

    fn extend_lease(
        &self,
        digest: &Digest,
        size: u64,
        until: Timestamp,
    ) -> Result<bool, CatalogError> {
        self.change("extend a lease", |tx| blobs::extend_lease(tx, digest, size, until))
    }

    fn blob_state(&self, digest: &Digest) -> Result<BlobState, CatalogError> {
        self.read("look up a blob", |c| blobs::state(c, digest))
    }

    fn begin_blob(&self, digest: &Digest, size: u64, until: Timestamp) -> Result<(), CatalogError> {
        self.change("announce a blob", |tx| blobs::begin(tx, digest, size, until))
    }

    fn publish_blob(&self, digest: &Digest) -> Result<(), CatalogError> {
        self.change("publish a blob", |tx| blobs::publish(tx, digest))
    }

    fn abort_blob(&self, digest: &Digest) -> Result<(), CatalogError> {
        self.change("give up a blob", |tx| blobs::abort(tx, digest))
    }

    fn doom_one(&self, now: Timestamp) -> Result<Option<Digest>, CatalogError> {
        self.change("doom a blob", |tx| blobs::doom_one(tx, now))
    }

    fn remove_blob(&self, digest: &Digest) -> Result<(), CatalogError> {
        self.change("remove a blob", |tx| blobs::remove(tx, digest))
    }

    fn blobs_in(&self, state: BlobState) -> Result<Vec<(Digest, u64)>, CatalogError> {
        self.read("list blobs", |c| blobs::all_in(c, state))
    }

    fn next_lease_end(&self) -> Result<Option<Timestamp>, CatalogError> {
        self.read("look for the next lease", blobs::next_lease_end)
    }

    fn hold(&self, claims: &[Claim]) -> Result<Holding, CatalogError> {
        self.change("take holds", |tx| holds::hold(tx, claims))
    }

    fn release(&self, holder: &str) -> Result<(), CatalogError> {
        self.change("release holds", |tx| holds::release(tx, holder))
    }

    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, CatalogError> {
        self.read("list holders", |c| holds::holders(c, after, limit))
    }
}

/// What can go wrong within a transaction, before it is said what it was for.
#[derive(Debug)]
enum RowError {
    Database(rusqlite::Error),
    Ours(CatalogError),
}

impl RowError {
    fn doing(self, doing: &'static str) -> CatalogError {
        match self {
            RowError::Database(source) => database(doing, source),
            RowError::Ours(error) => error,
        }
    }
}

impl From<rusqlite::Error> for RowError {
    fn from(source: rusqlite::Error) -> RowError {
        RowError::Database(source)
    }
}

impl From<CatalogError> for RowError {
    fn from(error: CatalogError) -> RowError {
        RowError::Ours(error)
    }
}

fn database(doing: &'static str, source: rusqlite::Error) -> CatalogError {
    CatalogError::Database { doing, source }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: a path stays a path whatever it looks like.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The application repository writes to the same file; its transactions are short.
const BUSY: Duration = Duration::from_secs(10);
/// More than there are different statements here.
const STATEMENTS: usize = 64;
