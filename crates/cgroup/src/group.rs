//! One group: its directories, its limits, who is in it, and its end.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::control::{self, ControlError};
use crate::events;
use crate::groups::MakeError;
use crate::limits::{self, Limits, Request, Version};
use crate::name::{self, NameError};
use crate::places::{Places, Trees, Where};

/// A group of processes. Holds no descriptor and no state: two values of one name are the same group.
#[derive(Debug, Clone)]
pub struct Group {
    pub(crate) places: Arc<Places>,
    name: Box<str>,
    directory: Box<str>,
    /// Those that it has a directory in.
    pub(crate) trees: Trees,
}

/// What a new process needs to be inside of a group from its first instruction. All are closed on exec.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// The version 2 group: for `clone3` with `CLONE_INTO_CGROUP` (Linux 5.7).
    pub group: Option<OwnedFd>,
    /// `cgroup.procs` of the version 2 group, for where `clone3` is refused: the new process writes `0` to it
    /// before it runs the program. Not needed with `group`, and much dearer.
    pub group_procs: Option<OwnedFd>,
    /// `cgroup.procs` of each version 1 group: the new process writes `0` to each before it runs the program.
    pub procs: Vec<OwnedFd>,
}

/// Why descriptors for a start could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorsError {
    /// A file of the group cannot be opened: the group has been removed, or descriptors have run out.
    #[error("cannot open the control group for a new process")]
    Control(#[from] ControlError),
}

/// Why it is not known what is in a group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// There is no group: nothing here can be used for it.
    #[error("`{name}` is in no control group")]
    NoGroup {
        /// The group's name.
        name: String,
    },
    /// The kernel did not tell.
    #[error("cannot see what is in a control group")]
    Control(#[from] ControlError),
}

/// Why a group is still there.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It has processes, or one that ended is not yet forgotten by the kernel.
    #[error("the control group `{name}` still has processes")]
    Populated {
        /// The group's name.
        name: String,
    },
    /// The kernel refused.
    #[error("cannot remove a control group")]
    Control(#[from] ControlError),
}

impl Group {
    pub(crate) fn new(places: Arc<Places>, name: &str, trees: Trees) -> Result<Group, NameError> {
        let directory = name::directory(name)?.into();
        Ok(Group { places, name: name.into(), directory, trees })
    }

    /// The name that it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a group at all: where nothing can be used there is not, and whoever started the
    /// processes has to keep track of them.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.members().is_some()
    }

    /// What a new process needs to start inside.
    ///
    /// # Errors
    /// If the group is gone, or descriptors have run out.
    pub fn descriptors(&self) -> Result<Descriptors, DescriptorsError> {
        let mut descriptors = Descriptors::default();
        for tree in self.trees() {
            let dir = self.dir(tree);
            let procs = control::open(&dir.join("cgroup.procs"), OFlags::WRONLY)?;
            if tree == Where::Unified {
                descriptors.group = Some(control::open(&dir, OFlags::RDONLY | OFlags::DIRECTORY)?);
                descriptors.group_procs = Some(procs);
            } else {
                descriptors.procs.push(procs);
            }
        }
        Ok(descriptors)
    }

    /// Sets all limits anew, lifting those that are absent. Processes that run are bound at once; version 1
    /// counts the memory that they had taken before to the group above.
    ///
    /// # Errors
    /// If the kernel refuses a value, or the processes cannot be moved to a tree that they were not in.
    pub fn set_limits(&mut self, limits: &Limits) -> Result<(), MakeError> {
        let lift = [
            (self.places.memory, limits.memory.is_none(), Resource::Memory),
            (self.places.cpu, limits.cpu.is_none(), Resource::Cpu),
            (self.places.tasks, limits.tasks.is_none(), Resource::Tasks),
        ];
        for (tree, absent, resource) in lift {
            if let Some(tree) = tree.filter(|tree| absent && self.trees.has(*tree)) {
                control::write_all(&self.dir(tree), &resource.requests(tree, &Limits::default()))?;
            }
        }
        self.give(limits, true)
    }

    /// All processes in it and in the groups below it, by number. A group that has been removed has none.
    ///
    /// # Errors
    /// If there is no group, or the kernel does not tell.
    pub fn processes(&self) -> Result<Vec<u32>, LookError> {
        let top = self.members_dir()?;
        let mut all = Vec::new();
        let groups = match control::tree(&top) {
            Err(error) if error.is_absent() => return Ok(all),
            other => other?,
        };
        for (depth, dir) in groups.iter().enumerate() {
            match control::read(&dir.join("cgroup.procs")) {
                Ok(text) => all.extend(pids(&text)),
                Err(error) if error.is_absent() => {} // gone meanwhile
                // Of threads, whose processes are listed above.
                Err(error) if depth > 0 && error.errno() == Errno::OPNOTSUPP => {}
                Err(error) => return Err(error.into()),
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// Whether it has a process that has not ended. A group that has been removed has none.
    ///
    /// # Errors
    /// If there is no group, or the kernel does not tell.
    pub fn is_populated(&self) -> Result<bool, LookError> {
        let answer = match self.members() {
            Some(Where::Unified) => {
                events::is(&self.members_dir()?, "populated", 1).map_err(Into::into)
            }
            _ => self.processes().map(|processes| !processes.is_empty()),
        };
        match answer {
            Err(LookError::Control(error)) if error.is_absent() => Ok(false),
            other => other,
        }
    }

    /// Waits until the last process has ended, woken by the kernel; false if it takes longer.
    ///
    /// # Errors
    /// If there is no group, or the kernel does not tell.
    pub fn wait_empty(&self, within: Duration) -> Result<bool, LookError> {
        if self.members() == Some(Where::Unified) {
            return match events::wait(&self.members_dir()?, "populated", 0, within) {
                Err(error) if error.is_absent() => Ok(true),
                other => Ok(other?),
            };
        }
        let deadline = Instant::now() + within;
        while self.is_populated()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            if let Some(&first) = self.processes()?.first() {
                wait_end(first, left);
            }
        }
        Ok(true)
    }

    /// Removes it with the groups below it. One that is gone already is fine.
    ///
    /// # Errors
    /// If it still has processes: kill, wait until it is empty, and repeat.
    pub fn remove(&self) -> Result<(), RemoveError> {
        for tree in self.trees() {
            control::remove_tree(&self.dir(tree)).map_err(|error| match error.errno() {
                Errno::BUSY => RemoveError::Populated { name: self.name.to_string() },
                _ => RemoveError::Control(error),
            })?;
        }
        Ok(())
    }

    /// Makes the directory in one tree; says whether it is new.
    pub(crate) fn enter(&mut self, tree: Where) -> Result<bool, ControlError> {
        let is_new = control::make_dir(&self.dir(tree))?;
        self.trees.insert(tree);
        Ok(is_new)
    }

    /// Sets those limits that are there, and brings the processes of one that runs along into a tree that it
    /// was not in.
    pub(crate) fn give(&mut self, limits: &Limits, runs: bool) -> Result<(), MakeError> {
        let wanted = [
            (self.places.memory, limits.memory.is_some(), Resource::Memory),
            (self.places.cpu, limits.cpu.is_some(), Resource::Cpu),
            (self.places.tasks, limits.tasks.is_some(), Resource::Tasks),
        ];
        for (tree, set, resource) in wanted {
            let Some(tree) = tree.filter(|_| set) else { continue };
            let moves = runs && !self.trees.has(tree);
            self.enter(tree)?;
            control::write_all(&self.dir(tree), &resource.requests(tree, limits))?;
            if moves {
                self.move_into(tree)?;
            }
        }
        Ok(())
    }

    /// Brings the processes of the group into a tree that it was not in.
    fn move_into(&self, tree: Where) -> Result<(), MakeError> {
        let procs = self.dir(tree).join("cgroup.procs");
        for _ in 0..ROUNDS {
            let there = pids(&control::read(&procs)?);
            let all = match self.processes() {
                Ok(all) => all,
                Err(LookError::Control(error)) => return Err(error.into()),
                Err(LookError::NoGroup { .. }) => return Ok(()),
            };
            let missing: Vec<u32> = all.into_iter().filter(|pid| !there.contains(pid)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                match control::write(&procs, &pid.to_string()) {
                    Err(error) if error.errno() == Errno::SRCH => {} // it has ended
                    other => other?,
                }
            }
        }
        Err(MakeError::Restless { name: self.name.to_string() })
    }

    /// The trees in which there is a directory of this name.
    pub(crate) fn present(&self) -> Trees {
        let mut trees = Trees::default();
        for tree in self.places.trees().filter(|tree| control::exists(&self.dir(*tree))) {
            trees.insert(tree);
        }
        trees
    }

    /// The tree that tells which processes are in it.
    pub(crate) fn members(&self) -> Option<Where> {
        self.places.members.filter(|tree| self.trees.has(*tree))
    }

    pub(crate) fn members_dir(&self) -> Result<PathBuf, LookError> {
        let tree =
            self.members().ok_or_else(|| LookError::NoGroup { name: self.name.to_string() })?;
        Ok(self.dir(tree))
    }

    pub(crate) fn dir(&self, tree: Where) -> PathBuf {
        self.places.node(tree).join(&*self.directory)
    }

    fn trees(&self) -> impl Iterator<Item = Where> + '_ {
        self.places.trees().filter(|tree| self.trees.has(*tree))
    }
}

/// What is bounded.
enum Resource {
    Memory,
    Cpu,
    Tasks,
}

impl Resource {
    fn requests(&self, tree: Where, limits: &Limits) -> Vec<Request> {
        let version = if tree == Where::Unified { Version::Two } else { Version::One };
        match self {
            Resource::Memory => limits::memory(version, limits.memory),
            Resource::Cpu => limits::cpu(version, limits.cpu),
            Resource::Tasks => limits::tasks(limits.tasks),
        }
    }
}

/// The numbers in a `cgroup.procs`; 0 stands for a process outside our PID namespace.
pub(crate) fn pids(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Waits for the end of a process, at most so long.
fn wait_end(pid: u32, within: Duration) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(descriptor) = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        // Not to be seen from here: only a pause keeps the caller from spinning.
        std::thread::sleep(within.min(Duration::from_millis(10)));
        return;
    };
    let timeout = within.try_into().ok();
    // An interrupted wait is one that the caller repeats.
    let _ = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], timeout.as_ref());
}

/// Each round moves all processes that were there; a bomb of them is not waited for.
const ROUNDS: usize = 100;
