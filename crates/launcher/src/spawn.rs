//! From a request with descriptors to a process. Owns what is checked before the process is made; the
//! making is `sys`'s.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use crate::message::{Launched, Program, Refused, Step, Word};
use crate::sys::{self, Failed, Start};

/// Makes the process. Gives the descriptor that is to be kept, too.
pub(crate) fn spawn(
    program: &Program,
    mut came: VecDeque<OwnedFd>,
) -> Result<(Launched, Option<OwnedFd>), Refused> {
    let launch = &program.launch;
    let refused = |(step, errno): Failed| Refused { launch: launch.clone(), step, errno };
    let mut next = || came.pop_front().ok_or((Step::Request, libc::EBADF)).map_err(refused);
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
    let pid = sys::spawn(&Start {
        program: &path,
        args: &args,
        env: &texts(&program.env)?,
        directory: &text(&program.directory)?,
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        group: group.as_ref().map(AsFd::as_fd),
        joins: &joins.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
        limits: &program.limits,
        oom_score: score.as_deref(),
    })
    .map_err(refused)?;
    // It is not reaped yet, so the number is its own, whether it still runs or not.
    let start_ticks = start_ticks(pid).unwrap_or_default();
    Ok((Launched { launch: launch.clone(), pid, start_ticks }, kept))
}

/// Field 22 of `/proc/<pid>/stat`; the second is a name in brackets that may hold anything.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}
