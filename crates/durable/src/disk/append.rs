//! Files that somebody else appends to: the output of programs. The only file that this crate hands
//! out open for writing, because the writer is another process; nothing about its content is
//! promised after a power cut.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags};

use super::Disk;
use crate::error::{DiskError, Refused, Verb};

impl Disk {
    /// A file, made with this mode if it is absent, open for appending (`O_APPEND`): every write of
    /// every process goes to its end, whole. A link, or anything but a regular file, is an error, so
    /// what a program puts in the way cannot send output elsewhere.
    pub fn append_file(&self, path: &Path, mode: u32) -> Result<File, DiskError> {
        self.on(Verb::Stage, path, || {
            let (dir, name) = self.open_parent(path)?;
            match self.gate().create(dir.as_fd(), name, mode) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error);
                }
                _ => {}
            }
            let flags = OFlags::WRONLY
                | OFlags::APPEND
                | OFlags::NOFOLLOW
                | OFlags::NONBLOCK
                | OFlags::CLOEXEC;
            let file = fs::openat(dir.as_fd(), name, flags, Mode::empty())?;
            if !FileType::from_raw_mode(fs::fstat(&file)?.st_mode).is_file() {
                return Err(Refused::NotAFile.into());
            }
            // A program that inherits it expects ordinary, blocking writes.
            fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(File::from(file))
        })
    }
}
