//! Files that somebody else appends to: the output of programs. The only file that this crate hands
//! out open for writing, because the writer is another process; nothing about its content is
//! promised after a power cut.
//!
//! Their beginning can be given back to the file system while they are being appended to: the kernel
//! does each release and each append under the lock of the inode, one after the other, so that no
//! append is lost or torn. A head is punched ([`Appended::punch_head`]: it becomes a hole, positions
//! stay) and where the file system can, the hole is taken out ([`Appended::collapse_head`]: positions
//! move). Each is synced when it returns. A hole at the beginning says after a crash that a collapse
//! has not happened: for that a head is punched before it is collapsed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Disk;
use crate::error::{DiskError, Refused, Verb};
use crate::resolve::if_there;

impl Disk {
    /// A file, made with this mode if it is absent, open for appending (`O_APPEND`): every write of
    /// every process goes to its end, whole. A link, a file with other names, or anything but a regular
    /// file, is an error, so what a program puts in the way cannot send output elsewhere.
    pub fn append_file(&self, path: &Path, mode: u32) -> Result<File, DiskError> {
        self.on(Verb::Stage, path, || {
            let (dir, name) = self.open_parent(path)?;
            match self.gate().create(dir.as_fd(), name, mode) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
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
            our_file(file.as_fd())?;
            // A program that inherits it expects ordinary, blocking writes.
            fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(File::from(file))
        })
    }
}

/// A file that another process appends to, open so that its beginning can be read and released.
#[derive(Debug)]
pub struct Appended {
    disk: Disk,
    path: PathBuf,
    file: File,
    /// Bytes; what is released is a multiple of it.
    block: u64,
    collapses: bool,
}

impl Disk {
    /// A file that [`Disk::append_file`] made; `None` if it is absent. What that refuses is refused here too.
    pub fn open_appended(&self, path: &Path) -> Result<Option<Appended>, DiskError> {
        self.on(Verb::Release, path, || {
            let Some((dir, name)) = if_there(self.open_parent(path))? else { return Ok(None) };
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = fs::openat(dir.as_fd(), name, flags, Mode::empty());
            let Some(file) = if_there(opened.map_err(io::Error::from))? else { return Ok(None) };
            let stat = our_file(file.as_fd())?;
            let block = u64::try_from(stat.st_blksize).unwrap_or(LEAST_BLOCK);
            let kind = fs::fstatfs(&file)?.f_type;
            Ok(Some(Appended {
                disk: self.clone(),
                path: path.to_owned(),
                file: File::from(file),
                block: block.clamp(LEAST_BLOCK, MOST_BLOCK),
                collapses: COLLAPSING.contains(&kind),
            }))
        })
    }
}

impl Disk {
    /// The first position of a file that is no hole, its length if there is none; `None` if it is absent.
    /// Needs the right to read only.
    pub fn first_data(&self, path: &Path) -> Result<Option<u64>, DiskError> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        self.on(Verb::Read, path, || first_data(&file).map(Some))
    }
}

impl Appended {
    /// How long it is, in bytes.
    pub fn length(&self) -> Result<u64, DiskError> {
        self.disk.on(Verb::Read, &self.path, || Ok(self.file.metadata()?.len()))
    }

    /// Of how many bytes what is released has to be a multiple.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Whether the file system takes out a released head (ext4, XFS); elsewhere it stays a hole.
    pub fn can_collapse(&self) -> bool {
        self.collapses
    }

    /// The first position that is no hole; the length if there is none.
    pub fn first_data(&self) -> Result<u64, DiskError> {
        self.disk.on(Verb::Read, &self.path, || first_data(&self.file))
    }

    /// Reads from a position on until `piece` is full or the file ends, and says how much it was.
    pub fn read_at(&self, piece: &mut [u8], position: u64) -> Result<usize, DiskError> {
        self.disk.on(Verb::Read, &self.path, || read_at(&self.file, piece, position))
    }

    /// Makes a hole of the first `len` bytes; all others stay where they are. `false` if the file system
    /// cannot do that. Harmless to repeat.
    pub fn punch_head(&self, len: u64) -> Result<bool, DiskError> {
        self.release(|gate| gate.punch_head(&self.file, len))
    }

    /// Takes the first `len` bytes out, whole blocks and not all that there are; all others move up. `false`
    /// if the file system cannot do that with this file. NOT harmless to repeat: see the head of its file.
    pub fn collapse_head(&self, len: u64) -> Result<bool, DiskError> {
        self.release(|gate| gate.collapse_head(&self.file, len))
    }

    fn release(
        &self,
        how: impl FnOnce(&crate::gate::Gate) -> io::Result<()>,
    ) -> Result<bool, DiskError> {
        self.disk.on(Verb::Release, &self.path, || {
            let gate = self.disk.gate();
            match how(gate) {
                Err(error) if is_unable(&error) => return Ok(false),
                done => done?,
            }
            gate.sync_data(&self.file)?;
            Ok(true)
        })
    }
}

/// A regular file with one name, so that nothing of anybody else's is written to or released.
fn our_file(file: BorrowedFd<'_>) -> io::Result<fs::Stat> {
    let stat = fs::fstat(file)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Refused::NotAFile.into());
    }
    if stat.st_nlink > 1 {
        return Err(Refused::ManyNames.into());
    }
    Ok(stat)
}

fn first_data(file: &File) -> io::Result<u64> {
    // It moves the position of the handle, which nothing here reads from.
    match fs::seek(file, fs::SeekFrom::Data(0)) {
        // Nothing but a hole.
        Err(Errno::NXIO) => Ok(file.metadata()?.len()),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(0),
        found => Ok(found?),
    }
}

fn read_at(file: &File, piece: &mut [u8], position: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < piece.len() {
        match file.read_at(&mut piece[read..], position + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// How file systems say that they do not do that, or not with this file.
fn is_unable(error: &io::Error) -> bool {
    let unable = [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::NODEV];
    error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(|errno| unable.contains(&errno))
}

const LEAST_BLOCK: u64 = 4096;
/// Where a file system likes larger blocks (tmpfs with huge pages), it still takes these.
const MOST_BLOCK: u64 = 64 * 1024;
/// `statfs(2)`: EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC. Others that know the call (CIFS copies for it, gfs2 and
/// f2fs have cluster sizes of their own) keep holes.
const COLLAPSING: [fs::FsWord; 2] = [0xef53, 0x5846_5342];
