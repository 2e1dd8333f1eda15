//! Byte ranges (RFC 9110 §14). Owns which bytes a `Range` field asks for; one range at a time: a request
//! for several gets the whole, which the standard allows.

use std::ops::Range;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it (200).
    Whole,
    /// These bytes (206); never empty.
    Part(Range<u64>),
    /// Nothing: no byte of the object is in the range (416).
    Unsatisfiable,
}

/// Reads a `Range` field for an object of `size` bytes. What is not understood is as if it were not there.
pub fn select_range(field: Option<&str>, size: u64) -> Selection {
    let Some(spec) = field.and_then(|f| f.trim().strip_prefix("bytes=")) else {
        return Selection::Whole;
    };
    let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else {
        return Selection::Whole;
    };
    match (number(first), number(last)) {
        (Number::None, Number::Some(0)) => Selection::Unsatisfiable,
        (Number::None, Number::Some(_)) if size == 0 => Selection::Unsatisfiable,
        (Number::None, Number::Some(suffix)) => Selection::Part(size.saturating_sub(suffix)..size),
        (Number::Some(first), Number::Some(last)) if last < first => Selection::Whole,
        (Number::Some(first), _) if first >= size => Selection::Unsatisfiable,
        (Number::Some(first), Number::Some(last)) => {
            Selection::Part(first..size.min(last.saturating_add(1)))
        }
        (Number::Some(first), Number::None) => Selection::Part(first..size),
        _ => Selection::Whole,
    }
}

enum Number {
    None,
    Some(u64),
    Bad,
}

/// Digits only; a number too large for us is as large as can be.
fn number(text: &str) -> Number {
    match text.trim() {
        "" => Number::None,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Number::Some(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Number::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_whole_table() {
        use Selection::*;
        for (field, size, wanted) in [
            ("bytes=0-4", 10, Part(0..5)),
            ("bytes=5-", 10, Part(5..10)),
            ("bytes=-3", 10, Part(7..10)),
            ("bytes=-30", 10, Part(0..10)),
            ("bytes=0-99", 10, Part(0..10)),
            ("bytes=9-9", 10, Part(9..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=-1", 0, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=0-99999999999999999999999", 10, Part(0..10)),
            ("bytes=4-2", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=a-", 10, Whole),
            ("bytes=-", 10, Whole),
            ("lines=0-1", 10, Whole),
        ] {
            assert_eq!(select_range(Some(field), size), wanted, "{field} of {size}");
        }
        assert_eq!(select_range(None, 10), Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(field in "bytes=[0-9]{0,3}-[0-9]{0,3}|\\PC{0,20}", size in 0u64..1000) {
            if let Selection::Part(range) = select_range(Some(&field), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
