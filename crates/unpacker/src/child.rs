//! The process that unpacks. Its directory is the tree, its standard input the archive, its standard
//! output one line that says how it ended; the manager gives it nothing else.
//!
//! It dies with the process that started it, so that nothing is written after that one's successor has
//! cleared up.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::Mode;
use rustix::process::{Signal, getppid, set_parent_process_death_signal, umask};
use rustix::thread::set_name;

use crate::error::{UnpackError, chain};
use crate::inherited;
use crate::job::{Job, Outcome, Report};
use crate::pipeline;

/// Does the job that the argument describes. To be called before this process has opened anything: every
/// descriptor but the standard ones is closed. Answers 0 if the report could be written, whatever it says.
pub fn run(job: &str) -> ExitCode {
    let report = match work(job) {
        Ok(outcome) => Report::Done(outcome),
        Err(error) => Report::Failed(error),
    };
    let line = serde_json::to_string(&report).unwrap_or_default();
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn work(job: &str) -> Result<Outcome, UnpackError> {
    let start = |message: String| UnpackError::Start { message };
    inherited::close().map_err(|error| start(chain(&error)))?;
    let job: Job = serde_json::from_str(job).map_err(|error| start(error.to_string()))?;
    die_with(job.parent).map_err(|error| start(chain(&error)))?;
    // What administrators see in a list of processes; threads get names of their own.
    set_name(c"fettle-unpack").map_err(|error| start(chain(&error)))?;
    umask(Mode::empty()); // the modes of files are what was decided, with one system call less each
    let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let input = input.map_err(|error| start(chain(&error)))?;
    let mut tree = durable::Tree::beneath(Path::new("."))?;
    let sandbox = crate::sandbox::enter(Path::new("."), &job.how.limits, job.landlock)
        .map_err(|error| start(chain(&error)))?;
    let dropped = pipeline::unpack_file(&mut tree, input, &job.how)?;
    Ok(Outcome { dropped, sandbox })
}

/// The kernel ends this process when the thread that started it ends. It may have ended before that was
/// asked for.
fn die_with(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if now != Some(parent) {
        return Err(io::Error::other("the process that started it has ended"));
    }
    Ok(())
}
