//! A directory tree under one root: what it is, how it is opened, and the facts of what lies in it.
//!
//! ```text
//! <root>/
//!   staging/   built here, published from here by one rename; `.<pid>-<n>` or a name to resume
//!   trash/     thrown away by one rename, deleted afterwards
//!   …          the caller's
//! ```
//!
//! The verbs are in `write` and `trash`, the questions in `read`. A crash leaves nothing anywhere
//! but in the two directories above.

mod append;
mod guest;
mod read;
mod together;
mod trash;
mod write;

pub use append::Appended;
pub use guest::Guest;
pub(crate) use read::{entries, link_target, open_regular, stat};
pub use together::Replacement;
pub use trash::Thrown;
pub(crate) use write::staging_name;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rustix::fs::{self, CWD, Mode, OFlags};

use crate::error::{DiskError, Refused, Verb};
use crate::gate::Gate;
use crate::redo::Redo;
use crate::resolve::{self, DIRECTORY, Root};

/// A directory tree, reached through a handle on its root. Clones are the same disk.
///
/// Every path is relative to the root and made of plain names; anything else is refused, and no
/// symbolic link is followed on the way.
#[derive(Debug, Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    root: Root,
    staging: OwnedFd,
    /// What `staging` is called, relative to the root.
    staging_path: &'static Path,
    trash: OwnedFd,
    gate: Gate,
    /// The next number for a name in `staging/` or `trash/`.
    names: AtomicU64,
    /// Held while a name is made that later calls only look for, so that what exists was synced.
    making: Mutex<Making>,
    /// What small writes go through, if a log is kept.
    log: OnceLock<Redo>,
}

/// Whether a name that exists may be taken for one that lasts.
#[derive(Debug, Default)]
pub(crate) struct Making {
    /// The sync of one failed; everything has to be synced before another is relied on.
    in_doubt: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: OsString,
    /// What it stands for.
    pub kind: Kind,
}

/// The facts about one file, directory or link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Inode number.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// Bytes that it takes on the disk, as far as the file system says.
    pub allocated: u64,
    /// When its content changed last.
    pub modified: SystemTime,
}

/// How large the file system is, and what is left on it for a caller without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the whole file system, free or not.
    pub total_bytes: u64,
    /// Bytes.
    pub free_bytes: u64,
    /// Files and directories; `u64::MAX` where the file system does not count them.
    pub free_inodes: u64,
}

impl Disk {
    /// Opens an existing tree.
    ///
    /// It syncs the file system once: what a killed predecessor had written is visible from here on
    /// and may be acted upon, so it has to last. Makes `staging/` and `trash/` if they are missing.
    pub fn open(root: &Path) -> Result<Disk, DiskError> {
        Disk::open_through(root, Gate::default())
    }

    /// Opens a tree, making it (mode 0700) and the missing levels above it (mode 0755) first.
    pub fn create(root: &Path) -> Result<Disk, DiskError> {
        Disk::create_through(root, Gate::default())
    }

    /// Where the tree lies; absolute.
    pub fn root(&self) -> &Path {
        &self.inner.path
    }

    pub(crate) fn create_through(root: &Path, gate: Gate) -> Result<Disk, DiskError> {
        make_levels(root, &gate).map_err(|error| DiskError::new(Verb::CreateRoot, root, error))?;
        // The one sync of `open` covers the levels too: they are on the file system of the root.
        Disk::open_through(root, gate)
    }

    pub(crate) fn open_through(root: &Path, gate: Gate) -> Result<Disk, DiskError> {
        let open = || {
            let path = std::path::absolute(root)?;
            // The way to the root belongs to whoever set it up and may lead through links.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = fs::openat(CWD, &path, flags, Mode::empty())?;
            let staging = open_or_make(handle.as_fd(), STAGING, &gate)?;
            let trash = open_or_make(handle.as_fd(), TRASH, &gate)?;
            gate.sync_fs(handle.as_fd())?;
            Ok(Inner {
                path,
                root: Root::new(handle),
                staging,
                staging_path: Path::new(STAGING),
                trash,
                gate,
                names: AtomicU64::new(0),
                making: Mutex::default(),
                log: OnceLock::new(),
            })
        };
        let inner = open().map_err(|error| DiskError::new(Verb::OpenRoot, root, error))?;
        Ok(Disk { inner: Arc::new(inner) })
    }

    /// Resolves paths without `openat2` from now on, as on a kernel that lacks it.
    #[cfg(feature = "faults")]
    pub fn resolve_without_openat2(&self) {
        self.inner.root.walk_from_now_on();
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn log(&self) -> Option<&Redo> {
        self.inner.log.get()
    }

    pub(crate) fn set_log(&self, log: Redo) {
        let _ = self.inner.log.set(log); // of two at once, the first
    }

    pub(crate) fn staging(&self) -> BorrowedFd<'_> {
        self.inner.staging.as_fd()
    }

    /// The path of a name in `staging/`, for errors.
    pub(crate) fn staged_path(&self, name: &OsStr) -> PathBuf {
        self.inner.staging_path.join(name)
    }

    pub(crate) fn open_parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        self.inner.root.open_parent(path)
    }

    /// Runs what makes names that later calls only look for; one caller at a time.
    pub(crate) fn making<T>(
        &self,
        work: impl FnOnce(&mut Making) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut making = self.inner.making.lock().unwrap_or_else(PoisonError::into_inner);
        if making.in_doubt {
            self.inner.gate.sync_fs(self.inner.root.handle())?;
            making.in_doubt = false;
        }
        work(&mut making)
    }

    /// Runs the work of one verb and names verb and path if it fails.
    pub(crate) fn on<T>(
        &self,
        verb: Verb,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, DiskError> {
        work().map_err(|error| DiskError::new(verb, &self.inner.path.join(path), error))
    }

    /// Does `make` under a name that nothing else has, in `staging/` or `trash/`. Names of an
    /// earlier process with the same number are stepped over.
    pub(crate) fn under_fresh_name<T>(
        &self,
        mut make: impl FnMut(&OsStr) -> io::Result<T>,
    ) -> io::Result<(OsString, T)> {
        loop {
            let number = self.inner.names.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!(".{}-{number}", std::process::id()));
            match make(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return Ok((name, done?)),
            }
        }
    }
}

impl Making {
    /// Syncs the directory that got a new name.
    pub(crate) fn sync_name(&mut self, dir: BorrowedFd<'_>, gate: &Gate) -> io::Result<()> {
        gate.sync_dir(dir).inspect_err(|_| self.in_doubt = true)
    }
}

fn make_levels(root: &Path, gate: &Gate) -> io::Result<()> {
    let root = std::path::absolute(root)?;
    let mut here = fs::openat(CWD, "/", DIRECTORY, Mode::empty())?;
    let mut names = root.components().peekable();
    while let Some(component) = names.next() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => return Err(Refused::NotBeneath.into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || fs::openat(&here, name, flags, Mode::empty());
        here = match open() {
            Err(rustix::io::Errno::NOENT) => {
                let mode = if names.peek().is_none() { 0o700 } else { 0o755 };
                resolve::unless_there(gate.mkdir(here.as_fd(), name, mode))?;
                open()?
            }
            done => done?,
        };
    }
    Ok(())
}

fn open_or_make(dir: BorrowedFd<'_>, name: &str, gate: &Gate) -> io::Result<OwnedFd> {
    let name = OsStr::new(name);
    match resolve::if_there(resolve::open_child(dir, name))? {
        Some(there) => Ok(there),
        None => {
            resolve::unless_there(gate.mkdir(dir, name, 0o700))?;
            resolve::open_child(dir, name)
        }
    }
}

const STAGING: &str = "staging";
const TRASH: &str = "trash";
