//! The one file that starts processes.
//!
//! A process begins with a clean environment, no input, its output appended to its logs, its workspace as
//! its directory, and a process group of its own, so that a signal to the manager's terminal does not
//! reach it and one to the group reaches all that stays in it. It is not tied to the manager in any way:
//! if the manager ends, it runs on. (`std::process` opens descriptors close-on-exec, so it gets none of
//! ours.) A crash between the spawn and the record of its number is what the launch record and
//! [`super::process::Process::find`] are for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Everything that a process begins with.
#[derive(Debug)]
pub(super) struct Start {
    /// What is executed; absolute.
    pub(super) program: PathBuf,
    /// Arguments, without the program's name.
    pub(super) args: Vec<String>,
    /// The whole environment.
    pub(super) env: BTreeMap<String, OsString>,
    /// Its working directory; absolute.
    pub(super) directory: PathBuf,
    /// Where standard output goes.
    pub(super) stdout: File,
    /// Where standard error goes.
    pub(super) stderr: File,
}

/// Starts a process. An error is the system's on executing it, e.g. that it is of another architecture.
///
/// A program that was just installed may be "busy" for a moment: a child that another thread forked
/// while the file was still open for writing has it open too until it executes its own program.
/// Blocking.
pub(super) fn spawn(start: Start) -> io::Result<Child> {
    let mut command = command(start);
    for pause in BUSY_PAUSES {
        match try_spawn(&mut command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(pause);
            }
            spawned => return spawned,
        }
    }
    try_spawn(&mut command)
}

#[expect(clippy::disallowed_methods, reason = "this is the one file that starts processes")]
fn try_spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}

fn command(start: Start) -> Command {
    let mut command = Command::new(start.program);
    command
        .args(start.args)
        .env_clear()
        .envs(start.env)
        .current_dir(start.directory)
        .stdin(Stdio::null())
        .stdout(start.stdout)
        .stderr(start.stderr)
        .process_group(0);
    command
}

const BUSY_PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
];
