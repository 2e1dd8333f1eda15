//! Further names of one file of a tree.
//!
//! A file system bounds how many names a file may have (ext4: 65,000). At that bound the next name gets a
//! copy, and the names after it are names of the copy: what is read under each is the same, and it takes
//! the room of one more file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Tree, copy};
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::{open_child, plain_names};

/// Files that have all names that they may have, and the copy that takes further ones.
#[derive(Debug, Default)]
pub(super) struct Twins(HashMap<PathBuf, PathBuf>);

impl Twins {
    /// What is called `path` becomes something else.
    pub(super) fn forget(&mut self, path: &Path) {
        // There is one for each 65,000 names.
        self.0.retain(|original, twin| original != path && twin != path);
    }
}

impl Tree {
    /// Gives the entry `original` of this tree, a file or a symbolic link, the further name `path`; at the
    /// bound of the file system, a copy of it.
    pub fn hard_link(
        &mut self,
        original: &Path,
        path: &Path,
        replaces: bool,
    ) -> Result<(), DiskError> {
        let from = self.twins.0.get(original).cloned().unwrap_or_else(|| original.to_owned());
        let failed = |error| DiskError::new(Verb::Stage, &self.path.join(path), error);
        let names = plain_names(&from).map_err(|refused| failed(refused.into()))?;
        let (from_name, way) =
            names.split_last().ok_or_else(|| failed(Refused::NotBeneath.into()))?;
        let mut dir = self.top.clone();
        for name in way {
            dir = Arc::new(open_child(dir.as_fd(), name).map_err(failed)?);
        }
        match self.link_into(dir.as_fd(), from_name, path, replaces) {
            Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => {
                let called = self.path.join(&from);
                copy::twin(self, (dir.as_fd(), from_name, &called), path)?;
                self.twins.0.insert(original.to_owned(), path.to_owned());
                Ok(())
            }
            linked => {
                linked.map_err(|error| DiskError::new(Verb::Stage, &self.path.join(path), error))
            }
        }
    }

    pub(super) fn link_into(
        &mut self,
        from: BorrowedFd<'_>,
        from_name: &OsStr,
        path: &Path,
        replaces: bool,
    ) -> io::Result<()> {
        let name = self.make_room(path, replaces)?;
        self.gate.link(from, from_name, self.way.last(&self.top).as_fd(), name)
    }
}
