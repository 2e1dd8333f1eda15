//! Reads a zip; its truth is the directory at its end, so the input must be able to seek.
//!
//! A zip says everything twice: in the directory and in front of each entry. Readers that stream
//! believe the one, readers that seek the other. So both must agree (sizes and checksum of the local
//! header excepted where it leaves them to a data descriptor, which must agree then), no two entries
//! may share bytes, and compressed data must end where it says; else the archive is refused as
//! ambiguous. Bytes that belong to no entry are allowed: deleted entries, alignment, and a program
//! before the archive.
//!
//! Methods: stored, deflate, deflate64, bzip2 and zstd. Entries come in the order of the directory.
//! Content is verified (size and CRC-32) before its last byte is handed out; content that is passed
//! over is not read, and so not verified. A name that occurs twice is refused.
//!
//! Format: PKWARE APPNOTE 6.3.10; Info-ZIP's extra fields from its `extrafld.txt`.

mod content;
mod directory;
mod extra;
mod local;
mod packed;
mod record;
mod unpack;

use std::io::{self, Read, Seek, SeekFrom};

use crate::check::{Checker, RawEntry, RawKind, Repeats};
use crate::decode::zstd::{LONGEST_START, Start};
use crate::error::printable;
use crate::reader::State;
use crate::zip::content::Content;
use crate::zip::directory::Directory;
use crate::zip::local::{DESCRIPTOR_LENGTHS, Local, descriptor_agrees};
use crate::zip::packed::Method;
use crate::zip::record::{Kind, Record};
use crate::{
    Ambiguity, Damage, Entries, Entry, EntryKind, Error, Feature, Flaw, Limits, LinkTarget, Rule,
    Summary,
};

pub use crate::zip::packed::{Packed, PackedReader};

/// Pulls entries out of a zip.
pub struct ZipReader<R> {
    input: R,
    directory: Directory,
    checker: Checker,
    /// Of the current file, unless it is read elsewhere.
    content: Option<Content>,
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
        Ok(Self { input, directory, checker, content: None, state: State::Reading })
    }

    /// As [`next_entry`](Entries::next_entry), but the content of a file comes as what is needed to
    /// read it elsewhere, at any time and beside others: then [`read_content`](Entries::read_content)
    /// of this reader has nothing for it. `Ok(None)` proves that the tree keeps the rules, not that
    /// content is undamaged; that, each [`PackedReader`] tells of its own.
    ///
    /// # Errors
    /// Any [`Error`]; the archive is then given up.
    pub fn next_apart(&mut self) -> Result<Option<(Entry, Option<Packed>)>, Error> {
        self.content = None;
        match self.state {
            State::Reading => self.advance().inspect_err(|_| self.state = State::Failed),
            State::Complete(_) => Ok(None),
            State::Failed => Err(Error::Ended),
        }
    }

    /// The next entry; if it is a file the input stands where its packed bytes begin.
    fn advance(&mut self) -> Result<Option<(Entry, Option<Packed>)>, Error> {
        loop {
            let Some((at, record)) = self.directory.next()? else {
                self.state = State::Complete(self.checker.finish()?);
                return Ok(None);
            };
            let name = record.path(at)?;
            let (packed, owned) = locate(&mut self.input, &self.directory, &record, &name)?;
            self.checker.count_window(packed.window)?;
            if let Some(entry) = self.entry(at, &name, &record, packed, owned)? {
                return Ok(Some(entry));
            }
        }
    }

    fn entry(
        &mut self,
        at: u64,
        name: &[u8],
        record: &Record,
        packed: Packed,
        owned: bool,
    ) -> Result<Option<(Entry, Option<Packed>)>, Error> {
        let ambiguous = |what| Error::Ambiguous { entry: printable(name), what };
        let mut target = Vec::new();
        let kind = match record.kind().map_err(ambiguous)? {
            Kind::Directory if record.size > 0 => {
                return Err(ambiguous(Ambiguity::SizeWithoutContent));
            }
            Kind::Directory => RawKind::Directory,
            Kind::File => RawKind::File { size: record.size, sparse: None },
            Kind::Symlink => {
                if record.size > LinkTarget::LONGEST as u64 {
                    let rule = Rule::TargetTooLong;
                    return Err(Error::Unsafe { entry: printable(name), rule });
                }
                let mut content = packed.clone().open(&mut self.input);
                content.read_to_end(&mut target).map_err(Error::from_read)?;
                RawKind::Symlink { target: &target }
            }
            Kind::Device => RawKind::Device,
            Kind::Fifo => RawKind::Fifo,
            Kind::Socket => RawKind::Socket,
        };
        let entry = self.checker.check(&RawEntry {
            name,
            kind,
            mode: record.mode(),
            owned,
            modified: record.modified(at)?,
            attributes: false,
        })?;
        Ok(entry.map(|entry| {
            let is_file = matches!(entry.kind, EntryKind::File { .. });
            (entry, is_file.then_some(packed))
        }))
    }
}

impl<R: Read + Seek> Entries for ZipReader<R> {
    fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let Some((entry, packed)) = self.next_apart()? else { return Ok(None) };
        self.content = packed.map(Content::new);
        if let EntryKind::File { size: 0, .. } = entry.kind {
            // There is no last byte to verify it before, and nobody need ask for the end.
            self.read_content(&mut [])?;
        }
        Ok(Some(entry))
    }

    fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if let State::Failed = self.state {
            return Err(Error::Ended);
        }
        let Some(content) = &mut self.content else { return Ok(0) };
        content.read(&mut self.input, buffer).inspect_err(|_| self.state = State::Failed)
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

/// Compares the local header and the data descriptor with the directory's record, and goes to where
/// the content begins. Says as well whether the entry belongs to another account or group than 0.
fn locate<R: Read + Seek>(
    input: &mut R,
    directory: &Directory,
    record: &Record,
    name: &[u8],
) -> Result<(Packed, bool), Error> {
    let name = || printable(name);
    let unsupported = |what| Error::Unsupported { entry: name(), what };
    let ambiguous = |what| Error::Ambiguous { entry: name(), what };
    if record.is_encrypted() {
        return Err(unsupported(Feature::Encryption));
    }
    if record.is_patch() {
        return Err(unsupported(Feature::Patch));
    }
    let method =
        Method::of(record.method).ok_or_else(|| unsupported(Feature::Method(record.method)))?;

    let at = directory.place(record.offset);
    let (Some(at), Some(room)) = (at, directory.room(record.offset).map_err(ambiguous)?) else {
        return Err(Error::Malformed { at: record.offset, what: Flaw::LocalHeader });
    };
    input.seek(SeekFrom::Start(at)).map_err(read_error)?;
    let local = Local::read(input, at, room)?;
    local.compare(record)?;
    let behind =
        local.length.checked_add(record.packed).and_then(|length| room.checked_sub(length));
    let Some(behind) = behind else { return Err(ambiguous(Ambiguity::Overlap)) };
    let offset = at + local.length;
    if local.has_descriptor() {
        let (longest, shortest) = DESCRIPTOR_LENGTHS;
        if behind < shortest {
            return Err(ambiguous(Ambiguity::Overlap));
        }
        let bytes = read_at(input, offset + record.packed, behind.min(longest))?;
        if !descriptor_agrees(&bytes, record) {
            return Err(ambiguous(Ambiguity::Descriptor));
        }
    }
    if method == Method::Stored && record.packed != record.size {
        return Err(Error::Damaged { entry: name(), what: Damage::Size });
    }
    let window = match method {
        Method::Zstd => {
            let head = read_at(input, offset, record.packed.min(LONGEST_START as u64))?;
            match Start::parse(&head) {
                Ok(Some(Start::Frame { window, dictionary: 0 })) => window,
                Ok(Some(Start::Frame { dictionary, .. })) => {
                    return Err(unsupported(Feature::Dictionary(dictionary)));
                }
                // Readers of zip do not skip frames.
                Ok(Some(Start::Skippable { .. }) | None) | Err(_) => {
                    return Err(Error::Damaged { entry: name(), what: Damage::Compressed });
                }
            }
        }
        _ => 0,
    };
    input.seek(SeekFrom::Start(offset)).map_err(read_error)?;
    let (packed, size, crc) = (record.packed, record.size, record.crc);
    let packed = Packed { name: name(), method, window, offset, packed, size, crc };
    Ok((packed, record.foreign_owner() || local.foreign_owner()))
}

/// So many bytes from there, fewer if the input ends.
fn read_at<R: Read + Seek>(input: &mut R, at: u64, length: u64) -> Result<Vec<u8>, Error> {
    input.seek(SeekFrom::Start(at)).map_err(read_error)?;
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes).map_err(read_error)?;
    Ok(bytes)
}

fn read_error(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Read { source },
    }
}
