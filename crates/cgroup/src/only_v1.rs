//! Tests with the real kernel on what a machine without version 2 does: on one that has both, version 2 is left
//! out. Where there is no version 1 either they say that they were skipped.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start processes, and a panic is how they fail"
)]

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::capability::{By, Capability};
use crate::groups::Groups;
use crate::{FreezeError, Group, Limits, Watch, WatchError, probe};

const LONG: Duration = Duration::from_secs(30);

struct Node(Groups);

impl Node {
    /// Without version 2, and without the freezer too if so told.
    fn new(name: &str, freezer: bool) -> Option<Node> {
        let name = format!("fettle-test-v1-{}-{name}", std::process::id());
        let (mut places, capabilities) = probe::establish_without_unified(&name);
        if let Capability::Lacks { why } = &capabilities.freeze {
            let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
            return None;
        }
        if !freezer {
            places.freezer = None;
            places.members = places.tasks;
        }
        Some(Node(Groups::of(&name, (places, capabilities))))
    }

    fn make(&self) -> Group {
        self.0.make("one", &Limits::default()).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for group in self.0.sweep().unwrap_or_default() {
            let _ = group.kill();
            let _ = group.wait_empty(LONG);
        }
        let _ = self.0.sweep();
        let _ = self.0.remove();
    }
}

/// A shell that enters the group through its standard output.
fn start(group: &Group, script: &str) -> Child {
    let procs = group.descriptors().unwrap().procs;
    assert_eq!(procs.len(), 1);
    Command::new("/bin/sh")
        .args(["-c", &format!("echo 0; exec >/dev/null; {script}")])
        .stdout(Stdio::from(procs.into_iter().next().unwrap()))
        .spawn()
        .unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn version_1_alone_is_seen_as_that() {
    let Some(node) = Node::new("seen", true) else { return };
    let capabilities = node.0.capabilities();
    assert_eq!(capabilities.freeze.by(), Some(By::V1));
    assert_eq!(capabilities.kill.by(), Some(By::V1));
    assert_eq!(capabilities.start.by(), Some(By::V1));
    assert_eq!(capabilities.events.by(), None);
    let group = node.make();
    assert!(matches!(Watch::new().unwrap().add(&group), Err(WatchError::NoEvents { .. })));
    assert!(group.descriptors().unwrap().group.is_none());
}

#[test]
fn all_are_killed_one_by_one_while_frozen() {
    let Some(node) = Node::new("kill", true) else { return };
    let group = node.make();
    let mut child =
        start(&group, "(setsid sleep 1000 &); trap '' TERM; while :; do sleep 0.001; done");
    until("it has begun", || group.processes().unwrap().len() > 1);
    assert!(!group.wait_empty(Duration::from_millis(10)).unwrap());
    group.kill().unwrap();
    child.wait().unwrap();
    assert!(group.wait_empty(LONG).unwrap() && group.processes().unwrap().is_empty());
    assert!(!group.is_frozen().unwrap(), "the next one under this name runs");
    group.remove().unwrap();
    group.remove().unwrap();
}

#[test]
fn those_that_multiply_are_killed_without_a_freezer_too() {
    let Some(node) = Node::new("bomb", false) else { return };
    if node.0.places.members.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no version 1 tree for tasks");
        return;
    }
    let limits = Limits { tasks: std::num::NonZeroU32::new(40), ..Limits::default() };
    let group = node.0.make("one", &limits).unwrap();
    // Each generation starts two and ends; the limit bounds it.
    let bomb = "f() { f & f & }; exec 2>/dev/null; f; f; sleep 1000";
    let mut child = start(&group, bomb);
    until("it multiplies", || {
        group.usage().tasks_refused > Some(0) || child.try_wait().unwrap().is_some()
    });
    assert!(matches!(group.freeze(LONG), Err(FreezeError::NoFreezer)));
    group.kill().unwrap();
    child.wait().unwrap();
    assert!(group.wait_empty(LONG).unwrap());
}

#[test]
fn a_frozen_group_can_be_killed_and_an_empty_one_freezes() {
    let Some(node) = Node::new("freeze", true) else { return };
    let group = node.make();
    group.freeze(LONG).unwrap();
    assert!(group.is_frozen().unwrap());
    let group = node.make();
    assert!(!group.is_frozen().unwrap(), "made again, it runs");
    let mut child = start(&group, "exec sleep 1000");
    until("it has begun", || !group.processes().unwrap().is_empty());
    group.freeze(LONG).unwrap();
    group.kill().unwrap();
    child.wait().unwrap();
    assert!(group.wait_empty(LONG).unwrap());
}
