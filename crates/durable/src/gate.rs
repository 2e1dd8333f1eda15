//! The one gate that every change of the disk passes: a thin skin over the system calls.
//!
//! Nothing else in this crate calls the system in order to change something. With the feature
//! `faults` the gate may carry a recorder, which sees each change before it happens and after;
//! without it a gate has no size and adds no instruction.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    self, AtFlags, FallocateFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT,
};

use rustix::io::retry_on_intr;

use crate::op::{Ino, Op};

/// Where changes pass. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    #[cfg(feature = "faults")]
    pub(crate) recorder: Option<crate::faults::Recorder>,
}

impl Gate {
    /// Makes a directory.
    pub(crate) fn mkdir(&self, dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
        self.change(
            || Ok(fs::mkdirat(dir, name, mode_of(mode))?),
            |()| {
                let made = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(Op::Mkdir {
                    dir: ino(dir)?,
                    name: name.into(),
                    made: made.st_ino,
                    mode: made.st_mode & 0o7777,
                })
            },
        )
    }

    /// Makes an empty file, open for reading and writing; what is there already is an error.
    pub(crate) fn create(&self, dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.change(
            || Ok(File::from(fs::openat(dir, name, flags, mode_of(mode))?)),
            |file| {
                let made = fs::fstat(file)?;
                Ok(Op::Create {
                    dir: ino(dir)?,
                    name: name.into(),
                    made: made.st_ino,
                    mode: made.st_mode & 0o7777,
                })
            },
        )
    }

    /// Makes a symbolic link.
    pub(crate) fn symlink(
        &self,
        target: &OsStr,
        dir: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<()> {
        self.change(
            || Ok(fs::symlinkat(target, dir, name)?),
            |()| {
                let made = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
                Ok(Op::Symlink { dir: ino(dir)?, name: name.into(), made, target: target.into() })
            },
        )
    }

    /// Gives a file another name. A link is not followed.
    pub(crate) fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &OsStr,
        to_dir: BorrowedFd<'_>,
        to: &OsStr,
    ) -> io::Result<()> {
        self.change(
            || Ok(fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())?),
            |()| {
                let file = fs::statat(to_dir, to, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
                Ok(Op::Link { file, dir: ino(to_dir)?, name: to.into() })
            },
        )
    }

    /// Moves a name; with `noreplace`, a name that is there already is an error.
    pub(crate) fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &OsStr,
        to_dir: BorrowedFd<'_>,
        to: &OsStr,
        noreplace: bool,
    ) -> io::Result<()> {
        self.change(
            || {
                if noreplace {
                    fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE)?;
                } else {
                    fs::renameat(from_dir, from, to_dir, to)?;
                }
                Ok(())
            },
            |()| {
                Ok(Op::Rename {
                    from_dir: ino(from_dir)?,
                    from: from.into(),
                    to_dir: ino(to_dir)?,
                    to: to.into(),
                    noreplace,
                })
            },
        )
    }

    /// Removes a name that is not a directory.
    pub(crate) fn unlink(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.change(
            || Ok(fs::unlinkat(dir, name, AtFlags::empty())?),
            |()| Ok(Op::Unlink { dir: ino(dir)?, name: name.into() }),
        )
    }

    /// Removes an empty directory.
    pub(crate) fn rmdir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.change(
            || Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?),
            |()| Ok(Op::Rmdir { dir: ino(dir)?, name: name.into() }),
        )
    }

    /// Writes all of `data` at `offset`.
    pub(crate) fn write_at(&self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(
            || file.write_all_at(data, offset),
            |()| Ok(Op::Write { file: ino(file.as_fd())?, offset, data: data.to_vec() }),
        )
    }

    /// Gives an empty file all content of another one, without copying it: ioctl_ficlone(2). For a
    /// power cut it is like any write.
    pub(crate) fn share_content(&self, file: &File, original: &File) -> io::Result<()> {
        self.change(
            || Ok(fs::ioctl_ficlone(file, original)?),
            |()| {
                let mut data = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
                file.read_exact_at(&mut data, 0)?;
                Ok(Op::Write { file: ino(file.as_fd())?, offset: 0, data })
            },
        )
    }

    /// Cuts a file, or lengthens it with zeros.
    pub(crate) fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.change(|| file.set_len(len), |()| Ok(Op::SetLen { file: ino(file.as_fd())?, len }))
    }

    /// Gives back the blocks of the first `len` bytes, which read as zeros from then on.
    pub(crate) fn punch_head(&self, file: &File, len: u64) -> io::Result<()> {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.change(
            || Ok(retry_on_intr(|| fs::fallocate(file, how, 0, len))?),
            |()| Ok(Op::PunchHead { file: ino(file.as_fd())?, len }),
        )
    }

    /// Takes the first `len` bytes, whole blocks, out of a file; what follows moves up.
    pub(crate) fn collapse_head(&self, file: &File, len: u64) -> io::Result<()> {
        // Not repeated after a signal: nobody knows how far it came. The kernel does it or not.
        let how = FallocateFlags::COLLAPSE_RANGE;
        self.change(
            || Ok(fs::fallocate(file, how, 0, len)?),
            |()| Ok(Op::CollapseHead { file: ino(file.as_fd())?, len }),
        )
    }

    /// Sets the permission bits.
    pub(crate) fn chmod(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        self.change(
            || Ok(fs::fchmod(file, mode_of(mode))?),
            |()| Ok(Op::Chmod { file: ino(file)?, mode: mode & 0o777 }),
        )
    }

    /// Sets the permission bits of what a handle without rights holds.
    pub(crate) fn chmod_held(&self, held: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        // fchmod refuses such a handle; its name in /proc leads to the very file, whatever happens to names.
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        self.change(
            || Ok(fs::chmod(path.as_str(), mode_of(mode))?),
            |()| Ok(Op::Chmod { file: ino(held)?, mode: mode & 0o777 }),
        )
    }

    /// Sets the time of the last change of content.
    pub(crate) fn times(&self, file: BorrowedFd<'_>, modified: SystemTime) -> io::Result<()> {
        self.change(
            || Ok(fs::futimens(file, &timestamps(modified))?),
            |()| Ok(Op::Times { file: ino(file)? }),
        )
    }

    /// Sets the time of the last change of a symbolic link.
    pub(crate) fn link_times(
        &self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        modified: SystemTime,
    ) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        self.change(
            || Ok(fs::utimensat(dir, name, &timestamps(modified), flags)?),
            |()| Ok(Op::Times { file: fs::statat(dir, name, flags)?.st_ino }),
        )
    }

    /// Forces content and length of a file to the disk.
    pub(crate) fn sync_data(&self, file: &File) -> io::Result<()> {
        self.sync(|| Ok(fs::fdatasync(file)?), || Ok(Op::SyncData { file: ino(file.as_fd())? }))
    }

    /// Forces content, length and mode of a file to the disk.
    pub(crate) fn sync_file(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.sync(|| Ok(fs::fsync(file)?), || Ok(Op::SyncFile { file: ino(file)? }))
    }

    /// Forces the names in a directory to the disk.
    pub(crate) fn sync_dir(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.sync(|| Ok(fs::fsync(dir)?), || Ok(Op::SyncDir { dir: ino(dir)? }))
    }

    /// Forces everything on this file system to the disk. Since Linux 5.8 it reports data that
    /// could not be written.
    pub(crate) fn sync_fs(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.sync(|| Ok(fs::syncfs(dir)?), || Ok(Op::SyncFs))
    }

    #[cfg(not(feature = "faults"))]
    #[inline]
    fn change<T>(
        &self,
        call: impl FnOnce() -> io::Result<T>,
        _describe: impl FnOnce(&T) -> io::Result<Op>,
    ) -> io::Result<T> {
        call()
    }

    #[cfg(not(feature = "faults"))]
    #[inline]
    fn sync(
        &self,
        call: impl FnOnce() -> io::Result<()>,
        _describe: impl FnOnce() -> io::Result<Op>,
    ) -> io::Result<()> {
        call()
    }

    #[cfg(feature = "faults")]
    fn change<T>(
        &self,
        call: impl FnOnce() -> io::Result<T>,
        describe: impl FnOnce(&T) -> io::Result<Op>,
    ) -> io::Result<T> {
        match &self.recorder {
            None => call(),
            Some(recorder) => recorder.change(call, describe),
        }
    }

    #[cfg(feature = "faults")]
    fn sync(
        &self,
        call: impl FnOnce() -> io::Result<()>,
        describe: impl FnOnce() -> io::Result<Op>,
    ) -> io::Result<()> {
        match &self.recorder {
            None => call(),
            Some(recorder) => recorder.sync(call, describe),
        }
    }
}

/// Only permission bits: nothing that comes through this crate becomes set-user-id.
fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o777)
}

fn ino(file: BorrowedFd<'_>) -> io::Result<Ino> {
    Ok(fs::fstat(file)?.st_ino)
}

fn timestamps(modified: SystemTime) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: timespec(modified),
    }
}

/// Seconds since 1970, rounded down, and the nanoseconds after them: also before 1970.
fn timespec(time: SystemTime) -> Timespec {
    let seconds = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            Timespec { tv_sec: seconds(after.as_secs()), tv_nsec: after.subsec_nanos().into() }
        }
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => Timespec { tv_sec: -seconds(before.as_secs()), tv_nsec: 0 },
                nanos => Timespec {
                    tv_sec: -seconds(before.as_secs()) - 1,
                    tv_nsec: (1_000_000_000 - nanos).into(),
                },
            }
        }
    }
}
