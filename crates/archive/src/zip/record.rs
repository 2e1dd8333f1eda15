//! What a zip's directory says about one entry.
//!
//! Names: UTF-8 where the flag says so; else the bytes as they are where a Unix made the archive, and
//! code page 437 where it did not. The Unicode path that Info-ZIP adds replaces a name that is not ASCII if it belongs to it (its checksum says so); beside an ASCII
//! name it must be the same. A backslash is a character like any other.
//!
//! Times: an extra field (UTC) where there is one, else the DOS time, which has no zone and is taken
//! as UTC.

use super::extra::{Extra, UNICODE_PATH, ZIP64, from_dos, next_u64, u16_at, u32_at};
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
    pub(super) flags: u16,
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
        let fields = Extra {
            fields: &bytes[name_end..extra_end],
            name: &bytes[CENTRAL_LENGTH..name_end],
            at,
        };
        if let Some(mut wide) = fields.find(ZIP64)? {
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
        let unicode = self
            .extra(at)
            .find(UNICODE_PATH)?
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
    pub(super) fn mode(&self) -> Option<u32> {
        Some(self.unix_mode()).filter(|mode| *mode != 0).map(|mode| mode & 0o7777)
    }

    pub(super) fn modified(&self, at: u64) -> Result<Option<Modified>, Error> {
        let dos = || from_dos(self.dos_date, self.dos_time);
        let time = self.extra(at).modified()?;
        Ok(time.or_else(|| dos().map(|seconds| Modified { seconds, nanos: 0 })))
    }

    /// Whether it says that the entry belongs to another account or group than 0.
    pub(super) fn foreign_owner(&self) -> bool {
        self.extra(0).foreign_owner()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & (ENCRYPTED | STRONGLY_ENCRYPTED | MASKED) != 0
    }

    pub(super) fn is_patch(&self) -> bool {
        self.flags & PATCH != 0
    }

    fn extra(&self, at: u64) -> Extra<'_> {
        Extra { fields: &self.extra, name: &self.name, at }
    }

    fn unix_mode(&self) -> u32 {
        match self.host {
            HOST_UNIX | HOST_MACOS => self.attributes >> 16,
            _ => 0,
        }
    }
}

fn from_code_page_437(name: &[u8]) -> Vec<u8> {
    let upper: Vec<char> = CODE_PAGE_437.chars().collect();
    let decode = |byte: &u8| match byte.checked_sub(0x80) {
        None => char::from(*byte),
        Some(index) => upper[usize::from(index)],
    };
    name.iter().map(decode).collect::<String>().into_bytes()
}

const CENTRAL_LENGTH: usize = 46;

pub(super) const ENCRYPTED: u16 = 1;
pub(super) const PATCH: u16 = 1 << 5;
pub(super) const STRONGLY_ENCRYPTED: u16 = 1 << 6;
pub(super) const UTF8: u16 = 1 << 11;
pub(super) const MASKED: u16 = 1 << 13;

const HOST_UNIX: u8 = 3;
const HOST_MACOS: u8 = 19;
const DOS_DIRECTORY: u32 = 0x10;

/// 0x80 to 0xff.
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_page_437_has_a_character_for_each_byte() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        assert_eq!(from_code_page_437(b"a\x80\xe1\xff"), "aÇß\u{a0}".as_bytes());
    }
}
