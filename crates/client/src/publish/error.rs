//! What can go wrong with a publication.

use std::fmt;
use std::io;
use std::path::PathBuf;

use model::{InvalidName, ObjectName, PackageName, Profile};
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
            PublishError::Name(_) => body,
        }
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
