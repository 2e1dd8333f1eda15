//! Liveness: how it becomes known that a program that was ready has stopped to work although its process is
//! there. What is not alive is ended, and that counts as a failure.

use super::fault::{PolicyFault, nothing_beside, one_of, within};
use super::port::Port;
use super::probe::{Argv, HttpProbe, Probe};
use super::ready::{MAX_EVERY, MIN_EVERY};
use crate::duration::Span;

/// How it becomes known that a program still works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// Who says so.
    pub by: LivenessBy,
}

/// Who says that a program still works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LivenessBy {
    /// The program, with `WATCHDOG=1` at least this often (sd_watchdog_enabled(3)).
    Watchdog(Span),
    /// The answers to a question.
    Probe {
        /// The question.
        probe: Probe,
        /// The pause between two questions.
        every: Span,
        /// No answer for so long is a no.
        timeout: Span,
        /// So many answers of no in a row, then it does not work.
        failures: u32,
    },
}

/// The keys of `[alive]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliveKeys {
    /// By sd_notify, at least this often.
    pub watchdog: Option<Span>,
    /// By HTTP.
    pub http: Option<HttpProbe>,
    /// By a connection.
    pub tcp: Option<Port>,
    /// By a command.
    pub command: Option<Argv>,
    /// The pause between two questions.
    pub every: Option<Span>,
    /// When patience with one answer ends.
    pub timeout: Option<Span>,
    /// How many bad answers in a row are too many.
    pub failures: Option<u32>,
}

enum Answer {
    Watchdog(Span),
    Probe(Probe),
}

impl AliveKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<Liveness, PolicyFault> {
        let AliveKeys { watchdog, http, tcp, command, every, timeout, failures } = self;
        let answers = [
            ("alive.watchdog", watchdog.map(Answer::Watchdog)),
            ("alive.http", http.map(|http| Answer::Probe(Probe::Http(http)))),
            ("alive.tcp", tcp.map(|port| Answer::Probe(Probe::Tcp(port)))),
            ("alive.command", command.map(|argv| Answer::Probe(Probe::Command(argv)))),
        ];
        let by = match one_of("alive", "`watchdog`, `http`, `tcp` and `command`", answers)? {
            Answer::Watchdog(span) => {
                let keys = [
                    ("alive.every", every.is_some()),
                    ("alive.timeout", timeout.is_some()),
                    ("alive.failures", failures.is_some()),
                ];
                nothing_beside("alive.watchdog", keys)?;
                let span = within("alive.watchdog", span, MIN_WATCHDOG, MAX_WATCHDOG)?;
                LivenessBy::Watchdog(span)
            }
            Answer::Probe(probe) => LivenessBy::Probe {
                probe,
                every: within("alive.every", every.unwrap_or(EVERY), MIN_EVERY, MAX_EVERY)?,
                timeout: within("alive.timeout", timeout.unwrap_or(TIMEOUT), MIN_EVERY, MAX_EVERY)?,
                failures: within("alive.failures", failures.unwrap_or(FAILURES), 1, 1000)?,
            },
        };
        Ok(Liveness { by })
    }
}

const EVERY: Span = Span::of_millis(10_000);
const TIMEOUT: Span = Span::of_millis(2_000);
const FAILURES: u32 = 3;
/// Programs report at half of it, and a busy machine is late by tens of milliseconds.
const MIN_WATCHDOG: Span = Span::of_millis(100);
const MAX_WATCHDOG: Span = Span::of_millis(24 * 3600 * 1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bad_answers_in_a_row_are_too_many_unless_said_otherwise() {
        let keys = AliveKeys { tcp: "PORT".parse().ok(), ..AliveKeys::default() };
        let policy = keys.policy().unwrap();
        let probe = Probe::Tcp("PORT".parse().unwrap());
        let (every, timeout) = (Span::from_millis(10_000), Span::from_millis(2_000));
        assert_eq!(policy.by, LivenessBy::Probe { probe, every, timeout, failures: 3 });
    }

    #[test]
    fn a_watchdog_is_not_asked() {
        let dog = AliveKeys { watchdog: Some(Span::from_millis(30_000)), ..AliveKeys::default() };
        assert!(dog.clone().policy().is_ok());
        let asked = AliveKeys { failures: Some(2), ..dog.clone() }.policy().unwrap_err();
        assert_eq!(asked.key(), "alive.failures");
        let both = AliveKeys { tcp: "80".parse().ok(), ..dog }.policy().unwrap_err();
        assert!(both.to_string().contains("exactly one of"), "{both}");
    }

    #[test]
    fn bounds_are_kept() {
        let tcp = AliveKeys { tcp: "80".parse().ok(), ..AliveKeys::default() };
        let keys = [
            (AliveKeys { failures: Some(0), ..tcp.clone() }, "alive.failures"),
            (AliveKeys { failures: Some(1001), ..tcp.clone() }, "alive.failures"),
            (AliveKeys { every: Some(Span::from_millis(1)), ..tcp.clone() }, "alive.every"),
            (AliveKeys { timeout: Some(Span::from_millis(0)), ..tcp }, "alive.timeout"),
            (
                AliveKeys { watchdog: Some(Span::from_millis(99)), ..AliveKeys::default() },
                "alive.watchdog",
            ),
            (AliveKeys::default(), "alive"),
        ];
        for (keys, key) in keys {
            assert_eq!(keys.policy().unwrap_err().key(), key);
        }
    }
}
