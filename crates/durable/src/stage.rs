//! A file built aside in `staging/`, and the one way from there to its name.
//!
//! The order is the promise: content, length and mode are synced, then the name moves by one rename,
//! then the directory that got the name is synced. `staging/` itself is not: after a power cut the
//! file may still have its old name beside the new one. For an unnamed file that is what
//! [`Disk::empty_staging`] is for; for a resumable one [`Disk::resume_file`] notices the second name
//! and starts anew, instead of writing into what was published.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::disk::{Disk, Making, staging_name};
use crate::error::{DiskError, Refused, Verb};
use crate::place::{self, At};
use crate::redo::Became;
use crate::resolve::if_there;

/// A file in `staging/`. [`Write`] appends; every call is one system call, so hand over large pieces
/// or put a `BufWriter` in front.
///
/// Dropped unpublished, an unnamed file is removed and a resumable one is kept; unless a sync of it
/// failed. Then the kernel may have dropped bytes that it goes on showing, and a second sync would
/// succeed without them: such a file is removed too.
#[derive(Debug)]
pub struct StagedFile {
    disk: Disk,
    name: OsString,
    file: File,
    len: AtomicU64,
    at_end: AtEnd,
    /// A sync failed: what can be read here is not what is on the disk.
    spoiled: AtomicBool,
}

/// What happens to the staged name when the value goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Remove,
    Keep,
    /// It has been published or removed already.
    Gone,
}

/// Whether a resumable file could be taken for oneself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    Yes,
    HeldByAnother,
    /// The one who held it has published or discarded it meanwhile.
    NameLost,
}

/// What to do if the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// Leave what is there and drop what was staged.
    Keep,
    /// Put the staged one in its place.
    Replace,
    /// An error of kind [`io::ErrorKind::AlreadyExists`].
    Fail,
}

/// How a publication ended. Either answer lasts over a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// What was staged has the name now.
    New,
    /// Something had the name already, and was left alone.
    Kept,
}

/// Reads a staged file from its start; see [`StagedFile::reader`].
#[derive(Debug)]
pub struct StagedReader<'a> {
    file: &'a File,
    position: u64,
}

impl Disk {
    /// A new, empty, unnamed file in `staging/`, mode 0600 until it is published.
    pub fn stage_file(&self) -> Result<StagedFile, DiskError> {
        self.on(Verb::Stage, &self.staged_path(OsStr::new("")), || self.new_staged_file())
    }

    /// The file `staging/<name>`, opened where it was left, or a new one. `name` is one plain
    /// component that does not start with a dot; it is the caller's to know that nobody else has the
    /// file open.
    ///
    /// What [`StagedFile::sync_data`] returned `Ok` for is there after a power cut. Later writes may
    /// be there, in part, or as zeros: check them before relying on them.
    pub fn resume_file(&self, name: &str) -> Result<StagedFile, DiskError> {
        let path = self.staged_path(OsStr::new(name));
        self.on(Verb::Stage, &path, || self.resume_staged(staging_name(name)?))
    }

    pub(crate) fn resume_staged(&self, name: &OsStr) -> io::Result<StagedFile> {
        let (file, len) = self.making(|making| self.open_resumable(name, making))?;
        Ok(self.staged(name.to_owned(), file, len, AtEnd::Keep))
    }

    pub(crate) fn stage_bytes(&self, bytes: &[u8]) -> io::Result<StagedFile> {
        let staged = self.new_staged_file()?;
        self.gate().write_at(&staged.file, 0, bytes)?;
        Ok(staged)
    }

    /// A staged file as it shall be published, with its mode; not synced.
    pub(crate) fn stage_whole(&self, bytes: &[u8], mode: u32) -> io::Result<StagedFile> {
        let staged = self.stage_bytes(bytes)?;
        self.gate().chmod(staged.file.as_fd(), mode)?;
        Ok(staged)
    }

    fn new_staged_file(&self) -> io::Result<StagedFile> {
        let (name, file) =
            self.under_fresh_name(|name| self.gate().create(self.staging(), name, 0o600))?;
        Ok(self.staged(name, file, 0, AtEnd::Remove))
    }

    fn open_resumable(&self, name: &OsStr, making: &mut Making) -> io::Result<(File, u64)> {
        let open = |access| {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | access;
            retry_on_intr(|| fs::openat(self.staging(), name, flags, Mode::empty()))
                .map_err(io::Error::from)
        };
        if let Some(there) = if_there(open(OFlags::RDONLY))? {
            let facts = fs::fstat(&there)?;
            if !fs::FileType::from_raw_mode(facts.st_mode).is_file() {
                return Err(Refused::NotAFile.into());
            }
            if facts.st_nlink == 1 {
                if facts.st_mode & 0o777 != 0o600 {
                    // A publication was cut short between the mode and the name.
                    self.gate().chmod(there.as_fd(), 0o600)?;
                }
                let file = File::from(open(OFlags::RDWR)?);
                return Ok((file, u64::try_from(facts.st_size).unwrap_or(0)));
            }
            // It was published under another name, in a moment that a crash cut short.
            self.gate().unlink(self.staging(), name)?;
        }
        let file = self.gate().create(self.staging(), name, 0o600)?;
        making.sync_name(self.staging(), self.gate())?;
        Ok((file, 0))
    }

    fn staged(&self, name: OsString, file: File, len: u64, at_end: AtEnd) -> StagedFile {
        let len = AtomicU64::new(len);
        StagedFile { disk: self.clone(), name, file, len, at_end, spoiled: AtomicBool::new(false) }
    }
}

impl StagedFile {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all of `data` at the end. What [`Write`] does, with an error that names the path.
    pub fn append(&mut self, data: &[u8]) -> Result<(), DiskError> {
        self.write_at(self.len(), data)
    }

    /// Writes all of `data` at `offset`, beyond the end too; what is skipped reads as zeros. Several
    /// threads may do so at a time, each in its own range.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.run(Verb::Stage, || self.write_piece(offset, data))
    }

    /// Reads what has been written; 0 at the end.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.run(Verb::Read, || self.file.read_at(into, offset))
    }

    /// Reads what has been written, from the start. It does not move where the next write goes.
    pub fn reader(&self) -> StagedReader<'_> {
        StagedReader { file: &self.file, position: 0 }
    }

    /// Sets the length; new bytes are zeros. Writing goes on at the new end.
    pub fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.run(Verb::Stage, || {
            self.disk.gate().set_len(&self.file, len)?;
            self.len.store(len, Ordering::Release);
            Ok(())
        })
    }

    /// Cuts the file off after `len` bytes; a shorter one stays as it is.
    pub fn truncate(&self, len: u64) -> Result<(), DiskError> {
        if self.len() > len { self.set_len(len) } else { Ok(()) }
    }

    /// Forces what has been written so far to the disk.
    pub fn sync_data(&self) -> Result<(), DiskError> {
        self.run(Verb::Sync, || self.whole_or_spoiled(self.disk.gate().sync_data(&self.file)))
    }

    /// Puts the file under `to`, whose directory must exist: whole, synced, with this mode. On an
    /// error a resumable file is still in `staging/`, unless the error was that of its sync.
    pub fn publish(self, to: &Path, mode: u32, then: IfExists) -> Result<Published, DiskError> {
        let disk = self.disk.clone();
        disk.make_parent_last(to)?;
        disk.settling(to, || {
            let published = disk.on(Verb::Publish, to, || self.publish_to(to, mode, then))?;
            let is_new = published == Published::New;
            Ok((published, if is_new { Became::Other } else { Became::Same }))
        })
    }

    /// Removes the file, a resumable one too. That it is gone is not synced.
    pub fn discard(mut self) -> Result<(), DiskError> {
        self.at_end = AtEnd::Gone;
        self.run(Verb::Discard, || {
            if_there(self.disk.gate().unlink(self.disk.staging(), &self.name)).map(drop)
        })
    }

    /// Locks the file for as long as this value lives, unless another one does.
    pub(crate) fn lock_alone(&self) -> io::Result<Alone> {
        match retry_on_intr(|| fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Alone::HeldByAnother),
            Err(error) => return Err(error.into()),
        }
        let named = fs::statat(self.disk.staging(), &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let mine = fs::fstat(&self.file)?;
        match if_there(named.map_err(io::Error::from))? {
            Some(named) if (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino) => {
                Ok(Alone::Yes)
            }
            _ => Ok(Alone::NameLost),
        }
    }

    pub(crate) fn publish_to(
        mut self,
        to: &Path,
        mode: u32,
        then: IfExists,
    ) -> io::Result<Published> {
        let (dir, name) = self.disk.open_parent(to)?;
        let to = At { dir: dir.as_fd(), name };
        let from = At { dir: self.disk.staging(), name: &self.name };
        let gate = self.disk.gate();
        let moved = if then != IfExists::Replace && to.is_taken()? {
            false
        } else {
            gate.chmod(self.file.as_fd(), mode)?;
            self.whole_or_spoiled(gate.sync_file(self.file.as_fd()))?;
            if then == IfExists::Replace {
                gate.rename(from.dir, from.name, to.dir, to.name, false)?;
                true
            } else {
                place::file_if_free(gate, from, to)?
            }
        };
        if !moved && then == IfExists::Fail {
            return Err(Errno::EXIST.into());
        }
        self.at_end = if moved { AtEnd::Gone } else { AtEnd::Remove };
        // Also when it was there: whoever put it there may not have come to its own sync.
        self.disk.gate().sync_dir(dir.as_fd())?;
        Ok(if moved { Published::New } else { Published::Kept })
    }

    /// Another handle of the file.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(crate) fn publish_unsynced(self, to: &Path, mode: u32) -> io::Result<()> {
        self.disk.gate().chmod(self.file.as_fd(), mode)?;
        self.rename_to(to)
    }

    /// Moves it over whatever file is there; both syncs are the caller's.
    pub(crate) fn rename_to(mut self, to: &Path) -> io::Result<()> {
        let (dir, name) = self.disk.open_parent(to)?;
        self.disk.gate().rename(self.disk.staging(), &self.name, dir.as_fd(), name, false)?;
        self.at_end = AtEnd::Gone;
        Ok(())
    }

    fn write_piece(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.gate().write_at(&self.file, offset, data)?;
        self.len.fetch_max(offset.saturating_add(data.len() as u64), Ordering::AcqRel);
        Ok(())
    }

    /// Passes on the outcome of a sync. After a failed one this file is never published: not by a
    /// later attempt either, to which the kernel would not report the failure again.
    fn whole_or_spoiled(&self, synced: io::Result<()>) -> io::Result<()> {
        if self.spoiled.load(Ordering::Acquire) {
            return Err(Refused::Spoiled.into());
        }
        synced.inspect_err(|_| self.spoiled.store(true, Ordering::Release))
    }

    fn run<T>(&self, verb: Verb, work: impl FnOnce() -> io::Result<T>) -> Result<T, DiskError> {
        self.disk.on(verb, &self.disk.staged_path(&self.name), work)
    }
}

impl Write for StagedFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_piece(self.len(), data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let spoiled = self.spoiled.load(Ordering::Acquire);
        if self.at_end == AtEnd::Remove || (self.at_end == AtEnd::Keep && spoiled) {
            // What cannot be removed now is removed by `empty_staging`.
            let _ = self.disk.gate().unlink(self.disk.staging(), &self.name);
        }
    }
}

impl Read for StagedReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
