//! What the tests against the real kernel share: a node of its own for each, real processes inside of groups,
//! and telling aloud when a machine cannot do what a test is about.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

use std::fmt::Display;
use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cgroup::{By, Capability, Group, Groups};
use rustix::io::{FdFlags, fcntl_setfd};

/// Far longer than anything takes; reached only when something is broken.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A node that is gone, with all its processes, when the test ends.
pub(crate) struct Node {
    pub(crate) name: String,
    groups: Groups,
}

impl Node {
    pub(crate) fn new() -> Node {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fettle-test-{}-{count}", std::process::id());
        let groups = Groups::open(&name).unwrap();
        Node { name, groups }
    }
}

impl Deref for Node {
    type Target = Groups;
    fn deref(&self) -> &Groups {
        &self.groups
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for group in self.groups.sweep().unwrap_or_default() {
            let _ = group.kill();
            let _ = group.thaw();
            let _ = group.wait_empty(LONG);
        }
        let _ = self.groups.sweep();
        let _ = self.groups.remove();
    }
}

/// Whether the machine can do it. Says so where it cannot: a test that is skipped is not one that has passed.
pub(crate) fn can(what: &str, capability: &Capability) -> bool {
    if let Capability::Lacks { why } = capability {
        skipped(&format!("{what}: {why}"));
    }
    capability.by().is_some()
}

/// Whether version 2 itself does it here.
pub(crate) fn can_by_v2(what: &str, capability: &Capability) -> bool {
    if capability.by() != Some(By::V2) {
        skipped(&format!("{what} by version 2: {capability}"));
    }
    capability.by() == Some(By::V2)
}

pub(crate) fn skipped(why: &dyn Display) {
    // Past the harness, which keeps the output of tests that pass.
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("SKIPPED {name}: {why}\n").as_bytes(),
    );
}

/// Starts a script inside of a group, by the way that needs no system call of its own: it writes itself in.
pub(crate) fn start(group: &Group, script: &str) -> Child {
    command(group, "/bin/sh", &["-c", script]).spawn().unwrap()
}

/// A command that enters the group before it runs the program.
pub(crate) fn command(group: &Group, program: &str, arguments: &[&str]) -> Command {
    let descriptors = group.descriptors().unwrap();
    let procs: Vec<OwnedFd> =
        descriptors.group_procs.into_iter().chain(descriptors.procs).collect();
    let mut command = Command::new("/bin/sh");
    let enter = "while [ $1 != -- ]; do echo 0 >/proc/self/fd/$1 || exit 99; shift; done; shift; exec \"$@\"";
    command.args(["-c", enter, "sh"]);
    for descriptor in procs {
        fcntl_setfd(&descriptor, FdFlags::empty()).unwrap();
        command.arg(descriptor.as_raw_fd().to_string());
        let _inherited = std::mem::ManuallyDrop::new(descriptor); // a test leaves few
    }
    command.arg("--").arg(program).args(arguments);
    command
}

/// Starts a script that says `ready` when it has come to where the test wants it.
pub(crate) fn start_ready(group: &Group, script: &str) -> Child {
    let mut child =
        command(group, "/bin/sh", &["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Waits until something is true; fails with `what` if it never is.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
