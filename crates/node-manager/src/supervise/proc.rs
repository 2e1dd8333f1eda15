//! What the kernel tells of processes in `/proc`. Reads only, and decides nothing: a number may be another's by
//! the time of the answer, so whoever acts on one holds it by a handle first.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Changes with every boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = text.trim();
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| id.to_owned()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Takes hold of a process by its number.
pub(super) fn open(number: u32) -> io::Result<(Pid, OwnedFd)> {
    let raw = i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?;
    let pid = Pid::from_raw(raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((pid, pidfd_open(pid, PidfdFlags::NONBLOCK)?))
}

/// All processes that began with `FETTLE_WORKSPACE=<workspace>` and have not ended.
pub(super) fn with_workspace(workspace: &Path) -> Vec<u32> {
    processes().into_iter().filter(|pid| has_workspace(*pid, workspace)).collect()
}

/// The numbers of all processes that this one can see.
pub(super) fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter_map(Result::ok).filter_map(number).collect()
}

pub(super) fn has_workspace(number: u32, workspace: &Path) -> bool {
    let wanted = [b"FETTLE_WORKSPACE=", workspace.as_os_str().as_encoded_bytes()].concat();
    has_variable(number, &wanted)
}

/// Did it begin with this, `NAME=value`? What is dead and not reaped has no environment any more.
pub(super) fn has_variable(number: u32, wanted: &[u8]) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{number}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

/// Field 22 of `/proc/<pid>/stat` (proc_pid_stat(5)): when it was made, in clock ticks since the boot.
pub(super) fn start_ticks(number: u32) -> io::Result<u64> {
    stat_field(number, 22).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Field 5: its process group.
pub(super) fn process_group(number: u32) -> Option<u32> {
    stat_field(number, 5)
}

/// Field 3: its state; a zombie has ended, and waits for its parent to ask how.
pub(super) fn is_dead(number: u32) -> bool {
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

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}", field in 0usize..60) {
            let _ = parse_stat::<u64>(&text, field);
        }
    }
}
