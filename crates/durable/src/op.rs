//! The alphabet of changes: every system call that changes the disk is one of these.
//!
//! It exists in every build so that the gate reads the same with and without `faults`; without the
//! feature no value of it is ever made.
#![cfg_attr(
    not(feature = "faults"),
    allow(dead_code, unreachable_pub, reason = "only the recorder reads it")
)]

use std::ffi::OsString;

/// An inode number, as the system gave it. Numbers are used again after a file is gone, so that one
/// is only meaningful at its place in the log.
pub type Ino = u64;

/// One change, with all that is needed to replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `mkdirat`: `made` appears in `dir`.
    Mkdir {
        /// The directory that got the name.
        dir: Ino,
        /// The name.
        name: OsString,
        /// The new directory.
        made: Ino,
        /// Its mode, after the umask.
        mode: u32,
    },
    /// `openat` with `O_CREAT`: an empty file appears.
    Create {
        /// The directory that got the name.
        dir: Ino,
        /// The name.
        name: OsString,
        /// The new file.
        made: Ino,
        /// Its mode, after the umask.
        mode: u32,
    },
    /// `symlinkat`.
    Symlink {
        /// The directory that got the name.
        dir: Ino,
        /// The name.
        name: OsString,
        /// The new link.
        made: Ino,
        /// What it says.
        target: OsString,
    },
    /// `linkat`: another name for `file`.
    Link {
        /// The file.
        file: Ino,
        /// The directory that got the name.
        dir: Ino,
        /// The name.
        name: OsString,
    },
    /// `renameat2`.
    Rename {
        /// The directory that lost the name.
        from_dir: Ino,
        /// The name it had there.
        from: OsString,
        /// The directory that got the name.
        to_dir: Ino,
        /// The name it has now.
        to: OsString,
        /// Whether an existing name would have been an error.
        noreplace: bool,
    },
    /// `unlinkat`.
    Unlink {
        /// The directory that lost the name.
        dir: Ino,
        /// The name.
        name: OsString,
    },
    /// `unlinkat` of a directory.
    Rmdir {
        /// The directory that lost the name.
        dir: Ino,
        /// The name.
        name: OsString,
    },
    /// `pwrite`, all of it; or `ioctl_ficlone`, which brings as much.
    Write {
        /// The file.
        file: Ino,
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// `ftruncate`.
    SetLen {
        /// The file.
        file: Ino,
        /// The new length in bytes.
        len: u64,
    },
    /// `fallocate(PUNCH_HOLE)` from the beginning on: the bytes read as zeros, all others stay where they are.
    PunchHead {
        /// The file.
        file: Ino,
        /// How many bytes.
        len: u64,
    },
    /// `fallocate(COLLAPSE_RANGE)` from the beginning on: the bytes are gone, all others move up.
    CollapseHead {
        /// The file.
        file: Ino,
        /// How many bytes.
        len: u64,
    },
    /// `fchmod`.
    Chmod {
        /// The file or directory.
        file: Ino,
        /// The new mode.
        mode: u32,
    },
    /// `futimens` or `utimensat`. The model of power cuts does not follow times.
    Times {
        /// The file, directory or link.
        file: Ino,
    },
    /// `fdatasync`: content and length.
    SyncData {
        /// The file.
        file: Ino,
    },
    /// `fsync` of a file: content, length and mode.
    SyncFile {
        /// The file.
        file: Ino,
    },
    /// `fsync` of a directory: its names and its mode.
    SyncDir {
        /// The directory.
        dir: Ino,
    },
    /// `syncfs`: everything.
    SyncFs,
}

impl Op {
    /// Whether it forces something to the disk, and changes nothing that a reader sees.
    pub fn is_sync(&self) -> bool {
        matches!(self, Op::SyncData { .. } | Op::SyncFile { .. } | Op::SyncDir { .. } | Op::SyncFs)
    }
}
