//! A directory built aside in `staging/`, and published whole by one rename.
//!
//! Entries are written relative to the directory's own handle, one component at a time, and no link
//! is followed: an entry whose way leads through a symbolic link, a planted one too, is an error.
//! Nothing is synced while it is built. [`StagedDir::publish`] closes the directories bottom up,
//! forces everything to the disk with one `syncfs`, renames, and syncs the directory that got the
//! name; so a tree that is seen under its name is whole, whenever the power fails.
//!
//! The top directory is closed (0555) last, since an ordinary user cannot rename a closed one. A
//! crash in between leaves it open; [`Disk::close_tree`] closes it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::disk::Disk;
use crate::error::{DiskError, Refused, Verb};
use crate::gate::Gate;
use crate::place::{self, At};
use crate::resolve::{if_there, open_child, plain_names};
use crate::stage::Published;

/// A directory in `staging/`. Dropped unpublished, it is removed.
#[derive(Debug)]
pub struct StagedDir {
    disk: Disk,
    name: OsString,
    top: OwnedFd,
    /// The directory that the last entry went to and all above it: entries come in the order of a
    /// walk, so that most find their parent open.
    open: Vec<(OsString, OwnedFd)>,
    /// Every directory and the time it is to have at the end; the empty path is the top.
    directories: BTreeMap<PathBuf, Option<SystemTime>>,
    published: bool,
}

/// What happens to the directories of a published tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// They stay as they are: 0755.
    Writable,
    /// They become 0555. Files have the modes that they were given.
    ReadOnly,
}

/// A file that is being written into a staged tree. [`TreeFile::close`] finishes it; one that is
/// dropped keeps what was written, without its mode and time.
#[derive(Debug)]
pub struct TreeFile {
    file: File,
    gate: Gate,
    path: PathBuf,
    len: u64,
    mode: u32,
    modified: Option<SystemTime>,
}

impl Disk {
    /// A new, empty directory in `staging/`.
    pub fn stage_dir(&self) -> Result<StagedDir, DiskError> {
        self.on(Verb::Stage, Path::new("staging"), || {
            let (name, ()) =
                self.under_fresh_name(|name| self.gate().mkdir(self.staging(), name, OPEN))?;
            let top = open_child(self.staging(), &name)?;
            Ok(StagedDir {
                disk: self.clone(),
                name,
                top,
                open: Vec::new(),
                directories: BTreeMap::from([(PathBuf::new(), None)]),
                published: false,
            })
        })
    }

    /// Closes the top of a read-only tree whose publication a crash may have cut short. Repeating it
    /// is harmless.
    pub fn close_tree(&self, path: &Path) -> Result<(), DiskError> {
        self.on(Verb::SetMode, path, || {
            let (parent, name) = self.open_parent(path)?;
            let top = open_child(parent.as_fd(), name)?;
            if rustix::fs::fstat(&top)?.st_mode & 0o777 == CLOSED {
                return Ok(());
            }
            self.gate().chmod(top.as_fd(), CLOSED)
        })
    }
}

impl StagedDir {
    /// Makes a directory (0755 until it is sealed) or, if it is there already, notes its time. The
    /// empty path is the top.
    pub fn directory(
        &mut self,
        path: &Path,
        modified: Option<SystemTime>,
    ) -> Result<(), DiskError> {
        self.run(path, |tree| {
            tree.enter(path)?;
            tree.directories.insert(path.components().collect(), modified);
            Ok(())
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
        self.run(path, |tree| {
            let (gate, whole) = (tree.disk.gate().clone(), tree.whole_path(path));
            let (dir, name) = tree.make_room(path, replaces)?;
            let file = gate.create(dir, name, 0o600)?;
            Ok(TreeFile { file, gate, path: whole, len: 0, mode, modified })
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
            let gate = tree.disk.gate().clone();
            let (dir, name) = tree.make_room(path, replaces)?;
            gate.symlink(OsStr::from_bytes(target), dir, name)?;
            modified.map_or(Ok(()), |modified| gate.link_times(dir, name, modified))
        })
    }

    /// Gives the entry `original` of this tree the further name `path`.
    pub fn hard_link(
        &mut self,
        original: &Path,
        path: &Path,
        replaces: bool,
    ) -> Result<(), DiskError> {
        self.run(path, |tree| {
            let (mut from, names) = (None, plain_names(original)?);
            let (from_name, way) = names.split_last().ok_or(Refused::NotBeneath)?;
            for name in way {
                let here = from.as_ref().map_or(tree.top.as_fd(), OwnedFd::as_fd);
                from = Some(open_child(here, name)?);
            }
            tree.link_into(from.as_ref(), from_name, path, replaces)
        })
    }

    /// Gives the file `from` of the same disk the further name `path` in this tree.
    pub fn link_from(&mut self, from: &Path, path: &Path) -> Result<(), DiskError> {
        self.run(path, |tree| {
            let (from_dir, from_name) = tree.disk.open_parent(from)?;
            tree.link_into(Some(&from_dir), from_name, path, false)
        })
    }

    /// Puts the tree under `to`, whose directory must exist, unless something is there.
    pub fn publish(mut self, to: &Path, seal: Seal) -> Result<Published, DiskError> {
        let disk = self.disk.clone();
        disk.on(Verb::Publish, to, || {
            let (parent, name) = disk.open_parent(to)?;
            let to = At { dir: parent.as_fd(), name };
            if !to.is_taken()? {
                self.close_directories(seal)?;
                disk.gate().sync_fs(self.top.as_fd())?;
                let from = At { dir: disk.staging(), name: &self.name };
                self.published = place::dir_if_free(disk.gate(), from, to)?;
            }
            // Also when something was there: it may not have come to its own sync.
            disk.gate().sync_dir(parent.as_fd())?;
            if !self.published {
                return Ok(Published::Kept);
            }
            if seal == Seal::ReadOnly {
                // Not synced: it is one mode, and recovery closes what a power cut left open.
                disk.gate().chmod(self.top.as_fd(), CLOSED)?;
            }
            Ok(Published::New)
        })
    }

    /// Sets times and modes from the deepest directory up. The top keeps its mode.
    fn close_directories(&mut self, seal: Seal) -> io::Result<()> {
        // Sorted paths have a directory before what is in it; backwards, after.
        for (path, modified) in std::mem::take(&mut self.directories).into_iter().rev() {
            let gate = self.disk.gate().clone();
            let dir = self.enter(&path)?;
            if let Some(modified) = modified {
                gate.times(dir, modified)?;
            }
            let is_top = path.as_os_str().is_empty();
            let mode = if seal == Seal::ReadOnly && !is_top { CLOSED } else { OPEN };
            // Whatever the umask made of it.
            if rustix::fs::fstat(dir)?.st_mode & 0o777 != mode {
                gate.chmod(dir, mode)?;
            }
        }
        self.open.clear();
        Ok(())
    }

    fn link_into(
        &mut self,
        from: Option<&OwnedFd>,
        from_name: &OsStr,
        path: &Path,
        replaces: bool,
    ) -> io::Result<()> {
        let gate = self.disk.gate().clone();
        // The parent of `path` is the last open directory once this returns.
        self.make_room(path, replaces)?;
        let (dir, name) = (self.last_open(), path.file_name().ok_or(Refused::NotBeneath)?);
        gate.link(from.map_or(self.top.as_fd(), OwnedFd::as_fd), from_name, dir, name)
    }

    /// The parent of an entry to be made, and its name there, which is free if it may be.
    fn make_room<'a>(
        &mut self,
        path: &'a Path,
        replaces: bool,
    ) -> io::Result<(BorrowedFd<'_>, &'a OsStr)> {
        plain_names(path)?;
        let name = path.file_name().ok_or(Refused::NotBeneath)?;
        let gate = self.disk.gate().clone();
        let dir = self.enter(path.parent().unwrap_or(Path::new("")))?;
        if replaces {
            if_there(gate.unlink(dir, name))?;
        }
        Ok((dir, name))
    }

    /// Opens a directory of the tree, making what is missing on the way.
    fn enter(&mut self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        let names = plain_names(path)?;
        let common = self.open.iter().zip(&names).take_while(|(open, name)| open.0 == **name);
        self.open.truncate(common.count());
        while let Some(name) = names.get(self.open.len()) {
            let here = self.last_open();
            let there = match if_there(open_child(here, name))? {
                Some(there) => there,
                None => {
                    self.disk.gate().mkdir(here, name, OPEN)?;
                    let there = open_child(here, name)?;
                    let made = names[..=self.open.len()].iter().collect();
                    self.directories.insert(made, None);
                    there
                }
            };
            self.open.push(((*name).to_owned(), there));
        }
        Ok(self.last_open())
    }

    fn last_open(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.top.as_fd(), |(_, dir)| dir.as_fd())
    }

    fn whole_path(&self, path: &Path) -> PathBuf {
        let mut whole = self.disk.root().join("staging");
        whole.push(&self.name);
        whole.push(path);
        whole
    }

    fn run<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        work(self).map_err(|error| DiskError::new(Verb::Stage, &self.whole_path(path), error))
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.published {
            self.open.clear();
            // What cannot be removed now is removed by `empty_staging` or `empty_trash`.
            let thrown = self.disk.throw(self.disk.staging(), &self.name);
            let _ = thrown.and_then(|name| self.disk.delete(name));
        }
    }
}

impl TreeFile {
    /// How many bytes have been written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none have been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes all of `data` at the end. What [`Write`] does, with an error that names the path.
    pub fn append(&mut self, data: &[u8]) -> Result<(), DiskError> {
        self.write_all(data).map_err(|error| DiskError::new(Verb::Stage, &self.path, error))
    }

    /// Finishes the file: its mode and its time. Errors that the system reports late are reported by
    /// the sync of [`StagedDir::publish`].
    pub fn close(self) -> Result<(), DiskError> {
        let finish = || {
            self.gate.chmod(self.file.as_fd(), self.mode)?;
            self.modified.map_or(Ok(()), |time| self.gate.times(self.file.as_fd(), time))
        };
        finish().map_err(|error| DiskError::new(Verb::Stage, &self.path, error))
    }
}

impl Write for TreeFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.gate.write_at(&self.file, self.len, data)?;
        self.len += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The mode of a directory while it is built.
const OPEN: u32 = 0o755;
/// The mode of a directory that nothing is added to any more.
const CLOSED: u32 = 0o555;
