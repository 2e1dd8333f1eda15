//! Parts: the numbered pieces in which an object is uploaded and resumed. Owns their sizes and
//! arithmetic; refuses to know where the bytes are.

use std::ops::Range;

use crate::digest::Digest;

/// One piece of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Bytes in it.
    pub size: u64,
    /// SHA-256 of these bytes.
    pub digest: Digest,
}

/// The parts of one object, in order and numbered from 1: all of one size between [`MIN_PART`] and
/// [`MAX_PART`], but for the last, which is smaller or equal and never empty. An empty object has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

/// Why a list of parts does not describe an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParts {
    /// More parts than [`MAX_PARTS`], or more bytes than [`MAX_OBJECT`].
    #[error(
        "an object of {size} bytes in {parts} parts is too large: {MAX_OBJECT} bytes in {MAX_PARTS} parts are the most"
    )]
    TooLarge {
        /// Bytes of the object.
        size: u64,
        /// How many parts were stated.
        parts: usize,
    },
    /// The sizes do not add up to the object's.
    #[error("the parts hold {sum} bytes, the object has {size}")]
    Sum {
        /// What the parts hold together.
        sum: u64,
        /// What the object was said to have.
        size: u64,
    },
    /// A part's size is not the one that its place asks for.
    #[error(
        "part {number} has {size} bytes: parts have equal sizes of 4 to 64 MiB, the last may be smaller"
    )]
    Size {
        /// The part's number, from 1.
        number: u32,
        /// Its size in bytes.
        size: u64,
    },
}

impl Parts {
    /// Checks a list of parts against the object's size in bytes.
    ///
    /// # Errors
    /// See [`InvalidParts`].
    pub fn new(size: u64, parts: Vec<Part>) -> Result<Parts, InvalidParts> {
        if size > MAX_OBJECT || parts.len() > MAX_PARTS {
            return Err(InvalidParts::TooLarge { size, parts: parts.len() });
        }
        let usual = parts.first().map_or(0, |part| part.size);
        for (number, part) in (1..).zip(&parts) {
            let last = number as usize == parts.len();
            let legal = match (last, number) {
                (true, 1) => (1..=MAX_PART).contains(&part.size),
                (true, _) => (1..=usual).contains(&part.size),
                (false, _) => part.size == usual && (MIN_PART..=MAX_PART).contains(&usual),
            };
            if !legal {
                return Err(InvalidParts::Size { number, size: part.size });
            }
        }
        let sum = parts.iter().map(|part| part.size).sum(); // at most MAX_PARTS × MAX_PART: no overflow
        if sum != size {
            return Err(InvalidParts::Sum { sum, size });
        }
        Ok(Parts(parts))
    }

    /// The parts in order.
    pub fn as_slice(&self) -> &[Part] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.len() as u32 // at most MAX_PARTS
    }

    /// Part `number`, and which bytes of the object it holds; `None` if there is no such part.
    pub fn locate(&self, number: u32) -> Option<(Part, Range<u64>)> {
        let index = (number as usize).checked_sub(1)?;
        let part = *self.0.get(index)?;
        let start = self.0[0].size * index as u64;
        Some((part, start..start + part.size))
    }
}

/// The size of the parts in which fettle uploads an object of `size` bytes: 4 MiB, and more only where
/// that would need more than 64 parts, up to 64 MiB.
pub fn part_size_for(size: u64) -> u64 {
    size.div_ceil(64).next_multiple_of(MIB).clamp(MIN_PART, MAX_PART)
}

const MIB: u64 = 1024 * 1024;
/// The smallest size of a part that is not the last, in bytes.
pub const MIN_PART: u64 = 4 * MIB;
/// The largest size of a part, in bytes.
pub const MAX_PART: u64 = 64 * MIB;
/// The most parts that an object may have.
pub const MAX_PARTS: usize = 16_384;
/// The most bytes that an object may have: 1 TiB.
pub const MAX_OBJECT: u64 = MAX_PARTS as u64 * MAX_PART;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(sizes: &[u64]) -> Vec<Part> {
        sizes.iter().map(|&size| Part { size, digest: Digest::of(b"") }).collect()
    }

    #[test]
    fn an_empty_object_has_no_parts() {
        assert_eq!(Parts::new(0, vec![]).unwrap().count(), 0);
        assert!(Parts::new(0, parts(&[0])).is_err());
        assert!(Parts::new(1, vec![]).is_err());
    }

    #[test]
    fn all_parts_but_the_last_have_one_size_between_4_and_64_mib() {
        assert!(Parts::new(10, parts(&[10])).is_ok());
        assert!(Parts::new(MIN_PART + 1, parts(&[MIN_PART, 1])).is_ok());
        assert!(Parts::new(2 * MIN_PART, parts(&[MIN_PART, MIN_PART])).is_ok());
        for bad in [
            vec![3, 3],
            vec![MIN_PART, 0],
            vec![MIN_PART, MIN_PART + 1],
            vec![MAX_PART + 1],
            vec![MIN_PART, MIN_PART - 1, MIN_PART],
            vec![MAX_PART + 1, 1],
        ] {
            assert!(Parts::new(bad.iter().sum(), parts(&bad)).is_err(), "{bad:?}");
        }
        assert_eq!(Parts::new(11, parts(&[10])), Err(InvalidParts::Sum { sum: 10, size: 11 }));
    }

    #[test]
    fn too_many_parts_are_refused_before_anything_is_added_up() {
        let many = parts(&vec![MAX_PART; MAX_PARTS + 1]);
        assert!(matches!(Parts::new(1, many), Err(InvalidParts::TooLarge { .. })));
        assert!(matches!(Parts::new(u64::MAX, vec![]), Err(InvalidParts::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn the_parts_that_fettle_makes_are_legal_and_cover_the_object(size in 0..=MAX_OBJECT) {
            let usual = part_size_for(size);
            let mut sizes = vec![usual; (size / usual) as usize];
            if size % usual != 0 { sizes.push(size % usual); }
            let made = Parts::new(size, parts(&sizes)).unwrap();
            let mut end = 0;
            for number in 1..=made.count() {
                let (part, range) = made.locate(number).unwrap();
                prop_assert_eq!(range.start, end);
                prop_assert_eq!(range.end - range.start, part.size);
                end = range.end;
            }
            prop_assert_eq!(end, size);
            prop_assert!(made.locate(0).is_none() && made.locate(made.count() + 1).is_none());
        }
    }
}
