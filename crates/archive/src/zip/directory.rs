//! Where a zip's directory is, and where its entries may lie.
//!
//! The end record must reach to the last byte of the input (zeros behind it are padding, as bsdtar
//! writes it into a pipe), and no second one may be read out of its comment. The directory must end where the end records begin; if it then lies further on
//! than they say, something was put before the archive (a self-extractor), and all offsets count
//! from the archive's own beginning. Where a directory could be read at both places, readers
//! disagree, and it is refused.
//!
//! A writer without zip64 that has more than 65,535 entries writes what 16 bits keep of their number,
//! and common readers go by the size of the directory: so do we.
//!
//! The directory is kept in memory as it is, and parsed record by record.

use std::io::{Read, Seek, SeekFrom};

use super::extra::{u16_at, u32_at, u64_at};
use super::record::{CENTRAL, Record};
use super::{read_at, read_error};
use crate::{Ambiguity, Error, Flaw, Limit, Limits};

/// The directory and how far it was read.
pub(super) struct Directory {
    records: Vec<u8>,
    done: usize,
    /// Where the directory begins in the input.
    start: u64,
    /// Where the archive begins in the input.
    base: u64,
    /// Offsets of all local headers, counted from `base`, ascending.
    offsets: Vec<u64>,
}

/// What the end records say.
struct End {
    /// How many entries, or (without zip64) their number modulo 65,536.
    count: u64,
    zip64: bool,
    size: u64,
    offset: u64,
    /// Where the end records begin in the input: the directory ends there.
    at: u64,
}

impl Directory {
    pub(super) fn read<R: Read + Seek>(input: &mut R, limits: &Limits) -> Result<Self, Error> {
        let length = input.seek(SeekFrom::End(0)).map_err(read_error)?;
        let end = End::find(input, length)?;
        let misplaced = Error::Malformed { at: end.at, what: Flaw::DirectoryPlace };
        let Some(start) = end.at.checked_sub(end.size) else { return Err(misplaced) };
        let Some(base) = start.checked_sub(end.offset) else { return Err(misplaced) };
        if base > 0 && read_at(input, end.offset, 4)? == CENTRAL {
            return Err(Error::Malformed { at: end.offset, what: Flaw::TwoDirectories });
        }
        let too_many = Error::TooLarge { limit: Limit::Entries, most: limits.entries };
        if end.count > limits.entries {
            return Err(too_many);
        }
        if end.size > limits.metadata_bytes {
            let most = limits.metadata_bytes;
            return Err(Error::TooLarge { limit: Limit::MetadataBytes, most });
        }
        let records = read_at(input, start, end.size)?;
        let mut directory = Self { records, done: 0, start, base, offsets: Vec::new() };
        while let Some((_, record)) = directory.next()? {
            if directory.offsets.len() as u64 == limits.entries {
                return Err(too_many);
            }
            directory.offsets.push(record.offset);
        }
        let count = directory.offsets.len() as u64;
        if count != end.count && (end.zip64 || count % (1 << 16) != end.count) {
            return Err(Error::Malformed { at: start, what: Flaw::DirectoryPlace });
        }
        directory.offsets.sort_unstable();
        directory.done = 0;
        Ok(directory)
    }

    /// The next record, and where it is in the input.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Record)>, Error> {
        let rest = &self.records[self.done..];
        if rest.is_empty() {
            return Ok(None);
        }
        let at = self.start + self.done as u64;
        let (record, length) = Record::parse(rest, at)?;
        self.done += length;
        Ok(Some((at, record)))
    }

    /// Where in the input an offset is.
    pub(super) fn place(&self, offset: u64) -> Option<u64> {
        self.base.checked_add(offset)
    }

    /// How many bytes the entry at this offset may take: up to the next entry or the directory.
    /// None if it lies beyond.
    pub(super) fn room(&self, offset: u64) -> Result<Option<u64>, Ambiguity> {
        let next = self.offsets.partition_point(|other| *other <= offset);
        if next >= 2 && self.offsets[next - 2] == offset {
            return Err(Ambiguity::Overlap);
        }
        let end = self.start - self.base;
        let next = self.offsets.get(next).map_or(end, |next| end.min(*next));
        Ok(next.checked_sub(offset))
    }
}

impl End {
    fn find<R: Read + Seek>(input: &mut R, length: u64) -> Result<Self, Error> {
        let tail_at = length.saturating_sub((END_LENGTH + LONGEST_COMMENT) as u64);
        let tail = read_at(input, tail_at, length - tail_at)?;
        let padding = tail.iter().rev().take_while(|byte| **byte == 0).count();
        let mut ends = tail.windows(END_LENGTH).enumerate().filter_map(|(at, window)| {
            if !window.starts_with(END) {
                return None;
            }
            let end = at + END_LENGTH + usize::from(u16_at(window, 20));
            (tail.len() - padding..=tail.len()).contains(&end).then_some(at)
        });
        let Some(at) = ends.next() else {
            return Err(Error::Malformed { at: length, what: Flaw::NoDirectory });
        };
        let record = &tail[at..];
        let at = tail_at + at as u64;
        // Most readers search backwards: there must be nothing for them to find in the comment.
        if record[END_LENGTH..].windows(END.len()).any(|window| window == END) {
            return Err(Error::Malformed { at, what: Flaw::TwoDirectories });
        }
        if (u16_at(record, 4), u16_at(record, 6)) != (0, 0) {
            // With zip64 they may be saturated instead, but nobody writes that.
            return Err(Error::Malformed { at, what: Flaw::Volumes });
        }
        let end = Self {
            count: u64::from(u16_at(record, 10)),
            zip64: false,
            size: u64::from(u32_at(record, 12)),
            offset: u64::from(u32_at(record, 16)),
            at,
        };
        if u16_at(record, 8) != u16_at(record, 10) {
            return Err(Error::Malformed { at, what: Flaw::Volumes });
        }
        end.zip64(input)
    }

    /// The zip64 end record, if there is one; it may say only what the plain one leaves to it.
    fn zip64<R: Read + Seek>(self, input: &mut R) -> Result<Self, Error> {
        let Some(locator_at) = self.at.checked_sub(LOCATOR_LENGTH) else { return Ok(self) };
        let locator = read_at(input, locator_at, LOCATOR_LENGTH)?;
        if !locator.starts_with(LOCATOR) {
            return Ok(self);
        }
        let misplaced = Error::Malformed { at: locator_at, what: Flaw::DirectoryPlace };
        if u32_at(&locator, 4) != 0 || u32_at(&locator, 16) > 1 {
            return Err(Error::Malformed { at: locator_at, what: Flaw::Volumes });
        }
        // With something before the archive the locator's offset is short of the place. The
        // record then has its usual length, and ends where the locator begins.
        let told = u64_at(&locator, 8);
        let usual = locator_at.checked_sub(END64_LENGTH);
        let mut places = Vec::new();
        let other = usual.filter(|usual| *usual != told);
        for at in [Some(told), other].into_iter().flatten().filter(|at| *at < locator_at) {
            let record = read_at(input, at, END64_LENGTH)?;
            let fits = record.starts_with(END64)
                && record.len() as u64 == END64_LENGTH
                && at.checked_add(12).and_then(|at| at.checked_add(u64_at(&record, 4)))
                    == Some(locator_at);
            if fits {
                places.push((at, record));
            }
        }
        if places.len() > 1 {
            return Err(Error::Malformed { at: locator_at, what: Flaw::TwoDirectories });
        }
        let Some((at, record)) = places.pop() else { return Err(misplaced) };
        if (u32_at(&record, 16), u32_at(&record, 20)) != (0, 0) {
            return Err(Error::Malformed { at, what: Flaw::Volumes });
        }
        let end = Self {
            count: u64_at(&record, 32),
            zip64: true,
            size: u64_at(&record, 40),
            offset: u64_at(&record, 48),
            at,
        };
        let agree = |plain: u64, saturated: u64, full: u64| plain == saturated || plain == full;
        let consistent = u64_at(&record, 24) == end.count
            && agree(self.count, u64::from(u16::MAX), end.count)
            && agree(self.size, u64::from(u32::MAX), end.size)
            && agree(self.offset, u64::from(u32::MAX), end.offset);
        if consistent { Ok(end) } else { Err(misplaced) }
    }
}

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_LENGTH: u64 = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_LENGTH: u64 = 56;
