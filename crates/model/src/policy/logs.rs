//! How much of what a program prints is kept.

use super::fault::{PolicyFault, within};
use crate::size::ByteSize;

/// How much of what a program prints is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPolicy {
    /// Bytes of each stream; `None`: what is usual on the node.
    pub budget: Option<ByteSize>,
}

/// The keys of `[logs]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogKeys {
    /// Bytes of each stream.
    pub budget: Option<ByteSize>,
}

impl LogPolicy {
    /// What is usual where neither the envelope nor the node says otherwise.
    pub const USUAL_BUDGET: ByteSize = ByteSize::of_bytes(16 << 20);
    /// The least: whole blocks of file systems have to fit in it several times.
    pub const LEAST_BUDGET: ByteSize = ByteSize::of_bytes(64 << 10);
    /// The most.
    pub const MOST_BUDGET: ByteSize = ByteSize::of_bytes(1 << 40);
}

impl LogKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<LogPolicy, PolicyFault> {
        let (least, most) = (LogPolicy::LEAST_BUDGET, LogPolicy::MOST_BUDGET);
        let budget = self.budget.map(|budget| within("logs.budget", budget, least, most));
        Ok(LogPolicy { budget: budget.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_64_kib_to_1_tib() {
        for (text, legal) in [("64KiB", true), ("1TiB", true), ("65535", false), ("2TiB", false)] {
            let policy = LogKeys { budget: text.parse().ok() }.policy();
            assert_eq!(policy.is_ok(), legal, "{text}");
        }
        assert_eq!(LogKeys::default().policy(), Ok(LogPolicy::default()));
    }
}
