//! What the processes of a group take, and what the kernel did to them: numbers for people.

use std::time::Duration;

use crate::control;
use crate::group::Group;
use crate::places::Where;

/// Numbers of a group, those that the kernel keeps here. They last until the group is removed, so a look
/// after the end of the last process says why it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in bytes, page cache included.
    pub memory: Option<u64>,
    /// Processes and threads, also those that ended and were not waited for.
    pub tasks: Option<u64>,
    /// Time on processors.
    pub cpu: Option<Duration>,
    /// Processes that the kernel killed since they were over the group's memory limit (or a limit above).
    pub memory_kills: Option<u64>,
    /// Starts of a process or thread that were refused, since the group had as many tasks as it may.
    pub tasks_refused: Option<u64>,
}

impl Group {
    /// Looks now. What is not known is absent.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let file = |tree: Option<Where>, unified: &str, legacy: &str| {
            let tree = tree.filter(|tree| self.trees.has(*tree))?;
            let name = if tree == Where::Unified { unified } else { legacy };
            Some(self.dir(tree).join(name))
        };
        let text = |path: std::path::PathBuf| control::read(&path).ok();
        let memory = self.places.memory;
        let tasks = self.places.tasks;
        // Version 2 counts time in every group, with or without a controller.
        let cpu = self.places.unified.is_some().then_some(Where::Unified);
        Usage {
            memory: file(memory, "memory.current", "memory.usage_in_bytes")
                .and_then(|path| control::number(&path)),
            tasks: file(tasks, "pids.current", "pids.current")
                .and_then(|path| control::number(&path)),
            cpu: file(cpu, "cpu.stat", "")
                .and_then(text)
                .and_then(|text| control::keyed(&text, "usage_usec"))
                .map(Duration::from_micros),
            memory_kills: file(memory, "memory.events", "memory.oom_control")
                .and_then(text)
                .and_then(|text| control::keyed(&text, "oom_kill")),
            tasks_refused: file(tasks, "pids.events", "pids.events")
                .and_then(text)
                .and_then(|text| control::keyed(&text, "max")),
        }
    }
}
