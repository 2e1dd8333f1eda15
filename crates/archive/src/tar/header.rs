//! One header block of a tar, as bytes: v7, ustar and GNU.
//!
//! Formats: POSIX.1-2017 `pax`, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::ops::Range;

use crate::Flaw;

/// Bytes of a block; headers are one, content is padded to whole ones.
pub(super) const BLOCK: usize = 512;

/// What a block in the place of a header is.
pub(super) enum Block {
    /// Nothing but zeros: two of them end the archive.
    Zero,
    /// A header whose checksum is right.
    Header(Header),
}

/// The fields that matter; names of owners and device numbers are not kept.
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
    /// It belongs to another account than 0. What is not even a number is another account.
    pub(super) foreign_account: bool,
    /// It belongs to another group than 0.
    pub(super) foreign_group: bool,
    pub(super) modified: i64,
    /// Of a type `S` in GNU's own form.
    pub(super) sparse: Option<OldSparse>,
}

/// The old GNU map of a sparse file, as far as it is in the header.
pub(super) struct OldSparse {
    pub(super) slots: [u8; 96],
    /// Blocks with more of them follow.
    pub(super) continues: bool,
    /// Bytes of the file, holes included.
    pub(super) size: u64,
}

impl Block {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, Flaw> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(Block::Zero);
        }
        verify_checksum(block)?;
        let mut name = text(&block[NAME]).to_vec();
        // GNU's magic ("ustar  ") keeps other things where ustar has the prefix; star keeps times
        // in the last bytes of it.
        if &block[MAGIC] == b"ustar\0" {
            let star = &block[STAR_MAGIC] == b"tar\0";
            let prefix = text(&block[if star { STAR_PREFIX } else { PREFIX }]);
            if !prefix.is_empty() {
                name = [prefix, &name].join(&b'/');
            }
        }
        Ok(Block::Header(Header {
            kind: block[KIND],
            name,
            link: text(&block[LINK]).to_vec(),
            size: size(&block[SIZE])?,
            mode: (number(&block[MODE])? & 0o7777) as u32,
            foreign_account: number(&block[ACCOUNT]) != Ok(0),
            foreign_group: number(&block[GROUP]) != Ok(0),
            modified: number(&block[MODIFIED])?,
            sparse: OldSparse::parse(block)?,
        }))
    }
}

impl OldSparse {
    fn parse(block: &[u8; BLOCK]) -> Result<Option<Self>, Flaw> {
        let slots = block[SPARSE_SLOTS].try_into().ok();
        let Some(slots) = slots.filter(|_| block[KIND] == b'S' && &block[MAGIC] == b"ustar ")
        else {
            return Ok(None);
        };
        let size = size(&block[SPARSE_SIZE])?;
        Ok(Some(Self { slots, continues: block[SPARSE_CONTINUES] != 0, size }))
    }
}

/// The sum of the header's bytes, with blanks for the checksum itself. Some old writers added them
/// up as signed bytes.
fn verify_checksum(block: &[u8; BLOCK]) -> Result<(), Flaw> {
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    match number(&block[CHECKSUM]) {
        Ok(sum) if sum == unsigned || sum == signed => Ok(()),
        _ => Err(Flaw::HeaderChecksum),
    }
}

/// The text up to the first NUL, or all of the field.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number that is not negative.
pub(super) fn size(field: &[u8]) -> Result<u64, Flaw> {
    number(field)?.try_into().map_err(|_| Flaw::HeaderNumber)
}

/// Octal digits between blanks or NULs, nothing meaning 0; or base-256: the first byte is 0x80 and
/// the rest a big-endian number, or 0xff and the whole its two's complement.
fn number(field: &[u8]) -> Result<i64, Flaw> {
    match field {
        [0x80, rest @ ..] => rest
            .iter()
            .try_fold(0i64, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte))),
        [0xff, rest @ ..] => rest
            .iter()
            .try_fold(-1i64, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte))),
        _ => octal(field),
    }
    .ok_or(Flaw::HeaderNumber)
}

fn octal(field: &[u8]) -> Option<i64> {
    let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let field = &field[start..];
    let end = field.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(field.len());
    field[..end].iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const ACCOUNT: Range<usize> = 108..116;
const GROUP: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MODIFIED: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_MAGIC: Range<usize> = 508..512;
const SPARSE_SLOTS: Range<usize> = 386..482;
const SPARSE_CONTINUES: usize = 482;
const SPARSE_SIZE: Range<usize> = 483..495;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_numbers_are_read_as_all_writers_pad_them() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"644\0junk", 0o644),
            (b"77777777777\0", 0o77777777777),
            (b"777777777777", 0o777777777777),
            (b"\0\0\0\0", 0),
            (b"        ", 0),
        ] {
            assert_eq!(number(field), Ok(value), "{field:?}");
        }
        for field in [&b"8"[..], b"-1", b"0x1", b"12a"] {
            assert_eq!(number(field), Err(Flaw::HeaderNumber), "{field:?}");
        }
    }

    #[test]
    fn base_256_numbers_have_a_sign_and_do_not_overflow() {
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Ok(1 << 33));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0"), Ok(-256));
        assert_eq!(number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), Err(Flaw::HeaderNumber));
        assert_eq!(number(b"\xff\0\0\0\0\0\0\0\0\0\0\0"), Err(Flaw::HeaderNumber));
    }
}
