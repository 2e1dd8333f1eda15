//! What a machine can do for groups, each ability by itself, as it is shown to people.

use std::fmt;
use std::path::PathBuf;

/// What enforces something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Control groups of version 2.
    V2,
    /// Control groups of version 1.
    V1,
}

impl fmt::Display for By {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            By::V2 => "cgroup v2",
            By::V1 => "cgroup v1",
        })
    }
}

/// Whether there is an ability; found by trying it, not by asking for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// It is there.
    Has {
        /// What does it.
        by: By,
        /// The node's directory in that tree.
        at: PathBuf,
    },
    /// It is not there.
    Lacks {
        /// For people: what was tried on which file, and what the kernel answered.
        why: String,
    },
}

impl Capability {
    /// What does it, if anything.
    #[must_use]
    pub fn by(&self) -> Option<By> {
        match self {
            Capability::Has { by, .. } => Some(*by),
            Capability::Lacks { .. } => None,
        }
    }
}

/// `cgroup v2 (/sys/fs/cgroup/…)` or `none: …`.
impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::Has { by, at } => write!(out, "{by} ({})", at.display()),
            Capability::Lacks { why } => write!(out, "none: {why}"),
        }
    }
}

/// All abilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// A bound for memory.
    pub memory: Capability,
    /// A bound for processor time.
    pub cpu: Capability,
    /// A bound for the number of processes and threads.
    pub tasks: Capability,
    /// Ending all processes of a group, also those that left their parents. By version 2: at once, in the
    /// kernel, or one by one where it is older than 5.14.
    pub kill: Capability,
    /// Halting all processes of a group.
    pub freeze: Capability,
    /// An event when the last process of a group has ended. Never by version 1.
    pub events: Capability,
    /// Starting a process inside of a group: by version 2 with a descriptor for `clone3`, by version 1 by a
    /// write of the process itself.
    pub start: Capability,
}

impl Capabilities {
    /// Each with the word that it is shown under, in the order of showing.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Capability); 7] {
        [
            ("memory", &self.memory),
            ("cpu", &self.cpu),
            ("tasks", &self.tasks),
            ("kill", &self.kill),
            ("freeze", &self.freeze),
            ("events", &self.events),
            ("start", &self.start),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_one_line_for_people() {
        let has = Capability::Has { by: By::V2, at: "/sys/fs/cgroup/n".into() };
        assert_eq!(
            (has.to_string().as_str(), has.by()),
            ("cgroup v2 (/sys/fs/cgroup/n)", Some(By::V2))
        );
        let lacks = Capability::Lacks { why: "not mounted".into() };
        assert_eq!((lacks.to_string().as_str(), lacks.by()), ("none: not mounted", None));
    }
}
