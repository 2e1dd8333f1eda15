//! The tree on disk.
//!
//! ```text
//! <data>/
//!   lock                   held by the one server of this directory
//!   catalog.sqlite         the catalog, with SQLite's -wal and -shm beside it
//!   blobs/<aa>/<sha256>    the bytes of objects: whole, verified, synced, never changed
//!   staging/<upload>       the parts of an upload, each at its place; kept over restarts
//!   staging/.…  trash/     what is on its way; emptied at start
//! ```
//!
//! A crash leaves nothing that is not named here. The catalog says which files belong to something; a file
//! of which it says nothing is removed at start.

use std::path::{Path, PathBuf};

use durable::{Blobs, Disk, Key};
use model::{Digest, UploadId};

/// The catalog's file, unless it is told to lie elsewhere.
pub(crate) const DATABASE: &str = "catalog.sqlite";

/// The file that the server locks.
pub(crate) fn lock() -> &'static Path {
    Path::new("lock")
}

/// The blobs of this tree.
pub(crate) fn blobs(disk: &Disk) -> Blobs {
    Blobs::new(disk.clone(), Path::new("blobs"))
}

/// The key of a blob.
pub(crate) fn key(digest: &Digest) -> Key {
    Key(*digest.as_bytes())
}

/// The name of an upload's file within `staging/`.
pub(crate) fn staged(upload: UploadId) -> String {
    upload.to_string()
}

/// The path of an upload's file.
pub(crate) fn staged_path(upload: UploadId) -> PathBuf {
    Path::new("staging").join(staged(upload))
}

/// Mode of a blob: nobody writes to it again.
pub(crate) const BLOB_MODE: u32 = 0o400;
