//! What a zip says about one entry: the directory's record, and the local header that must agree.
//!
//! Names: UTF-8 where the flag says so; else the bytes as they are where a Unix made the archive, and
//! code page 437 where it did not. The Unicode path that Info-ZIP adds
//! replaces a name that is not ASCII if it belongs to it (its checksum says so); beside an ASCII
//! name it must be the same. A backslash is a character like any other.
//!
//! Times: the extended timestamp (UTC) where there is one, else the DOS time, which has no zone and
//! is taken as UTC.

use std::io::Read;

use super::read_error;
use crate::error::printable;
use crate::{Ambiguity, Error, Flaw, Modified};

/// The signature of a record of the directory.
pub(super) const CENTRAL: &[u8] = b"PK\x01\x02";

/// A record of the directory.
pub(super) struct Record {
    pub(super) method: u16,
    pub(super) crc: u32,
    /// Bytes in the archive.
    pub(super) packed: u64,
    /// Bytes of content.
    pub(super) size: u64,
    /// As the archive has it.
    pub(super) name: Vec<u8>,
    /// Of the local header, from the beginning of the archive.
    pub(super) offset: u64,
    flags: u16,
    host: u8,
    attributes: u32,
    dos_time: u16,
    dos_date: u16,
    extra: Vec<u8>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    Device,
    Fifo,
    Socket,
}

impl Record {
    /// The record at the beginning of `bytes`, and its length.
    pub(super) fn parse(bytes: &[u8], at: u64) -> Result<(Self, usize), Error> {
        let malformed = || Error::Malformed { at, what: Flaw::DirectoryRecord };
        if !bytes.starts_with(CENTRAL) || bytes.len() < CENTRAL_LENGTH {
            return Err(malformed());
        }
        let name_end = CENTRAL_LENGTH + usize::from(u16_at(bytes, 28));
        let extra_end = name_end + usize::from(u16_at(bytes, 30));
        let length = extra_end + usize::from(u16_at(bytes, 32));
        if length > bytes.len() {
            return Err(malformed());
        }
        let mut record = Self {
            host: bytes[5],
            flags: u16_at(bytes, 8),
            method: u16_at(bytes, 10),
            dos_time: u16_at(bytes, 12),
            dos_date: u16_at(bytes, 14),
            crc: u32_at(bytes, 16),
            packed: u64::from(u32_at(bytes, 20)),
            size: u64::from(u32_at(bytes, 24)),
            attributes: u32_at(bytes, 38),
            offset: u64::from(u32_at(bytes, 42)),
            name: bytes[CENTRAL_LENGTH..name_end].to_vec(),
            extra: bytes[name_end..extra_end].to_vec(),
        };
        let mut volume = u64::from(u16_at(bytes, 34));
        if let Some(mut wide) = extra(&record.extra, ZIP64, &record.name, at)? {
            for (field, saturated) in [
                (&mut record.size, u64::from(u32::MAX)),
                (&mut record.packed, u64::from(u32::MAX)),
                (&mut record.offset, u64::from(u32::MAX)),
            ] {
                if *field == saturated {
                    *field = next_u64(&mut wide).ok_or_else(malformed)?;
                }
            }
            if volume == u64::from(u16::MAX) {
                volume = u64::from(wide.get(..4).map_or(1, |bytes| u32_at(bytes, 0)));
            }
        }
        if volume != 0 {
            return Err(Error::Malformed { at, what: Flaw::Volumes });
        }
        Ok((record, length))
    }

    /// The name as a path; `at` is where the record is.
    pub(super) fn path(&self, at: u64) -> Result<Vec<u8>, Error> {
        let unicode = extra(&self.extra, UNICODE_PATH, &self.name, at)?
            .filter(|field| field.len() >= 5 && field[0] == 1)
            .filter(|field| u32_at(field, 1) == crc32fast::hash(&self.name))
            .map(|field| &field[5..]);
        if self.flags & UTF8 != 0 || self.name.is_ascii() {
            return match unicode {
                Some(unicode) if unicode != self.name => Err(Error::Ambiguous {
                    entry: printable(&self.name),
                    what: Ambiguity::UnicodePath,
                }),
                _ => Ok(self.name.clone()),
            };
        }
        Ok(match (unicode, self.host) {
            (Some(unicode), _) => unicode.to_vec(),
            // Info-ZIP on Unix writes the system's bytes without saying so, and reads them so again.
            (None, HOST_UNIX | HOST_MACOS) => self.name.clone(),
            (None, _) => from_code_page_437(&self.name),
        })
    }

    /// What the entry is: the Unix type where there is one, else a directory if the name or the
    /// DOS attribute says so. A name that ends in a slash is a directory to most readers.
    pub(super) fn kind(&self) -> Result<Kind, Ambiguity> {
        let slash = self.name.ends_with(b"/");
        match (self.unix_mode() & 0o170000, slash) {
            (0o040000, _) | (0o100000, true) => Ok(Kind::Directory),
            (0o100000, false) => Ok(Kind::File),
            (0o120000, false) => Ok(Kind::Symlink),
            (0o020000 | 0o060000, false) => Ok(Kind::Device),
            (0o010000, false) => Ok(Kind::Fifo),
            (0o140000, false) => Ok(Kind::Socket),
            (0o120000 | 0o020000 | 0o060000 | 0o010000 | 0o140000, true) => Err(Ambiguity::Kind),
            (_, true) => Ok(Kind::Directory),
            (_, false) if self.attributes & DOS_DIRECTORY != 0 => Ok(Kind::Directory),
            (_, false) => Ok(Kind::File),
        }
    }

    /// Permission bits; none where the archive was not made by a Unix.
    pub(super) fn mode(&self) -> u32 {
        self.unix_mode() & 0o7777
    }

    pub(super) fn modified(&self, at: u64) -> Result<Option<Modified>, Error> {
        let stamp = extra(&self.extra, TIMESTAMP, &self.name, at)?;
        let seconds = match stamp {
            Some(field) if field.len() >= 5 && field[0] & 1 != 0 => {
                Some(i64::from(u32_at(field, 1).cast_signed()))
            }
            _ => from_dos(self.dos_date, self.dos_time),
        };
        Ok(seconds.map(|seconds| Modified { seconds, nanos: 0 }))
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | STRONGLY_ENCRYPTED | MASKED) != 0
    }

    pub(super) fn is_patch(&self) -> bool {
        self.flags & PATCH != 0
    }

    fn unix_mode(&self) -> u32 {
        match self.host {
            HOST_UNIX | HOST_MACOS => self.attributes >> 16,
            _ => 0,
        }
    }
}

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
        };
        // The rest of the local fields is for readers that stream; padding need not be fields.
        let saturated = u64::from(u32::MAX);
        if (local.size == saturated || local.packed == saturated)
            && let Some(mut wide) = extra(&fields, ZIP64, &local.name, at)?
        {
            for field in [&mut local.size, &mut local.packed] {
                if *field == saturated {
                    *field = next_u64(&mut wide).ok_or_else(malformed)?;
                }
            }
        }
        Ok(local)
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

/// The extra field of that id. Fewer than four bytes at the end are padding.
fn extra<'a>(
    mut fields: &'a [u8],
    wanted: u16,
    name: &[u8],
    at: u64,
) -> Result<Option<&'a [u8]>, Error> {
    let mut found = None;
    while fields.len() >= 4 {
        let (id, length) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
        let Some(field) = fields.get(4..4 + length) else {
            return Err(Error::Malformed { at, what: Flaw::ExtraField });
        };
        if id == wanted && found.replace(field).is_some() {
            let what = Ambiguity::ExtraTwice;
            return Err(Error::Ambiguous { entry: printable(name), what });
        }
        fields = &fields[4 + length..];
    }
    Ok(found)
}

/// Seconds since 1970, the DOS time taken as UTC; `None` if there is no such day.
fn from_dos(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (1980 + i64::from(date >> 9), date >> 5 & 15, date & 31);
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days of the civil calendar, in years that begin with March.
    let (year, month) = match i64::from(month) {
        month @ 1..=2 => (year - 1, month + 9),
        month => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + i64::from(day) - 1 - DAYS_TO_1970;
    let (hours, minutes, pairs) = (time >> 11, time >> 5 & 63, time & 31);
    Some(days * 86_400 + i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(pairs) * 2)
}

fn from_code_page_437(name: &[u8]) -> Vec<u8> {
    let upper: Vec<char> = CODE_PAGE_437.chars().collect();
    let decode = |byte: &u8| match byte.checked_sub(0x80) {
        None => char::from(*byte),
        Some(index) => upper[usize::from(index)],
    };
    name.iter().map(decode).collect::<String>().into_bytes()
}

fn next_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*first))
}

/// The little-endian number at `at`, which the caller knows to be within `bytes`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

const CENTRAL_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;

const ENCRYPTED: u16 = 1;
const DESCRIPTOR: u16 = 1 << 3;
const PATCH: u16 = 1 << 5;
const STRONGLY_ENCRYPTED: u16 = 1 << 6;
const UTF8: u16 = 1 << 11;
const MASKED: u16 = 1 << 13;

const HOST_UNIX: u8 = 3;
const HOST_MACOS: u8 = 19;
const DOS_DIRECTORY: u32 = 0x10;

const ZIP64: u16 = 0x0001;
const TIMESTAMP: u16 = 0x5455;
const UNICODE_PATH: u16 = 0x7075;
/// What a size reads as that is left to zip64.
const UNKNOWN: u64 = u32::MAX as u64;

/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

/// 0x80 to 0xff.
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_taken_as_utc() {
        let dos = |y: u16, mo: u16, d: u16, h: u16, mi: u16, s: u16| {
            from_dos((y - 1980) * 512 + mo * 32 + d, h * 2048 + mi * 32 + s / 2)
        };
        assert_eq!(dos(1980, 1, 1, 0, 0, 0), Some(315_532_800));
        assert_eq!(dos(2000, 2, 29, 12, 34, 56), Some(951_827_696));
        assert_eq!(dos(2107, 12, 31, 23, 59, 58), Some(4_354_819_198));
        assert_eq!(dos(2024, 0, 1, 0, 0, 0), None);
        assert_eq!(dos(2024, 1, 0, 0, 0, 0), None);
    }

    #[test]
    fn code_page_437_has_a_character_for_each_byte() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        assert_eq!(from_code_page_437(b"a\x80\xe1\xff"), "aÇß\u{a0}".as_bytes());
    }
}
