//! The states of an instance.
//!
//! ```text
//! not-running --Start--> launching --Launched--> running --Exited--> not-running | backoff | failed
//! backoff --RetryDue--> launching          failed, not-running, backoff --Start--> launching
//! launching, running, paused --Stop--> stopping --Exited--> not-running
//! launching --LaunchFailed--> backoff | failed         running <--Pause/Resume--> paused
//! not-running, backoff, failed --BeginUpdate--> updating --EndUpdate--> not-running
//! not-running, failed --Delete--> deleted
//! any of launching, running, paused, stopping, backoff, updating --Lost--> not-running    (after a restart of the node)
//! ```

use super::{Illegal, state_words};

/// What is true of an instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// No process, and none is due.
    NotRunning,
    /// A process is being made, or was made and is not ready.
    Launching,
    /// Its process runs.
    Running,
    /// Its process exists and gets no time.
    Paused,
    /// Its process was told to end and has not ended.
    Stopping,
    /// No process; one is due after a pause.
    Backoff,
    /// No process, and none is due before somebody acts or the machine boots: the budget is spent, or the
    /// policy wants no restart. Workspace, logs and exit status stay.
    Failed,
    /// Its links are being moved to another version; it has no process.
    Updating,
    /// It is gone; its directory may not be yet.
    Deleted,
}

/// What should be true of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Desired {
    /// Its process should run, also after a reboot.
    Running,
    /// No process should run.
    Stopped,
}

/// What happens to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstanceEvent {
    /// It shall run: now.
    Start,
    /// Its process is there and ready.
    Launched,
    /// No process could be made, and this follows.
    LaunchFailed(Aftermath),
    /// Its process ended, and this follows.
    Exited(Aftermath),
    /// The pause is over.
    RetryDue,
    /// It shall end.
    Stop,
    /// It shall get no time.
    Pause,
    /// It shall get time again.
    Resume,
    /// Its links will be moved.
    BeginUpdate,
    /// Its links were moved.
    EndUpdate,
    /// It shall go.
    Delete,
    /// The node was restarted and its process is not there any more.
    Lost,
}

/// What follows an end: the word of [`crate::verdict`], without its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aftermath {
    /// Nothing is due.
    Rest,
    /// A start is due after a pause.
    Retry,
    /// It failed.
    GiveUp,
}

impl InstanceState {
    /// The state after `event`.
    ///
    /// # Errors
    /// The event is not possible in this state.
    pub fn next(
        self,
        event: InstanceEvent,
    ) -> Result<InstanceState, Illegal<InstanceState, InstanceEvent>> {
        use InstanceEvent as E;
        use InstanceState as S;
        Ok(match (self, event) {
            (S::NotRunning | S::Backoff | S::Failed, E::Start) => S::Launching,
            (S::Backoff, E::RetryDue) => S::Launching,
            (S::Launching, E::Launched) => S::Running,
            (S::Launching, E::LaunchFailed(after))
            | (S::Launching | S::Running | S::Paused, E::Exited(after)) => match after {
                Aftermath::Rest => S::NotRunning,
                Aftermath::Retry => S::Backoff,
                Aftermath::GiveUp => S::Failed,
            },
            (S::Stopping, E::Exited(_) | E::LaunchFailed(_)) => S::NotRunning,
            (S::Launching | S::Running | S::Paused, E::Stop) => S::Stopping,
            (S::Backoff | S::Failed, E::Stop) => S::NotRunning,
            (S::Running, E::Pause) => S::Paused,
            (S::Paused, E::Resume) => S::Running,
            (S::NotRunning | S::Backoff | S::Failed, E::BeginUpdate) => S::Updating,
            (S::Updating, E::EndUpdate) => S::NotRunning,
            (S::NotRunning | S::Failed, E::Delete) => S::Deleted,
            (
                S::Launching | S::Running | S::Paused | S::Stopping | S::Backoff | S::Updating,
                E::Lost,
            ) => S::NotRunning,
            (state, event) => return Err(Illegal { state, event }),
        })
    }

    /// Is there a process in this state (or may there be one)?
    pub fn has_process(self) -> bool {
        use InstanceState as S;
        matches!(self, S::Launching | S::Running | S::Paused | S::Stopping)
    }

    /// May it be deleted without being stopped first?
    pub fn is_stopped(self) -> bool {
        matches!(self, InstanceState::NotRunning | InstanceState::Failed)
    }
}

state_words!(InstanceState, "state of an instance",
    NotRunning => "not-running", Launching => "launching", Running => "running", Paused => "paused",
    Stopping => "stopping", Backoff => "backoff", Failed => "failed", Updating => "updating",
    Deleted => "deleted",
);

state_words!(Desired, "desired state", Running => "running", Stopped => "stopped");

#[cfg(test)]
mod tests {
    use super::*;
    use InstanceEvent as E;
    use InstanceState as S;
    use proptest::prelude::*;

    const AFTER: [Aftermath; 3] = [Aftermath::Rest, Aftermath::Retry, Aftermath::GiveUp];

    fn events() -> Vec<E> {
        let mut all = vec![
            E::Start,
            E::Launched,
            E::RetryDue,
            E::Stop,
            E::Pause,
            E::Resume,
            E::BeginUpdate,
            E::EndUpdate,
            E::Delete,
            E::Lost,
        ];
        all.extend(AFTER.map(E::LaunchFailed));
        all.extend(AFTER.map(E::Exited));
        all
    }

    #[test]
    fn every_state_can_be_reached_and_every_live_state_can_be_left_for_deletion() {
        let mut seen = vec![S::NotRunning];
        let mut next = 0;
        while next < seen.len() {
            for event in events() {
                if let Ok(state) = seen[next].next(event)
                    && !seen.contains(&state)
                {
                    seen.push(state);
                }
            }
            next += 1;
        }
        assert_eq!(seen.len(), S::ALL.len());
    }

    #[test]
    fn a_deleted_instance_answers_nothing() {
        assert!(events().into_iter().all(|event| S::Deleted.next(event).is_err()));
    }

    #[test]
    fn words_name_each_state_and_nothing_else() {
        for state in S::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert!("asleep".parse::<S>().is_err());
    }

    proptest! {
        /// An independent account of processes: at most one, made only by a launch that had none before.
        #[test]
        fn whatever_happens_there_is_at_most_one_process_and_none_after_deletion(
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60)
        ) {
            let all = events();
            let (mut state, mut process) = (S::NotRunning, false);
            for pick in picks {
                let event = all[pick.index(all.len())];
                let Ok(next) = state.next(event) else { continue };
                match event {
                    E::Start | E::RetryDue => {
                        prop_assert!(!process, "{state} {event:?} would make a second process");
                        process = true;
                    }
                    E::LaunchFailed(_) | E::Exited(_) | E::Lost => process = false,
                    E::BeginUpdate | E::EndUpdate | E::Delete => prop_assert!(!process),
                    E::Launched | E::Pause | E::Resume | E::Stop => {}
                }
                prop_assert_eq!(next.has_process(), process, "after {:?} in {}", event, state);
                state = next;
            }
        }
    }
}
