//! What is to be done with a unit, by what is there. Owns the seal: the first line of a unit has the digest of the
//! rest, so that one that fettle wrote and nobody touched is told from one that somebody edited. Pure.

use model::Digest;
use serde::Serialize;

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Plan {
    /// There is none: it is written.
    #[serde(rename = "written")]
    Write,
    /// There is another one that nobody will miss.
    #[serde(rename = "replaced")]
    Replace,
    /// It is there, and stays as it is.
    #[serde(rename = "kept")]
    Keep,
}

/// The text under its seal.
pub(super) fn seal(text: &str) -> String {
    format!("{SEAL}{}\n{text}", Digest::of(text.as_bytes()))
}

/// What to do; `None` if that would destroy what somebody wrote.
pub(super) fn plan(there: Option<&str>, wanted: &str, force: bool) -> Option<Plan> {
    match there {
        None => Some(Plan::Write),
        Some(there) if there == wanted => Some(Plan::Keep),
        Some(there) if force || is_untouched(there) => Some(Plan::Replace),
        Some(_) => None,
    }
}

fn is_untouched(there: &str) -> bool {
    let rest = there.split_once('\n').map(|(_, rest)| rest);
    rest.is_some_and(|rest| seal(rest) == there)
}

const SEAL: &str = "# Written by fettle, which replaces it only while it is as it was written: ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_fettle_wrote_is_replaced_and_what_anybody_changed_is_not(
            old in "(\\PC{0,12}\n){0,4}", new in "(\\PC{0,12}\n){0,4}", at in 0_usize..200, byte in "[a-z\n#]",
        ) {
            let (there, wanted) = (seal(&old), seal(&new));
            let expected = if old == new { Plan::Keep } else { Plan::Replace };
            prop_assert_eq!(plan(Some(&there), &wanted, false), Some(expected));
            let at = (0..=at.min(there.len())).rev().find(|at| there.is_char_boundary(*at));
            let mut edited = there;
            edited.insert_str(at.unwrap(), &byte);
            prop_assume!(edited != wanted);
            prop_assert_eq!(plan(Some(&edited), &wanted, false), None);
            prop_assert_eq!(plan(Some(&edited), &wanted, true), Some(Plan::Replace));
        }
    }

    #[test]
    fn a_unit_that_is_missing_is_written_and_one_by_hand_is_kept_out_of() {
        assert_eq!(plan(None, "x", false), Some(Plan::Write));
        assert_eq!(plan(Some("[Service]\n"), &seal("x"), false), None);
        assert_eq!(plan(Some(""), &seal("x"), false), None);
    }
}
