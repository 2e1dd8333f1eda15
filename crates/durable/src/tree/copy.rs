//! A copy of a file or a tree of the same disk, which may be changed without the original noticing.
//!
//! Where the file system can, a copy shares the blocks of its original until one of them is changed
//! (a reflink, ioctl_ficlone(2)); else what is data is copied, and holes stay holes. A file never
//! becomes a hard link to its original. Names, symbolic links, times, and which names of the tree are
//! one file stay as they are; modes become those of what its owner may change. Memory grows with the
//! number of directories and of hard-linked files, with nothing else.
//!
//! Nothing is synced here: a crash leaves a part of the copy in the tree that is being built, which
//! has no name yet.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, Dir, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use super::{Tree, TreeFile, Way};
use crate::disk::{Disk, Kind, Stat, link_target, open_regular, stat};
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::{open_child, plain_names};

impl Disk {
    /// Whether a copy takes no room of its own before it is changed, since files of this file system
    /// can share their content. It is tried out with two files that never get a name.
    pub fn shares_content(&self) -> bool {
        let unnamed = || {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            fs::openat(self.staging(), ".", flags, Mode::RUSR | Mode::WUSR)
        };
        match (unnamed(), unnamed()) {
            (Ok(one), Ok(other)) => fs::ioctl_ficlone(&one, &other).is_ok(),
            _ => false,
        }
    }
}

/// Copies what is called `name` in `dir` to `to`, which is free. `from` is what errors call it.
pub(super) fn copy(
    tree: &mut Tree,
    (dir, name, from): (BorrowedFd<'_>, &OsStr, &Path),
    to: &Path,
) -> Result<(), DiskError> {
    let mut copy = Copy::new(tree, from, to, Modes::OfItsOwner);
    let facts = copy.read(Path::new(""), || stat(dir, name))?;
    if facts.kind != Kind::Directory {
        return copy.entry(dir, name, &facts, Path::new(""));
    }
    let top = Arc::new(copy.read(Path::new(""), || open_child(dir, name))?);
    copy.directories(&top)
}

/// Makes `to`, which is free, the same as the file or symbolic link that is called `name` in `dir`.
pub(super) fn twin(
    tree: &mut Tree,
    (dir, name, from): (BorrowedFd<'_>, &OsStr, &Path),
    to: &Path,
) -> Result<(), DiskError> {
    let mut copy = Copy::new(tree, from, to, Modes::AsTheyAre);
    let facts = copy.read(Path::new(""), || stat(dir, name))?;
    copy.entry(dir, name, &facts, Path::new(""))
}

/// Which modes the files of a copy have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modes {
    /// 0644, or 0755 where somebody may execute them.
    OfItsOwner,
    /// Those of their originals.
    AsTheyAre,
}

/// One copy under way.
struct Copy<'a> {
    tree: &'a mut Tree,
    /// Where the original lies, as errors name it.
    from: &'a Path,
    /// Where the copy lies in the tree.
    to: &'a Path,
    modes: Modes,
    /// Whether sharing content is still worth a try.
    sharing: bool,
    /// Files and links that have more names than were met yet, by inode number.
    seen: HashMap<u64, Seen>,
    buffer: Vec<u8>,
}

struct Seen {
    /// Where its copy is.
    at: PathBuf,
    /// So many names are still to come.
    names: u64,
}

impl<'a> Copy<'a> {
    fn new(tree: &'a mut Tree, from: &'a Path, to: &'a Path, modes: Modes) -> Copy<'a> {
        let (seen, buffer) = (HashMap::new(), Vec::new());
        Copy { tree, from, to, modes, sharing: true, seen, buffer }
    }

    /// Directories wait on a list, so that a deep tree takes no stack and few handles.
    fn directories(&mut self, top: &Arc<OwnedFd>) -> Result<(), DiskError> {
        let mut way = Way::default();
        let mut waiting = vec![PathBuf::new()];
        while let Some(path) = waiting.pop() {
            let dir = self.read(&path, || descend(top, &mut way, &path))?;
            let facts = self.read(&path, || stat(dir.as_fd(), OsStr::new(".")))?;
            self.tree.directory(&self.to.join(&path), Some(facts.modified))?;
            for entry in self.read(&path, || Ok(Dir::read_from(&dir)?))? {
                let entry = self.read(&path, || Ok(entry?))?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." {
                    continue;
                }
                let path = path.join(name);
                let facts = self.read(&path, || stat(dir.as_fd(), name))?;
                if facts.kind == Kind::Directory {
                    waiting.push(path);
                } else {
                    self.entry(dir.as_fd(), name, &facts, &path)?;
                }
            }
        }
        Ok(())
    }

    /// Copies what is no directory.
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        facts: &Stat,
        path: &Path,
    ) -> Result<(), DiskError> {
        let to = joined(self.to, path);
        if let Some(seen) = self.seen.get_mut(&facts.ino) {
            self.tree.hard_link(&seen.at, &to, false)?;
            seen.names -= 1;
            if seen.names == 0 {
                self.seen.remove(&facts.ino);
            }
            return Ok(());
        }
        match facts.kind {
            Kind::File => {
                let original = self.read(path, || open_regular(dir, name))?;
                self.file(&original, facts, path, &to)?;
            }
            Kind::Link => {
                let target = self.read(path, || link_target(dir, name))?;
                let target = target.as_os_str().as_bytes();
                self.tree.symlink(&to, target, Some(facts.modified), false)?;
            }
            Kind::Directory | Kind::Other => {
                return self.read(path, || Err(Refused::NotAFile.into()));
            }
        }
        if facts.nlink > 1 {
            self.seen.insert(facts.ino, Seen { at: to, names: facts.nlink - 1 });
        }
        Ok(())
    }

    fn file(
        &mut self,
        original: &File,
        facts: &Stat,
        path: &Path,
        to: &Path,
    ) -> Result<(), DiskError> {
        let mode = match self.modes {
            Modes::AsTheyAre => facts.mode & 0o777,
            Modes::OfItsOwner if facts.mode & 0o111 == 0 => 0o644,
            Modes::OfItsOwner => 0o755,
        };
        let mut file = self.tree.file(to, mode, Some(facts.modified), false)?;
        if facts.size > 0 && !self.share(&mut file, original)? {
            let mut at = 0;
            while let Some((data, end)) =
                self.read(path, || Ok(data_from(original, at, facts.size)?))?
            {
                self.data(&mut file, original, path, (data, end))?;
                at = end;
            }
            if file.len() < facts.size {
                file.set_len(facts.size)?;
            }
        }
        file.close()
    }

    /// Shares all content, or says that it cannot be shared.
    fn share(&mut self, file: &mut TreeFile, original: &File) -> Result<bool, DiskError> {
        if !self.sharing {
            return Ok(false);
        }
        match file.share_content_of(original) {
            Ok(()) => Ok(true),
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                // Not by this file system, not between these two, or not in this sandbox.
                Some(
                    Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS | Errno::PERM,
                ) => {
                    self.sharing = false;
                    Ok(false)
                }
                // Not this file: it is swapped to, or the two differ in how they are stored.
                Some(Errno::INVAL | Errno::TXTBSY) => Ok(false),
                _ => Err(file.failed(error)),
            },
        }
    }

    fn data(
        &mut self,
        file: &mut TreeFile,
        original: &File,
        path: &Path,
        (mut at, end): (u64, u64),
    ) -> Result<(), DiskError> {
        self.buffer.resize(PIECE, 0);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let piece = &mut self.buffer[..wanted];
            if let Err(error) = original.read_exact_at(piece, at) {
                return self.read(path, || Err(error));
            }
            file.write_at(at, &self.buffer[..wanted])?;
            at += wanted as u64;
        }
        Ok(())
    }

    /// Asks about the original, and names it if there is no answer.
    fn read<T>(&self, path: &Path, ask: impl FnOnce() -> io::Result<T>) -> Result<T, DiskError> {
        ask().map_err(|error| DiskError::new(Verb::Read, &joined(self.from, path), error))
    }
}

/// Joins what may be empty, and then adds no slash.
fn joined(base: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { base.to_owned() } else { base.join(path) }
}

/// The next bytes that are no hole, from `at` on: where they begin and end.
fn data_from(file: &File, at: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    if at >= size {
        return Ok(None);
    }
    let start = match retry_on_intr(|| fs::seek(file, SeekFrom::Data(at))) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None), // nothing but a hole follows
        Err(Errno::INVAL) => return Ok(Some((at, size))), // this file system knows no holes
        Err(error) => return Err(error),
    };
    let end = retry_on_intr(|| fs::seek(file, SeekFrom::Hole(start)))?;
    Ok(Some((start, end.min(size))).filter(|(start, end)| start < end))
}

/// Opens a directory of the original.
fn descend(top: &Arc<OwnedFd>, way: &mut Way, path: &Path) -> io::Result<Arc<OwnedFd>> {
    let names = plain_names(path)?;
    way.go_back_to(&names);
    while let Some(name) = names.get(way.names.len()) {
        let there = open_child(way.last(top).as_fd(), name)?;
        way.go_down(name, there);
    }
    Ok(way.last(top).clone())
}

/// What is read and written at a time.
const PIECE: usize = 256 * 1024;
