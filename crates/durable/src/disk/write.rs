//! The verbs that change one name. Each one carries its syncs and is harmless to repeat.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, Making, Replacement, read};
use crate::error::{DiskError, Refused, Verb};
use crate::lock::{Lock, LockMode};
use crate::place::{self, At};
use crate::redo::Became;
use crate::resolve::{if_there, open_child, plain_names, unless_there};
use crate::stage::{IfExists, Published};

impl Disk {
    /// Makes a directory and the missing levels above it, each with this mode and all rights for its
    /// owner, and each synced into its parent. One that exists is fine and keeps its mode.
    pub fn make_dir(&self, path: &Path, mode: u32) -> Result<(), DiskError> {
        self.make_parent_last(path)?;
        self.on(Verb::MakeDir, path, || {
            let names = plain_names(path)?;
            self.making(|making| {
                let mut here = self.inner.root.open_dir(Path::new(""))?;
                for name in names {
                    here = match if_there(open_child(here.as_fd(), name))? {
                        Some(there) => there,
                        None => {
                            let level = At { dir: here.as_fd(), name };
                            self.make_level(level, mode | 0o700, making)?
                        }
                    };
                }
                Ok(())
            })
        })
    }

    /// Puts `bytes` under `path`, over what was there. Readers see the old content or the new one,
    /// and so does whoever comes after a power cut; after `Ok`, the new one.
    pub fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        self.replace_all(&[Replacement { path, bytes, mode, after_previous: false }])
            .pop()
            .unwrap_or(Ok(()))
    }

    /// Without a log.
    pub(crate) fn replace_by_itself(&self, one: &Replacement<'_>) -> Result<(), DiskError> {
        self.on(Verb::Replace, one.path, || {
            let staged = self.stage_bytes(one.bytes)?;
            staged.publish_to(one.path, one.mode, IfExists::Replace).map(drop)
        })
    }

    /// Like [`Disk::replace`] for what is true within one boot only: every reader sees it whole,
    /// nothing is promised after a power cut. Not for a file that [`Disk::replace`] is used for too.
    pub fn replace_unsynced(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        self.on(Verb::Replace, path, || self.stage_bytes(bytes)?.publish_unsynced(path, mode))
    }

    /// Puts `bytes` under `path` unless something is there: `false`, and it is untouched. Of several
    /// callers at the same time exactly one gets `true`. Either answer lasts over a power cut.
    pub fn create_new(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, DiskError> {
        self.make_parent_last(path)?;
        self.on(Verb::Create, path, || {
            let staged = self.stage_bytes(bytes)?;
            Ok(staged.publish_to(path, mode, IfExists::Keep)? == Published::New)
        })
    }

    /// Makes a symbolic link, or switches it by one rename. The target is only written down, never
    /// looked at. A link that says this already is still made sure of.
    pub fn point(&self, link: &Path, target: &Path) -> Result<(), DiskError> {
        self.make_parent_last(link)?;
        self.settling(link, || {
            self.on(Verb::Point, link, || {
                let (dir, name) = self.open_parent(link)?;
                let present = match if_there(read::stat(dir.as_fd(), name))? {
                    Some(stat) if stat.kind == super::Kind::Link => {
                        if_there(read::link_target(dir.as_fd(), name))?
                    }
                    _ => None,
                };
                if present.as_deref() != Some(target) {
                    let (staged, ()) = self.under_fresh_name(|fresh| {
                        self.gate().symlink(target.as_os_str(), self.staging(), fresh)
                    })?;
                    let renamed =
                        self.gate().rename(self.staging(), &staged, dir.as_fd(), name, false);
                    if renamed.is_err() {
                        // What cannot be removed now is removed by `empty_staging`.
                        let _ = self.gate().unlink(self.staging(), &staged);
                    }
                    renamed?;
                }
                self.gate().sync_dir(dir.as_fd())?;
                let became = if present.is_some() { Became::LinkAgain } else { Became::Other };
                Ok(((), became))
            })
        })
    }

    /// Gives the file `from` the further name `to`. If `to` is the same file already, that is fine;
    /// anything else in its place is an error.
    pub fn link(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.make_last(from)?;
        self.make_parent_last(to)?;
        self.on(Verb::Link, to, || {
            let (from_dir, from_name) = self.open_parent(from)?;
            let (to_dir, to_name) = self.open_parent(to)?;
            let linked = self.gate().link(from_dir.as_fd(), from_name, to_dir.as_fd(), to_name);
            if !unless_there(linked)? {
                let from = read::stat(from_dir.as_fd(), from_name)?;
                if from.ino != read::stat(to_dir.as_fd(), to_name)?.ino {
                    return Err(Errno::EXIST.into());
                }
            }
            self.gate().sync_dir(to_dir.as_fd())
        })
    }

    /// Makes `to` a further name of the file `from`, by one rename over whatever file has it now: `false` if
    /// it is one already.
    ///
    /// Where the file system gives `from` no more names, `to` becomes a copy of it, unless `copy` says that
    /// what is there can stay: then that is `false` too.
    pub fn relink(
        &self,
        from: &Path,
        to: &Path,
        copy: impl FnOnce() -> bool,
    ) -> Result<bool, DiskError> {
        self.make_last(from)?;
        self.make_parent_last(to)?;
        self.settling(to, || {
            self.on(Verb::Link, to, || {
                let (from_dir, from_name) = self.open_parent(from)?;
                let (to_dir, to_name) = self.open_parent(to)?;
                let is = if_there(read::stat(to_dir.as_fd(), to_name))?.map(|stat| stat.ino);
                let is_to_change = is != Some(read::stat(from_dir.as_fd(), from_name)?.ino);
                if is_to_change {
                    let linked = self.under_fresh_name(|fresh| {
                        self.gate().link(from_dir.as_fd(), from_name, self.staging(), fresh)
                    });
                    let (staged, ()) = match linked {
                        Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => {
                            let to = (to_dir.as_fd(), to_name);
                            let copied =
                                copy() && self.copy_over((from_dir.as_fd(), from_name), to)?;
                            return Ok((copied, if copied { Became::Other } else { Became::Same }));
                        }
                        linked => linked?,
                    };
                    let renamed =
                        self.gate().rename(self.staging(), &staged, to_dir.as_fd(), to_name, false);
                    if renamed.is_err() {
                        // What cannot be removed now is removed by `empty_staging`.
                        let _ = self.gate().unlink(self.staging(), &staged);
                    }
                    renamed?;
                }
                self.gate().sync_dir(to_dir.as_fd())?;
                // Also if it was one already: an attempt before may not have come to this.
                Ok((is_to_change, Became::Other))
            })
        })
    }

    /// Removes a name that is not a directory. An absent one is fine, and stays absent over a power
    /// cut too.
    pub fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.settling(path, || {
            self.on(Verb::Remove, path, || {
                let Some((dir, name)) = if_there(self.open_parent(path))? else {
                    return Ok(((), Became::Other));
                };
                if_there(self.gate().unlink(dir.as_fd(), name))?;
                self.gate().sync_dir(dir.as_fd())?;
                Ok(((), Became::Other))
            })
        })
    }

    /// Changes the permission bits of a file or directory.
    pub fn set_mode(&self, path: &Path, mode: u32) -> Result<(), DiskError> {
        self.make_last(path)?;
        // The log would make it again with its old mode.
        self.settling(path, || {
            self.on(Verb::SetMode, path, || {
                let (dir, name) = self.open_parent(path)?;
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = retry_on_intr(|| fs::openat(&dir, name, flags, Mode::empty()))?;
                self.gate().chmod(file.as_fd(), mode)?;
                self.gate().sync_file(file.as_fd())?;
                Ok(((), Became::Other))
            })
        })
    }

    /// Waits for a lock on the file `path`, which is made if it is missing.
    pub fn lock(&self, path: &Path, mode: LockMode) -> Result<Lock, DiskError> {
        self.on(Verb::Lock, path, || {
            let file = self.lock_file(path)?;
            let how = match mode {
                LockMode::Exclusive => FlockOperation::LockExclusive,
                LockMode::Shared => FlockOperation::LockShared,
            };
            retry_on_intr(|| fs::flock(&file, how))?;
            Ok(Lock::held_by(file))
        })
    }

    /// Takes a lock on the file `path` if nobody is in the way; `None` if somebody is.
    pub fn try_lock(&self, path: &Path, mode: LockMode) -> Result<Option<Lock>, DiskError> {
        self.on(Verb::Lock, path, || {
            let file = self.lock_file(path)?;
            let how = match mode {
                LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
                LockMode::Shared => FlockOperation::NonBlockingLockShared,
            };
            match retry_on_intr(|| fs::flock(&file, how)) {
                Ok(()) => Ok(Some(Lock::held_by(file))),
                Err(Errno::WOULDBLOCK) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn lock_file(&self, path: &Path) -> io::Result<std::fs::File> {
        let (dir, name) = self.open_parent(path)?;
        loop {
            if let Some(file) = if_there(read::open_regular(dir.as_fd(), name))? {
                return Ok(file);
            }
            match self.gate().create(dir.as_fd(), name, 0o600) {
                // Another caller was quicker: its file is the one to lock.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
    }

    /// One level of `make_dir`: made aside, so that it appears with its mode whatever the umask is.
    fn make_level(&self, to: At<'_>, mode: u32, making: &mut Making) -> io::Result<OwnedFd> {
        let gate = self.gate();
        let (staged, ()) =
            self.under_fresh_name(|fresh| gate.mkdir(self.staging(), fresh, mode))?;
        let appear = || {
            let dir = open_child(self.staging(), &staged)?;
            if fs::fstat(&dir)?.st_mode & 0o777 != mode & 0o777 {
                gate.chmod(dir.as_fd(), mode)?;
                gate.sync_dir(dir.as_fd())?;
            }
            place::dir_if_free(gate, At { dir: self.staging(), name: &staged }, to)
        };
        let appeared = appear();
        if !matches!(appeared, Ok(true)) {
            // What cannot be removed now is removed by `empty_staging`.
            let _ = gate.rmdir(self.staging(), &staged);
        }
        appeared?;
        making.sync_name(to.dir, gate)?;
        open_child(to.dir, to.name)
    }
}

/// The name of a resumable staged file: one plain component that does not start with a dot.
pub(crate) fn staging_name(name: &str) -> Result<&OsStr, Refused> {
    match plain_names(Path::new(name)).as_deref() {
        Ok([only]) if !name.starts_with('.') && *only == name => Ok(*only),
        _ => Err(Refused::NotAName),
    }
}
