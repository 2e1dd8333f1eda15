//! How a program is ended: what asks it to, and how long it may take before it is killed.

use super::fault::{PolicyFault, within};
use super::probe::Argv;
use super::signal::StopSignal;
use crate::duration::Span;

/// How a program is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPolicy {
    /// What asks it to end: instead of the command, or where the command fails.
    pub signal: StopSignal,
    /// What is run instead of the signal, in the workspace, with the program's environment.
    pub command: Option<Argv>,
    /// When patience ends, and SIGKILL goes to all that it started. A stop that says otherwise wins.
    pub within: Span,
}

/// The keys of `[stop]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopKeys {
    /// The signal.
    pub signal: Option<StopSignal>,
    /// The command.
    pub command: Option<Argv>,
    /// The deadline.
    pub within: Option<Span>,
}

impl Default for StopPolicy {
    fn default() -> StopPolicy {
        StopPolicy { signal: StopSignal::Term, command: None, within: WITHIN }
    }
}

impl StopKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<StopPolicy, PolicyFault> {
        let usual = StopPolicy::default();
        let deadline = self.within.unwrap_or(usual.within);
        Ok(StopPolicy {
            signal: self.signal.unwrap_or(usual.signal),
            command: self.command,
            within: within("stop.within", deadline, MIN_WITHIN, MAX_WITHIN)?,
        })
    }
}

const WITHIN: Span = Span::of_millis(10_000);
const MIN_WITHIN: Span = Span::of_millis(0);
const MAX_WITHIN: Span = Span::of_millis(24 * 3600 * 1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_asked_with_sigterm_and_has_ten_seconds_unless_said_otherwise() {
        let usual = StopKeys::default().policy().unwrap();
        assert_eq!(usual, StopPolicy::default());
        assert_eq!((usual.signal.number(), usual.within), (15, Span::from_millis(10_000)));
    }

    #[test]
    fn no_patience_is_legal_and_more_than_a_day_is_not() {
        let keys =
            |millis| StopKeys { within: Some(Span::from_millis(millis)), ..Default::default() };
        assert!(keys(0).policy().is_ok());
        assert_eq!(keys(86_400_001).policy().unwrap_err().key(), "stop.within");
    }
}
