//! From a request with descriptors to a process. Owns what is checked before the process is made; the
//! making is `sys`'s.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use crate::channel::Came;
use crate::message::{Launched, Limit, Program, Refused, Step, Word};
use crate::sys::{self, Failed, Start};

/// A process on its way to execute its program.
pub(crate) struct Spawned {
    pub(crate) launched: Launched,
    /// See [`sys::spawn`].
    pub(crate) report: OwnedFd,
    /// What is to be kept for the manager.
    pub(crate) kept: Option<OwnedFd>,
}

/// Makes the process. `files` is the limit of open files that it has if nobody says another: the launcher
/// raised its own.
pub(crate) fn spawn(program: &Program, came: Came, files: Limit) -> Result<Spawned, Refused> {
    let launch = &program.launch;
    let refused = |(step, errno): Failed| Refused { launch: launch.clone(), step, errno };
    let Came { mut descriptors, is_cut } = came;
    // What is missing was not sent, or there was no number left for it here.
    let missing = if is_cut { libc::EMFILE } else { libc::EBADF };
    let mut next = || descriptors.pop_front().ok_or((Step::Request, missing)).map_err(refused);
    let (stdout, stderr) = (next()?, next()?);
    let group = program.in_group.then(&mut next).transpose()?;
    let joins: Vec<_> = (0..program.joins).map(|_| next()).collect::<Result<_, _>>()?;
    let kept = program.keeps.then(&mut next).transpose()?;
    let stdin = File::open("/dev/null");
    let stdin = stdin
        .map_err(|error| refused((Step::Streams, error.raw_os_error().unwrap_or(libc::EIO))))?;
    let text = |word: &Word| {
        CString::new(word.as_bytes()).map_err(|_| refused((Step::Request, libc::EINVAL)))
    };
    let texts = |words: &[Word]| words.iter().map(text).collect::<Result<Vec<_>, _>>();
    let path = text(&program.program)?;
    let mut args = vec![path.clone()];
    args.extend(texts(&program.args)?);
    let score = program.oom_score.map(|score| CString::new(score.to_string()).unwrap_or_default());
    let limits: Vec<Limit> = [files].into_iter().chain(program.limits.iter().copied()).collect();
    let (pid, report) = sys::spawn(&Start {
        program: &path,
        args: &args,
        env: &texts(&program.env)?,
        directory: &text(&program.directory)?,
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        group: group.as_ref().map(AsFd::as_fd),
        joins: &joins.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
        limits: &limits,
        oom_score: score.as_deref(),
    })
    .map_err(refused)?;
    // It is not reaped yet, so the number is its own, whether it still runs or not.
    let start_ticks = start_ticks(pid).unwrap_or_default();
    let launched = Launched { launch: launch.clone(), pid, start_ticks };
    Ok(Spawned { launched, report, kept })
}

/// Field 22 of `/proc/<pid>/stat`; the second is a name in brackets that may hold anything.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}
