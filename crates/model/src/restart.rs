//! What happens when a program ends: the envelope's restart policy and the decision from it. Owns the
//! budget and the back-off; pure: the caller brings the times and the dice.
//!
//! The window is one of running: pauses, and launches that never became ready, do not count. Otherwise a
//! program whose pauses have grown longer than the window would be started afresh for ever.

use std::time::Duration;

use crate::duration::Span;
use crate::lifecycle::Ending;

/// The envelope's word on what happens when the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// After which ends the program is started again.
    pub on: RestartOn,
    /// So many restarts within the window, then the instance is `failed`.
    pub limit: u32,
    /// The window, of the time that it runs. A run longer than it gives the whole budget back.
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

/// An end, as the policy judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It did what it had to do.
    Well,
    /// It failed, or was ended because it did not work, or could not be made at all.
    Badly,
}

/// The restarts within the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// How many there were.
    pub count: u32,
    /// How long it has run since the first of them.
    pub ran: Duration,
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

impl End {
    /// How the policy judges an exit status. One that nobody knows is a failure: not to start what should
    /// run is the worse mistake. So is every end of a program that was ended because it did not work.
    pub fn of(exit: &ExitStatus, ending: Option<Ending>) -> End {
        match ending {
            Some(Ending::Unwell(_)) => End::Badly,
            Some(Ending::Asked) | None if exit.is_success() => End::Well,
            Some(Ending::Asked) | None => End::Badly,
        }
    }
}

/// Decides what follows an end of a run that was ready for `ran`: zero if it never was, or if no process
/// could be made.
pub fn verdict(policy: RestartPolicy, attempts: Attempts, end: End, ran: Duration) -> Verdict {
    let wanted = match policy.on {
        RestartOn::Always => true,
        RestartOn::Failure => end == End::Badly,
        RestartOn::Never => false,
    };
    if !wanted {
        return if end == End::Well { Verdict::Rest } else { Verdict::GiveUp };
    }
    let so_far = attempts.ran.saturating_add(ran);
    let attempts = if attempts.count == 0 || so_far > policy.window.as_duration() {
        Attempts { count: 1, ran: Duration::ZERO }
    } else {
        Attempts { count: attempts.count.saturating_add(1), ran: so_far }
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

/// A pause between half of `ceiling` and all of it, so that what failed together does not come back
/// together. `dice` is any number, all equally likely.
pub fn jittered(ceiling: Duration, dice: u32) -> Duration {
    let half = ceiling / 2;
    half + (ceiling - half).mul_f64(f64::from(dice) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Unwell;
    use proptest::prelude::*;

    const ALL_ON: [RestartOn; 3] = [RestartOn::Failure, RestartOn::Always, RestartOn::Never];

    fn policy(on: RestartOn, limit: u32) -> RestartPolicy {
        RestartPolicy { on, limit, ..RestartPolicy::default() }
    }

    fn after(on: RestartOn, end: End) -> Verdict {
        verdict(policy(on, 5), Attempts::default(), end, Duration::from_secs(1))
    }

    #[test]
    fn success_rests_unless_the_policy_says_always() {
        assert_eq!(after(RestartOn::Failure, End::Well), Verdict::Rest);
        assert_eq!(after(RestartOn::Never, End::Well), Verdict::Rest);
        assert!(matches!(after(RestartOn::Always, End::Well), Verdict::Retry { .. }));
    }

    #[test]
    fn under_never_a_failure_is_final() {
        assert_eq!(after(RestartOn::Never, End::Badly), Verdict::GiveUp);
    }

    #[test]
    fn a_program_that_was_unwell_failed_even_if_it_exits_with_0() {
        let ok = ExitStatus::Code(0);
        let unwell = Some(Ending::Unwell(Unwell::Watchdog));
        assert_eq!(End::of(&ok, None), End::Well);
        assert_eq!(End::of(&ok, unwell), End::Badly);
        for exit in [ExitStatus::Code(1), ExitStatus::Signal(9), ExitStatus::Unknown("lost".into())]
        {
            assert_eq!(End::of(&exit, None), End::Badly);
        }
    }

    #[test]
    fn the_budget_is_spent_after_limit_restarts_within_the_window() {
        let mut attempts = Attempts::default();
        for n in 1..=5 {
            let run = Duration::from_secs(1);
            match verdict(policy(RestartOn::Failure, 5), attempts, End::Badly, run) {
                Verdict::Retry { attempts: next, .. } => attempts = next,
                other => panic!("restart {n}: {other:?}"),
            }
        }
        let sixth = verdict(policy(RestartOn::Failure, 5), attempts, End::Badly, Duration::ZERO);
        assert_eq!(sixth, Verdict::GiveUp);
    }

    #[test]
    fn a_run_longer_than_the_window_gives_the_budget_back() {
        let spent = Attempts { count: 5, ran: Duration::ZERO };
        let run = Duration::from_millis(10_001);
        let got = verdict(policy(RestartOn::Failure, 5), spent, End::Badly, run);
        let fresh = Attempts { count: 1, ran: Duration::ZERO };
        assert_eq!(got, Verdict::Retry { pause: Duration::ZERO, attempts: fresh });
    }

    /// However long its pauses and the deadlines of its readiness are.
    #[test]
    fn a_launch_that_never_works_spends_every_budget() {
        let (policy, mut attempts) = (policy(RestartOn::Failure, 100), Attempts::default());
        for n in 1..=100 {
            match verdict(policy, attempts, End::Badly, Duration::ZERO) {
                Verdict::Retry { attempts: next, pause } => {
                    assert_eq!(pause, backoff_ceiling(n), "the back-off does not begin again");
                    attempts = next;
                }
                other => panic!("restart {n}: {other:?}"),
            }
        }
        assert_eq!(verdict(policy, attempts, End::Badly, Duration::ZERO), Verdict::GiveUp);
    }

    #[test]
    fn a_limit_of_none_never_restarts() {
        let none = policy(RestartOn::Always, 0);
        let got = verdict(none, Attempts::default(), End::Well, Duration::from_secs(1));
        assert_eq!(got, Verdict::GiveUp);
    }

    proptest! {
        #[test]
        fn pauses_grow_and_stay_bounded(n in 0u32..10_000) {
            prop_assert!(backoff_ceiling(n) <= backoff_ceiling(n + 1));
            prop_assert!(backoff_ceiling(n) <= Duration::from_secs(30));
        }

        #[test]
        fn a_jittered_pause_is_between_half_and_all_and_grows_with_the_dice(
            millis in 0u64..40_000, dice: u32, other: u32
        ) {
            let ceiling = Duration::from_millis(millis);
            let pause = jittered(ceiling, dice);
            prop_assert!(ceiling / 2 <= pause && pause <= ceiling, "{pause:?} of {ceiling:?}");
            prop_assert!(dice > other || pause <= jittered(ceiling, other));
            prop_assert_eq!(jittered(ceiling, 0), ceiling / 2);
            prop_assert_eq!(jittered(ceiling, u32::MAX), ceiling);
        }

        /// Against an account of its own: a list of all runs, of which it keeps those of this window.
        #[test]
        fn the_verdict_is_that_of_a_list_of_runs(
            runs in prop::collection::vec((0u64..15_000, any::<bool>()), 1..60),
            limit in 0u32..6, on in prop::sample::select(&ALL_ON[..])
        ) {
            let policy = policy(on, limit);
            let window = policy.window.as_duration().as_millis() as u64;
            let (mut attempts, mut kept) = (Attempts::default(), Vec::<u64>::new());
            for (millis, well) in runs {
                let end = if well { End::Well } else { End::Badly };
                let got = verdict(policy, attempts, end, Duration::from_millis(millis));
                // Each entry is the run before a restart; the first of a window counts no time.
                let restarts = on == RestartOn::Always || (on == RestartOn::Failure && !well);
                kept.push(millis);
                if kept.iter().skip(1).sum::<u64>() > window {
                    kept = vec![0];
                }
                let expected = match (restarts, well) {
                    (false, true) => "rest",
                    (false, false) => "give up",
                    (true, _) if kept.len() > limit as usize => "give up",
                    (true, _) => "retry",
                };
                let said = match got {
                    Verdict::Rest => "rest",
                    Verdict::GiveUp => "give up",
                    Verdict::Retry { attempts: next, pause } => {
                        prop_assert_eq!(next.count as usize, kept.len());
                        prop_assert_eq!(pause.is_zero(), kept.len() == 1);
                        attempts = next;
                        "retry"
                    }
                };
                prop_assert_eq!(said, expected);
                if said != "retry" { break }
            }
        }
    }
}
