//! The states of an upload. The object's name is taken only by the last move, and only after the server
//! itself has verified the whole.
//!
//! ```text
//! receiving --PartArrived--> receiving     receiving --Verify (no part missing)--> verifying
//! verifying --Match--> complete            verifying --Mismatch--> receiving (all parts are wanted again)
//! receiving --Abandon--> abandoned
//! ```

use super::{Illegal, state_words};

/// What is true of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadState {
    /// Parts are wanted, in any order and several at a time.
    Receiving,
    /// All parts are there; the whole is being hashed.
    Verifying,
    /// The object has its name.
    Complete,
    /// Nobody came back for it.
    Abandoned,
}

/// What happens to an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UploadEvent {
    /// A part came and had the digest that it should have.
    PartArrived,
    /// The client says that it has sent all; so many are missing.
    Verify {
        /// Parts that were not received.
        missing: u32,
    },
    /// The whole has the digest that it should have.
    Match,
    /// It has not.
    Mismatch,
    /// It is too old.
    Abandon,
}

impl UploadState {
    /// The state after `event`.
    ///
    /// # Errors
    /// The event is not possible in this state.
    pub fn next(
        self,
        event: UploadEvent,
    ) -> Result<UploadState, Illegal<UploadState, UploadEvent>> {
        use UploadEvent as E;
        use UploadState as S;
        match (self, event) {
            (S::Receiving, E::PartArrived) => Ok(S::Receiving),
            (S::Receiving, E::Verify { missing: 0 }) => Ok(S::Verifying),
            (S::Verifying, E::Match) => Ok(S::Complete),
            (S::Verifying, E::Mismatch) => Ok(S::Receiving),
            (S::Receiving, E::Abandon) => Ok(S::Abandoned),
            (state, event) => Err(Illegal { state, event }),
        }
    }
}

state_words!(UploadState, "state of an upload",
    Receiving => "receiving", Verifying => "verifying", Complete => "complete", Abandoned => "abandoned",
);

#[cfg(test)]
mod tests {
    use super::*;
    use UploadEvent as E;
    use UploadState as S;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_completes_with_a_part_missing_or_without_a_match(
            picks in prop::collection::vec((0usize..5, 0u32..2), 0..30)
        ) {
            let (mut state, mut verified) = (S::Receiving, false);
            for (pick, missing) in picks {
                let event = [E::PartArrived, E::Verify { missing }, E::Match, E::Mismatch, E::Abandon][pick];
                let Ok(next) = state.next(event) else { continue };
                if event == (E::Verify { missing: 0 }) { verified = true }
                if event == E::Mismatch { verified = false }
                prop_assert!(next != S::Complete || verified);
                state = next;
            }
        }
    }
}
