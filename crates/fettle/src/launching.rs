//! The hidden command that is a node's launcher: this program again, small, because it is looked for before
//! anything else is set up.

use std::ffi::OsString;
use std::process::ExitCode;

use node_manager::Starter;

/// Is the launcher that a node has started this process for; `None` if it is an ordinary one.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let arguments: Vec<OsString> = arguments.collect();
    Some(launcher::run(&arguments))
}

/// The running program itself, also when its file was replaced by a newer one meanwhile. `open_files` is the
/// soft limit of before, if this process has raised its own.
pub(crate) fn starter(open_files: Option<u64>) -> Starter {
    let args = [OsString::from(COMMAND)].into_iter().chain(open_files.map(launcher::open_files));
    Starter { program: "/proc/self/exe".into(), args: args.collect() }
}

const COMMAND: &str = "__launch";
