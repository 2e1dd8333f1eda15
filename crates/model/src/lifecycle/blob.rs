//! The states of a blob in the binary repository. A blob that nothing holds is removed in two steps, so
//! that nobody is told "it is here" about bytes that are about to go.
//!
//! ```text
//! absent --Begin--> writing --Publish--> present --Doom (no hold, no object, no lease)--> doomed --Remove--> absent
//! writing --Abort--> absent
//! ```
//!
//! "It is here" and "its lease is extended" is one statement on a blob that is `present`; on a `doomed`
//! one the answer is "not here".

use super::{Illegal, state_words};

/// What is true of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobState {
    /// The catalog has no row for it.
    Absent,
    /// Bytes are coming; nobody may rely on them.
    Writing,
    /// The bytes are there, verified and synced.
    Present,
    /// The bytes are being removed.
    Doomed,
}

/// What happens to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobEvent {
    /// Somebody begins to send it.
    Begin,
    /// It was verified and synced.
    Publish,
    /// The sender gave up.
    Abort,
    /// Nothing wants it: so many holds, objects and running leases.
    Doom {
        /// What wants it.
        wanted_by: u32,
    },
    /// Its bytes are gone.
    Remove,
}

impl BlobState {
    /// The state after `event`.
    ///
    /// # Errors
    /// The event is not possible in this state.
    pub fn next(self, event: BlobEvent) -> Result<BlobState, Illegal<BlobState, BlobEvent>> {
        use BlobEvent as E;
        use BlobState as S;
        match (self, event) {
            (S::Absent, E::Begin) => Ok(S::Writing),
            (S::Writing, E::Publish) => Ok(S::Present),
            (S::Present, E::Publish) => Ok(S::Present), // the same bytes again
            (S::Writing, E::Abort) => Ok(S::Absent),
            (S::Present, E::Doom { wanted_by: 0 }) => Ok(S::Doomed),
            (S::Doomed, E::Remove) => Ok(S::Absent),
            (state, event) => Err(Illegal { state, event }),
        }
    }
}

state_words!(BlobState, "state of a blob",
    Absent => "absent", Writing => "writing", Present => "present", Doomed => "doomed",
);

#[cfg(test)]
mod tests {
    use super::*;
    use BlobEvent as E;
    use BlobState as S;

    #[test]
    fn what_is_wanted_is_never_doomed_and_what_is_doomed_never_comes_back_by_itself() {
        assert!(S::Present.next(E::Doom { wanted_by: 1 }).is_err());
        assert!(S::Doomed.next(E::Publish).is_err());
        assert_eq!(S::Doomed.next(E::Remove).unwrap().next(E::Begin), Ok(S::Writing));
    }
}
