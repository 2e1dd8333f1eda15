//! Probation: a version that an instance was moved to has to run well for a while before the version of
//! before is given up. A phase beside the instance's state, persisted as it is here; pure: the caller brings
//! the readings of the clock.
//!
//! ```text
//! none, passed --Begin--> serving --Look (served enough)--> passed
//! serving --Stopped--> serving, begun anew           serving --Held--> serving, its clock stands
//! serving --Failed--> failed --WentBack--> none      serving --Finished--> passed
//! any --Reverted--> none
//! ```
//!
//! Only time counts in which the version was ready, by CLOCK_BOOTTIME, which goes on while the machine
//! sleeps and begins anew with every boot. A manager that was away loses nothing: the process ran on, and its
//! clock with it. A reboot ends the process without its fault: what was served until the last time that the
//! phase was written stays. So whoever keeps it writes it at every change, and looks every few seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Illegal, Unwell};
use crate::duration::Span;
use crate::restart::ExitStatus;
use crate::string_form::string_form;

/// A reading of CLOCK_BOOTTIME, with the boot in which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The boot.
    pub boot: BootId,
    /// The time since it.
    pub at: Duration,
}

/// Which boot: 1 to 64 letters, digits and hyphens, as `/proc/sys/kernel/random/boot_id` has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BootId(String);

/// Why a text names no boot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` names no boot", .text.escape_debug())]
pub struct InvalidBootId {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// Where the version of an instance stands. `V` names a version as whoever keeps it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Probation<V> {
    /// Nothing has to be shown.
    #[default]
    None,
    /// It has to show that it works.
    Serving(Serving<V>),
    /// It has shown that it works, and nothing happened since.
    Passed,
    /// It does not work, and the instance is to be moved back.
    Failed {
        /// The version that comes back.
        before: V,
        /// Why the other one is rejected.
        reason: String,
    },
}

/// A version that has to show that it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving<V> {
    /// The version that comes back if it does not: the last one that nothing had to be shown of.
    pub before: V,
    /// So long it has to run well.
    pub length: Span,
    /// So long it did, without what runs since `since`.
    pub served: Duration,
    /// Since when it runs well; `None` while it does not run.
    pub since: Option<Reading>,
}

/// What happens to a version on probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbationEvent<V> {
    /// The instance was moved to another version, which has to show that it works for so long.
    Begin {
        /// The version that it was moved from.
        before: V,
        /// The version that it was moved to.
        to: V,
        /// How long it has to run well; zero: it has to become ready, no more.
        length: Span,
    },
    /// It became ready, or gets time again.
    Ready(Reading),
    /// Time has passed, or the manager was restarted: where does it stand?
    Look(Reading),
    /// It does not run, and that is not its fault: it was paused, or ended well and is started again.
    Held(Reading),
    /// Somebody stopped it: the version stays, and begins anew.
    Stopped,
    /// It ended well, and nothing is due: what it had to do is done.
    Finished,
    /// It does not work.
    Failed(Misfit),
    /// The instance was moved back to this probation's version of before, after it failed.
    WentBack,
    /// Somebody moved the instance back.
    Reverted,
}

/// In which way a version does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Its process ended, and should not have.
    Ended(ExitStatus),
    /// Its process was there, and did not work.
    Unwell(Unwell),
    /// No process could be made.
    NotLaunched(String),
}

/// What is to be done after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbationStep<V> {
    /// Nothing.
    Nothing,
    /// Look again after this time.
    LookAfter(Duration),
    /// The version passed: say so to whoever waits.
    Passed,
    /// Move the instance back to this version, reject the one that it is on, and then say `WentBack`.
    GoBack {
        /// The version that comes back.
        to: V,
        /// Why the other one is rejected.
        reason: String,
    },
}

/// The next phase and what is to be done, or why the event makes no sense.
pub type Moved<V> =
    Result<(Probation<V>, ProbationStep<V>), Illegal<Probation<V>, ProbationEvent<V>>>;

impl<V: Clone + PartialEq> Probation<V> {
    /// The phase after `event`, and what is to be done. In `failed`, every event but the end of it says
    /// again that the instance is to be moved back, so that a crash in between loses nothing.
    ///
    /// # Errors
    /// The event makes no sense in this phase: an instance cannot have gone back that was not to.
    pub fn next(self, event: ProbationEvent<V>) -> Moved<V> {
        use Probation as P;
        use ProbationEvent as E;
        Ok(match (self, event) {
            (_, E::Reverted) => (P::None, ProbationStep::Nothing),
            (P::Failed { .. }, E::WentBack) => (P::None, ProbationStep::Nothing),
            (P::Failed { before, reason }, event) => {
                if matches!(event, E::Begin { .. }) {
                    return Err(Illegal { state: P::Failed { before, reason }, event });
                }
                let step = ProbationStep::GoBack { to: before.clone(), reason: reason.clone() };
                (P::Failed { before, reason }, step)
            }
            (phase, E::Begin { before, to, length }) => {
                // What has not shown that it works is nothing to come back to.
                let before = match phase {
                    P::Serving(serving) => serving.before,
                    _ => before,
                };
                if before == to {
                    return Ok((P::None, ProbationStep::Nothing));
                }
                let serving = Serving { before, length, served: Duration::ZERO, since: None };
                (P::Serving(serving), ProbationStep::Nothing)
            }
            (P::Serving(serving), event) => return serving.next(event),
            (phase @ (P::None | P::Passed), E::WentBack) => {
                return Err(Illegal { state: phase, event: E::WentBack });
            }
            (phase @ (P::None | P::Passed), _) => (phase, ProbationStep::Nothing),
        })
    }

    /// How long it still has to run well; `None` if nothing has to be shown.
    pub fn remaining(&self, now: &Reading) -> Option<Duration> {
        match self {
            Probation::Serving(serving) => Some(serving.remaining(serving.served_until(now))),
            _ => None,
        }
    }
}

impl<V: Clone + PartialEq> Serving<V> {
    fn next(self, event: ProbationEvent<V>) -> Moved<V> {
        use ProbationEvent as E;
        let (served, since) = match event {
            E::Ready(now) => (self.served_until(&now), Some(now)),
            E::Look(now) => {
                // In another boot its process is not there any more.
                let runs = self.since.as_ref().is_some_and(|since| since.boot == now.boot);
                (self.served_until(&now), runs.then_some(now))
            }
            E::Held(now) => (self.served_until(&now), None),
            E::Stopped => (Duration::ZERO, None),
            E::Finished => return Ok((Probation::Passed, ProbationStep::Passed)),
            E::Failed(misfit) => {
                let reason: String = misfit.to_string().chars().take(MOST_REASON).collect();
                let step =
                    ProbationStep::GoBack { to: self.before.clone(), reason: reason.clone() };
                return Ok((Probation::Failed { before: self.before, reason }, step));
            }
            event @ (E::Begin { .. } | E::WentBack | E::Reverted) => {
                return Err(Illegal { state: Probation::Serving(self), event });
            }
        };
        let remaining = self.remaining(served);
        // A length of zero is served when it is ready, not before.
        if remaining.is_zero() && (since.is_some() || !self.length.as_duration().is_zero()) {
            return Ok((Probation::Passed, ProbationStep::Passed));
        }
        let step = match since {
            Some(_) => ProbationStep::LookAfter(remaining),
            None => ProbationStep::Nothing,
        };
        Ok((Probation::Serving(Serving { served, since, ..self }), step))
    }

    fn served_until(&self, now: &Reading) -> Duration {
        let run = match &self.since {
            Some(since) if since.boot == now.boot => now.at.saturating_sub(since.at),
            _ => Duration::ZERO,
        };
        self.served.saturating_add(run)
    }

    fn remaining(&self, served: Duration) -> Duration {
        self.length.as_duration().saturating_sub(served)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Ended(ExitStatus::Code(code)) => write!(f, "it ended with exit code {code}"),
            Misfit::Ended(ExitStatus::Signal(signal)) => {
                write!(f, "it was ended by signal {signal}")
            }
            Misfit::Ended(ExitStatus::Unknown(why)) => write!(f, "it ended: {why}"),
            Misfit::Unwell(unwell) => unwell.fmt(f),
            Misfit::NotLaunched(why) => write!(f, "it could not be started: {why}"),
        }
    }
}

impl<V> fmt::Display for Probation<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Probation::None => "no probation",
            Probation::Serving(_) => "probation",
            Probation::Passed => "passed",
            Probation::Failed { .. } => "failed",
        })
    }
}

impl BootId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BootId {
    type Err = InvalidBootId;
    fn from_str(text: &str) -> Result<Self, InvalidBootId> {
        let word = |b: u8| b == b'-' || b.is_ascii_alphanumeric();
        let legal = (1..=64).contains(&text.len()) && text.bytes().all(word);
        let refusal = || InvalidBootId { text: text.chars().take(80).collect() };
        legal.then(|| BootId(text.to_owned())).ok_or_else(refusal)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(BootId);

/// Characters of a reason that are kept.
const MOST_REASON: usize = 400;

#[cfg(test)]
mod tests;
