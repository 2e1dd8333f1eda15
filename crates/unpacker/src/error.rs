//! Why an archive was not unpacked: one form for both processes, so that it can be said through a pipe.

use std::io;

use archive::Error as ArchiveError;
use durable::DiskError;
use serde::{Deserialize, Serialize};

/// Why an archive was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum UnpackError {
    /// The archive must not, or cannot, be unpacked: by anyone, anywhere.
    #[error("{message}")]
    Archive {
        /// Whose fault it is.
        fault: Fault,
        /// Which entry, which rule.
        message: String,
    },
    /// The bytes of the archive cannot be read.
    #[error("the archive cannot be read: {message}")]
    Input {
        /// What the system says.
        message: String,
    },
    /// A file of it cannot be written.
    #[error("cannot write `{entry}`{}: {message}", size.map(|size| format!(" ({size} bytes)")).unwrap_or_default())]
    Write {
        /// Where in the archive.
        entry: String,
        /// How large it is, if it is a file.
        size: Option<u64>,
        /// What the system says.
        message: String,
        /// The system's number of the error.
        errno: Option<i32>,
    },
    /// The tree around the files cannot be made.
    #[error("cannot make the tree of the archive: {message}")]
    Tree {
        /// What the system says.
        message: String,
        /// The system's number of the error.
        errno: Option<i32>,
    },
    /// The process that unpacks cannot be started, or cannot give up its rights.
    #[error("cannot run the unpacker: {message}")]
    Start {
        /// Why.
        message: String,
    },
    /// The process that unpacks ended without a word.
    #[error("the unpacker ended in the middle ({how})")]
    Died {
        /// How: an exit code, or a signal.
        how: String,
    },
}

/// What is wrong with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It breaks a rule, or means different things to different readers.
    Unsafe,
    /// It does not follow its format, is damaged or cut off.
    Malformed,
    /// It amounts to more than was allowed.
    TooLarge,
    /// It is stored in a way that fettle does not read.
    Unsupported,
}

impl UnpackError {
    /// The disk is full, or the quota is used up (ENOSPC, EDQUOT).
    pub fn is_no_space(&self) -> bool {
        use rustix::io::Errno;
        let (UnpackError::Write { errno, .. } | UnpackError::Tree { errno, .. }) = self else {
            return false;
        };
        matches!(errno.map(Errno::from_raw_os_error), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// The bytes themselves are the reason: another attempt ends in the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, UnpackError::Archive { .. })
    }

    pub(crate) fn write(entry: &archive::Entry, error: &DiskError) -> UnpackError {
        let size = match entry.kind {
            archive::EntryKind::File { size, .. } => Some(size),
            _ => None,
        };
        UnpackError::Write {
            entry: printable(entry.path.as_path()),
            size,
            message: reason(error),
            errno: error.raw_os_error(),
        }
    }

    pub(crate) fn manifest(error: &io::Error) -> UnpackError {
        let message = format!("its manifest: {}", chain(error));
        UnpackError::Tree { message, errno: error.raw_os_error() }
    }
}

impl From<ArchiveError> for UnpackError {
    fn from(error: ArchiveError) -> UnpackError {
        let fault = match &error {
            ArchiveError::Read { source } => {
                return UnpackError::Input { message: chain(source) };
            }
            ArchiveError::TooLarge { .. } => Fault::TooLarge,
            ArchiveError::Unsupported { .. }
            | ArchiveError::UnsupportedEncoding { .. }
            | ArchiveError::UnsupportedCoding { .. } => Fault::Unsupported,
            ArchiveError::Unsafe { .. } | ArchiveError::Ambiguous { .. } => Fault::Unsafe,
            _ => Fault::Malformed,
        };
        UnpackError::Archive { fault, message: chain(&error) }
    }
}

impl From<DiskError> for UnpackError {
    fn from(error: DiskError) -> UnpackError {
        UnpackError::Tree { message: reason(&error), errno: error.raw_os_error() }
    }
}

/// A name as text for people: no control characters, and not longer than a line.
fn printable(path: &std::path::Path) -> String {
    path.to_string_lossy().escape_debug().take(200).collect()
}

/// What the system said, without the path in staging, which means nothing to a user.
fn reason(error: &DiskError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), chain)
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
