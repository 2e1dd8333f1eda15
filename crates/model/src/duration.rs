//! Durations as people write them: `10s`, `1m 30s`, `500ms`. Owns the reading; whole milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::string_form::string_form;

/// A span of time of at most a hundred years, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no duration: a number and a unit is wanted, for instance `10s`, `500ms`, `2m`"
)]
pub struct InvalidDuration {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl Span {
    /// So many milliseconds, at most a hundred years of them.
    pub fn from_millis(millis: u64) -> Span {
        Span(Duration::from_millis(millis.min(MAX_MILLIS)))
    }

    /// As [`from_millis`](Self::from_millis), for constants of this crate, which are within its bound.
    pub(crate) const fn of_millis(millis: u64) -> Span {
        Span(Duration::from_millis(millis))
    }

    /// As the standard library has it.
    pub fn as_duration(self) -> Duration {
        self.0
    }

    /// As the contract's JSON has it: seconds, with a fraction where there is one.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// From the contract's JSON; `None` for what is negative, no number, or longer than a century.
    pub fn from_secs_f64(seconds: f64) -> Option<Span> {
        let millis = seconds * 1000.0;
        (millis >= 0.0 && millis <= MAX_MILLIS as f64)
            .then(|| Span::from_millis(millis.round() as u64))
    }
}

impl FromStr for Span {
    type Err = InvalidDuration;
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let bad = || InvalidDuration { text: text.chars().take(80).collect() };
        let parsed: jiff::SignedDuration = text.trim().parse().map_err(|_| bad())?;
        let millis = u64::try_from(parsed.as_millis()).map_err(|_| bad())?;
        (millis <= MAX_MILLIS).then(|| Span::from_millis(millis)).ok_or_else(bad)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_millis()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            (0, millis) => write!(f, "{millis}ms"),
            (seconds, millis) => write!(f, "{seconds}s {millis}ms"),
        }
    }
}

string_form!(Span);

const MAX_MILLIS: u64 = 100 * 365 * 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in
            [("10s", 10_000), ("500ms", 500), ("1m 30s", 90_000), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse(), Ok(Span::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "-1s", "soon", "99999999h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_that_are_no_duration_are_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(Span::from_secs_f64(bad), None);
        }
        assert_eq!(Span::from_secs_f64(0.5), Some(Span::from_millis(500)));
    }

    proptest! {
        #[test]
        fn a_span_prints_and_parses_to_itself(millis in 0..MAX_MILLIS) {
            let span = Span::from_millis(millis);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
