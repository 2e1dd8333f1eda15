//! What can go wrong with a transfer beyond the calls that it makes: the files on this machine.

use std::io;
use std::path::PathBuf;

use durable::DiskError;
use model::{Digest, InvalidParts, ObjectName};
use wire::{Code, ErrorBody};

use super::info::InvalidInfoFile;
use crate::error::ClientError;

/// A transfer failed. What was moved before is kept, so that the next attempt goes on there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// A file or directory of this machine cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Neither a file nor a directory.
    #[error("`{}` is neither a file nor a directory", .path.display())]
    NoContent {
        /// What was meant to be sent.
        path: PathBuf,
    },
    /// A file changed between being hashed and being sent.
    #[error("`{}` changed while it was read", .path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// Something in a directory that no archive holds: a socket, a pipe, a device.
    #[error("`{}` is no file, directory or symbolic link: it cannot be packed", .path.display())]
    NotPackable {
        /// Which.
        path: PathBuf,
    },
    /// A name or link target that no archive may hold.
    #[error("`{}` cannot be packed", .path.display())]
    BadEntry {
        /// Which.
        path: PathBuf,
        /// The rule that it breaks.
        source: archive::Rule,
    },
    /// More bytes than an object may have.
    #[error("`{}` is too large for an object", .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        source: InvalidParts,
    },
    /// The `.__info` file beside a file cannot be used.
    #[error("the media info in `{}` cannot be used", .path.display())]
    Info {
        /// The `.__info` file.
        path: PathBuf,
        /// Why not.
        source: InvalidInfoFile,
    },
    /// What is packed or read from a pipe cannot be written aside.
    #[error("what is to be sent cannot be written aside")]
    Spool {
        /// Why not.
        source: io::Error,
    },
    /// The disk of this machine failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The object that is asked for is still being uploaded.
    #[error("the object `{name}` is incomplete: it is still being uploaded")]
    Incomplete {
        /// Which.
        name: ObjectName,
    },
    /// All bytes came, and they are not those of the object.
    #[error("the bytes of the object `{name}` are {received}, not {expected}")]
    Mismatch {
        /// Which.
        name: ObjectName,
        /// The digest that the object has.
        expected: Digest,
        /// The digest of what came.
        received: Digest,
    },
    /// The server asks for a part that was never stated, or for parts without end.
    #[error("the server wants parts of `{name}` that make no sense")]
    Parts {
        /// Which object.
        name: ObjectName,
    },
    /// A destination that cannot name a file.
    #[error("`{}` cannot be the name of a file", .path.display())]
    Destination {
        /// Which.
        path: PathBuf,
    },
    /// The same download is under way in another process.
    #[error("another process is downloading to `{}`", .path.display())]
    UnderWay {
        /// The destination.
        path: PathBuf,
    },
}

impl TransferError {
    /// Which kind of refusal this is.
    pub fn code(&self) -> Code {
        match self {
            TransferError::Call(error) => error.code(),
            TransferError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Code::NotFound
            }
            TransferError::Read { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Code::Denied
            }
            TransferError::Read { .. } => Code::Internal,
            TransferError::NoContent { .. }
            | TransferError::NotPackable { .. }
            | TransferError::Info { .. }
            | TransferError::Destination { .. } => Code::Usage,
            TransferError::Changed { .. } | TransferError::UnderWay { .. } => Code::Busy,
            TransferError::BadEntry { .. } => Code::UnsafeArchive,
            TransferError::TooLarge { .. } => Code::TooLarge,
            TransferError::Spool { source } if source.kind() == io::ErrorKind::StorageFull => {
                Code::NoSpace
            }
            TransferError::Spool { .. } => Code::Internal,
            TransferError::Disk(error) if error.is_no_space() => Code::NoSpace,
            TransferError::Disk(error) if error.kind() == io::ErrorKind::NotFound => Code::NotFound,
            TransferError::Disk(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Code::Denied
            }
            TransferError::Disk(_) | TransferError::Parts { .. } => Code::Internal,
            TransferError::Incomplete { .. } => Code::Incomplete,
            TransferError::Mismatch { .. } => Code::DigestMismatch,
        }
    }

    /// The refusal as the command line prints it.
    pub fn to_body(&self) -> ErrorBody {
        let body = ErrorBody::from_error(self.code(), self);
        match self {
            TransferError::Call(error) => error.to_body(),
            TransferError::Read { .. } => {
                body.hint("is the path right, and may this account read what is there?")
            }
            TransferError::NoContent { .. } => body.hint("`-` sends what standard input says"),
            TransferError::NotPackable { .. } => body.hint("take it out of the directory"),
            TransferError::Info { .. } => body.hint(
                "it holds `{\"Type\":\"type/subtype\",\"Encoding\":\"gzip\"}`; correct it or take it away",
            ),
            TransferError::Destination { .. } => body.hint("name the file to write"),
            TransferError::Changed { .. } => {
                body.hint("repeat the command when nothing writes there any more")
            }
            TransferError::Spool { .. } => {
                body.hint("TMPDIR says where: choose a directory with room")
            }
            TransferError::Disk(error) if error.is_no_space() => {
                body.hint("make room and repeat the command: what arrived is kept")
            }
            TransferError::Disk(_) => {
                body.hint("is the path right, and may this account write there?")
            }
            TransferError::Incomplete { .. } => {
                body.hint("wait until its upload is done, or repeat the upload")
            }
            TransferError::Mismatch { .. } => body.hint("repeat the command: it begins anew"),
            _ => body,
        }
    }
}
