//! The records of the xz format (version 1.2.1), parsed as pure functions of bytes: stream header
//! and footer, block header, and the numbers of the index.

use lzma_rust2::FilterType;

use crate::Feature;

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not follow the format.
    Damaged(&'static str),
    /// It does, but what it asks for is not supported.
    Unsupported(Feature),
}

/// How the content of blocks is verified (section 2.1.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    None,
    Crc32,
    Crc64,
    Sha256,
}

impl Check {
    /// Bytes of it behind a block.
    pub(super) fn length(self) -> usize {
        match self {
            Check::None => 0,
            Check::Crc32 => 4,
            Check::Crc64 => 8,
            Check::Sha256 => 32,
        }
    }

    fn number(self) -> u8 {
        match self {
            Check::None => 0,
            Check::Crc32 => 1,
            Check::Crc64 => 4,
            Check::Sha256 => 10,
        }
    }
}

/// Parses a stream header (section 2.1.1).
pub(super) fn stream_header(bytes: &[u8; STREAM_HEADER]) -> Result<Check, Refusal> {
    if bytes[..6] != MAGIC {
        return Err(Refusal::Damaged("this is not an xz stream"));
    }
    if crc32fast::hash(&bytes[6..8]) != little(&bytes[8..12]) {
        return Err(Refusal::Damaged("the checksum of a stream header is wrong"));
    }
    match (bytes[6], bytes[7]) {
        (0, 0) => Ok(Check::None),
        (0, 1) => Ok(Check::Crc32),
        (0, 4) => Ok(Check::Crc64),
        (0, 10) => Ok(Check::Sha256),
        (0, other @ ..16) => Err(Refusal::Unsupported(Feature::Check(other))),
        _ => Err(Refusal::Damaged("a stream header sets reserved bits")),
    }
}

/// Parses a stream footer (section 2.1.2): it repeats the check, and says how long the index is.
pub(super) fn stream_footer(
    bytes: &[u8; STREAM_HEADER],
    check: Check,
    index: u64,
) -> Result<(), Refusal> {
    if bytes[10..] != FOOTER_MAGIC || crc32fast::hash(&bytes[4..10]) != little(&bytes[..4]) {
        return Err(Refusal::Damaged("the checksum of a stream footer is wrong"));
    }
    if bytes[8..10] != [0, check.number()] || (u64::from(little(&bytes[4..8])) + 1) * 4 != index {
        return Err(Refusal::Damaged("a stream footer contradicts its stream"));
    }
    Ok(())
}

/// What a block header says (section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Bytes of compressed data, where they are stated.
    pub(super) compressed: Option<u64>,
    /// Bytes of content, where they are stated.
    pub(super) content: Option<u64>,
    /// Bytes of history that decoding may refer to.
    pub(super) dictionary: u32,
    /// What is applied to the decoded bytes, in this order: the last of the header comes first.
    pub(super) filters: Vec<Filter>,
}

/// A filter behind LZMA2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) kind: FilterType,
    /// Of delta the distance, of a branch filter the start offset.
    pub(super) property: u32,
}

impl BlockHeader {
    /// Parses a block header, from its size byte to its checksum.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Damaged("a block header is malformed");
        let Some((body, checksum)) = bytes.split_last_chunk::<4>() else { return Err(malformed) };
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(Refusal::Damaged("the checksum of a block header is wrong"));
        }
        let [_, flags, rest @ ..] = body else { return Err(malformed) };
        let mut fields = Fields(rest);
        if flags & 0b11_1100 != 0 {
            return Err(Refusal::Damaged("a block header sets reserved bits"));
        }
        let compressed = fields.optional(flags & 0x40 != 0).ok_or(malformed)?;
        let content = fields.optional(flags & 0x80 != 0).ok_or(malformed)?;
        if compressed == Some(0) {
            return Err(malformed);
        }
        let mut filters = Vec::new();
        for _ in 0..flags & 0b11 {
            filters.push(fields.filter().ok_or(malformed)??);
        }
        let dictionary = match fields.filter().ok_or(malformed)?? {
            Filter { kind: FilterType::Lzma2, property } => property,
            Filter { .. } => return Err(Refusal::Damaged("a block does not end in LZMA2")),
        };
        if filters.iter().any(|filter| filter.kind == FilterType::Lzma2) {
            return Err(Refusal::Damaged("LZMA2 is not the last filter of a block"));
        }
        if fields.0.iter().any(|byte| *byte != 0) {
            // Section 3.1.6 keeps this for new fields.
            return Err(malformed);
        }
        filters.reverse();
        Ok(Self { compressed, content, dictionary, filters })
    }
}

/// What is left of a block header.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = Number::default();
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if let Some(value) = number.push(*byte).ok()? {
                return Some(value);
            }
        }
    }

    /// A number that may be absent; the outer `None` is a malformed one.
    fn optional(&mut self, present: bool) -> Option<Option<u64>> {
        if present { self.number().map(Some) } else { Some(None) }
    }

    fn filter(&mut self) -> Option<Result<Filter, Refusal>> {
        let id = self.number()?;
        let length = usize::try_from(self.number()?).ok()?;
        let (properties, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let Ok(kind) = FilterType::try_from(id) else {
            return Some(Err(Refusal::Unsupported(Feature::Filter(id))));
        };
        let property = property(kind, properties);
        Some(property.map(|property| Filter { kind, property }))
    }
}

/// The one number that the properties of any filter come to (section 5.3).
fn property(kind: FilterType, properties: &[u8]) -> Result<u32, Refusal> {
    let malformed = Err(Refusal::Damaged("the properties of a filter are malformed"));
    let alignment = match kind {
        FilterType::Lzma2 => {
            return match properties {
                [40] => Ok(u32::MAX),
                [bits @ ..40] => Ok((2 | u32::from(bits & 1)) << (bits / 2 + 11)),
                _ => malformed,
            };
        }
        FilterType::Delta => {
            return match properties {
                [distance] => Ok(u32::from(*distance) + 1),
                _ => malformed,
            };
        }
        FilterType::BcjX86 => 1,
        FilterType::BcjArmThumb | FilterType::BcjRiscv => 2,
        FilterType::BcjPpc | FilterType::BcjArm | FilterType::BcjSparc | FilterType::BcjArm64 => 4,
        FilterType::BcjIa64 => 16,
    };
    match properties {
        [] => Ok(0),
        [_, _, _, _] if little(properties).is_multiple_of(alignment) => Ok(little(properties)),
        _ => malformed,
    }
}

/// A number of variable length (section 1.2), byte by byte: seven bits each, the lowest first.
#[derive(Default)]
pub(super) struct Number {
    value: u64,
    length: u32,
}

impl Number {
    /// `Some` when this byte was the last one.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<u64>, Refusal> {
        self.value |= u64::from(byte & 0x7f) << (7 * self.length);
        self.length += 1;
        match byte {
            // The shortest form is the only one.
            0 if self.length > 1 => Err(Refusal::Damaged("a number is malformed")),
            0x80.. if self.length == 9 => Err(Refusal::Damaged("a number is malformed")),
            0x80.. => Ok(None),
            _ => Ok(Some(self.value)),
        }
    }
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// Bytes of a stream header, and of a stream footer.
pub(super) const STREAM_HEADER: usize = 12;
const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";
const FOOTER_MAGIC: [u8; 2] = *b"YZ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block header around these fields.
    fn header(flags: u8, fields: &[u8]) -> Vec<u8> {
        let mut body = vec![0, flags];
        body.extend(fields);
        body.resize(body.len().next_multiple_of(4), 0);
        body[0] = (body.len() / 4) as u8;
        body.extend(crc32fast::hash(&body).to_le_bytes());
        body
    }

    #[test]
    fn a_block_header_says_what_decoding_takes() {
        let parsed = BlockHeader::parse(&header(0xc0, &[5, 0x80, 1, 0x21, 1, 28])).unwrap();
        let plain = BlockHeader {
            compressed: Some(5),
            content: Some(128),
            dictionary: 64 << 20,
            filters: vec![],
        };
        assert_eq!(parsed, plain);
        let filtered = header(2, &[3, 1, 3, 4, 4, 7, 0, 0, 0, 0x21, 1, 1]);
        let parsed = BlockHeader::parse(&filtered).unwrap();
        assert_eq!(parsed.dictionary, 6 << 10);
        let x86 = Filter { kind: FilterType::BcjX86, property: 7 };
        assert_eq!(parsed.filters, [x86, Filter { kind: FilterType::Delta, property: 4 }]);
    }

    #[test]
    fn what_the_format_does_not_allow_is_refused() {
        let unknown = BlockHeader::parse(&header(1, &[0x7f, 0, 0x21, 1, 0]));
        assert_eq!(unknown, Err(Refusal::Unsupported(Feature::Filter(0x7f))));
        let malformed: [(u8, &[u8]); 9] = [
            (0, &[0x21, 1, 41]),
            (0, &[0x21, 2, 0, 0]),
            (0, &[0x21, 1, 0, 1]),
            (4, &[0x21, 1, 0]),
            (0, &[3, 1, 0]),
            (1, &[0x21, 1, 0, 0x21, 1, 0]),
            (1, &[7, 4, 2, 0, 0, 0, 0x21, 1, 0]),
            (0x40, &[0, 0x21, 1, 0]),
            (0x40, &[0x85, 0, 0x21, 1, 0]),
        ];
        for (flags, fields) in malformed {
            let parsed = BlockHeader::parse(&header(flags, fields));
            assert!(matches!(parsed, Err(Refusal::Damaged(_))), "{flags} {fields:?}: {parsed:?}");
        }
    }

    #[test]
    fn an_unknown_check_is_named() {
        let mut bytes = *b"\xfd7zXZ\0\0\x0f\0\0\0\0";
        let sum = crc32fast::hash(&bytes[6..8]).to_le_bytes();
        bytes[8..].copy_from_slice(&sum);
        assert_eq!(stream_header(&bytes), Err(Refusal::Unsupported(Feature::Check(15))));
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value in 0..=u64::MAX / 2, shift in 0..63u32) {
            let value = value >> shift;
            let (mut left, mut number) = (value, Number::default());
            while left >= 0x80 {
                prop_assert_eq!(number.push(left as u8 | 0x80), Ok(None));
                left >>= 7;
            }
            prop_assert_eq!(number.push(left as u8), Ok(Some(value)));
        }

        #[test]
        fn any_bytes_are_answered(flags: u8, fields in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(parsed) = BlockHeader::parse(&header(flags, &fields)) {
                prop_assert!(parsed.dictionary >= 4096 && parsed.filters.len() <= 3);
            }
            let _ = BlockHeader::parse(&fields);
        }
    }
}
