//! A process, told apart from any other that may get its number: held by a pidfd, known again by number,
//! start time and boot. Owns signals and the end; refuses to start anything.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::ExitStatus;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use wire::serve::blocking;

use crate::event::Event;
use crate::record::ProcessRecord;

/// A process that runs, or has ended and was not asked how.
#[derive(Debug)]
pub(super) struct Process {
    record: ProcessRecord,
    pid: Pid,
    handle: Event,
    /// Ours to reap; `None` for one that an earlier manager started.
    child: Option<Mutex<Child>>,
}

impl Process {
    /// Takes hold of a child that was just started. One that cannot be held is ended, for nobody would
    /// own it.
    pub(super) fn of_child(mut child: Child) -> io::Result<Process> {
        // Not reaped yet, so the number is the child's, whether it still runs or not.
        let number = child.id();
        let hold = || {
            let (pid, handle) = open(number)?;
            let record = ProcessRecord { pid: number, start_ticks: start_ticks(number)? };
            Ok((record, pid, Event::new(handle)?))
        };
        match hold() {
            Ok((record, pid, handle)) => {
                Ok(Process { record, pid, handle, child: Some(Mutex::new(child)) })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Takes hold of a process that an earlier manager started in this boot. `None`: it has ended, or
    /// its number is another's now.
    pub(super) fn adopt(record: ProcessRecord) -> Option<Process> {
        // The handle first: if the start time is right while it is held, it is the right process.
        let (pid, handle) = open(record.pid).ok()?;
        let same = start_ticks(record.pid).ok()? == record.start_ticks && !has_ended(record.pid);
        let handle = Event::new(handle).ok().filter(|_| same)?;
        Some(Process { record, pid, handle, child: None })
    }

    /// Finds the process of an instance whose manager died between starting and recording it: the one
    /// that began with this workspace in its environment, leads its group, and was there first.
    pub(super) fn find(workspace: &Path) -> Option<Process> {
        let leader = |pid: &u32| process_group(*pid) == Some(*pid);
        let leaders = with_workspace(workspace).into_iter().filter(leader);
        let records = leaders
            .filter_map(|pid| Some(ProcessRecord { pid, start_ticks: start_ticks(pid).ok()? }));
        Process::adopt(records.min_by_key(|record| record.start_ticks)?)
    }

    /// What is recorded of it.
    pub(super) fn record(&self) -> ProcessRecord {
        self.record
    }

    /// Waits for its end. Waiting again after the end answers at once.
    pub(super) async fn ended(&self) {
        // A pidfd becomes readable when its process has ended, and stays so.
        if let Err(error) = self.handle.happened().await {
            tracing::error!(%error, pid = self.record.pid, "cannot wait for a process");
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nothing runs any more that it started; after its own end.
    pub(super) async fn followers_ended(&self, workspace: &Path) {
        loop {
            let (leader, is_ours) = (self.record.pid, self.child.is_some());
            let workspace = workspace.to_owned();
            let left = blocking(move || followers(leader, is_ours, &workspace)).await;
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
    /// means "at once". Blocking: looks at every process of the system.
    pub(super) fn signal(&self, workspace: &Path, signal: Signal) {
        let leader = self.record.pid;
        let in_group = |pid: &u32| process_group(*pid) == Some(leader);
        let members = with_workspace(workspace);
        // The group's number is nobody else's while its leader is not reaped, or one of ours is in it.
        if self.child.is_some() || !self.has_ended() || members.iter().any(in_group) {
            let _ = kill_process_group(self.pid, signal); // an error: nobody is left in it
        }
        if !in_group(&leader) {
            let _ = pidfd_send_signal(&self.handle, signal);
        }
        for number in members.into_iter().filter(|pid| *pid != leader && !in_group(pid)) {
            // Held by a handle and looked at once more, so that nobody else is hit.
            if let Ok((_, handle)) = open(number)
                && has_workspace(number, workspace)
            {
                let _ = pidfd_send_signal(&handle, signal);
            }
        }
    }

    /// After the end: says how it was, and ends what it left behind. Blocking, but not for long.
    pub(super) fn bury(&self, workspace: &Path) -> ExitStatus {
        // Before it is reaped its number is still its own, and so is its group's. What forks while it is
        // looked for is found by the next look.
        for _ in 0..PASSES {
            self.signal(workspace, Signal::KILL);
            if with_workspace(workspace).is_empty() {
                break;
            }
        }
        let Some(child) = &self.child else {
            return ExitStatus::Unknown(
                "it was started by an earlier node manager, whose end took the status with it"
                    .into(),
            );
        };
        match child.lock().unwrap_or_else(PoisonError::into_inner).wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => ExitStatus::Code(code),
                (None, Some(signal)) => ExitStatus::Signal(signal),
                (None, None) => ExitStatus::Unknown("it neither exited nor was killed".into()),
            },
            Err(error) => ExitStatus::Unknown(format!("the system does not say: {error}")),
        }
    }

    fn has_ended(&self) -> bool {
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut handles, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Changes with every boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = text.trim();
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| id.to_owned()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What still runs of what a process started, the process itself left out: by the environment, and by the
/// group as long as its number is the process's own.
fn followers(leader: u32, group_is_ours: bool, workspace: &Path) -> Vec<OwnedFd> {
    let follows = |pid: &u32| {
        *pid != leader
            && (has_workspace(*pid, workspace)
                || (group_is_ours && process_group(*pid) == Some(leader) && !is_dead(*pid)))
    };
    let held = |pid: u32| {
        let (_, handle) = open(pid).ok()?;
        follows(&pid).then_some(handle)
    };
    processes().into_iter().filter(follows).filter_map(held).collect()
}

fn open(number: u32) -> io::Result<(Pid, OwnedFd)> {
    let raw = i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
    let pid = Pid::from_raw(raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((pid, pidfd_open(pid, PidfdFlags::NONBLOCK)?))
}

/// All processes that began with `FETTLE_WORKSPACE=<workspace>` and have not ended.
fn with_workspace(workspace: &Path) -> Vec<u32> {
    processes().into_iter().filter(|pid| has_workspace(*pid, workspace)).collect()
}

/// The numbers of all processes that this one can see.
fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter_map(Result::ok).filter_map(number).collect()
}

/// What is dead and not reaped has no environment any more.
fn has_workspace(number: u32, workspace: &Path) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{number}/environ")) else { return false };
    let wanted = [b"FETTLE_WORKSPACE=", workspace.as_os_str().as_encoded_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

/// Field 22 of `/proc/<pid>/stat` (proc_pid_stat(5)): when it was made, in clock ticks since the boot.
fn start_ticks(number: u32) -> io::Result<u64> {
    stat_field(number, 22).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Field 3: `Z` for one that has ended and was not reaped by whoever became its parent, `X` for one that
/// is just being reaped.
fn has_ended(number: u32) -> bool {
    stat_field::<char>(number, 3).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

/// Field 5: its process group.
fn process_group(number: u32) -> Option<u32> {
    stat_field(number, 5)
}

/// Field 3: its state; a zombie has ended, and waits for its parent to ask how.
fn is_dead(number: u32) -> bool {
    stat_field::<char>(number, 3).is_none_or(|state| matches!(state, 'Z' | 'X'))
}

fn stat_field<T: std::str::FromStr>(number: u32, field: usize) -> Option<T> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?, field)
}

/// The second field is the program's name in brackets, and may hold blanks and brackets itself: what
/// follows the last bracket is field 3.
fn parse_stat<T: std::str::FromStr>(stat: &str, field: usize) -> Option<T> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?)?.parse().ok()
}

/// How often what a process left behind is looked for; each pass finds what was forked during the last.
const PASSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_program_cannot_forge_its_start_time_with_its_name() {
        let stat = "12 (a) 9 (b) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(parse_stat(stat, 22), Some(4242u64));
        assert_eq!(parse_stat(stat, 5), Some(77u32));
    }

    #[test]
    fn this_process_has_a_start_time_and_this_boot_an_id() {
        assert!(start_ticks(std::process::id()).unwrap() > 0);
        assert!(!boot_id().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_process_with_another_start_time_is_not_adopted() {
        let pid = std::process::id();
        let start_ticks = start_ticks(pid).unwrap();
        assert!(Process::adopt(ProcessRecord { pid, start_ticks }).is_some());
        assert!(Process::adopt(ProcessRecord { pid, start_ticks: start_ticks + 1 }).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}", field in 0usize..60) {
            let _ = parse_stat::<u64>(&text, field);
        }
    }
}
