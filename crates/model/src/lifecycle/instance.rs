//! The states of an instance.
//!
//! ```text
//! not-running, failed, backoff --Start--> launching       backoff --RetryDue--> launching
//! launching --Launched--> launching --Ready--> running <--Pause/Resume--> paused
//! launching, running --Unwell--> stopping                 launching, running, paused, stopping --Stop--> stopping
//! launching, running, paused, stopping --Exited--> not-running | backoff | failed
//! launching, stopping --LaunchFailed--> not-running | backoff | failed
//! not-running, backoff, failed --Stop--> not-running
//! not-running, backoff, failed --BeginUpdate--> updating --EndUpdate--> not-running
//! not-running, failed --Delete--> deleted
//! any of launching, running, paused, stopping, backoff, updating --Lost--> not-running    (after a restart of the node)
//! ```
//!
//! `stopping` does not say who wanted the end. Whoever ends a process keeps that beside the state as an
//! [`Ending`], and asks [`Ending::aftermath`] what follows: nothing, where somebody asked for the end.

use std::fmt;

use super::{Illegal, state_words};
use crate::restart::Verdict;

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
    /// Its process is there.
    Launched,
    /// Its process does its work.
    Ready,
    /// Its process is there and does not work: it shall end, and that counts as a failure.
    Unwell(Unwell),
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

/// In which way a process does not work that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unwell {
    /// It was not ready within its deadline.
    NotReady,
    /// Its watchdog was not fed in time.
    Watchdog,
    /// It gave too many bad answers in a row.
    NotAlive,
}

/// Why a process is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Somebody asked for it.
    Asked,
    /// It does not work.
    Unwell(Unwell),
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
            (S::Launching, E::Launched) => S::Launching,
            (S::Launching, E::Ready) => S::Running,
            (S::Launching | S::Running, E::Unwell(_)) => S::Stopping,
            (S::Launching | S::Stopping, E::LaunchFailed(after))
            | (S::Launching | S::Running | S::Paused | S::Stopping, E::Exited(after)) => {
                match after {
                    Aftermath::Rest => S::NotRunning,
                    Aftermath::Retry => S::Backoff,
                    Aftermath::GiveUp => S::Failed,
                }
            }
            (S::Launching | S::Running | S::Paused | S::Stopping, E::Stop) => S::Stopping,
            (S::NotRunning | S::Backoff | S::Failed, E::Stop) => S::NotRunning,
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

impl Ending {
    /// What follows the end of a process that was being ended for this reason (`None`: it ended by itself)
    /// and about which the policy says `verdict`: nothing, where somebody asked for the end.
    pub fn aftermath(ending: Option<Ending>, verdict: &Verdict) -> Aftermath {
        match (ending, verdict) {
            (Some(Ending::Asked), _) | (_, Verdict::Rest) => Aftermath::Rest,
            (_, Verdict::Retry { .. }) => Aftermath::Retry,
            (_, Verdict::GiveUp) => Aftermath::GiveUp,
        }
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unwell::NotReady => "it was not ready in time",
            Unwell::Watchdog => "it missed its watchdog",
            Unwell::NotAlive => "it did not answer as one that works",
        })
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
            E::Ready,
            E::RetryDue,
            E::Stop,
            E::Pause,
            E::Resume,
            E::BeginUpdate,
            E::EndUpdate,
            E::Delete,
            E::Lost,
        ];
        all.extend([Unwell::NotReady, Unwell::Watchdog, Unwell::NotAlive].map(E::Unwell));
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

    /// An account of one instance that knows no states: what was done to it, and what is there.
    #[derive(Debug, Default, Clone, PartialEq)]
    struct World {
        /// Somebody ordered a process, and its end was not seen.
        process: bool,
        /// It said that it works.
        ready: bool,
        frozen: bool,
        /// It was told to end.
        dying: bool,
        /// A start is due.
        due: bool,
        failed: bool,
        moving: bool,
        deleted: bool,
    }

    impl World {
        fn gone(&mut self, after: Aftermath) {
            *self = World {
                due: after == Aftermath::Retry,
                failed: after == Aftermath::GiveUp,
                ..World::default()
            };
        }

        /// Does what the event says; `false` if it makes no sense.
        fn take(&mut self, event: E) -> bool {
            let rests = !self.process && !self.moving && !self.deleted;
            let works = self.process && !self.dying && !self.frozen;
            let sense = match event {
                E::Start | E::BeginUpdate => rests,
                E::RetryDue => rests && self.due,
                E::Launched | E::Ready => works && !self.ready,
                E::Unwell(_) => works,
                E::LaunchFailed(_) => self.process && (self.dying || !self.ready),
                E::Exited(_) => self.process,
                E::Stop => self.process || rests,
                E::Pause => works && self.ready,
                E::Resume => self.process && self.frozen && !self.dying,
                E::EndUpdate => self.moving,
                E::Delete => rests && !self.due,
                E::Lost => self.process || self.due || self.moving,
            };
            if !sense {
                return false;
            }
            match event {
                E::Start | E::RetryDue => *self = World { process: true, ..World::default() },
                E::Launched => {}
                E::Ready => self.ready = true,
                E::LaunchFailed(after) | E::Exited(after) => self.gone(after),
                E::Stop if !self.process => self.gone(Aftermath::Rest),
                E::Unwell(_) | E::Stop => self.dying = true,
                E::Pause => self.frozen = true,
                E::Resume => self.frozen = false,
                E::BeginUpdate => *self = World { moving: true, ..World::default() },
                E::EndUpdate | E::Lost => self.gone(Aftermath::Rest),
                E::Delete => *self = World { deleted: true, ..World::default() },
            }
            true
        }

        fn state(&self) -> S {
            match self {
                World { deleted: true, .. } => S::Deleted,
                World { moving: true, .. } => S::Updating,
                World { process: true, dying: true, .. } => S::Stopping,
                World { process: true, frozen: true, .. } => S::Paused,
                World { process: true, ready: true, .. } => S::Running,
                World { process: true, .. } => S::Launching,
                World { due: true, .. } => S::Backoff,
                World { failed: true, .. } => S::Failed,
                _ => S::NotRunning,
            }
        }
    }

    /// All of them: random walks seldom come to what is paused.
    #[test]
    fn every_event_in_every_state_does_what_the_account_says() {
        let mut seen = vec![(S::NotRunning, World::default())];
        let mut next = 0;
        while next < seen.len() {
            for event in events() {
                let (state, mut world) = seen[next].clone();
                let moved = state.next(event);
                assert_eq!(moved.is_ok(), world.take(event), "{event:?} in {state}");
                let Ok(state) = moved else { continue };
                assert_eq!(state, world.state(), "after {event:?}");
                if !seen.contains(&(state, world.clone())) {
                    seen.push((state, world));
                }
            }
            next += 1;
        }
        assert!(S::ALL.iter().all(|state| seen.iter().any(|(seen, _)| seen == state)));
    }

    proptest! {
        #[test]
        fn whatever_happens_the_state_says_what_is_there(
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..80)
        ) {
            let all = events();
            let (mut state, mut world) = (S::NotRunning, World::default());
            for pick in picks {
                let event = all[pick.index(all.len())];
                let next = state.next(event);
                prop_assert_eq!(next.is_ok(), world.take(event), "{:?} in {}", event, state);
                state = next.unwrap_or(state);
                prop_assert_eq!(state, world.state(), "after {:?}", event);
                prop_assert_eq!(state.has_process(), world.process);
            }
        }

        /// Never two processes, never one after deletion, `running` only after `Ready`, `failed` only
        /// after a verdict that gave up.
        #[test]
        fn the_promises_of_the_machine_hold(
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..80)
        ) {
            let all = events();
            let (mut state, mut processes, mut ready, mut gave_up) = (S::NotRunning, 0, false, false);
            for pick in picks {
                let event = all[pick.index(all.len())];
                let Ok(next) = state.next(event) else { continue };
                match event {
                    E::Start | E::RetryDue => (processes, ready, gave_up) = (processes + 1, false, false),
                    E::LaunchFailed(after) | E::Exited(after) => {
                        processes -= 1;
                        gave_up = after == Aftermath::GiveUp;
                    }
                    E::Lost => processes = 0,
                    E::Ready => ready = true,
                    E::BeginUpdate | E::Delete => prop_assert_eq!(processes, 0),
                    _ => {}
                }
                prop_assert!((0..=1).contains(&processes), "{event:?} in {state}");
                prop_assert!(state != S::Deleted);
                prop_assert!(next != S::Running || ready, "{event:?} in {state}");
                prop_assert!(next != S::Failed || gave_up, "{event:?} in {state}");
                state = next;
            }
        }

        /// Endings kept beside the state: a stop that was asked for is never followed by a retry, nor by
        /// a failure, whatever the policy says; what was unwell follows the policy.
        #[test]
        fn a_stop_that_was_asked_for_is_the_last_word(
            steps in prop::collection::vec((0u8..7, 0u8..3), 0..80)
        ) {
            let verdicts = [
                Verdict::Rest,
                Verdict::Retry { pause: Default::default(), attempts: Default::default() },
                Verdict::GiveUp,
            ];
            let (mut state, mut ending, mut asked) = (S::NotRunning, None, false);
            for (step, verdict) in steps {
                let after = Ending::aftermath(ending, &verdicts[usize::from(verdict)]);
                let unwell = Unwell::Watchdog;
                let event = [
                    E::Start, E::RetryDue, E::Ready, E::Stop, E::Unwell(unwell),
                    E::Exited(after), E::LaunchFailed(after),
                ][usize::from(step)];
                let Ok(next) = state.next(event) else { continue };
                match event {
                    E::Start => (ending, asked) = (None, false),
                    E::Stop => (ending, asked) = (Some(Ending::Asked), true),
                    E::Unwell(why) => ending = Some(Ending::Unwell(why)),
                    E::RetryDue => ending = None,
                    _ => {}
                }
                if asked {
                    prop_assert!(!matches!(next, S::Backoff | S::Failed | S::Launching | S::Running));
                }
                if ending == Some(Ending::Unwell(unwell)) && matches!(event, E::Exited(_)) {
                    let expected = [S::NotRunning, S::Backoff, S::Failed][usize::from(verdict)];
                    prop_assert_eq!(next, expected);
                }
                state = next;
            }
        }
    }
}
