//! Entries to files: one thread reads and checks the archive and makes directories and links, others
//! make, fill and hash the files.
//!
//! What is on its way between them is bounded: a number of small files, and a few pieces of a large one.
//! Where the order matters (a name that comes again, a hard link) everything before it is finished
//! first. The manifest has the archive's order whatever finishes when.

mod content;
mod early;
mod order;
mod writers;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use archive::{
    Container, Dropped, Entries, Entry, EntryKind, EntryPath, Modified, SparseMap, TarReader,
    ZipReader,
};
use durable::{NewFile, Seal, Tree, TreeFile};

use crate::error::UnpackError;
use crate::job::How;
use crate::manifest::ManifestWriter;
use crate::pipeline::early::Early;
use crate::pipeline::order::Order;
use crate::pipeline::writers::{Content, Job, PIECE, PIECES, Piece, Writers};

/// Where the files of an unpacked tree are.
pub const FILES: &str = "files";
/// What is in an unpacked tree, a line each.
pub const MANIFEST: &str = "manifest";

/// Unpacks what comes as a stream; only a tar can.
pub(crate) fn unpack_stream(
    tree: &mut Tree,
    input: impl Read,
    how: &How,
) -> Result<Dropped, UnpackError> {
    match how.container {
        Container::Tar => {
            let mut reader = TarReader::new(input, how.encoding, how.limits)?;
            unpack(tree, how, |work| work.in_turn(&mut reader))
        }
        Container::Zip => {
            let message = "a zip has its directory at the end and cannot be read as a stream";
            Err(UnpackError::Input { message: message.to_owned() })
        }
    }
}

/// Unpacks what lies in a file.
pub(crate) fn unpack_file(tree: &mut Tree, file: File, how: &How) -> Result<Dropped, UnpackError> {
    match how.container {
        Container::Tar => unpack_stream(tree, file, how),
        Container::Zip => {
            let file = Arc::new(file);
            let input = io::BufReader::with_capacity(DIRECTORY, file.clone());
            let mut reader = ZipReader::new(input, how.limits)?;
            unpack(tree, how, |work| match work.writers {
                Some(_) => work.apart(&mut reader, &file),
                None => work.in_turn(&mut reader),
            })
        }
    }
}

fn unpack(
    tree: &mut Tree,
    how: &How,
    read: impl FnOnce(&mut Work<'_>) -> Result<Dropped, UnpackError>,
) -> Result<Dropped, UnpackError> {
    tree.directory(Path::new(FILES), None)?;
    let manifest = tree.file(Path::new(MANIFEST), 0o444, None, false)?;
    std::thread::scope(|scope| {
        let started = (how.writers > 0).then(|| Writers::start(scope, how.writers)).transpose();
        let writers = started.map_err(|error| UnpackError::Start { message: error.to_string() })?;
        let early = (how.writers > 0).then(|| Early::start(scope, tree.syncing())).transpose();
        let early = early.map_err(|error| UnpackError::Start { message: error.to_string() })?;
        let order = Order::new(ManifestWriter::new(manifest));
        let mut work = Work { tree: &mut *tree, writers, early, order, buffer: Vec::new() };
        let dropped = read(&mut work)?;
        work.settle()?;
        let Work { tree, order, .. } = work;
        order.finish()?.close()?;
        // Inside the scope, which does not end before a sync that is still under way.
        tree.close(Seal::ReadOnly)?;
        Ok(dropped)
    })
}

/// What the reading thread has in its hands.
struct Work<'t> {
    tree: &'t mut Tree,
    /// `None`: files are written by the reading thread itself.
    writers: Option<Writers>,
    /// `None`: nothing is synced before the end.
    early: Option<Early>,
    order: Order<TreeFile>,
    buffer: Vec<u8>,
}

impl Work<'_> {
    /// Takes entries whose content comes through their reader.
    fn in_turn(&mut self, entries: &mut dyn Entries) -> Result<Dropped, UnpackError> {
        while let Some(entry) = entries.next_entry()? {
            match &entry.kind {
                EntryKind::File { size, sparse, .. } => {
                    let data = sparse.as_ref().map_or(*size, SparseMap::data);
                    let file = self.begin_file(&entry)?;
                    if self.writers.is_none() {
                        let read = |buffer: &mut [u8]| entries.read_content(buffer);
                        let digest = writers::write_here(file, &entry, &mut self.buffer, read)?;
                        let number = self.order.begin(entry);
                        self.order.complete(number, digest)?;
                    } else if data <= PIECE as u64 {
                        let mut piece = self.piece();
                        piece.fill(|buffer| entries.read_content(buffer))?;
                        self.submit(entry, file, Content::Whole(piece))?;
                    } else {
                        let (sender, pieces) = sync_channel(PIECES);
                        self.submit(entry, file, Content::Pieces(pieces))?;
                        loop {
                            let mut piece = self.piece();
                            piece.fill(|buffer| entries.read_content(buffer))?;
                            let last = piece.is_empty();
                            self.handed_over(piece.len() as u64)?;
                            // One that is not taken has a reason that comes with the next word.
                            if sender.send(piece).is_err() || last {
                                break;
                            }
                        }
                    }
                }
                _ => self.no_file(entry)?,
            }
        }
        Ok(entries.summary().map(|summary| summary.dropped).unwrap_or_default())
    }

    /// Takes the entries of a zip, whose files are unpacked by the writing threads.
    fn apart<R: Read + Seek>(
        &mut self,
        reader: &mut ZipReader<R>,
        input: &Arc<File>,
    ) -> Result<Dropped, UnpackError> {
        while let Some((entry, packed)) = reader.next_apart()? {
            match packed {
                Some(packed) => {
                    let file = self.begin_file(&entry)?;
                    self.submit(entry, file, Content::Packed(packed, input.clone()))?;
                }
                None => self.no_file(entry)?,
            }
        }
        Ok(reader.summary().map(|summary| summary.dropped).unwrap_or_default())
    }

    fn begin_file(&mut self, entry: &Entry) -> Result<NewFile, UnpackError> {
        if entry.replaces {
            self.settle()?;
        }
        let executable = matches!(entry.kind, EntryKind::File { executable: true, .. });
        let mode = if executable { 0o555 } else { 0o444 };
        self.tree
            .begin_file(&inside(&entry.path), mode, time(entry), entry.replaces)
            .map_err(|error| UnpackError::write(entry, &error))
    }

    fn submit(&mut self, entry: Entry, file: NewFile, content: Content) -> Result<(), UnpackError> {
        self.handed_over(match (&content, &entry.kind) {
            (Content::Whole(piece), _) => piece.len() as u64,
            (Content::Packed(..), EntryKind::File { size, .. }) => *size,
            (Content::Pieces(_) | Content::Packed(..), _) => 0, // pieces count as they are sent
        })?;
        let number = self.order.begin(entry.clone());
        if let Some(writers) = &mut self.writers {
            writers.submit(Job { number, entry, file, content });
            while let Some((number, outcome)) = writers.finished() {
                self.order.complete(number, outcome?)?;
            }
        }
        self.bound_waiting()
    }

    /// So many more bytes are on their way to the disk, or are about to be.
    fn handed_over(&mut self, bytes: u64) -> Result<(), UnpackError> {
        Ok(self.early.as_mut().map_or(Ok(()), |early| early.count(bytes))?)
    }

    /// Everything but a file.
    fn no_file(&mut self, entry: Entry) -> Result<(), UnpackError> {
        let (path, modified) = (inside(&entry.path), time(&entry));
        let is_link = matches!(entry.kind, EntryKind::HardLink { .. });
        if entry.replaces || is_link {
            self.settle()?; // what it removes or refers to must be there
        }
        let made = match &entry.kind {
            EntryKind::Directory | EntryKind::File { .. } => self.tree.directory(&path, modified),
            EntryKind::Symlink { target } => {
                self.tree.symlink(&path, target.as_bytes(), modified, entry.replaces)
            }
            EntryKind::HardLink { original } => {
                self.tree.hard_link(&inside(original), &path, entry.replaces)
            }
        };
        made.map_err(|error| UnpackError::write(&entry, &error))?;
        self.order.add(entry)?;
        self.bound_waiting()
    }

    /// Waits until nothing is on its way.
    fn settle(&mut self) -> Result<(), UnpackError> {
        while let Some((number, outcome)) = self.writers.as_mut().and_then(Writers::wait) {
            self.order.complete(number, outcome?)?;
        }
        Ok(())
    }

    /// Lines wait for a large file before them; not for ever.
    fn bound_waiting(&mut self) -> Result<(), UnpackError> {
        while self.order.len() > WAITING {
            let Some((number, outcome)) = self.writers.as_mut().and_then(Writers::wait) else {
                return Ok(());
            };
            self.order.complete(number, outcome?)?;
        }
        Ok(())
    }

    fn piece(&mut self) -> Piece {
        match &mut self.writers {
            Some(writers) => writers.piece(),
            None => Piece::empty(),
        }
    }
}

fn inside(path: &EntryPath) -> PathBuf {
    Path::new(FILES).join(path.as_path())
}

/// A time that no clock of this system can have is left out.
fn time(entry: &Entry) -> Option<SystemTime> {
    let Modified { seconds, nanos } = entry.modified?;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = match seconds {
        0.. => UNIX_EPOCH.checked_add(whole),
        _ => UNIX_EPOCH.checked_sub(whole),
    };
    second?.checked_add(Duration::from_nanos(nanos.into()))
}

/// Lines of the manifest that may wait for one before them.
const WAITING: usize = 4096;
/// Bytes that a zip's directory is read in; it is read once more for each file's own header.
const DIRECTORY: usize = 4 << 10;
