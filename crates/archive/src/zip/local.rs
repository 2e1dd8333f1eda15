//! The local header in front of an entry's content and the data descriptor behind it: what readers
//! that stream go by. All that they say must be what the directory says.

use std::io::Read;

use super::extra::{Extra, ZIP64, next_u64, u16_at, u32_at, u64_at};
use super::read_error;
use super::record::{ENCRYPTED, MASKED, PATCH, Record, STRONGLY_ENCRYPTED, UTF8};
use crate::error::printable;
use crate::{Ambiguity, Error, Flaw};

/// The header in front of the content.
pub(super) struct Local {
    /// Bytes of the header.
    pub(super) length: u64,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    name: Vec<u8>,
    /// The extra fields. They are for readers that stream; padding need not be fields.
    extra: Vec<u8>,
}

impl Local {
    /// Reads the header at `at`, where `input` stands; at most `room` bytes. Leaves the input
    /// behind the header.
    pub(super) fn read(input: &mut impl Read, at: u64, room: u64) -> Result<Self, Error> {
        let malformed = || Error::Malformed { at, what: Flaw::LocalHeader };
        let mut fixed = [0; LOCAL_LENGTH];
        if room < LOCAL_LENGTH as u64 {
            return Err(malformed());
        }
        input.read_exact(&mut fixed).map_err(read_error)?;
        if !fixed.starts_with(LOCAL) {
            return Err(malformed());
        }
        let (name_length, extra_length) = (u16_at(&fixed, 26), u16_at(&fixed, 28));
        let length = LOCAL_LENGTH as u64 + u64::from(name_length) + u64::from(extra_length);
        if length > room {
            return Err(malformed());
        }
        let mut name = vec![0; usize::from(name_length)];
        input.read_exact(&mut name).map_err(read_error)?;
        let mut fields = vec![0; usize::from(extra_length)];
        input.read_exact(&mut fields).map_err(read_error)?;
        let mut local = Self {
            length,
            flags: u16_at(&fixed, 6),
            method: u16_at(&fixed, 8),
            crc: u32_at(&fixed, 14),
            packed: u64::from(u32_at(&fixed, 18)),
            size: u64::from(u32_at(&fixed, 22)),
            name,
            extra: Vec::new(),
        };
        let saturated = u64::from(u32::MAX);
        if (local.size == saturated || local.packed == saturated)
            && let Some(mut wide) =
                (Extra { fields: &fields, name: &local.name, at }).find(ZIP64)?
        {
            for field in [&mut local.size, &mut local.packed] {
                if *field == saturated {
                    *field = next_u64(&mut wide).ok_or_else(malformed)?;
                }
            }
        }
        local.extra = fields;
        Ok(local)
    }

    /// Whether it says that the entry belongs to another account or group than 0; some fields are
    /// only here.
    pub(super) fn foreign_owner(&self) -> bool {
        Extra { fields: &self.extra, name: &self.name, at: 0 }.foreign_owner()
    }

    /// Whether size and checksum follow the content.
    pub(super) fn has_descriptor(&self) -> bool {
        self.flags & DESCRIPTOR != 0
    }

    /// Whatever both say must be the same.
    pub(super) fn compare(&self, record: &Record) -> Result<(), Error> {
        let of_name = if self.name.is_ascii() { 0 } else { UTF8 };
        let flags = ENCRYPTED | STRONGLY_ENCRYPTED | MASKED | PATCH | of_name;
        // With a descriptor these are 0, or the truth.
        let agree = |local: u64, central: u64| {
            local == central || (self.has_descriptor() && matches!(local, 0 | UNKNOWN))
        };
        let what = if self.name != record.name {
            Ambiguity::LocalName
        } else if self.method != record.method {
            Ambiguity::LocalMethod
        } else if (self.flags ^ record.flags) & flags != 0 {
            Ambiguity::LocalFlags
        } else if !agree(self.size, record.size)
            || !agree(self.packed, record.packed)
            || !agree(u64::from(self.crc), u64::from(record.crc))
        {
            Ambiguity::LocalSize
        } else {
            return Ok(());
        };
        Err(Error::Ambiguous { entry: printable(&record.name), what })
    }
}

/// Bytes of the longest descriptor, and of the shortest.
pub(super) const DESCRIPTOR_LENGTHS: (u64, u64) = (24, 12);

/// Whether the bytes behind the content are a descriptor that says what the record says. It has a
/// signature or none, and sizes of 32 bits or 64; the writer does not tell which, so any form that
/// fits is taken.
pub(super) fn descriptor_agrees(behind: &[u8], record: &Record) -> bool {
    let unsigned = |bytes: &[u8]| {
        let crc = bytes.len() >= 4 && u32_at(bytes, 0) == record.crc;
        // Of a larger entry, a writer that knows no zip64 has written what fits.
        let narrow = bytes.len() >= 12
            && (u32_at(bytes, 4), u32_at(bytes, 8)) == (record.packed as u32, record.size as u32);
        let wide = bytes.len() >= 20
            && (u64_at(bytes, 4), u64_at(bytes, 12)) == (record.packed, record.size);
        crc && (narrow || wide)
    };
    unsigned(behind) || behind.strip_prefix(DESCRIPTOR_SIGNATURE).is_some_and(unsigned)
}

const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
const DESCRIPTOR_SIGNATURE: &[u8] = b"PK\x07\x08";
const DESCRIPTOR: u16 = 1 << 3;
/// What a size reads as that is left to zip64.
const UNKNOWN: u64 = u32::MAX as u64;
