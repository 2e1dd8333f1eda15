//! Points in time as the contract has them: RFC 3339, UTC, milliseconds. Owns the spelling; refuses to
//! know what time it is (whoever asks a clock does so at its own edge).

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::string_form::string_form;

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no time: RFC 3339 is wanted, for instance 2026-01-31T12:00:00Z")]
pub struct InvalidTimestamp {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl Timestamp {
    /// From milliseconds since 1970; what lies outside of the years 0 to 9999 is moved to that edge.
    pub fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.clamp(FIRST_MILLIS, LAST_MILLIS))
    }

    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.0.saturating_add(millis))
    }

    /// How much later than `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| InvalidTimestamp { text: text.chars().take(80).collect() })?;
        Ok(Timestamp::from_millis(time.as_millisecond()))
    }
}

string_form!(Timestamp);

const FIRST_MILLIS: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00Z
const LAST_MILLIS: i64 = 253_402_207_200_000; // what jiff can print, 9999-12-30T22:00:00Z

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_printed_as_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp::from_millis(1_769_860_800_123).to_string(),
            "2026-01-31T12:00:00.123Z"
        );
        assert_eq!(
            "2026-01-31T13:00:00.123+01:00".parse(),
            Ok(Timestamp::from_millis(1_769_860_800_123))
        );
    }

    #[test]
    fn times_before_1970_and_beyond_the_calendar_do_not_break() {
        let before = UNIX_EPOCH - Duration::from_millis(1);
        assert_eq!(Timestamp::from(before).to_string(), "1969-12-31T23:59:59.999Z");
        assert!(!Timestamp::from_millis(i64::MAX).to_string().is_empty());
        assert!(!Timestamp::from_millis(i64::MIN).to_string().is_empty());
    }

    proptest! {
        #[test]
        fn a_time_prints_and_parses_to_itself(millis in FIRST_MILLIS..=LAST_MILLIS) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
