//! What went wrong: the verb, the path, and the system's own reason as the source.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A verb failed. Its `source()` is the system's answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{}`", path.display())]
pub struct DiskError {
    verb: Verb,
    path: PathBuf,
    source: io::Error,
}

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// Opening the tree itself.
    OpenRoot,
    /// Making the tree itself.
    CreateRoot,
    /// Making a directory.
    MakeDir,
    /// Putting new content under a name.
    Replace,
    /// Putting content under a name that was free.
    Create,
    /// Making or switching a symbolic link.
    Point,
    /// Giving a file another name.
    Link,
    /// Removing one name.
    Remove,
    /// Throwing a file or a tree away.
    Discard,
    /// Emptying `staging/` or `trash/`.
    Empty,
    /// Making a tree what it should be.
    Mend,
    /// Changing a mode.
    SetMode,
    /// Reading content, a link, a directory or its facts.
    Read,
    /// Asking how much space is left.
    MeasureSpace,
    /// Writing aside.
    Stage,
    /// Forcing what was written to the disk.
    Sync,
    /// Putting what was staged under its name.
    Publish,
    /// Releasing the beginning of a file.
    Release,
    /// Waiting for a lock.
    Lock,
    /// Keeping the log of small writes.
    Log,
}

/// What this crate itself refuses, before or after asking the system. It is the source of a
/// [`DiskError`] of kind [`io::ErrorKind::InvalidInput`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a relative path of plain names.
    #[error("the path is not relative to its root, or has `.` or `..` in it")]
    NotBeneath,
    /// Not one plain name.
    #[error("the name is not a single plain name")]
    NotAName,
    /// There is something else than a regular file.
    #[error("this is not a regular file")]
    NotAFile,
    /// A file that has other names too, which may belong to somebody else.
    #[error("this file has other names too")]
    ManyNames,
    /// More bytes than the caller is ready to take.
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// An earlier sync of this staged file failed, so that its content cannot be trusted.
    #[error("a sync of the file has failed before")]
    Spoiled,
    /// A running program keeps on adding files to a directory that is being thrown away.
    #[error("the directory is still being written to")]
    StillWritten,
}

impl DiskError {
    pub(crate) fn new(verb: Verb, path: &Path, source: io::Error) -> Self {
        DiskError { verb, path: path.to_path_buf(), source }
    }

    /// Its source, for another that fails with it.
    pub(crate) fn same_source(&self) -> io::Error {
        same(&self.source)
    }

    pub(crate) fn into_source(self) -> io::Error {
        self.source
    }

    /// What was tried.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// On which path; absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of the system's answer.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The system's number of the error, if it came from the system.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// The disk is full, or the quota is used up (ENOSPC, EDQUOT).
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.source.raw_os_error().map(Errno::from_raw_os_error),
            Some(Errno::NOSPC | Errno::DQUOT)
        )
    }

    /// The path itself was refused, or what lies there; see [`Refused`].
    pub fn refused(&self) -> Option<Refused> {
        self.source.get_ref()?.downcast_ref().copied()
    }
}

/// The same failure, for another who waited for it.
pub(crate) fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, refused)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::OpenRoot => "open the directory",
            Verb::CreateRoot => "create the directory",
            Verb::MakeDir => "make the directory",
            Verb::Replace => "write",
            Verb::Create => "create",
            Verb::Point => "point the link",
            Verb::Link => "link",
            Verb::Remove => "remove",
            Verb::Discard => "discard",
            Verb::Empty => "empty",
            Verb::Mend => "mend",
            Verb::SetMode => "change the mode of",
            Verb::Read => "read",
            Verb::MeasureSpace => "measure the free space of",
            Verb::Stage => "stage",
            Verb::Sync => "sync",
            Verb::Publish => "publish",
            Verb::Release => "release the beginning of",
            Verb::Lock => "lock",
            Verb::Log => "keep the log of small writes, on",
        })
    }
}
