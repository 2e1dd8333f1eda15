//! One file of a tree that is being written: made, filled and finished by one thread.
//!
//! A crash leaves a file without its content, mode or time; the tree that it lies in has no name yet.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs;

use crate::error::{DiskError, Verb};
use crate::gate::Gate;

/// A file that is about to be made in a directory that is there.
#[derive(Debug)]
pub struct NewFile {
    pub(super) gate: Gate,
    pub(super) dir: Arc<OwnedFd>,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) modified: Option<SystemTime>,
}

/// A file that is being written into a tree. [`TreeFile::close`] finishes it; one that is dropped keeps
/// what was written, without its time.
#[derive(Debug)]
pub struct TreeFile {
    file: File,
    gate: Gate,
    path: PathBuf,
    len: u64,
    mode: u32,
    modified: Option<SystemTime>,
}

impl NewFile {
    /// Makes it. A name that is taken is an error of kind [`io::ErrorKind::AlreadyExists`].
    pub fn create(self) -> Result<TreeFile, DiskError> {
        let NewFile { gate, dir, name, path, mode, modified } = self;
        match gate.create(dir.as_fd(), &name, mode) {
            Ok(file) => Ok(TreeFile { file, gate, path, len: 0, mode, modified }),
            Err(error) => Err(DiskError::new(Verb::Stage, &path, error)),
        }
    }
}

impl TreeFile {
    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes all of `data` at the end. What [`Write`] does, with an error that names the path.
    pub fn append(&mut self, data: &[u8]) -> Result<(), DiskError> {
        self.write_all(data).map_err(|error| self.failed(error))
    }

    /// Writes all of `data` at `offset`; what is skipped is a hole, which reads as zeros.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.gate.write_at(&self.file, offset, data).map_err(|error| self.failed(error))?;
        self.len = self.len.max(offset.saturating_add(data.len() as u64));
        Ok(())
    }

    /// Makes it this long; what is new is a hole.
    pub fn set_len(&mut self, len: u64) -> Result<(), DiskError> {
        self.gate.set_len(&self.file, len).map_err(|error| self.failed(error))?;
        self.len = len;
        Ok(())
    }

    /// Finishes the file: its mode and its time. Errors that the system reports late are reported by
    /// the sync of whoever publishes the tree.
    pub fn close(self) -> Result<(), DiskError> {
        let finish = || {
            // Whatever the umask made of it.
            if fs::fstat(&self.file)?.st_mode & 0o777 != self.mode {
                self.gate.chmod(self.file.as_fd(), self.mode)?;
            }
            self.modified.map_or(Ok(()), |time| self.gate.times(self.file.as_fd(), time))
        };
        finish().map_err(|error| self.failed(error))
    }

    /// Takes all content of another file, which both have from now on until one of them changes it.
    pub(super) fn share_content_of(&mut self, original: &File) -> io::Result<()> {
        self.gate.share_content(&self.file, original)?;
        self.len = original.metadata()?.len();
        Ok(())
    }

    pub(super) fn failed(&self, error: io::Error) -> DiskError {
        DiskError::new(Verb::Stage, &self.path, error)
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
