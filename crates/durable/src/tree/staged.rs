//! A directory built aside in `staging/`, and published whole by one rename.
//!
//! Nothing has to be synced while it is built. [`StagedDir::publish`] closes the directories bottom up,
//! forces everything to the disk with one `syncfs`, renames, and syncs the directory that got the
//! name; so a tree that is seen under its name is whole, whenever the power fails.
//!
//! The top directory is closed (0555) last, since an ordinary user cannot rename a closed one. A
//! crash in between leaves it open; [`Disk::close_tree`] closes it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::io::Errno;

use super::{CLOSED, OPEN, Seal, Tree, Way, copy};
use crate::disk::Disk;
use crate::error::{DiskError, Verb};
use crate::place::{self, At};
use crate::redo::{Content, Item};
use crate::resolve::open_child;
use crate::stage::Published;

/// A [`Tree`] in `staging/`, written through it. Dropped unpublished, it is removed.
#[derive(Debug)]
pub struct StagedDir {
    disk: Disk,
    name: OsString,
    tree: Tree,
    published: bool,
    /// All that is in it, while that is small and was made by the four verbs that note it.
    recipe: Option<Vec<Item>>,
}

impl Disk {
    /// A new, empty directory in `staging/`.
    pub fn stage_dir(&self) -> Result<StagedDir, DiskError> {
        self.on(Verb::Stage, Path::new("staging"), || {
            let (name, ()) =
                self.under_fresh_name(|name| self.gate().mkdir(self.staging(), name, OPEN))?;
            let top = open_child(self.staging(), &name)?;
            let path = self.root().join(self.staged_path(&name));
            let tree = Tree::at(top, path, self.gate().clone());
            let recipe = self.log().map(|_| Vec::new());
            Ok(StagedDir { disk: self.clone(), name, tree, published: false, recipe })
        })
    }

    /// Makes a name that of a copy of a file, of the same mode and time: always `true`.
    pub(crate) fn copy_over(
        &self,
        (from_dir, from_name): (BorrowedFd<'_>, &OsStr),
        (to_dir, to_name): (BorrowedFd<'_>, &OsStr),
    ) -> io::Result<bool> {
        let mut aside = self.stage_dir().map_err(DiskError::into_source)?;
        let (copy, called) = (OsStr::new("copy"), aside.path().join("copy"));
        copy::twin(&mut aside.tree, (from_dir, from_name, &called), Path::new(copy))
            .map_err(DiskError::into_source)?;
        self.gate().sync_fs(to_dir)?;
        self.gate().rename(aside.tree.top.as_fd(), copy, to_dir, to_name, false)?;
        self.gate().sync_dir(to_dir)?;
        Ok(true)
    }

    /// Closes the top of a read-only tree whose publication a crash may have cut short. Repeating it
    /// is harmless.
    pub fn close_tree(&self, path: &Path) -> Result<(), DiskError> {
        self.on(Verb::SetMode, path, || {
            let (parent, name) = self.open_parent(path)?;
            self.grant(parent.as_fd(), name, 0o500)?;
            let top = open_child(parent.as_fd(), name)?;
            if rustix::fs::fstat(&top)?.st_mode & 0o777 == CLOSED {
                return Ok(());
            }
            self.gate().chmod(top.as_fd(), CLOSED)
        })
    }
}

impl StagedDir {
    /// [`Tree::directory`].
    pub fn directory(
        &mut self,
        path: &Path,
        modified: Option<SystemTime>,
    ) -> Result<(), DiskError> {
        self.note(modified.is_none(), || Item::Directory { path: path.to_owned() });
        self.tree.directory(path, modified)
    }

    /// [`Tree::write`].
    pub fn write(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        let content = || Content { mode, bytes: bytes.to_vec() };
        let is_small = bytes.len() <= SMALL;
        self.note(is_small, || Item::File { path: path.to_owned(), content: content() });
        self.tree.write(path, bytes, mode)
    }

    /// [`Tree::symlink`].
    pub fn symlink(
        &mut self,
        path: &Path,
        target: &[u8],
        modified: Option<SystemTime>,
        replaces: bool,
    ) -> Result<(), DiskError> {
        let says = || OsStr::from_bytes(target).into();
        self.note(modified.is_none() && !replaces, || Item::Symlink {
            path: path.to_owned(),
            target: says(),
        });
        self.tree.symlink(path, target, modified, replaces)
    }

    /// Gives the file `from` of the same disk the further name `path` in this tree; where the file system
    /// gives it no more names, a copy of it.
    pub fn link_from(&mut self, from: &Path, path: &Path) -> Result<(), DiskError> {
        self.note(true, || Item::Link { path: path.to_owned(), from: from.to_owned() });
        self.disk.make_last(from)?;
        let (disk, recipe) = (self.disk.clone(), &mut self.recipe);
        self.tree.run(path, |tree| {
            let (from_dir, from_name) = disk.open_parent(from)?;
            match tree.link_into(from_dir.as_fd(), from_name, path, false) {
                Err(error) if error.raw_os_error() == Some(Errno::MLINK.raw_os_error()) => {
                    *recipe = None; // it is no link
                    let called = disk.root().join(from);
                    copy::twin(tree, (from_dir.as_fd(), from_name, &called), path)
                        .map_err(DiskError::into_source)
                }
                linked => linked,
            }
        })
    }

    /// Copies the file or the tree `from` of the same disk to `to` in this tree: content, names, links
    /// and times, with the modes of what its owner may change (files 0644, or 0755 where somebody may
    /// execute them). It has nothing to do with its original any more, though the two share their
    /// content on the disk where that is possible; see [`Disk::shares_content`].
    pub fn copy_from(&mut self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.recipe = None; // any content
        let path = self.disk.root().join(from);
        let (dir, name) = self.disk.on(Verb::Read, from, || self.disk.open_parent(from))?;
        copy::copy(&mut self.tree, (dir.as_fd(), name, &path), to)
    }

    /// Closes the directories and forces everything to the disk; the top stays open.
    pub(super) fn finish(mut self, seal: Seal) -> Result<StagedDir, DiskError> {
        let disk = self.disk.clone();
        disk.on(Verb::Stage, &disk.staged_path(&self.name), || {
            self.tree.close(seal).map_err(DiskError::into_source)?;
            disk.gate().sync_fs(self.tree.top.as_fd())
        })?;
        Ok(self)
    }

    /// Removes what is left of it, and says if that fails; dropping it then is a second attempt.
    pub(super) fn discard(mut self) -> io::Result<()> {
        let thrown = self.disk.throw(self.disk.staging(), &self.name)?;
        self.published = true; // nothing has its name any more
        self.disk.delete(thrown)
    }

    fn note(&mut self, can_be_said: bool, item: impl FnOnce() -> Item) {
        match &mut self.recipe {
            Some(items) if can_be_said && items.len() < MANY => items.push(item()),
            _ => self.recipe = None,
        }
    }

    pub(crate) fn take_recipe(&mut self) -> Option<Vec<Item>> {
        self.recipe.take()
    }

    /// Gives it its name, unless something has that; the syncs are the caller's.
    pub(crate) fn move_to(&mut self, to: At<'_>) -> io::Result<bool> {
        let from = At { dir: self.disk.staging(), name: &self.name };
        self.published = place::dir_if_free(self.disk.gate(), from, to)?;
        Ok(self.published)
    }

    /// Its directory.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.tree.top.as_fd()
    }

    /// Puts the tree under `to`, whose directory must exist, unless something is there. Directories
    /// that were not made through this value (by another process, say) keep their modes.
    pub fn publish(mut self, to: &Path, seal: Seal) -> Result<Published, DiskError> {
        let disk = self.disk.clone();
        if seal == Seal::Writable
            && let Some(log) = disk.log()
        {
            match disk.on(Verb::Publish, to, || log.publish(&disk, self, to))? {
                Ok(published) => return Ok(published),
                Err(staged) => self = staged,
            }
        }
        disk.on(Verb::Publish, to, || {
            let (parent, name) = disk.open_parent(to)?;
            let to = At { dir: parent.as_fd(), name };
            if !to.is_taken()? {
                self.tree.close(seal).map_err(DiskError::into_source)?;
                disk.gate().sync_fs(self.tree.top.as_fd())?;
                self.move_to(to)?;
            }
            // Also when something was there: it may not have come to its own sync.
            disk.gate().sync_dir(parent.as_fd())?;
            if !self.published {
                return Ok(Published::Kept);
            }
            if seal == Seal::ReadOnly {
                // Not synced: it is one mode, and recovery closes what a power cut left open.
                disk.gate().chmod(self.tree.top.as_fd(), CLOSED)?;
            }
            Ok(Published::New)
        })
    }
}

impl Deref for StagedDir {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl DerefMut for StagedDir {
    /// What is made in other ways is more than a log can say.
    fn deref_mut(&mut self) -> &mut Tree {
        self.recipe = None;
        &mut self.tree
    }
}

impl Drop for StagedDir {
    fn drop(&mut self) {
        if !self.published {
            self.tree.way = Way::default();
            // What cannot be removed now is removed by `empty_staging` or `empty_trash`.
            let thrown = self.disk.throw(self.disk.staging(), OsStr::new(&self.name));
            let _ = thrown.and_then(|name| self.disk.delete(name));
        }
    }
}

/// Bytes of a file, and items, that a log may say: what has more is no small directory.
const SMALL: usize = 64 * 1024;
const MANY: usize = 1000;
