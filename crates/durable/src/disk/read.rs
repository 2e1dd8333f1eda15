//! The questions: reading, listing, facts, space. Nothing here changes the disk, no link is
//! followed, and an absent thing is an answer, not an error.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::{DirEntry, Disk, Kind, Space, Stat};
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::if_there;

impl Disk {
    /// The content of a file; `None` if it is absent. A file of more than `limit` bytes is an error
    /// ([`Refused::TooLarge`]), and no more than that is ever held in memory.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        let Some((file, size)) = self.open_unnoted(path)? else { return Ok(None) };
        self.on(Verb::Read, path, || {
            // Room for all of it, and for seeing its end: each try costs a system call.
            let room = size.min(limit).saturating_add(1);
            let mut content = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
            file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
            if content.len() as u64 > limit {
                return Err(Refused::TooLarge { limit }.into());
            }
            Ok(Some(content))
        })
    }

    /// [`Disk::open_file`] with its size, and without a note of when it was read: for a thousand small files
    /// that is a thousand writes. Only the owner of a file may ask for that.
    fn open_unnoted(&self, path: &Path) -> Result<Option<(File, u64)>, DiskError> {
        let open = |flags| if_there(self.inner.root.open(path, flags).and_then(regular));
        self.on(Verb::Read, path, || match open(REGULAR | OFlags::NOATIME) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(REGULAR),
            opened => opened,
        })
    }

    /// A file, open for reading; `None` if it is absent. Anything but a regular file is an error.
    pub fn open_file(&self, path: &Path) -> Result<Option<File>, DiskError> {
        self.on(Verb::Read, path, || {
            let opened = self.inner.root.open(path, REGULAR).and_then(regular);
            Ok(if_there(opened)?.map(|(file, _)| file))
        })
    }

    /// What a symbolic link says; `None` if it is absent.
    pub fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, DiskError> {
        self.on(Verb::Read, path, || {
            let Some((dir, name)) = if_there(self.open_parent(path))? else { return Ok(None) };
            if_there(link_target(dir.as_fd(), name))
        })
    }

    /// The names in a directory, sorted by their bytes. An absent directory has none; the empty path
    /// is the root.
    pub fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        self.on(Verb::Read, path, || {
            let Some(dir) = if_there(self.inner.root.open_dir(path))? else { return Ok(vec![]) };
            entries(dir.as_fd())
        })
    }

    /// The names in a directory that `wanted` says yes to, in no order, and of those the first `most`: for
    /// a directory that somebody else may fill, so that memory stays bounded.
    pub fn list_where(
        &self,
        path: &Path,
        most: usize,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<Vec<std::ffi::OsString>, DiskError> {
        self.on(Verb::Read, path, || {
            let Some(dir) = if_there(self.inner.root.open_dir(path))? else { return Ok(vec![]) };
            let mut names = Vec::new();
            for entry in Dir::read_from(dir)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if names.len() < most && wanted(name) {
                    names.push(name.to_owned());
                }
            }
            Ok(names)
        })
    }

    /// The facts about a file, directory or link (of the link itself); `None` if it is absent.
    pub fn metadata(&self, path: &Path) -> Result<Option<Stat>, DiskError> {
        self.on(Verb::Read, path, || {
            let Some((dir, name)) = if_there(self.open_parent(path))? else { return Ok(None) };
            if_there(stat(dir.as_fd(), name))
        })
    }

    /// What is left on the file system of this tree.
    pub fn space(&self) -> Result<Space, DiskError> {
        self.on(Verb::MeasureSpace, Path::new(""), || {
            let facts = fs::fstatvfs(self.inner.root.handle())?;
            Ok(Space {
                total_bytes: facts.f_blocks.saturating_mul(facts.f_frsize),
                free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize),
                free_inodes: if facts.f_files == 0 { u64::MAX } else { facts.f_favail },
            })
        })
    }
}

/// Opens a regular file for reading, and never waits for a pipe's other end.
pub(crate) fn open_regular(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<File> {
    let opened = retry_on_intr(|| fs::openat(dir, name, REGULAR, Mode::empty()))?;
    regular(opened).map(|(file, _)| file)
}

/// A regular file with its size in bytes; anything else is refused.
fn regular(file: OwnedFd) -> io::Result<(File, u64)> {
    let facts = fs::fstat(&file)?;
    match kind(FileType::from_raw_mode(facts.st_mode)) {
        Kind::File => Ok((File::from(file), u64::try_from(facts.st_size).unwrap_or(0))),
        _ => Err(Refused::NotAFile.into()),
    }
}

/// How a file is opened for reading: what is none must neither be waited for nor followed.
const REGULAR: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

pub(crate) fn link_target(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<PathBuf> {
    let target = fs::readlinkat(dir, name, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}

pub(crate) fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems keep the kind only in the inode; the name may be gone by now.
            FileType::Unknown => match if_there(stat(dir, name))? {
                Some(stat) => stat.kind,
                None => continue,
            },
            known => kind(known),
        };
        entries.push(DirEntry { name: name.to_owned(), kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

#[allow(clippy::useless_conversion, reason = "`st_nlink` has 32 bits on some machines")]
pub(crate) fn stat(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Stat> {
    let raw = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Stat {
        kind: kind(FileType::from_raw_mode(raw.st_mode)),
        size: u64::try_from(raw.st_size).unwrap_or(0),
        mode: raw.st_mode & 0o7777,
        ino: raw.st_ino,
        nlink: u64::from(raw.st_nlink),
        allocated: u64::try_from(raw.st_blocks).unwrap_or(0).saturating_mul(512),
        modified: system_time(raw.st_mtime, raw.st_mtime_nsec),
    })
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// Saturates at the epoch where a file system reports a time that `SystemTime` cannot hold.
fn system_time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start =
        if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    start
        .and_then(|start| start.checked_add(Duration::from_nanos(nanoseconds)))
        .unwrap_or(UNIX_EPOCH)
}
