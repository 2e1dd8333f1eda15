//! Writing a tree of files beneath the handle of one directory.
//!
//! Entries are written relative to that handle, one component at a time, and no link is followed: an
//! entry whose way leads through a symbolic link, a planted one too, is an error. Nothing has to
//! be synced here and nothing gets its final name; that is what `staged` is for, and a crash leaves nothing but
//! what lies in the directory.
//!
//! Files may be written by several threads: [`Tree::begin_file`] finds the directory and hands out what
//! a thread needs to make and fill the file by itself.

mod copy;
mod directories;
mod file;
mod links;
mod mend;
mod staged;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{self, Mode, OFlags};

use self::directories::{Directories, Number};
use self::links::Twins;
use crate::error::{DiskError, Refused, Verb};
use crate::gate::Gate;
use crate::resolve::{if_there, open_child, plain_names};

pub use file::{NewFile, TreeFile};
pub use mend::Mended;
pub use staged::StagedDir;

/// A tree that is being written.
#[derive(Debug)]
pub struct Tree {
    gate: Gate,
    top: Arc<OwnedFd>,
    /// What the top is called in errors.
    path: PathBuf,
    way: Way,
    /// The numbers of the directories of the way.
    numbers: Vec<Number>,
    directories: Directories,
    twins: Twins,
}

/// Forces what was written of a tree to the disk, from any thread, while it goes on being written.
#[derive(Debug, Clone)]
pub struct TreeSync {
    gate: Gate,
    top: Arc<OwnedFd>,
    path: PathBuf,
}

/// What happens to the directories of a finished tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// They stay as they are: 0755.
    Writable,
    /// They become 0555. Files have the modes that they were given.
    ReadOnly,
}

/// The directory that the last entry went to and those above it: entries come in the order of a walk,
/// so that most find their parent open.
#[derive(Debug, Default)]
struct Way {
    names: Vec<OsString>,
    /// The handles of the deepest [`KEPT`] of them at most: a path may have more components than a
    /// process may have open files.
    handles: Vec<Arc<OwnedFd>>,
}

impl Tree {
    /// The tree in the directory `path`, which exists: for a process that was given one directory and
    /// no disk.
    pub fn beneath(path: &Path) -> Result<Tree, DiskError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match fs::openat(fs::CWD, path, flags, Mode::empty()) {
            Ok(top) => Ok(Tree::at(top, path.to_owned(), Gate::default())),
            Err(error) => Err(DiskError::new(Verb::Stage, path, error.into())),
        }
    }

    fn at(top: OwnedFd, path: PathBuf, gate: Gate) -> Tree {
        let (way, directories) = (Way::default(), Directories::new());
        let (numbers, twins) = (Vec::new(), Twins::default());
        Tree { gate, top: Arc::new(top), path, way, numbers, directories, twins }
    }

    /// Where the tree lies, as errors name it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle that syncs. What it forces to the disk early, the publication need not wait for; it
    /// makes nothing durable that matters by itself.
    pub fn syncing(&self) -> TreeSync {
        TreeSync { gate: self.gate.clone(), top: self.top.clone(), path: self.path.clone() }
    }

    /// Makes a directory (0755 until it is closed) or, if it is there already, notes its time. The
    /// empty path is the top.
    pub fn directory(
        &mut self,
        path: &Path,
        modified: Option<SystemTime>,
    ) -> Result<(), DiskError> {
        self.run(path, |tree| {
            tree.enter(path)?;
            let Some(name) = tree.way.names.last() else {
                tree.directories.set_top(modified);
                return Ok(());
            };
            let parent = tree.numbers.iter().rev().nth(1).copied().unwrap_or(TOP);
            tree.directories.set(parent, name, modified)
        })
    }

    /// Makes a file and hands it out to be written. With `replaces`, an entry of this name that is
    /// not a directory gives way; else it is an error of kind [`io::ErrorKind::AlreadyExists`].
    pub fn file(
        &mut self,
        path: &Path,
        mode: u32,
        modified: Option<SystemTime>,
        replaces: bool,
    ) -> Result<TreeFile, DiskError> {
        self.begin_file(path, mode, modified, replaces)?.create()
    }

    /// Like [`Tree::file`], but the file is not made before [`NewFile::create`], which any thread may
    /// call.
    pub fn begin_file(
        &mut self,
        path: &Path,
        mode: u32,
        modified: Option<SystemTime>,
        replaces: bool,
    ) -> Result<NewFile, DiskError> {
        self.run(path, |tree| {
            let name = tree.make_room(path, replaces)?.to_owned();
            let (gate, dir) = (tree.gate.clone(), tree.way.last(&tree.top).clone());
            Ok(NewFile { gate, dir, name, path: tree.path.join(path), mode, modified })
        })
    }

    /// Makes a small file from its content.
    pub fn write(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        let mut file = self.file(path, mode, None, false)?;
        file.append(bytes)?;
        file.close()
    }

    /// Makes a symbolic link. Where it leads is the caller's to judge; it is never followed here.
    pub fn symlink(
        &mut self,
        path: &Path,
        target: &[u8],
        modified: Option<SystemTime>,
        replaces: bool,
    ) -> Result<(), DiskError> {
        self.run(path, |tree| {
            let name = tree.make_room(path, replaces)?;
            let dir = tree.way.last(&tree.top).as_fd();
            tree.gate.symlink(OsStr::from_bytes(target), dir, name)?;
            modified.map_or(Ok(()), |modified| tree.gate.link_times(dir, name, modified))
        })
    }

    /// Finishes the directories, from the deepest up: their times, and the modes that the seal says.
    /// The top stays open (0755), so that it can still be renamed.
    pub fn close(&mut self, seal: Seal) -> Result<(), DiskError> {
        self.run(Path::new(""), |tree| {
            let directories = std::mem::take(&mut tree.directories);
            let mut way = Way::default();
            directories.finish(|names, finish| {
                way.go_back_to(names);
                while let Some(name) = names.get(way.names.len()) {
                    let there = open_child(way.last(&tree.top).as_fd(), name)?;
                    way.go_down(name, there);
                }
                let dir = way.last(&tree.top).as_fd();
                if let Some(modified) = finish.modified {
                    tree.gate.times(dir, modified)?;
                }
                let mode = if seal == Seal::ReadOnly && !names.is_empty() { CLOSED } else { OPEN };
                // Whatever the umask made of it.
                if fs::fstat(dir)?.st_mode & 0o777 != mode {
                    tree.gate.chmod(dir, mode)?;
                }
                Ok(())
            })?;
            tree.way = Way::default();
            Ok(())
        })
    }

    /// Enters the parent of an entry to be made, and frees the entry's name there if it may be.
    fn make_room<'a>(&mut self, path: &'a Path, replaces: bool) -> io::Result<&'a OsStr> {
        plain_names(path)?;
        let name = path.file_name().ok_or(Refused::NotBeneath)?;
        self.enter(path.parent().unwrap_or(Path::new("")))?;
        if replaces {
            self.twins.forget(path);
            if_there(self.gate.unlink(self.way.last(&self.top).as_fd(), name))?;
        }
        Ok(name)
    }

    /// Opens a directory of the tree, making what is missing on the way.
    fn enter(&mut self, path: &Path) -> io::Result<()> {
        let names = plain_names(path)?;
        self.way.go_back_to(&names);
        self.numbers.truncate(self.way.names.len());
        while let Some(name) = names.get(self.way.names.len()) {
            let here = self.way.last(&self.top).as_fd();
            let parent = self.numbers.last().copied().unwrap_or(TOP);
            let (there, number) = match if_there(open_child(here, name))? {
                Some(there) => (there, self.directories.found(parent, name)?),
                None => {
                    self.gate.mkdir(here, name, OPEN)?;
                    (open_child(here, name)?, self.directories.made(parent, name)?)
                }
            };
            self.numbers.push(number);
            self.way.go_down(name, there);
        }
        Ok(())
    }

    fn run<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        work(self).map_err(|error| DiskError::new(Verb::Stage, &self.path.join(path), error))
    }
}

impl TreeSync {
    /// Syncs the file system of the tree.
    pub fn sync(&self) -> Result<(), DiskError> {
        let synced = self.gate.sync_fs(self.top.as_fd());
        synced.map_err(|error| DiskError::new(Verb::Sync, &self.path, error))
    }
}

impl Way {
    /// Keeps what it has in common with the way to `names`.
    fn go_back_to(&mut self, names: &[&OsStr]) {
        let common = self.names.iter().zip(names).take_while(|(mine, name)| mine == *name).count();
        let forgotten = self.names.len() - self.handles.len();
        self.names.truncate(common);
        self.handles.truncate(common.saturating_sub(forgotten));
        if self.handles.is_empty() {
            self.names.clear(); // the handle of this level was given up: once more from the top
        }
    }

    fn go_down(&mut self, name: &OsStr, handle: OwnedFd) {
        if self.handles.len() == KEPT {
            self.handles.remove(0);
        }
        self.names.push(name.to_owned());
        self.handles.push(Arc::new(handle));
    }

    fn last<'a>(&'a self, top: &'a Arc<OwnedFd>) -> &'a Arc<OwnedFd> {
        self.handles.last().unwrap_or(top)
    }
}

/// The directory that all others are in.
const TOP: Number = 0;
/// The mode of a directory while it is written.
const OPEN: u32 = 0o755;
/// The mode of a directory that nothing is added to any more.
pub(crate) const CLOSED: u32 = 0o555;
/// How many directories are kept open.
const KEPT: usize = 64;
