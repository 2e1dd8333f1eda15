//! Moving something to a name that nothing else has, also on file systems that cannot look and move
//! in one step (`RENAME_NOREPLACE` answers `EINVAL` on NFS, among others).

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{self, AtFlags};

use crate::gate::Gate;
use crate::resolve::{if_there, unless_there};

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
}

impl At<'_> {
    /// Whether something has this name; a link is not followed.
    pub(crate) fn is_taken(self) -> io::Result<bool> {
        let facts = fs::statat(self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(if_there(facts.map_err(io::Error::from))?.is_some())
    }
}

/// Moves a file; `false` if the name is taken. Without `RENAME_NOREPLACE` the file gets its second
/// name first, which fails if it is taken, and loses the old one after.
pub(crate) fn file_if_free(gate: &Gate, from: At<'_>, to: At<'_>) -> io::Result<bool> {
    match gate.rename(from.dir, from.name, to.dir, to.name, true) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let linked = unless_there(gate.link(from.dir, from.name, to.dir, to.name))?;
            if linked {
                gate.unlink(from.dir, from.name)?;
            }
            Ok(linked)
        }
        done => unless_there(done),
    }
}

/// Moves a directory; `false` if the name is taken. Without `RENAME_NOREPLACE` it is looked first; one
/// that appears in between is replaced only if it is an empty directory.
pub(crate) fn dir_if_free(gate: &Gate, from: At<'_>, to: At<'_>) -> io::Result<bool> {
    match gate.rename(from.dir, from.name, to.dir, to.name, true) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            if to.is_taken()? {
                return Ok(false);
            }
            match gate.rename(from.dir, from.name, to.dir, to.name, false) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
                done => unless_there(done),
            }
        }
        done => unless_there(done),
    }
}
