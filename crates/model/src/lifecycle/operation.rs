//! The states of an operation. It is a persisted request: after a restart what was running goes on, so
//! running it again must be harmless.
//!
//! ```text
//! queued --Begin--> running --Succeed--> done      running --Interrupt--> queued   (the node restarted)
//! queued, running --Fail--> failed                 queued --Cancel--> cancelled
//! ```

use super::{Illegal, state_words};

/// What is true of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationState {
    /// Recorded; nothing was done yet, or the node was restarted meanwhile.
    Queued,
    /// Being worked on.
    Running,
    /// Ended, and what was asked for is so.
    Done,
    /// Ended, and it is not so; the error says why.
    Failed,
    /// Ended before anything was done.
    Cancelled,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationEvent {
    /// Its turn has come.
    Begin,
    /// It is done.
    Succeed,
    /// It cannot be done.
    Fail,
    /// The node was restarted meanwhile.
    Interrupt,
    /// Nobody wants it any more.
    Cancel,
}

impl OperationState {
    /// The state after `event`.
    ///
    /// # Errors
    /// The event is not possible in this state.
    pub fn next(
        self,
        event: OperationEvent,
    ) -> Result<OperationState, Illegal<OperationState, OperationEvent>> {
        use OperationEvent as E;
        use OperationState as S;
        match (self, event) {
            (S::Queued, E::Begin) => Ok(S::Running),
            (S::Running, E::Succeed) => Ok(S::Done),
            (S::Queued | S::Running, E::Fail) => Ok(S::Failed),
            (S::Queued | S::Running, E::Interrupt) => Ok(S::Queued),
            (S::Queued, E::Cancel) => Ok(S::Cancelled),
            (state, event) => Err(Illegal { state, event }),
        }
    }

    /// Is the verdict there?
    pub fn has_ended(self) -> bool {
        matches!(self, OperationState::Done | OperationState::Failed | OperationState::Cancelled)
    }
}

state_words!(OperationState, "state of an operation",
    Queued => "queued", Running => "running", Done => "done", Failed => "failed", Cancelled => "cancelled",
);

#[cfg(test)]
mod tests {
    use super::*;
    use OperationEvent as E;
    use OperationState as S;
    use proptest::prelude::*;

    const EVENTS: [E; 5] = [E::Begin, E::Succeed, E::Fail, E::Interrupt, E::Cancel];

    proptest! {
        #[test]
        fn a_verdict_is_given_once_and_only_after_a_begin_where_it_is_done(
            picks in prop::collection::vec(0usize..5, 0..30)
        ) {
            let (mut state, mut begun, mut verdicts) = (S::Queued, false, 0);
            for pick in picks {
                let Ok(next) = state.next(EVENTS[pick]) else { continue };
                begun |= next == S::Running;
                if next.has_ended() {
                    verdicts += 1;
                    prop_assert!(next != S::Done || begun);
                }
                state = next;
            }
            prop_assert!(verdicts <= 1);
        }
    }
}
