//! Which parts of an object are sent, and in which order. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use model::{Digest, Parts};

/// What is to be done so that the server has the whole object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What is sent, in the order of the file.
    pub(super) send: Vec<Piece>,
    /// Bytes that the server has already.
    pub(super) present: u64,
}

/// One part on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// From 1.
    pub(super) number: u32,
    /// Which bytes of the object.
    pub(super) range: Range<u64>,
    /// SHA-256 of these bytes.
    pub(super) digest: Digest,
}

/// The server wants a part that the object does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSuchPart;

/// The plan for an object of these parts, of which the server lacks those.
pub(super) fn plan(parts: &Parts, missing: &[u32]) -> Result<Plan, NoSuchPart> {
    let wanted: BTreeSet<u32> = missing.iter().copied().collect();
    let piece = |number: u32| {
        let (part, range) = parts.locate(number).ok_or(NoSuchPart)?;
        Ok(Piece { number, range, digest: part.digest })
    };
    let send = wanted.into_iter().map(piece).collect::<Result<Vec<Piece>, NoSuchPart>>()?;
    let whole: u64 = parts.as_slice().iter().map(|part| part.size).sum();
    let sent: u64 = send.iter().map(|piece| piece.range.end - piece.range.start).sum();
    Ok(Plan { send, present: whole - sent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{MIN_PART, Part};
    use proptest::prelude::*;

    fn parts(count: u32) -> Parts {
        let part = Part { size: MIN_PART, digest: Digest::of(b"") };
        Parts::new(MIN_PART * u64::from(count), vec![part; count as usize]).unwrap()
    }

    #[test]
    fn an_object_that_is_there_is_not_sent() {
        let plan = plan(&parts(3), &[]).unwrap();
        assert_eq!(plan, Plan { send: vec![], present: 3 * MIN_PART });
    }

    #[test]
    fn a_part_that_was_never_stated_is_not_made_up() {
        assert_eq!(plan(&parts(3), &[4]), Err(NoSuchPart));
        assert_eq!(plan(&parts(3), &[0]), Err(NoSuchPart));
        assert_eq!(plan(&parts(0), &[1]), Err(NoSuchPart));
    }

    proptest! {
        #[test]
        fn every_missing_part_is_sent_once_in_order_and_no_other(
            count in 1u32..50, picks in prop::collection::vec(0u32..50, 0..60)
        ) {
            let missing: Vec<u32> = picks.iter().map(|pick| pick % count + 1).collect();
            let plan = plan(&parts(count), &missing).unwrap();
            let mut numbers: Vec<u32> = missing;
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(plan.send.iter().map(|piece| piece.number).collect::<Vec<_>>(), numbers);
            let sent = plan.send.len() as u64 * MIN_PART;
            prop_assert_eq!(plan.present + sent, MIN_PART * u64::from(count));
        }
    }
}
