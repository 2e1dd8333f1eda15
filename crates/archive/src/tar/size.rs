//! The size of a member where a PAX header says one as well.
//!
//! The field of a header holds 11 octal digits: 8 GiB less a byte. Of a larger member the writers in
//! use put this there, next to the `size` record: GNU tar, Python, Go and Apache Commons 0; libarchive
//! and node-tar the size itself in base-256; others the largest number, or what is left of the size in
//! 33 bits (eleven digits) or 32. Below 8 GiB all of them write the same number twice.
//!
//! Readers that know no PAX go by the field, and then take content for headers: that is how an
//! archive shows one tree to a scanner and another to an unpacker (RUSTSEC-2025-0111). So every other
//! disagreement is refused.

use crate::Ambiguity;

/// The bytes that follow the header: `field` is the header's own number.
pub(super) fn agreed(field: u64, record: Option<u64>) -> Result<u64, Ambiguity> {
    let Some(record) = record else { return Ok(field) };
    let cut = [0, LARGEST, record & LARGEST, record & u64::from(u32::MAX)];
    if field == record || (record > LARGEST && cut.contains(&field)) {
        return Ok(record);
    }
    Err(Ambiguity::SizeTwice { field, record })
}

/// What eleven octal digits hold.
const LARGEST: u64 = 0o777_7777_7777;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_members_are_taken_as_all_writers_say_them() {
        let size = (9 << 30) + 5;
        for field in [size, 0, LARGEST, (1 << 30) + 5] {
            assert_eq!(agreed(field, Some(size)), Ok(size), "{field}");
        }
        assert_eq!(agreed(5, None), Ok(5));
        assert_eq!(agreed(5, Some(5)), Ok(5));
        assert_eq!(agreed(LARGEST, Some(LARGEST)), Ok(LARGEST));
    }

    #[test]
    fn every_other_disagreement_is_refused() {
        let size = (9 << 30) + 5;
        for (field, record) in [(0, 512), (512, 0), (512, size), (0, LARGEST), (size, 5)] {
            let expected = Err(Ambiguity::SizeTwice { field, record });
            assert_eq!(agreed(field, Some(record)), expected);
        }
    }
}
