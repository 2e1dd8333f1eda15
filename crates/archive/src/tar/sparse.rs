//! The maps of sparse files, in the four forms that GNU tar has had: where the data of a file lies.
//!
//! - Old GNU (type `S`): four extents in the header, more in blocks behind it, 21 each.
//! - PAX 0.0: records `GNU.sparse.offset` and `GNU.sparse.numbytes`, repeated in turn.
//! - PAX 0.1: one record `GNU.sparse.map`, numbers joined by commas.
//! - PAX 1.0: decimal numbers at the head of the content, a line each, in whole blocks.
//!
//! Format: GNU tar manual, "Storing Sparse Files". Star's own forms (its `S` header of another
//! layout, `SCHILY.realsize`, Solaris' `SUN.holesdata`) are not read.
//!
//! GNU tar begins each extent at a new block, libarchive and Python where the last one ended: so an
//! extent that others follow must fill its blocks, as those of all writers do, and the extents
//! together must be what the header says is stored. Else readers take different bytes for content,
//! and for headers.

use super::extended::decimal;
use super::header::BLOCK;
use crate::{Ambiguity, Error, Extent, Feature, Flaw, Limit, SparseMap};

/// Bytes of an old GNU extent: two numbers.
const SLOT: usize = 24;
/// Bytes of an extent in memory.
const EXTENT: u64 = size_of::<Extent>() as u64;

/// Why a map cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    Malformed,
    Ambiguous(Ambiguity),
    Unsupported(Feature),
    TooLarge { most: u64 },
    Read(Error),
}

impl Fault {
    /// The error of the entry of that name, whose header is at `at`.
    pub(super) fn explain(self, entry: impl FnOnce() -> String, at: u64) -> Error {
        match self {
            Fault::Malformed => Error::Malformed { at, what: Flaw::SparseMap },
            Fault::Ambiguous(what) => Error::Ambiguous { entry: entry(), what },
            Fault::Unsupported(what) => Error::Unsupported { entry: entry(), what },
            Fault::TooLarge { most } => Error::TooLarge { limit: Limit::MetadataBytes, most },
            Fault::Read(error) => error,
        }
    }
}

/// Extents that are being collected.
pub(super) struct Extents {
    extents: Vec<Extent>,
    /// Most bytes in memory.
    most: u64,
}

impl Extents {
    /// None yet; they may take so many bytes.
    pub(super) fn new(most: u64) -> Self {
        Self { extents: Vec::new(), most }
    }

    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        if (self.extents.len() as u64 + 1).saturating_mul(EXTENT) > self.most {
            return Err(Fault::TooLarge { most: self.most });
        }
        self.extents.push(Extent { offset, length });
        Ok(())
    }

    /// The map of a file of `size` bytes of which `stored` are in the archive; `None` if it has no
    /// holes.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Option<SparseMap>, Fault> {
        let map = SparseMap::new(self.extents, size).ok_or(Fault::Malformed)?;
        let fills = |extent: &Extent| extent.length.is_multiple_of(BLOCK as u64);
        let inner = map.extents().split_last().map_or(&[][..], |(_, inner)| inner);
        if map.data() != stored || !inner.iter().all(fills) {
            return Err(Fault::Ambiguous(Ambiguity::SparseMap));
        }
        Ok((stored < size).then_some(map))
    }
}

/// Takes the old GNU extents of one block; whether the list ended there.
pub(super) fn take_slots(
    extents: &mut Extents,
    slots: &[u8],
    number: impl Fn(&[u8]) -> Option<u64>,
) -> Result<bool, Fault> {
    for slot in slots.chunks_exact(SLOT) {
        let (offset, length) = slot.split_at(SLOT / 2);
        match (offset[0], length[0]) {
            (0, 0) => return Ok(true),
            // GNU tar looks at the one, libarchive at the other.
            (0, _) | (_, 0) => return Err(Fault::Ambiguous(Ambiguity::SparseMap)),
            _ => {}
        }
        let (Some(offset), Some(length)) = (number(offset), number(length)) else {
            return Err(Fault::Malformed);
        };
        extents.push(offset, length)?;
    }
    Ok(false)
}

/// What PAX records say about a sparse file.
#[derive(Clone, Default)]
pub(super) struct Records {
    /// Whether there is any.
    pub(super) present: bool,
    pub(super) name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    /// Of 0.0: offsets and lengths in turn.
    turns: Vec<u64>,
    /// Of 0.1.
    map: Option<Vec<u64>>,
    /// A form that is not GNU's.
    foreign: bool,
}

/// Where the map of an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// In the records: offsets and lengths in turn.
    Here { size: u64, turns: Vec<u64> },
    /// At the head of the content.
    InContent { size: u64 },
}

impl Records {
    /// Takes a record if its key concerns sparse files; `None` if its value is malformed.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Option<bool> {
        if matches!(key, b"SCHILY.realsize" | b"SUN.holesdata") {
            (self.present, self.foreign) = (true, true);
            return Some(true);
        }
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else { return Some(false) };
        self.present = true;
        let number = || decimal(value);
        match key {
            b"name" => self.name = (!value.is_empty()).then(|| value.to_vec()),
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" => self.size = Some(number()?),
            b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            b"offset" if self.turns.len().is_multiple_of(2) => self.turns.push(number()?),
            b"numbytes" if !self.turns.len().is_multiple_of(2) => self.turns.push(number()?),
            b"map" if value.is_empty() => self.map = Some(Vec::new()),
            b"map" => self.map = value.split(|byte| *byte == b',').map(decimal).collect(),
            _ => return None,
        }
        // A map that is not numbers is none.
        (key != b"map" || self.map.is_some()).then_some(true)
    }

    /// Where the map is. Records of several forms contradict each other, or will in some reader.
    pub(super) fn plan(self) -> Result<Plan, Fault> {
        let ambiguous = Err(Fault::Ambiguous(Ambiguity::SparseMap));
        if self.foreign {
            return Err(Fault::Unsupported(Feature::Sparse));
        }
        if self.major.is_some() || self.minor.is_some() {
            if (self.major, self.minor) != (Some(1), Some(0)) {
                return Err(Fault::Unsupported(Feature::Sparse));
            }
            let older = self.size.is_some() || self.count.is_some();
            if older || self.map.is_some() || !self.turns.is_empty() {
                return ambiguous;
            }
            let size = self.real_size.ok_or(Fault::Malformed)?;
            return Ok(Plan::InContent { size });
        }
        if self.real_size.is_some() || (self.map.is_some() && !self.turns.is_empty()) {
            return ambiguous;
        }
        let size = self.size.ok_or(Fault::Malformed)?;
        let turns = self.map.unwrap_or(self.turns);
        if !turns.len().is_multiple_of(2) {
            return Err(Fault::Malformed);
        }
        match self.count {
            Some(count) if count != turns.len() as u64 / 2 => ambiguous,
            _ => Ok(Plan::Here { size, turns }),
        }
    }
}

/// Reads the map at the head of the content, block by block; answers it and the bytes that it takes.
/// Of the content's `stored` bytes no more are read.
pub(super) fn read_map(
    mut next_block: impl FnMut() -> Result<[u8; BLOCK], Error>,
    stored: u64,
    most: u64,
) -> Result<(Extents, u64), Fault> {
    let mut extents = Extents::new(most);
    let mut taken = 0;
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut number = || {
        let mut digits = Vec::with_capacity(LONGEST_NUMBER);
        loop {
            if at == BLOCK {
                taken += BLOCK as u64;
                if taken > stored {
                    return Err(Fault::Malformed);
                }
                block = next_block().map_err(Fault::Read)?;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            match byte {
                b'\n' => return decimal(&digits).ok_or(Fault::Malformed),
                _ if digits.len() == LONGEST_NUMBER => return Err(Fault::Malformed),
                digit => digits.push(digit),
            }
        }
    };
    for _ in 0..number()? {
        let (offset, length) = (number()?, number()?);
        extents.push(offset, length)?;
    }
    Ok((extents, taken))
}

/// Digits of the largest number.
const LONGEST_NUMBER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(records: &[(&str, &str)]) -> Result<Plan, Fault> {
        let mut taken = Records::default();
        for (key, value) in records {
            let key = format!("GNU.sparse.{key}");
            assert_eq!(taken.take(key.as_bytes(), value.as_bytes()), Some(true), "{key}");
        }
        taken.plan()
    }

    #[test]
    fn each_form_of_records_says_where_the_map_is() {
        let here = |turns: &[u64]| Plan::Here { size: 9, turns: turns.to_vec() };
        let turns = [("size", "9"), ("numblocks", "1"), ("offset", "4"), ("numbytes", "5")];
        assert_eq!(plan(&turns).unwrap(), here(&[4, 5]));
        let map = [("size", "9"), ("numblocks", "2"), ("map", "0,1,4,5")];
        assert_eq!(plan(&map).unwrap(), here(&[0, 1, 4, 5]));
        assert_eq!(plan(&[("size", "9"), ("map", "")]).unwrap(), here(&[]));
        let one = [("major", "1"), ("minor", "0"), ("name", "f"), ("realsize", "9")];
        assert_eq!(plan(&one).unwrap(), Plan::InContent { size: 9 });
    }

    #[test]
    fn records_that_do_not_fit_together_are_refused() {
        let of = |records: &[(&str, &str)]| plan(records).unwrap_err();
        let one = [("major", "1"), ("minor", "0"), ("realsize", "9"), ("map", "0,1")];
        assert!(matches!(of(&one), Fault::Ambiguous(_)));
        let count = [("size", "9"), ("numblocks", "2"), ("map", "0,1")];
        assert!(matches!(of(&count), Fault::Ambiguous(_)));
        let both = [("size", "9"), ("map", "0,1"), ("offset", "0"), ("numbytes", "1")];
        assert!(matches!(of(&both), Fault::Ambiguous(_)));
        assert!(matches!(of(&[("major", "2"), ("minor", "0")]), Fault::Unsupported(_)));
        assert!(matches!(of(&[("size", "9"), ("map", "0")]), Fault::Malformed));
        assert!(matches!(of(&[("map", "0,1")]), Fault::Malformed));
        assert!(matches!(of(&[("name", "f")]), Fault::Malformed));
        let mut records = Records::default();
        for (key, value) in [("numbytes", "1"), ("map", "1,x"), ("map", "1,"), ("other", "1")] {
            let key = format!("GNU.sparse.{key}");
            assert_eq!(records.take(key.as_bytes(), value.as_bytes()), None, "{key}");
        }
    }

    fn extents(list: &[(u64, u64)]) -> Extents {
        let mut extents = Extents::new(1 << 20);
        list.iter().for_each(|&(offset, length)| extents.push(offset, length).unwrap());
        extents
    }

    #[test]
    fn only_the_last_extent_may_end_within_a_block() {
        let data = |list: &[(u64, u64)], stored| {
            extents(list).finish(10_000, stored).map(|map| map.map(|map| map.data()))
        };
        assert_eq!(data(&[(0, 512), (1024, 3), (10_000, 0)], 515).unwrap(), Some(515));
        assert_eq!(data(&[(0, 10_000)], 10_000).unwrap(), None);
        assert_eq!(data(&[], 0).unwrap(), Some(0));
        assert!(matches!(data(&[(0, 3), (1024, 512)], 515), Err(Fault::Ambiguous(_))));
        assert!(matches!(data(&[(0, 512)], 511), Err(Fault::Ambiguous(_))));
        assert!(matches!(data(&[(0, 512), (9_999, 3)], 515), Err(Fault::Malformed)));
        assert!(matches!(data(&[(512, 512), (0, 512)], 1024), Err(Fault::Malformed)));
    }

    #[test]
    fn a_map_in_the_content_is_read_over_blocks_and_bounded() {
        let text = |count: usize| {
            let mut text = format!("{count}\n");
            (0..count).for_each(|n| text += &format!("{}\n512\n", n * 1024));
            let mut bytes = text.into_bytes();
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            bytes
        };
        let read = |bytes: &[u8], stored, most| {
            let mut blocks = bytes.chunks_exact(BLOCK);
            let next = || match blocks.next() {
                Some(block) => Ok(block.try_into().unwrap()),
                None => Err(Error::Truncated),
            };
            read_map(next, stored, most).map(|(extents, taken)| (extents.extents.len(), taken))
        };
        let bytes = text(200);
        let length = bytes.len() as u64;
        assert_eq!(read(&bytes, length + 512, 1 << 20).unwrap(), (200, length));
        assert!(matches!(read(&bytes, length - 512, 1 << 20), Err(Fault::Malformed)));
        assert!(matches!(read(&bytes, length, 199 * EXTENT), Err(Fault::TooLarge { .. })));
        assert!(matches!(read(&bytes[..512], length, 1 << 20), Err(Fault::Read(_))));
        let mut junk = bytes.clone();
        junk[2] = b'x';
        assert!(matches!(read(&junk, length, 1 << 20), Err(Fault::Malformed)));
        assert!(matches!(read(&[b'1'; 512], 512, 1 << 20), Err(Fault::Malformed)));
        assert!(matches!(read(&[b'\n'; 512], 512, 1 << 20), Err(Fault::Malformed)));
    }
}
