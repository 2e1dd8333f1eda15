//! A node of its own: a launcher, and what it is told and says.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use launcher::{Connection, Ended, Event, Known, Launched, Program, Request, Way};
use rustix::process::Pid;

/// A node of its own: a directory for the socket, one for what programs print.
pub(crate) struct Node {
    pub(crate) directory: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Node {
        Node { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn way(&self) -> Way {
        let program = env!("CARGO_BIN_EXE_launch-programs").into();
        Way { directory: self.directory.path().to_owned(), program, args: Vec::new() }
    }

    pub(crate) fn reach(&self) -> (Connection, Vec<Known>) {
        Connection::reach(&self.way()).unwrap()
    }

    /// A shell that runs this, with its output in the file `out`.
    pub(crate) fn shell(&self, launch: &str, script: &str) -> Program {
        Program {
            launch: launch.into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec!["PATH=/usr/bin:/bin".into()],
            directory: self.directory.path().into(),
            limits: Vec::new(),
            oom_score: None,
            in_group: false,
            joins: 0,
            keeps: false,
        }
    }

    pub(crate) fn launch(&self, connection: &Connection, program: Program) -> Event {
        self.launch_with(connection, program, &[])
    }

    pub(crate) fn launch_with(
        &self,
        connection: &Connection,
        program: Program,
        more: &[&OwnedFd],
    ) -> Event {
        self.ask(connection, program, more);
        connection.receive().unwrap()
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn ask(&self, connection: &Connection, program: Program, more: &[&OwnedFd]) {
        let open = || {
            OwnedFd::from(File::options().create(true).append(true).open(self.path("out")).unwrap())
        };
        let (out, err) = (open(), open());
        let mut descriptors = vec![out.as_fd(), err.as_fd()];
        descriptors.extend(more.iter().map(|descriptor| descriptor.as_fd()));
        connection.send(&Request::Launch(program.into()), &descriptors).unwrap();
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap()
    }
}

pub(crate) fn launched(event: Event) -> Launched {
    match event {
        Event::Launched(launched) => launched,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ended(connection: &Connection) -> Ended {
    match connection.receive().unwrap() {
        Event::Ended(ended) => ended,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).unwrap()
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within thirty seconds");
}

pub(crate) fn runs(number: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Waits for the end of a launcher, which may be a zombie of ours.
pub(crate) fn gone(number: u32) {
    wait_until("the launcher ends", || !runs(number));
}
