//! Throwing away: renamed into `trash/` and synced first, deleted afterwards.
//!
//! Deleting never recurses: a directory found inside is itself renamed up into `trash/` and put on a
//! list. So however deep a program has nested its workspace, the work takes two handles, no stack,
//! and a few bytes for each directory that waits; and a crash at any point leaves everything that is
//! still to be deleted in `trash/`. These deletions are not synced: what comes back after a power cut
//! comes back in `trash/`. Two may delete the same thing at a time: what the other one was quicker with is
//! passed over.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};

use super::{Disk, Kind, STAGING, TRASH, read};
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::{if_there, open_child};

/// Something that has lost its name for good and is still to be deleted. Dropped, it stays in `trash/`
/// until [`Disk::empty_trash`] or [`Disk::left_in_trash`].
#[derive(Debug)]
#[must_use = "it takes room until it is deleted"]
pub struct Thrown {
    disk: Disk,
    name: OsString,
}

impl Thrown {
    /// Where it lies until it is deleted, relative to the disk.
    pub fn path(&self) -> PathBuf {
        Path::new(TRASH).join(&self.name)
    }

    /// Deletes it and all that is in it.
    pub fn delete(self) -> Result<(), DiskError> {
        let path = self.path();
        self.disk.on(Verb::Discard, &path, || self.disk.delete(self.name))
    }
}

impl Disk {
    /// Takes the names of several files and trees away, each by one rename, and leaves the deleting to
    /// the caller, who may hold up others until here and not longer. Absent ones are passed over. After
    /// `Ok` all the names are gone for good; after an error, some may be.
    pub fn throw_away(&self, paths: &[PathBuf]) -> Result<Vec<Thrown>, DiskError> {
        self.settling_all(paths, || self.throw_each(paths))
    }

    fn throw_each(&self, paths: &[PathBuf]) -> Result<Vec<Thrown>, DiskError> {
        let mut thrown = Vec::new();
        let mut renamed_in: Option<(&Path, OwnedFd)> = None;
        let sync = |(path, dir): (&Path, OwnedFd)| {
            self.on(Verb::Discard, path, || self.inner.gate.sync_dir(dir.as_fd()))
        };
        for path in paths {
            let parent = path.parent().unwrap_or(Path::new(""));
            // One sync for all that follow each other in one directory.
            if renamed_in.as_ref().is_some_and(|(last, _)| *last != parent)
                && let Some(done) = renamed_in.take()
            {
                sync(done)?;
            }
            let found = self.on(Verb::Discard, path, || {
                let Some((dir, name)) = if_there(self.open_parent(path))? else { return Ok(None) };
                Ok(Some((if_there(self.throw(dir.as_fd(), name))?, dir)))
            })?;
            let Some((name, dir)) = found else { continue };
            thrown.extend(name.map(|name| Thrown { disk: self.clone(), name }));
            renamed_in = Some((parent, dir));
        }
        renamed_in.map_or(Ok(()), sync)?;
        Ok(thrown)
    }

    /// Throws a file or a whole tree away. After `Ok` it is gone for good; an absent one is fine.
    /// Read-only directories are opened for it. Open files keep working for those who have them.
    pub fn discard(&self, path: &Path) -> Result<(), DiskError> {
        // Before anything is deleted: a power cut must not show half of it under the old name.
        let thrown = self.throw_away(&[path.to_owned()])?;
        let delete = |thrown: Thrown| self.on(Verb::Discard, path, || self.delete(thrown.name));
        thrown.into_iter().try_for_each(delete)
    }

    /// Deletes what lies in `trash/`: for a process that starts. What cannot be deleted keeps nothing else.
    pub fn empty_trash(&self) -> Result<(), DiskError> {
        self.on(Verb::Empty, Path::new(TRASH), || {
            let delete = |entry: super::DirEntry| self.delete(entry.name);
            let entries = read::entries(self.inner.trash.as_fd())?.into_iter();
            entries.map(delete).fold(Ok(()), Result::and)
        })
    }

    /// What lies in `trash/` now, also by the hands of others that are at work: theirs may be deleted
    /// beside them, since all of it has lost its old name for good when this returns.
    pub fn left_in_trash(&self) -> Result<Vec<Thrown>, DiskError> {
        self.on(Verb::Empty, Path::new(TRASH), || {
            let entries = read::entries(self.inner.trash.as_fd())?;
            if !entries.is_empty() {
                // Whoever threw it there may not have come to its own sync.
                self.inner.gate.sync_fs(self.inner.trash.as_fd())?;
            }
            let thrown = |entry: super::DirEntry| Thrown { disk: self.clone(), name: entry.name };
            Ok(entries.into_iter().map(thrown).collect())
        })
    }

    /// Deletes what lies in `staging/`: for a process that starts and resumes nothing.
    pub fn empty_staging(&self) -> Result<(), DiskError> {
        self.empty_staging_except(|_| false)
    }

    /// Deletes what lies in `staging/` but the resumable files that `keep` says yes to.
    pub fn empty_staging_except(&self, keep: impl Fn(&str) -> bool) -> Result<(), DiskError> {
        self.on(Verb::Empty, Path::new(STAGING), || {
            for entry in read::entries(self.staging())? {
                let resumable = entry.name.to_str().filter(|name| !name.starts_with('.'));
                if !resumable.is_some_and(&keep)
                    && let Some(name) = if_there(self.throw(self.staging(), &entry.name))?
                {
                    self.delete(name)?;
                }
            }
            Ok(())
        })
    }

    /// Renames something into `trash/`, and says under which name.
    pub(crate) fn throw(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<OsString> {
        if read::stat(dir, name)?.kind == Kind::Directory {
            self.grant(dir, name, 0o700)?;
        }
        let (thrown, ()) = self.under_fresh_name(|fresh| {
            self.inner.gate.rename(dir, name, self.inner.trash.as_fd(), fresh, true)
        })?;
        Ok(thrown)
    }

    /// Deletes one entry of `trash/` and all that is in it.
    pub(crate) fn delete(&self, name: OsString) -> io::Result<()> {
        let trash = self.inner.trash.as_fd();
        let mut waiting = vec![name];
        while let Some(name) = waiting.pop() {
            match if_there(read::stat(trash, &name))? {
                None => {}
                Some(stat) if stat.kind == Kind::Directory => {
                    if_there(self.grant(trash, &name, 0o700))?;
                    if_there(self.delete_dir(&name, &mut waiting))?;
                }
                Some(_) => {
                    if_there(self.inner.gate.unlink(trash, &name))?;
                }
            }
        }
        Ok(())
    }

    /// Empties and removes one directory of `trash/`; the ones in it join those that wait.
    fn delete_dir(&self, name: &OsStr, waiting: &mut Vec<OsString>) -> io::Result<()> {
        let trash = self.inner.trash.as_fd();
        for _ in 0..PASSES {
            let dir = open_child(trash, name)?;
            for entry in read::entries(dir.as_fd())? {
                if entry.kind == Kind::Directory {
                    waiting.extend(if_there(self.throw(dir.as_fd(), &entry.name))?);
                } else {
                    if_there(self.inner.gate.unlink(dir.as_fd(), &entry.name))?;
                }
            }
            match if_there(self.inner.gate.rmdir(trash, name)) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                done => return done.map(drop),
            }
        }
        Err(Refused::StillWritten.into())
    }

    /// Gives the owner of a directory these rights (of `0o700`), and says whether one was lacking: an
    /// ordinary user can neither empty nor rename it without writing, nor look into it without the others.
    pub(crate) fn grant(&self, dir: BorrowedFd<'_>, name: &OsStr, rights: u32) -> io::Result<bool> {
        // Without asking for the right to read it, which may be what it lacks.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = fs::openat(dir, name, flags, Mode::empty())?;
        let mode = fs::fstat(&held)?.st_mode & 0o777;
        if mode & rights == rights {
            return Ok(false);
        }
        self.inner.gate.chmod_held(held.as_fd(), mode | rights)?;
        Ok(true)
    }
}

/// How often a directory is gone through that somebody still adds names to.
const PASSES: usize = 8;
