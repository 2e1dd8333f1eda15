//! From a relative path to a handle on its directory, without following a link.
//!
//! Linux 5.6 resolves a whole path with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`; where it
//! is missing (an older kernel, or a sandbox that filters it) every component is opened by itself
//! with `O_NOFOLLOW`. Both refuse the same paths.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::Refused;

/// How a directory is opened: for reading, so that it can be synced.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The handle that all paths start from.
#[derive(Debug)]
pub(crate) struct Root {
    handle: OwnedFd,
    /// Set once `openat2` has turned out to be missing.
    walk: AtomicBool,
}

impl Root {
    pub(crate) fn new(handle: OwnedFd) -> Root {
        Root { handle, walk: AtomicBool::new(false) }
    }

    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Resolve component by component from now on, as on a kernel without `openat2`.
    pub(crate) fn walk_from_now_on(&self) {
        self.walk.store(true, Ordering::Relaxed);
    }

    /// Opens the directory that `path` lies in, and says under which name.
    pub(crate) fn open_parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let names = plain_names(path)?;
        let name = *names.last().ok_or(Refused::NotBeneath)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open_checked(parent)?, name))
    }

    /// Opens what is there and is no link.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let names = plain_names(path)?;
        let name = *names.last().ok_or(Refused::NotBeneath)?;
        if let Some(opened) = self.at_once(path, flags) {
            return opened;
        }
        let dir = self.open_checked(path.parent().unwrap_or(Path::new("")))?;
        Ok(retry_on_intr(|| fs::openat(&dir, name, flags, Mode::empty()))?)
    }

    /// Opens a directory; the empty path is the root itself.
    pub(crate) fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        plain_names(path)?;
        self.open_checked(path)
    }

    fn open_checked(&self, path: &Path) -> io::Result<OwnedFd> {
        if path.as_os_str().is_empty() {
            return Ok(retry_on_intr(|| fs::openat(&self.handle, ".", DIRECTORY, Mode::empty()))?);
        }
        if let Some(opened) = self.at_once(path, DIRECTORY) {
            return opened;
        }
        let mut dir = None;
        for name in plain_names(path)? {
            let from = dir.as_ref().map_or(self.handle.as_fd(), OwnedFd::as_fd);
            dir = Some(open_child(from, name)?);
        }
        Ok(dir.ok_or(Refused::NotBeneath)?)
    }

    /// By one system call; `None` where there is no such call.
    fn at_once(&self, path: &Path, flags: OFlags) -> Option<io::Result<OwnedFd>> {
        if self.walk.load(Ordering::Relaxed) {
            return None;
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match retry_on_intr(|| fs::openat2(&self.handle, path, flags, Mode::empty(), beneath)) {
            // Of another's file, of which it may not be left unsaid when it was read.
            Err(Errno::PERM) if flags.contains(OFlags::NOATIME) => Some(Err(Errno::PERM.into())),
            // EPERM is how a sandbox that does not know the call answers.
            Err(Errno::NOSYS | Errno::PERM) => {
                self.walk_from_now_on();
                None
            }
            done => Some(done.map_err(io::Error::from)),
        }
    }
}

/// Opens a directory by its name in another one. A link in its place is an error.
pub(crate) fn open_child(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| fs::openat(dir, name, DIRECTORY, Mode::empty()))?)
}

/// The components of a relative path without `.` and `..`; none for the empty path.
pub(crate) fn plain_names(path: &Path) -> Result<Vec<&OsStr>, Refused> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(Refused::NotBeneath),
        })
        .collect()
}

/// `None` instead of an error when the thing, or a directory on the way to it, is absent.
pub(crate) fn if_there<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `false` instead of an error when something is there already.
pub(crate) fn unless_there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
