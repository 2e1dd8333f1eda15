//! Making a closed tree equal to a fresh one that was built in `staging/`: what differs is replaced, what
//! does not is left alone, so that whoever has a file of it open or mapped goes on.
//!
//! The fresh tree is forced to the disk first. Then each entry that differs is replaced by one rename,
//! in directories that are opened for it and closed again; all names of one file together. What has no
//! place in the fresh tree goes to `trash/`. A last sync makes all of it last. Times are not compared.
//! A directory that its owner may not look into is the one thing that is changed before: it gets its
//! rights when it is come to.
//!
//! A crash anywhere leaves every file old or new, some directories open, and something in `trash/`;
//! repeating it goes on. Memory grows with what differs and with the names of hard-linked files.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::staged::StagedDir;
use super::{CLOSED, OPEN, Seal};
use crate::disk::{Disk, Kind, Stat, entries, link_target, open_regular, stat};
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::{Root, if_there, open_child};

/// What had to be done to a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Files, links and directories that were missing or wrong.
    pub replaced: u64,
    /// Files and directories that only had a wrong mode.
    pub modes: u64,
    /// Entries that had no place there.
    pub removed: u64,
}

/// What differs; paths are relative to both trees.
#[derive(Debug, Default)]
struct Differences {
    replace: BTreeSet<PathBuf>,
    modes: Vec<(PathBuf, u32)>,
    extra: Vec<PathBuf>,
}

/// The names of one file of the fresh tree.
#[derive(Debug, Default)]
struct Names {
    /// So many it has.
    wanted: u64,
    met: Vec<PathBuf>,
    /// The file that all of them should be.
    is: Option<u64>,
    differs: bool,
}

impl Disk {
    /// Makes the closed tree at `path` equal to `fresh`, whose remains are removed. The last thing to
    /// change is what comes last in its top directory.
    pub fn mend_tree(&self, path: &Path, fresh: StagedDir) -> Result<Mended, DiskError> {
        let staged = fresh.finish(Seal::ReadOnly)?;
        self.on(Verb::Mend, path, || {
            let (parent, name) = self.open_parent(path)?;
            let was_locked = self.grant(parent.as_fd(), name, TO_LOOK)?;
            let tree = Root::new(open_child(parent.as_fd(), name)?);
            let fresh = Root::new(staged.top().try_clone_to_owned()?);
            let found = compare(self, &fresh, &tree, was_locked)?;
            let mended = Mended {
                replaced: found.replace.len() as u64,
                modes: found.modes.len() as u64,
                removed: found.extra.len() as u64,
            };
            let mut mending =
                Mending { disk: self, fresh, tree, open: BTreeSet::new(), thrown: vec![] };
            let done = mending.run(&found);
            // Also after an error: what is open would be damage of its own.
            let closed = mending.close();
            done.and(closed)?;
            self.gate().sync_fs(parent.as_fd())?;
            mending.thrown.into_iter().try_for_each(|name| self.delete(name))?;
            staged.discard()?;
            Ok(mended)
        })
    }
}

/// One tree being mended.
struct Mending<'a> {
    disk: &'a Disk,
    fresh: Root,
    tree: Root,
    /// Directories of the tree that have to be closed at the end.
    open: BTreeSet<PathBuf>,
    thrown: Vec<OsString>,
}

impl Mending<'_> {
    fn run(&mut self, found: &Differences) -> io::Result<()> {
        for path in &found.replace {
            self.replace(path)?;
        }
        for path in &found.extra {
            let (dir, name) = self.open_for_change(path)?;
            self.throw(dir.as_fd(), name)?;
        }
        for (path, mode) in &found.modes {
            if path.as_os_str().is_empty() {
                self.disk.gate().chmod(self.tree.handle(), *mode)?;
                continue;
            }
            let (dir, name) = self.tree.open_parent(path)?;
            match stat(dir.as_fd(), name)?.kind {
                Kind::Directory => {
                    self.disk.gate().chmod(open_child(dir.as_fd(), name)?.as_fd(), *mode)?;
                }
                _ => self.disk.gate().chmod(open_regular(dir.as_fd(), name)?.as_fd(), *mode)?,
            }
        }
        Ok(())
    }

    fn replace(&mut self, path: &Path) -> io::Result<()> {
        let gate = self.disk.gate().clone();
        let (from, name) = self.fresh.open_parent(path)?;
        gate.chmod(from.as_fd(), OPEN)?;
        let (to, _) = self.open_for_change(path)?;
        let comes_a_directory = stat(from.as_fd(), name)?.kind == Kind::Directory;
        let is_a_directory = |found: Stat| found.kind == Kind::Directory;
        let is = if_there(stat(to.as_fd(), name))?;
        if is.is_some_and(|found| comes_a_directory || is_a_directory(found)) {
            self.throw(to.as_fd(), name)?;
        }
        if comes_a_directory {
            // An ordinary user cannot move a closed one.
            gate.chmod(open_child(from.as_fd(), name)?.as_fd(), OPEN)?;
            self.open.insert(path.to_owned());
        }
        gate.rename(from.as_fd(), name, to.as_fd(), name, false)
    }

    /// The directory of the tree that `path` lies in, ready to be changed, and the name there.
    fn open_for_change<'p>(&mut self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (dir, name) = self.tree.open_parent(path)?;
        if self.open.insert(path.parent().unwrap_or(Path::new("")).to_owned()) {
            self.disk.gate().chmod(dir.as_fd(), OPEN)?;
        }
        Ok((dir, name))
    }

    fn throw(&mut self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.thrown.extend(if_there(self.disk.throw(dir, name))?);
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        for path in std::mem::take(&mut self.open) {
            if let Some(dir) = if_there(self.tree.open_dir(&path))? {
                self.disk.gate().chmod(dir.as_fd(), CLOSED)?;
            }
        }
        Ok(())
    }
}

/// `was_locked`: the top had not the mode that it has now.
fn compare(disk: &Disk, fresh: &Root, tree: &Root, was_locked: bool) -> io::Result<Differences> {
    let (mut found, mut files) = (Differences::default(), HashMap::<u64, Names>::new());
    let mut waiting = vec![(PathBuf::new(), was_locked)];
    while let Some((path, was_locked)) = waiting.pop() {
        let (from, to) = (fresh.open_dir(&path)?, tree.open_dir(&path)?);
        if was_locked || rustix::fs::fstat(&to)?.st_mode & 0o777 != CLOSED {
            found.modes.push((path.clone(), CLOSED));
        }
        let names: BTreeSet<OsString> =
            entries(from.as_fd())?.into_iter().map(|e| e.name).collect();
        let extra = entries(to.as_fd())?.into_iter().filter(|entry| !names.contains(&entry.name));
        found.extra.extend(extra.map(|entry| path.join(entry.name)));
        for name in names {
            let path = path.join(&name);
            let wanted = stat(from.as_fd(), &name)?;
            let is = if_there(stat(to.as_fd(), &name))?;
            let same_kind = is.filter(|is| is.kind == wanted.kind);
            match (wanted.kind, same_kind) {
                (Kind::Directory, Some(_)) => {
                    let was_locked = disk.grant(to.as_fd(), &name, TO_LOOK)?;
                    waiting.push((path, was_locked));
                }
                (Kind::File, is) if wanted.nlink > 1 => {
                    let names = files.entry(wanted.ino).or_default();
                    let same_file = is.is_some_and(|is| *names.is.get_or_insert(is.ino) == is.ino);
                    // The bytes of one file are compared once.
                    names.differs |=
                        !same_file || is.is_none_or(|is| is.mode & 0o777 != wanted.mode);
                    if !names.differs && names.met.is_empty() {
                        names.differs = !same_content(from.as_fd(), to.as_fd(), &name);
                    }
                    names.wanted = wanted.nlink;
                    names.met.push(path);
                }
                (Kind::File, Some(is)) => {
                    if is.size != wanted.size || !same_content(from.as_fd(), to.as_fd(), &name) {
                        found.replace.insert(path);
                    } else if is.mode != wanted.mode {
                        found.modes.push((path, wanted.mode));
                    }
                }
                (Kind::Link, Some(_)) => {
                    if link_target(from.as_fd(), &name)? != link_target(to.as_fd(), &name)? {
                        found.replace.insert(path);
                    }
                }
                (Kind::Directory | Kind::File | Kind::Link, None) => {
                    found.replace.insert(path);
                }
                (Kind::Other, _) => return Err(Refused::NotAFile.into()),
            }
        }
    }
    for names in files.into_values() {
        // Names that were not met come with a directory that is missing as a whole.
        if names.differs || names.met.len() as u64 != names.wanted {
            found.replace.extend(names.met);
        }
    }
    Ok(found)
}

/// What cannot be read is not the same.
fn same_content(one: BorrowedFd<'_>, other: BorrowedFd<'_>, name: &OsStr) -> bool {
    let same = || {
        let (mut one, mut other) = (open_regular(one, name)?, open_regular(other, name)?);
        let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let count = fill(&mut one, &mut a)?;
            if fill(&mut other, &mut b)? != count || a[..count] != b[..count] {
                return Ok::<_, io::Error>(false);
            }
            if count == 0 {
                return Ok(true);
            }
        }
    };
    same().unwrap_or(false)
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

const PIECE: usize = 64 * 1024;
/// What the owner of a directory needs to read it and to go into it.
const TO_LOOK: u32 = 0o500;
