//! What the repository refuses, an enum for each thing that can be asked of it. Which code each is on the
//! wire stands in `http::problem`.

use std::io;
use std::path::PathBuf;

use durable::DiskError;
use model::{Digest, InvalidParts, MAX_OBJECT, ObjectName, UploadId};

use crate::catalog::sqlite::OpenCatalogError;
use crate::catalog::{CatalogError, ObjectRecord};

/// The disk or the catalog failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes would not fit; nothing was written.
    #[error("{wanted} bytes are wanted, {free} are free on the disk of the repository")]
    NoRoom {
        /// Bytes that are wanted.
        wanted: u64,
        /// Bytes that are free.
        free: u64,
    },
}

/// Why the repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it open.
    #[error("another server has `{}` open", data.display())]
    Locked {
        /// The directory.
        data: PathBuf,
    },
    /// The catalog cannot be opened.
    #[error(transparent)]
    Catalog(#[from] OpenCatalogError),
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an object was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The name has other content.
    #[error("{}", taken(name, there, digest))]
    NameTaken {
        /// The name.
        name: ObjectName,
        /// What it has.
        there: Box<ObjectRecord>,
        /// What was sent.
        digest: Digest,
    },
    /// More bytes than an object may have.
    #[error("`{name}` has more than {MAX_OBJECT} bytes")]
    TooLarge {
        /// The name.
        name: ObjectName,
    },
    /// The body ended early.
    #[error("the body of `{name}` ended early")]
    HalfSent {
        /// The name.
        name: ObjectName,
        /// How it ended; `None`: in good order, but before its stated length.
        #[source]
        cause: Option<io::Error>,
    },
    /// The bytes are not those that were stated.
    #[error("`{name}` was stated to be {stated}, what came is {received}")]
    Digest {
        /// The name.
        name: ObjectName,
        /// What was stated.
        stated: Digest,
        /// What came.
        received: Digest,
    },
    /// The bytes were removed before they had their name: a clock jumped by more than a lease.
    #[error("the bytes of `{name}` were removed while its name was being taken")]
    BytesGone {
        /// The name.
        name: ObjectName,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an upload was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The parts do not describe the object.
    #[error("the parts of `{name}` do not describe it")]
    Parts {
        /// The name.
        name: ObjectName,
        /// Why not.
        source: InvalidParts,
    },
    /// The name has other content.
    #[error("{}", taken(name, there, digest))]
    NameTaken {
        /// The name.
        name: ObjectName,
        /// What it has.
        there: Box<ObjectRecord>,
        /// What it was to get.
        digest: Digest,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a part was not taken. It can be sent again.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// There is no such upload.
    #[error("there is no upload {upload}")]
    NoUpload {
        /// Its id.
        upload: UploadId,
    },
    /// The upload has no such part.
    #[error("upload {upload} has no part {number}")]
    NoPart {
        /// Its id.
        upload: UploadId,
        /// The part.
        number: u32,
    },
    /// More bytes than the part has.
    #[error("part {number} has {size} bytes, more came")]
    TooLong {
        /// The part.
        number: u32,
        /// Bytes that it has.
        size: u64,
    },
    /// Fewer bytes than the part has.
    #[error("part {number} has {size} bytes, {received} came")]
    HalfSent {
        /// The part.
        number: u32,
        /// Bytes that it has.
        size: u64,
        /// Bytes that came.
        received: u64,
        /// How the body ended; `None`: in good order.
        #[source]
        cause: Option<io::Error>,
    },
    /// The bytes are not those that were stated.
    #[error("part {number} is {wanted}, what came is {received}")]
    Digest {
        /// The part.
        number: u32,
        /// What was stated when the upload began.
        wanted: Digest,
        /// What came, or was stated to come.
        received: Digest,
    },
    /// Another request with the same part came later, took over, and failed.
    #[error("part {number} was sent again while it was coming, and that one failed")]
    Overtaken {
        /// The part.
        number: u32,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an upload was not completed.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// There is no such upload.
    #[error("there is no upload {upload}")]
    NoUpload {
        /// Its id.
        upload: UploadId,
    },
    /// Parts are missing.
    #[error("`{name}` lacks {}", numbers(missing))]
    Missing {
        /// The name.
        name: ObjectName,
        /// The parts, in order.
        missing: Vec<u32>,
    },
    /// The whole is not what was stated, although each part is. All parts are wanted again.
    #[error("the parts of `{name}` make {received}, not {stated}")]
    Digest {
        /// The name.
        name: ObjectName,
        /// What was stated.
        stated: Digest,
        /// What the parts make.
        received: Digest,
    },
    /// The name has other content. The upload is forgotten.
    #[error("{}", taken(name, there, digest))]
    NameTaken {
        /// The name.
        name: ObjectName,
        /// What it has.
        there: Box<ObjectRecord>,
        /// What it was to get.
        digest: Digest,
    },
    /// The bytes were removed before they had their name: a clock jumped by more than a lease.
    #[error("the bytes of `{name}` were removed while its name was being taken")]
    BytesGone {
        /// The name.
        name: ObjectName,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there.
    #[error("there is no object `{name}`")]
    NotFound {
        /// The name.
        name: ObjectName,
    },
    /// It is being uploaded.
    #[error("`{name}` is being uploaded, its parts are not all there")]
    Incomplete {
        /// The name.
        name: ObjectName,
    },
    /// Its bytes are not as they were written.
    #[error("the bytes of `{name}` are damaged: {size} were written, {found} are there")]
    Damaged {
        /// The name.
        name: ObjectName,
        /// Bytes that it has.
        size: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why an object was not removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It is not there.
    #[error("there is no object `{name}`")]
    NotFound {
        /// The name.
        name: ObjectName,
    },
    /// Something needs it.
    #[error("`{name}` is needed by {}", some_of(holders))]
    InUse {
        /// The name.
        name: ObjectName,
        /// What needs it, sorted.
        holders: Vec<String>,
    },
    /// The disk or the catalog failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! from_parts_of_storage {
    ($($error:ident),*) => {$(
        impl From<CatalogError> for $error {
            fn from(error: CatalogError) -> $error {
                $error::Storage(error.into())
            }
        }

        impl From<DiskError> for $error {
            fn from(error: DiskError) -> $error {
                $error::Storage(error.into())
            }
        }
    )*};
}

from_parts_of_storage!(PutError, BeginError, PartError, CompleteError, ReadError, DeleteError);

impl StorageError {
    /// Is the disk full?
    pub fn is_no_space(&self) -> bool {
        match self {
            StorageError::Catalog(error) => error.is_no_space(),
            StorageError::Disk(error) => error.is_no_space(),
            StorageError::NoRoom { .. } => true,
        }
    }
}

/// Says in what the content differs: in the bytes, or in what they are.
fn taken(name: &ObjectName, there: &ObjectRecord, digest: &Digest) -> String {
    if there.digest == *digest {
        let encoding = there.media.encoding.map_or("none", model::Encoding::as_str);
        let media_type = &there.media.media_type;
        return format!(
            "`{name}` is there with the same bytes {digest} as {media_type}, encoding {encoding}"
        );
    }
    format!("`{name}` holds {}, which is not {digest}", there.digest)
}

/// Some are named, the rest counted.
fn some_of(names: &[String]) -> String {
    match names.split_at_checked(SHOWN) {
        Some((shown, rest)) if !rest.is_empty() => {
            format!("{} and {} more", shown.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}

fn numbers(missing: &[u32]) -> String {
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let noun = if missing.len() == 1 { "part" } else { "parts" };
    format!("{noun} {}", some_of(&texts))
}

const SHOWN: usize = 20;
