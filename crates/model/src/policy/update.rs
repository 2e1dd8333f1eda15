//! What an update to a version has to show before the version of before is given up.

use super::fault::{PolicyFault, within};
use crate::duration::Span;

/// What an update to this version has to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// So long it has to run well; never zero. `None`: it has to become ready, no more.
    pub probation: Option<Span>,
}

/// The keys of `[update]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateKeys {
    /// How long it has to run well; zero is as if it were absent.
    pub probation: Option<Span>,
}

impl UpdateKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<UpdatePolicy, PolicyFault> {
        let probation = self.probation.filter(|span| *span > NONE);
        let bounded = probation.map(|span| within("update.probation", span, NONE, MOST));
        Ok(UpdatePolicy { probation: bounded.transpose()? })
    }
}

const NONE: Span = Span::of_millis(0);
const MOST: Span = Span::of_millis(30 * 24 * 3600 * 1000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_probation_is_said_by_zero_or_by_nothing_and_a_month_is_the_most() {
        let policy = |millis| UpdateKeys { probation: Some(Span::from_millis(millis)) }.policy();
        assert_eq!(policy(0), UpdateKeys::default().policy());
        assert_eq!(policy(30_000).unwrap().probation, Some(Span::from_millis(30_000)));
        assert_eq!(policy(30 * 86_400_000 + 1).unwrap_err().key(), "update.probation");
    }
}
