//! Reads a zip; its truth is the directory at its end, so the input must be able to seek.
//!
//! A zip says everything twice: in the directory and in front of each entry. Readers that stream
//! believe the one, readers that seek the other. So both must agree (sizes and checksum excepted
//! where the local header leaves them to a data descriptor), no two entries may share bytes, and
//! compressed data must end where it says; else the archive is refused as ambiguous. Bytes that
//! belong to no entry are allowed: deleted entries, alignment, and a program before the archive.
//!
//! Methods: stored and deflate. Entries come in the order of the directory. Content is verified
//! (size and CRC-32) before its last byte is handed out; content that is passed over is not read,
//! and so not verified. A name that occurs twice is refused.
//!
//! Format: PKWARE APPNOTE 6.3.10; Info-ZIP's extra fields from its `extrafld.txt`.

mod content;
mod directory;
mod record;

use std::io::{self, Read, Seek, SeekFrom};

use crate::check::{Checker, RawEntry, RawKind, Repeats};
use crate::error::printable;
use crate::reader::State;
use crate::zip::content::{Content, Fault, Method};
use crate::zip::directory::Directory;
use crate::zip::record::{Kind, Local, Record};
use crate::{
    Ambiguity, Entries, Entry, EntryKind, Error, Feature, Flaw, Limits, LinkTarget, Rule, Summary,
};

/// Pulls entries out of a zip.
pub struct ZipReader<R> {
    input: R,
    directory: Directory,
    checker: Checker,
    content: Option<Content>,
    /// Of the current entry, for messages.
    name: Vec<u8>,
    state: State,
}

impl<R: Read + Seek> ZipReader<R> {
    /// Reads the directory of the zip in `input`, which begins at its position 0.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Ambiguous`], [`Error::TooLarge`], [`Error::Read`].
    pub fn new(mut input: R, limits: Limits) -> Result<Self, Error> {
        let directory = Directory::read(&mut input, &limits)?;
        let checker = Checker::new(limits, Repeats::Refused);
        let (content, name) = (None, Vec::new());
        Ok(Self { input, directory, checker, content, name, state: State::Reading })
    }

    fn advance(&mut self) -> Result<Option<Entry>, Error> {
        self.content = None;
        loop {
            let Some((at, record)) = self.directory.next()? else {
                self.state = State::Complete(self.checker.finish()?);
                return Ok(None);
            };
            self.name = record.path(at)?;
            let content = open(&mut self.input, &self.directory, &record)?;
            if let Some(entry) = self.entry(at, &record, content)? {
                return Ok(Some(entry));
            }
        }
    }

    fn entry(
        &mut self,
        at: u64,
        record: &Record,
        mut content: Content,
    ) -> Result<Option<Entry>, Error> {
        let ambiguous = |what| Error::Ambiguous { entry: printable(&self.name), what };
        let mut target = Vec::new();
        let kind = match record.kind().map_err(ambiguous)? {
            Kind::Directory if record.size > 0 => {
                return Err(ambiguous(Ambiguity::SizeWithoutContent));
            }
            Kind::Directory => RawKind::Directory,
            Kind::File => RawKind::File { size: record.size },
            Kind::Symlink => {
                if record.size > LinkTarget::LONGEST as u64 {
                    let rule = Rule::TargetTooLong;
                    return Err(Error::Unsafe { entry: printable(&self.name), rule });
                }
                target.resize(record.size as usize, 0);
                let mut read = 0;
                while read < target.len() {
                    read += content
                        .read(&mut self.input, &mut target[read..])
                        .map_err(|fault| explain(&self.name, fault))?;
                }
                RawKind::Symlink { target: &target }
            }
            Kind::Device => RawKind::Device,
            Kind::Fifo => RawKind::Fifo,
            Kind::Socket => RawKind::Socket,
        };
        let is_link = matches!(kind, RawKind::Symlink { .. });
        let entry = self.checker.check(&RawEntry {
            name: &self.name,
            kind,
            mode: record.mode(),
            modified: record.modified(at)?,
            attributes: false,
        })?;
        let is_file = matches!(entry, Some(Entry { kind: EntryKind::File { .. }, .. }));
        if (is_file || is_link) && record.size == 0 {
            // There is no last byte to verify it before.
            content.verify(&mut self.input).map_err(|fault| explain(&self.name, fault))?;
        }
        self.content = is_file.then_some(content);
        Ok(entry)
    }
}

impl<R: Read + Seek> Entries for ZipReader<R> {
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
        let Some(content) = &mut self.content else { return Ok(0) };
        content.read(&mut self.input, buffer).map_err(|fault| {
            self.state = State::Failed;
            explain(&self.name, fault)
        })
    }

    fn summary(&self) -> Option<Summary> {
        self.state.summary()
    }
}

impl<R: Read + Seek> Read for ZipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_content(buffer)?)
    }
}

/// Compares the local header with the directory's record, and goes to where the content begins.
fn open<R: Read + Seek>(
    input: &mut R,
    directory: &Directory,
    record: &Record,
) -> Result<Content, Error> {
    let name = || printable(&record.name);
    let unsupported = |what| Error::Unsupported { entry: name(), what };
    let ambiguous = |what| Error::Ambiguous { entry: name(), what };
    if record.is_encrypted() {
        return Err(unsupported(Feature::Encryption));
    }
    if record.is_patch() {
        return Err(unsupported(Feature::Patch));
    }
    let method = match record.method {
        0 => Method::Stored,
        8 => Method::Deflate,
        other => return Err(unsupported(Feature::Method(other))),
    };

    let at = directory.place(record.offset);
    let (Some(at), Some(room)) = (at, directory.room(record.offset).map_err(ambiguous)?) else {
        return Err(Error::Malformed { at: record.offset, what: Flaw::LocalHeader });
    };
    input.seek(SeekFrom::Start(at)).map_err(read_error)?;
    let local = Local::read(input, at, room)?;
    local.compare(record)?;
    let descriptor = if local.has_descriptor() { SHORTEST_DESCRIPTOR } else { 0 };
    let length = local
        .length
        .checked_add(record.packed)
        .and_then(|length| length.checked_add(descriptor))
        .filter(|length| *length <= room);
    if length.is_none() {
        return Err(ambiguous(Ambiguity::Overlap));
    }
    Content::new(method, record.packed, record.size, record.crc)
        .map_err(|what| Error::Damaged { entry: name(), what })
}

fn explain(name: &[u8], fault: Fault) -> Error {
    let entry = printable(name);
    match fault {
        Fault::Damaged(what) => Error::Damaged { entry, what },
        Fault::Ambiguous(what) => Error::Ambiguous { entry, what },
        Fault::Read(source) => read_error(source),
    }
}

fn read_error(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Read { source },
    }
}

/// A data descriptor without signature and with sizes of 32 bits.
const SHORTEST_DESCRIPTOR: u64 = 12;
