//! A process, told apart from any other that may get its number: by the launcher that is its parent, else
//! held by a pidfd and known again by number, start time and boot. Owns signals and the end; refuses to
//! start anything.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cgroup::Group;
use launcher::{Ended, Launched};
use model::{ExitStatus, LaunchId, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use wire::serve::blocking;

use super::health::Runner;
use super::launcher::{Launcher, Made};
use super::launches::{Fate, FateOf};
use super::proc::{
    has_variable, has_workspace, is_dead, open, process_group, processes, start_ticks,
    with_workspace,
};
use crate::event::Event;
use crate::node::now;
use crate::record::ProcessRecord;

/// A process that runs, or has ended and was not asked how.
#[derive(Debug)]
pub(super) struct Process {
    record: ProcessRecord,
    pid: Pid,
    /// The launcher's word on it; `None` for one whose launcher is gone.
    launch: Option<(Launcher, LaunchId, Arc<Fate>)>,
    /// The kernel's word: of one whose launcher is gone, or was when it was asked.
    handle: OnceLock<Option<Event>>,
    /// The control group that holds all that it started, where there is one.
    group: Option<Group>,
}

impl Process {
    /// A process that the launcher has made, or knows.
    pub(super) fn of_launch(
        launcher: &Launcher,
        launch: LaunchId,
        made: Made,
        group: Option<Group>,
    ) -> Process {
        let Made { launched: Launched { pid, start_ticks, .. }, fate, .. } = made;
        let launch = Some((launcher.clone(), launch, fate));
        let record = ProcessRecord { pid, start_ticks };
        Process { record, pid: number(pid), launch, handle: OnceLock::new(), group }
    }

    /// Takes hold of a process that runs in this boot and that no launcher knows. `None`: it has ended, or
    /// its number is another's now.
    pub(super) fn adopt(record: ProcessRecord, group: Option<Group>) -> Option<Process> {
        let handle = Some(hold(record)?);
        let pid = number(record.pid);
        Some(Process { record, pid, launch: None, handle: handle.into(), group })
    }

    /// Finds the process of an instance whose manager died between starting and recording it: the one
    /// that began with this workspace and this launch in its environment, leads its group, and was there
    /// first. Its commands have the workspace and no launch; what it starts has both, later.
    pub(super) fn find(
        workspace: &Path,
        launch: LaunchId,
        group: Option<Group>,
    ) -> Option<Process> {
        let of_launch = format!("{LAUNCH}={launch}");
        let is_it = |pid: &u32| {
            process_group(*pid) == Some(*pid) && has_variable(*pid, of_launch.as_bytes())
        };
        let leaders = with_workspace(workspace).into_iter().filter(is_it);
        let records = leaders
            .filter_map(|pid| Some(ProcessRecord { pid, start_ticks: start_ticks(pid).ok()? }));
        Process::adopt(records.min_by_key(|record| record.start_ticks)?, group)
    }

    /// What is recorded of it.
    pub(super) fn record(&self) -> ProcessRecord {
        self.record
    }

    /// Does its launcher say that it has ended?
    pub(super) fn has_ended(&self) -> bool {
        let fate = self.launch.as_ref().and_then(|(_, _, fate)| fate.now());
        matches!(fate, Some(FateOf::Ended(_)))
    }

    /// Waits for its end. Waiting again after the end answers at once.
    pub(super) async fn ended(&self) {
        if let Some((_, _, fate)) = &self.launch
            && let FateOf::Ended(_) = fate.known().await
        {
            return;
        }
        // A pidfd becomes readable when its process has ended, and stays so. Without one it has ended before.
        let Some(handle) = self.handle() else { return };
        if let Err(error) = handle.happened().await {
            tracing::error!(%error, pid = self.record.pid, "cannot wait for a process");
            std::future::pending::<()>().await;
        }
    }

    /// What runs the commands of its instance.
    pub(super) fn runner(&self, launcher: &Launcher) -> Runner {
        Runner { launcher: launcher.clone(), group: self.group.clone() }
    }

    /// Waits until nothing runs any more that it started; after its own end.
    pub(super) async fn followers_ended(self: &Arc<Self>, workspace: &Path) {
        loop {
            let (this, workspace) = (self.clone(), workspace.to_owned());
            let left = blocking(move || this.followers(&workspace)).await;
            if left.is_empty() {
                return;
            }
            for handle in left {
                match Event::new(handle) {
                    Ok(event) => drop(event.happened().await),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await, // no descriptors left
                }
            }
        }
    }

    /// Sends a signal to it and to all that it started, once to each: to many programs a second SIGTERM
    /// means "at once". Blocking; without a control group it looks at every process of the system.
    pub(super) fn signal(&self, workspace: &Path, signal: Signal) {
        if signal == Signal::KILL
            && let Some(group) = &self.group
        {
            match group.kill() {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, group = group.name(), "cannot be killed as one");
                }
            }
        }
        let leader = self.record;
        let in_group = |pid: &u32| process_group(*pid) == Some(leader.pid);
        let members = self.members(workspace);
        match &self.launch {
            // The launcher alone can be sure that the number is not another's by now.
            Some((launcher, launch, fate)) if fate.now().is_none() => {
                launcher.signal(*launch, signal.as_raw());
            }
            _ if group_is_of(leader) => {
                let _ = kill_process_group(self.pid, signal); // an error: nobody is left in it
            }
            _ => {}
        }
        if !in_group(&leader.pid)
            && let Some(handle) = self.handle()
        {
            let _ = pidfd_send_signal(handle, signal);
        }
        for number in members.into_iter().filter(|pid| *pid != leader.pid && !in_group(pid)) {
            // Held by a handle and looked at once more, so that nobody else is hit.
            if let Ok((_, handle)) = open(number)
                && self.holds(number, workspace)
            {
                let _ = pidfd_send_signal(&handle, signal);
            }
        }
    }

    /// After the end: says how it was, and ends what it left behind. Blocking, but not for long.
    pub(super) fn bury(&self, workspace: &Path) -> End {
        // What forks while it is looked for is found by the next look.
        for _ in 0..PASSES {
            if self.followers(workspace).is_empty() {
                break;
            }
            self.signal(workspace, Signal::KILL);
        }
        let end = self.end();
        if let Some(group) = &self.group {
            remove(group);
        }
        end
    }

    /// How often the kernel ended something of it because its memory was used up.
    pub(super) fn memory_kills(&self) -> u64 {
        self.group.as_ref().and_then(|group| group.usage().memory_kills).unwrap_or(0)
    }

    /// Gives it and all that it started no time any more, or time again. Blocking.
    pub(super) fn freeze(&self, workspace: &Path, frozen: bool) {
        if let Some(group) = &self.group {
            let done = if frozen { group.freeze(EMPTY_WITHIN) } else { group.thaw() };
            match done {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, group = group.name(), "cannot be frozen as one");
                }
            }
        }
        self.signal(workspace, if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// The numbers of all processes that it consists of.
    fn members(&self, workspace: &Path) -> Vec<u32> {
        match self.group.as_ref().map(Group::processes) {
            Some(Ok(members)) => members,
            // It may be in no group after all, or in one of an earlier fettle.
            _ => with_workspace(workspace),
        }
    }

    fn holds(&self, number: u32, workspace: &Path) -> bool {
        match self.group.as_ref().map(Group::processes) {
            Some(Ok(members)) => members.contains(&number),
            _ => has_workspace(number, workspace),
        }
    }

    /// What still runs of what it started, itself left out: by its control group, else by the environment,
    /// and by the process group as long as that is its own.
    fn followers(&self, workspace: &Path) -> Vec<OwnedFd> {
        match self.group.as_ref().map(Group::processes) {
            Some(Ok(members)) => {
                let others = members.into_iter().filter(|pid| *pid != self.record.pid);
                // One that is dead already and not reaped is in its group and of no interest.
                let held = others.filter_map(|pid| open(pid).ok().map(|(_, handle)| (pid, handle)));
                held.filter(|(pid, _)| !is_dead(*pid)).map(|(_, handle)| handle).collect()
            }
            _ => followers(self.record, workspace),
        }
    }

    /// How it ended, as far as somebody can tell. Blocking, but not for long.
    fn end(&self) -> End {
        if let Some((_, _, fate)) = &self.launch
            && let Some(FateOf::Ended(ended)) = fate.now()
        {
            return End::told(ended);
        }
        let told = self.handle().and_then(|handle| {
            // Whoever is its parent now may take a while to ask; the kernel tells only afterwards, and says
            // so with a hang-up.
            let mut handles = [PollFd::new(handle, PollFlags::empty())];
            let _ = poll(&mut handles, Some(&REAPED_WITHIN));
            launcher::end_of(handle)
        });
        let status = match told {
            Some(launcher::End::Code(code)) => ExitStatus::Code(code),
            Some(launcher::End::Signal(signal)) => ExitStatus::Signal(signal),
            None => ExitStatus::Unknown(
                "its launcher was killed, and the kernel does not tell the status of other processes' children"
                    .into(),
            ),
        };
        End { status, at: now() }
    }

    fn handle(&self) -> Option<&Event> {
        self.handle.get_or_init(|| hold(self.record)).as_ref()
    }
}

/// What an instance left behind that has no process any more.
#[derive(Debug)]
pub(super) struct Remains {
    group: Option<Group>,
}

impl Remains {
    /// `group` is what is left of its control group: one in which something runs, or may. Without one it may
    /// have left something only if it `had_process`.
    pub(super) fn find(group: Option<Group>, had_process: bool) -> Option<Remains> {
        (group.is_some() || had_process).then_some(Remains { group })
    }

    /// Ends it: an instance begins with nothing of its last run, and one that is stopped has nothing.
    /// Blocking, but not for long; without a control group it looks at every process of the system.
    pub(super) fn end(&self, workspace: &Path) {
        for _ in 0..PASSES {
            let left = match self.group.as_ref().map(Group::processes) {
                Some(Ok(members)) => members,
                _ => with_workspace(workspace),
            };
            let left: Vec<_> = left.into_iter().filter(|pid| !is_dead(*pid)).collect();
            if left.is_empty() {
                break;
            }
            if self.group.as_ref().is_some_and(|group| group.kill().is_ok()) {
                continue;
            }
            for number in left {
                // Held by a handle and looked at once more, so that nobody else is hit.
                if let Ok((_, handle)) = open(number)
                    && (self.group.is_some() || has_workspace(number, workspace))
                {
                    let _ = pidfd_send_signal(&handle, Signal::KILL);
                }
            }
        }
        if let Some(group) = &self.group {
            remove(group);
        }
    }
}

/// Not before everything in it was reaped; what stays is found at the next start.
fn remove(group: &Group) {
    let emptied = group.wait_empty(EMPTY_WITHIN);
    if !matches!(emptied, Ok(true)) || group.remove().is_err() {
        tracing::debug!(group = group.name(), "not removed yet");
    }
}

/// How a process ended, and when.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    pub(super) status: ExitStatus,
    pub(super) at: Timestamp,
}

impl End {
    /// As the launcher told it.
    pub(super) fn told(ended: &Ended) -> End {
        let status = match ended.end {
            launcher::End::Code(code) => ExitStatus::Code(code),
            launcher::End::Signal(signal) => ExitStatus::Signal(signal),
        };
        End { status, at: Timestamp::from_millis(ended.at) }
    }
}

/// Takes hold of a process by what is recorded of it. `None`: it has ended, or its number is another's.
fn hold(record: ProcessRecord) -> Option<Event> {
    // The handle first: if the start time is right while it is held, it is the right process.
    let (_, handle) = open(record.pid).ok()?;
    let same = start_ticks(record.pid).ok()? == record.start_ticks && !is_dead(record.pid);
    Event::new(handle).ok().filter(|_| same)
}

/// Numbers of processes are positive; one that is not is nobody's.
fn number(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap_or(NOBODY)
}

/// Is the group with its leader's number still that leader's? Its number is not given away while there is
/// somebody in the group; a group of another began with a leader of that number, which may run.
fn group_is_of(leader: ProcessRecord) -> bool {
    start_ticks(leader.pid).map_or(true, |ticks| ticks == leader.start_ticks)
}

/// What still runs of what a process started, the process itself left out: by the environment, and by the
/// group as long as that is its own.
fn followers(leader: ProcessRecord, workspace: &Path) -> Vec<OwnedFd> {
    let group_is_ours = group_is_of(leader);
    let follows = |pid: &u32| {
        *pid != leader.pid
            && (has_workspace(*pid, workspace)
                || (group_is_ours && process_group(*pid) == Some(leader.pid) && !is_dead(*pid)))
    };
    let held = |pid: u32| {
        let (_, handle) = open(pid).ok()?;
        follows(&pid).then_some(handle)
    };
    processes().into_iter().filter(follows).filter_map(held).collect()
}

/// The variable that says by which launch a program was made. Commands beside it do not have it.
pub(super) const LAUNCH: &str = "FETTLE_LAUNCH";
/// How often what a process left behind is looked for; each pass finds what was forked during the last.
const PASSES: usize = 8;
/// How long what was killed may take to be gone.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);
/// How long a new parent may take to reap what it was given.
const REAPED_WITHIN: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// A number that no process has: the highest that the kernel gives is 2²².
const NOBODY: Pid = match Pid::from_raw(i32::MAX) {
    Some(pid) => pid,
    None => Pid::INIT,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_with_another_start_time_is_not_adopted() {
        let pid = std::process::id();
        let start_ticks = start_ticks(pid).unwrap();
        assert!(Process::adopt(ProcessRecord { pid, start_ticks }, None).is_some());
        assert!(
            Process::adopt(ProcessRecord { pid, start_ticks: start_ticks + 1 }, None).is_none()
        );
    }

    /// A process of the system that leads its group, with this environment, until it is dropped.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        #[expect(clippy::disallowed_methods, reason = "it stands for what a launcher made")]
        fn new(workspace: &Path, launch: Option<LaunchId>) -> Sleeper {
            use std::os::unix::process::CommandExt as _;
            let mut command = std::process::Command::new("sleep");
            command.arg("1000").env_clear().env("FETTLE_WORKSPACE", workspace).process_group(0);
            command.envs(launch.map(|launch| (LAUNCH, launch.to_string())));
            Sleeper(command.spawn().unwrap())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    async fn the_process_of_a_launch_is_found_and_never_a_command_of_the_same_instance() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path();
        let new = || LaunchId::from(uuid::Uuid::now_v7());
        let (launch, earlier) = (new(), new());
        let _others = [Sleeper::new(workspace, None), Sleeper::new(workspace, Some(earlier))];
        assert!(Process::find(workspace, launch, None).is_none());
        let it = Sleeper::new(workspace, Some(launch));
        let found = Process::find(workspace, launch, None).unwrap();
        assert_eq!(found.record().pid, it.0.id());
    }
}
