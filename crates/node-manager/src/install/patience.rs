//! How often a download goes on after its connection was lost, and after which pauses. Pure.
//!
//! What counts is attempts in a row that brought nothing: a long download over a line that breaks every
//! minute comes to its end, and a server that is gone is given up in seconds.

use std::time::Duration;

/// The pauses of one download.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// The most bytes that were ever there.
    furthest: u64,
    /// Attempts in a row that came no further.
    vain: usize,
}

impl Patience {
    /// Attempts in a row that came no further.
    pub(super) fn vain(&self) -> usize {
        self.vain
    }

    /// The connection was lost when so many bytes were there: how long to wait, or `None` to give up.
    pub(super) fn pause(&mut self, reached: u64) -> Option<Duration> {
        if reached > self.furthest {
            *self = Patience { furthest: reached, vain: 0 };
        }
        let pause = PAUSES.get(self.vain).copied();
        self.vain += 1;
        pause
    }
}

/// About eight seconds in all.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attempts_without_progress_are_counted() {
        let mut patience = Patience::default();
        assert!((1..100).all(|reached| patience.pause(reached) == Some(PAUSES[0])));
        let vain: Vec<_> = (0..5).map(|_| patience.pause(99)).collect();
        assert_eq!(vain[..4], PAUSES[1..].iter().map(|pause| Some(*pause)).collect::<Vec<_>>());
        assert_eq!(vain[4], None);
    }

    #[test]
    fn to_be_where_one_was_already_is_no_progress() {
        let mut patience = Patience::default();
        // What was there proved wrong; it is received anew, and lost at the same place each time.
        let pauses: Vec<_> = [80, 0, 50, 80, 10, 80].map(|at| patience.pause(at)).into();
        assert_eq!(pauses.iter().flatten().count(), PAUSES.len());
        assert_eq!(pauses.last(), Some(&None));
    }
}
