//! Locks between handles and between processes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests plant what the verbs then meet, and a panic is how they fail"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Scratch, disk, p};
use durable::{Disk, LockMode};

#[test]
fn one_exclusive_holder_or_many_shared_ones() {
    let scratch = Scratch::new();
    let (first, second) = (disk(&scratch), disk(&scratch));
    let exclusive = first.lock(p("lock"), LockMode::Exclusive).unwrap();
    assert!(second.try_lock(p("lock"), LockMode::Exclusive).unwrap().is_none());
    assert!(second.try_lock(p("lock"), LockMode::Shared).unwrap().is_none());
    assert!(first.try_lock(p("lock"), LockMode::Shared).unwrap().is_none());
    drop(exclusive);
    let _one = first.lock(p("lock"), LockMode::Shared).unwrap();
    let _two = second.lock(p("lock"), LockMode::Shared).unwrap();
    assert!(second.try_lock(p("lock"), LockMode::Exclusive).unwrap().is_none());
    assert!(second.try_lock(p("other"), LockMode::Exclusive).unwrap().is_some());
}

#[test]
fn a_lock_holds_across_processes_and_ends_with_its_holder() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut holder = hold_in_another_process(&disk);
    assert!(disk.try_lock(p("lock"), LockMode::Exclusive).unwrap().is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(disk.try_lock(p("lock"), LockMode::Exclusive).unwrap().is_some());
}

/// Not a test by itself: what the other process runs.
#[test]
fn holder() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let disk = Disk::open(p(root.to_str().unwrap())).unwrap();
    let _held = disk.lock(p("lock"), LockMode::Exclusive).unwrap();
    println!("\n{HELD}");
    loop {
        std::thread::park();
    }
}

fn hold_in_another_process(disk: &Disk) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder", "--nocapture"])
        .env(ROOT, disk.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == HELD));
    child
}

const ROOT: &str = "DURABLE_TEST_HOLDER";
const HELD: &str = "held";
