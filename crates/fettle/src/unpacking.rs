//! The hidden command that archives are unpacked in: a process of its own, which is this program again.
//! It is looked for before anything else is set up, since it is about to give up the right to most of it.

use std::process::ExitCode;

use unpacker::Isolation;

/// Does what a node has started this process for; `None` if it is an ordinary one.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let job = arguments.next().unwrap_or_default();
    Some(unpacker::run_child(&job.to_string_lossy()))
}

/// A process of its own for each archive. The running program itself, also when its file was replaced
/// by a newer one meanwhile.
pub(crate) fn isolation() -> Isolation {
    Isolation::Process {
        program: "/proc/self/exe".into(),
        arguments: vec![COMMAND.into()],
        landlock: true,
    }
}

const COMMAND: &str = "__unpack";
