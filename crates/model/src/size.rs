//! Numbers of bytes as people write them: `64MiB`, `2GB`, `1000000`. Owns the reading and the rule for units.

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a text is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no size: a whole number and a unit is wanted, for instance `64MiB`, `2GB` or `4096`", .text.escape_debug())]
pub struct InvalidSize {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl ByteSize {
    /// So many bytes.
    pub fn from_bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// As [`from_bytes`](Self::from_bytes), for constants.
    pub(crate) const fn of_bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Units of IEC 80000-13 (`KiB` is 1,024 bytes) and of SI (`kB` is 1,000).
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = InvalidSize;
    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let bad = || InvalidSize { text: text.chars().take(80).collect() };
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let factor = match (unit, unit.trim_start()) {
            ("", _) => Some(1),
            (_, unit) => UNITS.iter().find_map(|(name, factor)| (*name == unit).then_some(*factor)),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        let bytes = factor.and_then(|factor| number.checked_mul(factor));
        bytes.map(ByteSize).ok_or_else(bad)
    }
}

/// In the largest unit of 1,024 that divides it.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divides = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match UNITS[..4].iter().find(divides) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

string_form!(ByteSize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_the_units_of_iec_and_si() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("64MiB", 64 << 20),
            ("2 GB", 2_000_000_000),
            ("3kB", 3000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "64mib", "64M", "99999999999TiB", "1 ", "٣"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_size_prints_and_parses_to_itself(bytes: u64, shift in 0u32..50) {
            for size in [ByteSize(bytes), ByteSize(bytes >> shift << shift)] {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,20}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
