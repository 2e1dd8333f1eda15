//! How long to wait before something is tried again, and how often. Pure but for the dice.

use std::time::Duration;

/// The pauses of one thing that is tried again. Whoever comes further begins anew.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It came further.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed once more: how long to wait, or `None` if that was the last time.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        self.failures += 1;
        (self.failures < ATTEMPTS).then(|| jittered(FIRST * 2u32.pow(self.failures - 1), dice()))
    }
}

/// Between half and one and a half of the pause, so that many clients do not come back at once.
fn jittered(pause: Duration, dice: u16) -> Duration {
    pause / 2 + pause.mul_f64(f64::from(dice) / f64::from(u16::MAX))
}

/// The random bits of a UUIDv7; nothing depends on their quality.
fn dice() -> u16 {
    uuid::Uuid::now_v7().as_u128() as u16
}

/// Six attempts take about six seconds: a server that restarts is back by then.
const ATTEMPTS: u32 = 6;
const FIRST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_and_end() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = std::iter::from_fn(|| backoff.pause()).collect();
        assert_eq!(pauses.len() as u32, ATTEMPTS - 1);
        let total: Duration = pauses.iter().sum();
        assert!(total >= Duration::from_secs(3) && total <= Duration::from_secs(10), "{total:?}");
        backoff.reset();
        assert!(backoff.pause().is_some());
    }

    #[test]
    fn jitter_stays_between_a_half_and_one_and_a_half() {
        let pause = Duration::from_secs(1);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, u16::MAX), pause * 3 / 2);
    }
}
