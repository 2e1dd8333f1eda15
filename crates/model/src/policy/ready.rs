//! Readiness: how it becomes known that a program that was started does its work. Owns the deadline after
//! which it counts as failed.

use super::fault::{PolicyFault, nothing_beside, one_of, within};
use super::port::Port;
use super::probe::{Argv, HttpProbe, Probe};
use crate::duration::Span;

/// How it becomes known that a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Who says so.
    pub by: ReadyBy,
    /// By when; after that the start counts as failed.
    pub within: Span,
}

/// Who says that a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyBy {
    /// The program, with `READY=1` to its `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// The answer to a question.
    Probe {
        /// The question.
        probe: Probe,
        /// The pause between an answer of no and the next question.
        every: Span,
    },
}

/// The keys of `[ready]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadyKeys {
    /// By sd_notify? `false` is as if it were absent.
    pub notify: Option<bool>,
    /// By HTTP.
    pub http: Option<HttpProbe>,
    /// By a connection.
    pub tcp: Option<Port>,
    /// By a command.
    pub command: Option<Argv>,
    /// The deadline.
    pub within: Option<Span>,
    /// The pause between two questions.
    pub every: Option<Span>,
}

impl ReadyKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<Readiness, PolicyFault> {
        let ReadyKeys { notify, http, tcp, command, within: deadline, every } = self;
        let answers = [
            ("ready.notify", notify.filter(|on| *on).map(|_| None)),
            ("ready.http", http.map(|http| Some(Probe::Http(http)))),
            ("ready.tcp", tcp.map(|port| Some(Probe::Tcp(port)))),
            ("ready.command", command.map(|argv| Some(Probe::Command(argv)))),
        ];
        let by = match one_of("ready", "`notify`, `http`, `tcp` and `command`", answers)? {
            None => {
                nothing_beside("ready.notify", [("ready.every", every.is_some())])?;
                ReadyBy::Notify
            }
            Some(probe) => {
                let every = within("ready.every", every.unwrap_or(EVERY), MIN_EVERY, MAX_EVERY)?;
                ReadyBy::Probe { probe, every }
            }
        };
        let deadline = deadline.unwrap_or(WITHIN);
        Ok(Readiness { by, within: within("ready.within", deadline, MIN_WITHIN, MAX_WITHIN)? })
    }
}

const WITHIN: Span = Span::of_millis(60_000);
const MIN_WITHIN: Span = Span::of_millis(1);
const MAX_WITHIN: Span = Span::of_millis(24 * 3600 * 1000);
const EVERY: Span = Span::of_millis(500);
/// More often costs more than most programs do.
pub(super) const MIN_EVERY: Span = Span::of_millis(10);
pub(super) const MAX_EVERY: Span = Span::of_millis(3600 * 1000);

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> ReadyKeys {
        ReadyKeys { tcp: "80".parse().ok(), ..ReadyKeys::default() }
    }

    #[test]
    fn a_question_is_asked_every_half_second_for_a_minute_unless_said_otherwise() {
        let policy = tcp().policy().unwrap();
        let probe = Probe::Tcp("80".parse().unwrap());
        assert_eq!(policy.by, ReadyBy::Probe { probe, every: Span::from_millis(500) });
        assert_eq!(policy.within, Span::from_millis(60_000));
    }

    #[test]
    fn exactly_one_kind_of_readiness_is_wanted() {
        let none = ReadyKeys::default().policy().unwrap_err();
        assert_eq!(none.key(), "ready");
        let two = ReadyKeys { notify: Some(true), ..tcp() }.policy().unwrap_err();
        assert_eq!(two.key(), "ready.tcp");
        assert_eq!(
            two.to_string(),
            "`[ready]` wants exactly one of `notify`, `http`, `tcp` and `command`, and has 2"
        );
        assert!(ReadyKeys { notify: Some(false), ..tcp() }.policy().is_ok());
        assert!(ReadyKeys { notify: Some(false), ..ReadyKeys::default() }.policy().is_err());
    }

    #[test]
    fn whoever_is_told_does_not_ask() {
        let notify = ReadyKeys { notify: Some(true), ..ReadyKeys::default() };
        assert_eq!(notify.clone().policy().unwrap().by, ReadyBy::Notify);
        let asks = ReadyKeys { every: Some(EVERY), ..notify }.policy().unwrap_err();
        assert_eq!(asks.to_string(), "`ready.every` says nothing beside `ready.notify`");
    }

    #[test]
    fn spans_out_of_bounds_are_named_with_what_is_wanted() {
        let fast = ReadyKeys { every: Some(Span::from_millis(9)), ..tcp() }.policy().unwrap_err();
        assert_eq!(fast.to_string(), "`ready.every` is 9ms: 10ms to 3600s is wanted");
        for millis in [0, 24 * 3600 * 1000 + 1] {
            let keys = ReadyKeys { within: Some(Span::from_millis(millis)), ..tcp() };
            assert_eq!(keys.policy().unwrap_err().key(), "ready.within");
        }
    }
}
