//! What can go wrong with a publication.

use std::fmt;
use std::io;
use std::path::PathBuf;

use model::{Encoding, InvalidName, MediaInfo, ObjectName, PackageName, Profile};
use wire::{Code, ErrorBody};

use crate::error::ClientError;
use crate::transfer::TransferError;

/// A version could not be published. What was uploaded is kept, so that the next attempt goes on there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// Reading or sending an object failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A path of the manifest leads to nothing that can be published.
    #[error("`{}`, {of}, cannot be published", .path.display())]
    Path {
        /// What it should be.
        of: Use,
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be used.
        source: PathFault,
    },
    /// An object that the manifest names is not in the repository.
    #[error("the object `{object}`, {of}, cannot be pinned")]
    Object {
        /// What it should be.
        of: Use,
        /// Its name.
        object: ObjectName,
        /// What the repository says.
        source: Box<ClientError>,
    },
    /// An object that the manifest names is still being uploaded.
    #[error("the object `{object}`, {of}, is incomplete: it is still being uploaded")]
    Incomplete {
        /// What it should be.
        of: Use,
        /// Its name.
        object: ObjectName,
    },
    /// A package is an archive that no node would unpack.
    #[error("`{called}`, {of}, cannot be unpacked")]
    Archive {
        /// What it should be.
        of: Use,
        /// Its path or name.
        called: String,
        /// What it is said to be.
        media: MediaInfo,
        /// Why not.
        source: archive::Error,
    },
    /// The application's name and version leave no room for the names of its objects.
    #[error("the objects of this version cannot be named")]
    Name(#[from] InvalidName),
}

/// What something in a manifest is used as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// The program of a profile.
    Program(Profile),
    /// A package.
    Package(PackageName),
}

/// Why a path of a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathFault {
    /// Nothing is there, or it cannot be looked at.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// A directory where a program is wanted.
    #[error("it is a directory, and a program is a file")]
    Directory,
    /// A device, a pipe or a socket.
    #[error("it is neither a file nor a directory")]
    NoContent,
}

impl PublishError {
    /// Which kind of refusal this is.
    pub fn code(&self) -> Code {
        match self {
            PublishError::Call(error) => error.code(),
            PublishError::Transfer(error) => error.code(),
            PublishError::Path { .. } | PublishError::Name(_) => Code::BadManifest,
            PublishError::Object { source, .. } => source.code(),
            PublishError::Incomplete { .. } => Code::Incomplete,
            PublishError::Archive { source, .. } => archive_code(source),
        }
    }

    /// The refusal as the command line prints it.
    pub fn to_body(&self) -> ErrorBody {
        let body = ErrorBody::from_error(self.code(), self);
        match self {
            PublishError::Call(error) => error.to_body(),
            PublishError::Transfer(error) => error.to_body(),
            PublishError::Path { .. } => {
                body.hint("paths in a manifest start at the manifest's directory")
            }
            PublishError::Object { source, .. } => {
                let ErrorBody { hint, request, .. } = source.to_body();
                ErrorBody { hint, request, ..body }
            }
            PublishError::Incomplete { object, .. } => {
                body.hint(format!("finish it with `fettle object upload {object} PATH`"))
            }
            PublishError::Archive { called, media, source, .. } => {
                body.hint(archive_hint(called, media, source))
            }
            PublishError::Name(_) => body,
        }
    }
}

fn archive_code(error: &archive::Error) -> Code {
    match error {
        archive::Error::TooLarge { .. } => Code::TooLarge,
        archive::Error::Unsupported { .. }
        | archive::Error::UnsupportedEncoding { .. }
        | archive::Error::UnsupportedCoding { .. } => Code::Unsupported,
        _ => Code::UnsafeArchive,
    }
}

fn archive_hint(called: &str, media: &MediaInfo, error: &archive::Error) -> String {
    match error {
        archive::Error::TooLarge { limit: archive::Limit::Window, .. } => {
            let repack = match media.encoding {
                Some(Encoding::Zstd) => {
                    format!("zstd -dc --long=31 '{called}' | zstd -19 -o repacked.tar.zst")
                }
                Some(Encoding::Xz) => format!("xz -dc '{called}' | xz -9 > repacked.tar.xz"),
                _ => return "unpack it, and pack it again with a smaller window".to_owned(),
            };
            format!("every node would need that much memory; pack it again: {repack}")
        }
        archive::Error::TooLarge {
            limit: archive::Limit::UnpackedBytes | archive::Limit::LargestFile,
            ..
        } => "split it into several packages, or allow more with --max-unpacked".to_owned(),
        archive::Error::TooLarge { limit: archive::Limit::BesideContent, .. } => {
            "that much padding, or something behind its end, is no part of it: pack it again"
                .to_owned()
        }
        archive::Error::TooLarge { .. } => "split it into several packages".to_owned(),
        archive::Error::Unsafe { .. } | archive::Error::Ambiguous { .. } => {
            "pack it again without that entry".to_owned()
        }
        archive::Error::Unsupported { .. }
        | archive::Error::UnsupportedEncoding { .. }
        | archive::Error::UnsupportedCoding { .. } => {
            "pack it as a tar, with gzip, bzip2, zstd or xz, or as a zip".to_owned()
        }
        _ => format!(
            "pack it again; to have it as a plain file, say so in `{called}.__info`: \
             {{\"Type\":\"application/octet-stream\",\"Encoding\":\"\"}}"
        ),
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Use::Program(profile) => write!(f, "the program for `{profile}`"),
            Use::Package(name) => write!(f, "the package `{name}`"),
        }
    }
}
