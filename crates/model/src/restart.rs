//! What happens when a program ends: the envelope's restart policy and the decision from it. Owns the
//! budget and the back-off; pure: the caller brings the times and the dice.

use std::time::Duration;

use crate::duration::Span;
use crate::time::Timestamp;

/// The envelope's word on what happens when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends the program is started again.
    pub on: RestartOn,
    /// So many restarts within the window, then the instance is `failed`.
    pub limit: u32,
    /// The window. A run longer than it gives the whole budget back.
    pub window: Span,
}

/// After which ends a program is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartOn {
    /// After a signal or an exit code other than 0.
    Failure,
    /// After every end that nobody asked for.
    Always,
    /// After none.
    Never,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel could not tell any more, and why that is so.
    Unknown(String),
}

/// The restarts within the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// How many there were.
    pub count: u32,
    /// When the first of them was.
    pub since: Option<Timestamp>,
}

/// What follows the end of a program that should be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it had to do: not running, and desired becomes stopped.
    Rest,
    /// Start it again after a pause of at most this long.
    Retry {
        /// The pause before jitter.
        pause: Duration,
        /// The budget as it stands after this restart.
        attempts: Attempts,
    },
    /// The budget is spent, or the policy wants no restart.
    GiveUp,
}

impl Default for RestartPolicy {
    fn default() -> RestartPolicy {
        RestartPolicy { on: RestartOn::Failure, limit: 5, window: Span::from_millis(10_000) }
    }
}

impl ExitStatus {
    /// Did the program end well?
    pub fn is_success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }
}

/// Decides what follows an end at `now` of a run that began at `started`. An unknown status counts as a
/// failure: not to start what should run is the worse mistake. A launch that failed is a run of no length.
pub fn verdict(
    policy: RestartPolicy,
    attempts: Attempts,
    exit: &ExitStatus,
    started: Timestamp,
    now: Timestamp,
) -> Verdict {
    let wanted = match policy.on {
        RestartOn::Always => true,
        RestartOn::Failure => !exit.is_success(),
        RestartOn::Never => false,
    };
    if !wanted {
        return if exit.is_success() { Verdict::Rest } else { Verdict::GiveUp };
    }
    let window = policy.window.as_duration();
    let over = |since: Timestamp| now.since(since) > window;
    let fresh = now.since(started) > window || attempts.since.is_none_or(over);
    let attempts = if fresh {
        Attempts { count: 1, since: Some(now) }
    } else {
        Attempts { count: attempts.count.saturating_add(1), since: attempts.since }
    };
    if attempts.count > policy.limit {
        return Verdict::GiveUp;
    }
    Verdict::Retry { pause: backoff_ceiling(attempts.count), attempts }
}

/// The pause before the n-th restart in a row, before jitter: none before the first, so that a program
/// that dies once is back at once; then 100 ms, doubled each time, up to 30 s.
pub fn backoff_ceiling(nth: u32) -> Duration {
    match nth {
        0 | 1 => Duration::ZERO,
        more => Duration::from_millis(100 << (more - 2).min(9)).min(Duration::from_secs(30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: i64 = 1_000_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(T0 + seconds * 1000)
    }

    fn policy(on: RestartOn, limit: u32) -> RestartPolicy {
        RestartPolicy { on, limit, ..RestartPolicy::default() }
    }

    #[test]
    fn success_rests_unless_the_policy_says_always() {
        let ok = ExitStatus::Code(0);
        for on in [RestartOn::Failure, RestartOn::Never] {
            let got = verdict(policy(on, 5), Attempts::default(), &ok, at(0), at(1));
            assert_eq!(got, Verdict::Rest);
        }
        let got = verdict(policy(RestartOn::Always, 5), Attempts::default(), &ok, at(0), at(1));
        assert!(matches!(got, Verdict::Retry { .. }));
    }

    #[test]
    fn under_never_a_failure_is_final() {
        for exit in [ExitStatus::Code(1), ExitStatus::Signal(9), ExitStatus::Unknown("lost".into())]
        {
            let got =
                verdict(policy(RestartOn::Never, 5), Attempts::default(), &exit, at(0), at(1));
            assert_eq!(got, Verdict::GiveUp);
        }
    }

    #[test]
    fn the_budget_is_spent_after_limit_restarts_within_the_window() {
        let mut attempts = Attempts::default();
        for n in 1..=5 {
            match verdict(
                policy(RestartOn::Failure, 5),
                attempts,
                &ExitStatus::Code(1),
                at(n),
                at(n),
            ) {
                Verdict::Retry { attempts: next, .. } => attempts = next,
                other => panic!("restart {n}: {other:?}"),
            }
        }
        let sixth =
            verdict(policy(RestartOn::Failure, 5), attempts, &ExitStatus::Code(1), at(6), at(6));
        assert_eq!(sixth, Verdict::GiveUp);
    }

    #[test]
    fn a_run_longer_than_the_window_gives_the_budget_back() {
        let spent = Attempts { count: 5, since: Some(at(0)) };
        let got =
            verdict(policy(RestartOn::Failure, 5), spent, &ExitStatus::Code(1), at(1), at(12));
        assert_eq!(
            got,
            Verdict::Retry {
                pause: Duration::ZERO,
                attempts: Attempts { count: 1, since: Some(at(12)) }
            }
        );
    }

    #[test]
    fn a_limit_of_none_never_restarts() {
        let got = verdict(
            policy(RestartOn::Always, 0),
            Attempts::default(),
            &ExitStatus::Code(0),
            at(0),
            at(1),
        );
        assert_eq!(got, Verdict::GiveUp);
    }

    proptest! {
        #[test]
        fn pauses_grow_and_stay_bounded(n in 0u32..10_000) {
            prop_assert!(backoff_ceiling(n) <= backoff_ceiling(n + 1));
            prop_assert!(backoff_ceiling(n) <= Duration::from_secs(30));
        }

        /// Whatever the times, within any one window a program is started at most `limit` times.
        #[test]
        fn no_window_holds_more_restarts_than_the_limit(
            steps in prop::collection::vec((0i64..4, 0i64..4), 1..60), limit in 1u32..6
        ) {
            let policy = policy(RestartOn::Failure, limit);
            let (mut attempts, mut now, mut restarts) = (Attempts::default(), 0, vec![]);
            for (run, pause) in steps {
                let started = at(now);
                now += run;
                match verdict(policy, attempts, &ExitStatus::Code(1), started, at(now)) {
                    Verdict::Retry { attempts: next, .. } => {
                        restarts.push((now, next.since));
                        attempts = next;
                        now += pause;
                    }
                    Verdict::GiveUp => break,
                    Verdict::Rest => prop_assert!(false, "a failure does not rest"),
                }
            }
            for (_, since) in &restarts {
                let same = restarts.iter().filter(|(_, s)| s == since).count();
                prop_assert!(same <= limit as usize);
            }
        }
    }
}
