//! What a program and all that it starts may use together. Owns the bounds of each figure; refuses to know
//! what a machine can enforce.

use super::cpu::Cpu;
use super::fault::{PolicyFault, within};
use crate::size::ByteSize;

/// What a program and all that it starts may use together; `None`: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<ByteSize>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Open files, of each process.
    pub open_files: Option<u32>,
}

/// The keys of `[limits]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitKeys {
    /// Memory.
    pub memory: Option<ByteSize>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Open files, of each process.
    pub open_files: Option<u32>,
}

impl Limits {
    /// Is nothing limited?
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }
}

impl LimitKeys {
    /// The policy that these keys say.
    ///
    /// # Errors
    /// See [`PolicyFault`].
    pub fn policy(self) -> Result<Limits, PolicyFault> {
        let (least, most) = (ByteSize::from_bytes(1 << 20), ByteSize::from_bytes(1 << 60));
        let memory = self.memory.map(|memory| within("limits.memory", memory, least, most));
        // The kernel's own bounds: PID_MAX_LIMIT, and sysctl_nr_open_max without its last bits.
        let tasks = self.tasks.map(|tasks| within("limits.tasks", tasks, 1, 1 << 22));
        let open_files =
            self.open_files.map(|files| within("limits.open_files", files, MIN_FILES, 1 << 30));
        Ok(Limits {
            memory: memory.transpose()?,
            cpu: self.cpu,
            tasks: tasks.transpose()?,
            open_files: open_files.transpose()?,
        })
    }
}

/// Three streams, the libraries that a program is loaded with, and some of its own.
const MIN_FILES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_nothing_is_limited() {
        assert!(LimitKeys::default().policy().unwrap().is_none());
    }

    #[test]
    fn figures_that_no_program_lives_with_are_refused() {
        let usual = LimitKeys::default();
        let keys = [
            (LimitKeys { memory: "1023KiB".parse().ok(), ..usual }, "limits.memory"),
            (LimitKeys { memory: Some(ByteSize::from_bytes(u64::MAX)), ..usual }, "limits.memory"),
            (LimitKeys { tasks: Some(0), ..usual }, "limits.tasks"),
            (LimitKeys { tasks: Some((1 << 22) + 1), ..usual }, "limits.tasks"),
            (LimitKeys { open_files: Some(15), ..usual }, "limits.open_files"),
            (LimitKeys { open_files: Some(u32::MAX), ..usual }, "limits.open_files"),
        ];
        for (keys, key) in keys {
            assert_eq!(keys.policy().unwrap_err().key(), key);
        }
        let one = LimitKeys { tasks: Some(1), memory: "1MiB".parse().ok(), ..usual };
        assert!(one.policy().is_ok());
    }
}
