//! Reads a tar, in any encoding, in one pass.
//!
//! Understood: v7, ustar (with star's shorter prefix), GNU (long names, base-256 numbers), PAX with
//! its global headers; sparse files in GNU's four forms; hard links to files and to symbolic links.
//! Passed over: volume labels, Solaris access lists, PAX records that nobody here needs. A type that
//! is none of the known ones is a regular file, as POSIX has it, and a regular file whose name ends in
//! a slash is a directory, as before ustar.
//!
//! Refused as not supported: star's sparse files, parts of several volumes, GNU's incremental dumps
//! and its lists of old long names.
//!
//! Refused as ambiguous is what readers in use take for different things: a size for what has no
//! content (GNU tar and Python go on behind the header of a hard link, libarchive may go on behind so
//! many bytes); a size that header and PAX record tell differently (`size`); several extended headers
//! of a sort (`extended`); a sparse map that leaves the blocks (`sparse`).
//!
//! The end is two zero blocks. An input that simply ends where a header could begin, or after one
//! zero block, is accepted as GNU tar accepts it (the digest of the object tells whether it is
//! complete). What follows the end is read, so that the encoding's checksums are verified, and
//! ignored, as all readers do by default; how much that may be is in `decode`.

mod extended;
mod header;
mod size;
mod sparse;

use std::io::{self, Read};

use crate::check::{Checker, RawEntry, RawKind, Repeats};
use crate::decode::Stream;
use crate::error::printable;
use crate::reader::State;
use crate::tar::extended::{Extended, Preamble};
use crate::tar::header::{BLOCK, Block, Header, OldSparse};
use crate::tar::sparse::{Extents, Fault, Plan, Records};
use crate::{
    Ambiguity, Encoding, Entries, Entry, Error, Feature, Flaw, Limit, Limits, Modified, SparseMap,
    Summary,
};

/// Pulls entries out of a tar that arrives as a stream.
pub struct TarReader<R> {
    stream: Stream<R>,
    checker: Checker,
    limits: Limits,
    global: Extended,
    /// Content of the current entry that was not read yet.
    unread: u64,
    /// Bytes that fill the last block of that content.
    padding: u64,
    state: State,
}

/// What follows a header.
struct Content {
    /// Bytes of the file.
    size: u64,
    sparse: Option<SparseMap>,
    /// Bytes of it in the archive.
    stored: u64,
}

impl<R: Read> TarReader<R> {
    /// Reads a tar from `input`. Nothing is read yet.
    ///
    /// # Errors
    /// None today: whatever is wrong with the encoding shows when it is read.
    pub fn new(input: R, encoding: Encoding, limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            stream: Stream::new(input, encoding, &limits),
            checker: Checker::new(limits, Repeats::LastWins),
            limits,
            global: Extended::default(),
            unread: 0,
            padding: 0,
            state: State::Reading,
        })
    }

    fn advance(&mut self) -> Result<Option<Entry>, Error> {
        self.stream.skip(self.unread + self.padding)?;
        (self.unread, self.padding) = (0, 0);
        let mut preamble = Preamble::default();
        loop {
            let at = self.stream.position();
            let malformed = |what| Error::Malformed { at, what };
            let Some(header) = self.header()? else {
                if !preamble.is_empty() {
                    return Err(malformed(Flaw::ExtendedAlone));
                }
                self.stream.drain()?;
                let mut summary = self.checker.finish()?;
                summary.measured.window = self.stream.window();
                self.state = State::Complete(summary);
                return Ok(None);
            };
            let ambiguous = |what| Error::Ambiguous { entry: printable(&header.name), what };
            match header.kind {
                b'x' | b'X' => {
                    let records = self.metadata(header.size)?;
                    preamble.pax(&records).map_err(malformed)?.map_err(ambiguous)?;
                }
                b'g' => {
                    let records = self.metadata(header.size)?;
                    self.global.apply(&records).map_err(malformed)?;
                    if self.global.identifies() {
                        return Err(ambiguous(Ambiguity::GlobalIdentity));
                    }
                }
                b'L' => {
                    let name = self.metadata(header.size)?;
                    preamble.long_name(&name).map_err(ambiguous)?;
                }
                b'K' => {
                    let link = self.metadata(header.size)?;
                    preamble.long_link(&link).map_err(ambiguous)?;
                }
                // Python takes a label for a file. Then at least it must be empty.
                b'V' if header.size > 0 => {
                    return Err(ambiguous(Ambiguity::SizeWithoutContent));
                }
                // A volume label; Solaris access lists and attributes.
                b'V' | b'A' | b'E' => self.stream.skip(padded(header.size))?,
                _ => {
                    let extended = preamble.over(&self.global).map_err(ambiguous)?;
                    if let Some(entry) = self.entry(at, header, extended)? {
                        return Ok(Some(entry));
                    }
                    preamble = Preamble::default();
                }
            }
        }
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let at = self.stream.position();
        let first = match self.block()? {
            Some(Block::Header(header)) => return Ok(Some(header)),
            // Not even one block is no archive at all.
            None if at == 0 => return Err(Error::Truncated),
            None => return Ok(None),
            Some(Block::Zero) => self.stream.position(),
        };
        match self.block() {
            Ok(None | Some(Block::Zero)) => Ok(None),
            Ok(Some(Block::Header(_))) | Err(Error::Malformed { .. }) => {
                Err(Error::Malformed { at: first - BLOCK as u64, what: Flaw::LoneZeroBlock })
            }
            Err(error) => Err(error),
        }
    }

    /// The next block; `None` at the end of the input.
    fn block(&mut self) -> Result<Option<Block>, Error> {
        let at = self.stream.position();
        let mut block = [0; BLOCK];
        match self.stream.fill(&mut block)? {
            0 => Ok(None),
            BLOCK => Block::parse(&block).map(Some).map_err(|what| Error::Malformed { at, what }),
            _ => Err(Error::Truncated),
        }
    }

    /// The content of an extended header.
    fn metadata(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        if size > LONGEST_EXTENDED {
            return Err(Error::TooLarge { limit: Limit::ExtendedHeader, most: LONGEST_EXTENDED });
        }
        let mut content = vec![0; size as usize];
        if self.stream.fill(&mut content)? < content.len() {
            return Err(Error::Truncated);
        }
        self.stream.skip(padded(size) - size)?;
        Ok(content)
    }

    fn entry(
        &mut self,
        at: u64,
        header: Header,
        extended: Extended,
    ) -> Result<Option<Entry>, Error> {
        let name = extended.sparse.name.clone().or(extended.path).unwrap_or(header.name);
        let link = extended.link.unwrap_or(header.link);
        let ambiguous = |what| Error::Ambiguous { entry: printable(&name), what };
        let unsupported = |what| Err(Error::Unsupported { entry: printable(&name), what });
        let stored = size::agreed(header.size, extended.size).map_err(ambiguous)?;
        let mut content = Content { size: stored, sparse: None, stored };
        let regular = match header.kind {
            b'1'..=b'6' => false,
            b'M' => return unsupported(Feature::Volumes),
            b'D' => return unsupported(Feature::Incremental),
            b'N' => return unsupported(Feature::OldLongNames),
            // Before ustar a directory was a file whose name ends in a slash.
            _ => !name.ends_with(b"/"),
        };
        if extended.sparse.present || header.kind == b'S' {
            if !regular {
                return Err(ambiguous(Ambiguity::SparseMap));
            }
            content = self
                .sparse(header.sparse, extended.sparse, stored)
                .map_err(|fault| fault.explain(|| printable(&name), at))?;
        } else if !regular && stored > 0 {
            return Err(ambiguous(Ambiguity::SizeWithoutContent));
        }
        let kind = match header.kind {
            b'1' => RawKind::HardLink { original: &link },
            b'2' => RawKind::Symlink { target: &link },
            b'3' | b'4' => RawKind::Device,
            b'6' => RawKind::Fifo,
            _ if regular => RawKind::File { size: content.size, sparse: content.sparse },
            _ => RawKind::Directory,
        };
        let entry = self.checker.check(&RawEntry {
            name: &name,
            kind,
            mode: Some(header.mode),
            owned: extended.foreign_account.unwrap_or(header.foreign_account)
                || extended.foreign_group.unwrap_or(header.foreign_group),
            modified: Some(
                extended.modified.unwrap_or(Modified { seconds: header.modified, nanos: 0 }),
            ),
            attributes: extended.attributes,
        })?;
        if regular {
            self.unread = content.stored;
            self.padding = padded(content.stored) - content.stored;
        }
        self.stream.allow_entry(self.unread);
        Ok(entry)
    }

    /// The content of a sparse file, of which `stored` bytes follow. Reads those that are its map.
    fn sparse(
        &mut self,
        old: Option<OldSparse>,
        records: Records,
        stored: u64,
    ) -> Result<Content, Fault> {
        let mut extents = Extents::new(self.limits.metadata_bytes);
        let mut left = stored;
        let size = match (old, records.present) {
            (Some(_), true) => return Err(Fault::Ambiguous(Ambiguity::SparseMap)),
            (None, false) => return Err(Fault::Unsupported(Feature::Sparse)),
            (Some(old), false) => {
                self.old_map(&old, &mut extents)?;
                old.size
            }
            (None, true) => match records.plan()? {
                Plan::Here { size, turns } => {
                    for pair in turns.chunks_exact(2) {
                        extents.push(pair[0], pair[1])?;
                    }
                    size
                }
                Plan::InContent { size } => {
                    let taken;
                    let most = self.limits.metadata_bytes;
                    (extents, taken) = sparse::read_map(|| self.raw_block(), stored, most)?;
                    left -= taken;
                    size
                }
            },
        };
        let sparse = extents.finish(size, left)?;
        Ok(Content { size, sparse, stored: left })
    }

    /// Takes the extents in an old GNU header and in the blocks behind it.
    fn old_map(&mut self, old: &OldSparse, extents: &mut Extents) -> Result<(), Fault> {
        let number = |field: &[u8]| header::size(field).ok();
        let mut ended = sparse::take_slots(extents, &old.slots, number)?;
        let mut continues = old.continues;
        while continues {
            if ended {
                // GNU tar stops where the list ends, libarchive goes on.
                return Err(Fault::Ambiguous(Ambiguity::SparseMap));
            }
            let block = self.raw_block().map_err(Fault::Read)?;
            ended = sparse::take_slots(extents, &block[..OLD_SLOTS], number)?;
            continues = block[OLD_SLOTS] != 0;
        }
        Ok(())
    }

    /// The next block, whatever it is.
    fn raw_block(&mut self) -> Result<[u8; BLOCK], Error> {
        let mut block = [0; BLOCK];
        match self.stream.fill(&mut block)? {
            BLOCK => Ok(block),
            _ => Err(Error::Truncated),
        }
    }
}

impl<R: Read> Entries for TarReader<R> {
    fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        match self.state {
            State::Reading => self.advance().inspect_err(|_| self.state = State::Failed),
            State::Complete(_) => Ok(None),
            State::Failed => Err(Error::Ended),
        }
    }

    fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let State::Failed = self.state {
            return Err(Error::Ended);
        }
        let most = usize::try_from(self.unread).map_or(buffer.len(), |n| n.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let read = match self.stream.read(&mut buffer[..most]) {
            Ok(0) => Err(Error::Truncated),
            other => other,
        };
        match read {
            Ok(read) => self.unread -= read as u64,
            Err(_) => self.state = State::Failed,
        }
        read
    }

    fn summary(&self) -> Option<Summary> {
        self.state.summary()
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_content(buffer)?)
    }
}

fn padded(size: u64) -> u64 {
    // Sizes come from 63-bit numbers; a larger one (only PAX can say it) never fits a limit.
    size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

const LONGEST_EXTENDED: u64 = 1 << 20;
/// Bytes of extents in a block behind an old GNU header; then comes whether another one follows.
const OLD_SLOTS: usize = 504;
