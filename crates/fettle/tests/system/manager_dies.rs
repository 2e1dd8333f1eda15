//! The manager dies at any of its system calls while it starts an instance: whatever the next one finds, the
//! program was started once, and runs. `FETTLE_SWEEP=all` takes every call, else a few of each kind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::{Account, World};

#[test]
fn a_manager_that_dies_at_any_system_call_of_a_start_has_started_the_program_once() {
    if !Path::new("/usr/bin/strace").exists() {
        return eprintln!("skipped: there is no strace");
    }
    let is_whole = std::env::var("FETTLE_SWEEP").as_deref() == Ok("all");
    let mut world = World::new(Account::Own);
    world.with_node();
    let program = world.write("program.sh", "#!/bin/sh\necho $$ >>started\nexec sleep 300\n");
    let manifest = world.manifest("demo/once", "1.0.0", &program, &[], &[]);
    world.json(&["app", "publish", manifest.to_str().unwrap()]);
    // There is a launcher from now on, which is not what dies here.
    world.json(&["install", "demo/once", "--start"]);
    let mut kills = 0;
    for call in CALLS {
        let mut at = 1;
        while dies_at(&mut world, call, at) {
            kills += 1;
            at += if is_whole { 1 } else { STEP };
        }
    }
    eprintln!("{kills} kills");
    assert!(kills > CALLS.len(), "a start has more than {kills} system calls");
}

/// Was it killed?
fn dies_at(world: &mut World, call: &str, at: usize) -> bool {
    world.json(&["stop", "once/1/1"]);
    let workspace = workspace(world);
    let _ = fs::remove_file(workspace.join("started"));
    let mut tracer = trace(world, &format!("inject={call}:signal=KILL:when={at}"));
    let mut command = world.user(&["start", "once/1/1"]).stderr(Stdio::null()).spawn().unwrap();
    until("the command or the manager has ended", || {
        world.node_mut().has_ended() || matches!(command.try_wait(), Ok(Some(_)))
    });
    let _ = tracer.kill();
    tracer.wait().unwrap();
    // It may have died after its last word.
    let was_killed = world.node_mut().has_ended() || world.run(&["status"]).code != Some(0);
    if was_killed {
        until("the manager is dead", || world.node_mut().has_ended());
        world.start_node();
    }
    // The command has waited for the manager to come back. One that was never heard is given once more, and
    // nothing is done twice.
    let ended = command.wait().unwrap();
    assert!(was_killed || ended.success(), "{call} {at}: {ended}");
    world.json(&["start", "once/1/1"]);
    let status = world.json(&["status", "once/1/1"]);
    assert_eq!(status["state"], "running", "{call} {at}: {status}");
    until("the program has said its number", || workspace.join("started").exists());
    let started = fs::read_to_string(workspace.join("started")).unwrap();
    let pids: Vec<u64> = started.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids, [status["pid"].as_u64().unwrap()], "killed at {call} {at}: {status}");
    was_killed
}

/// Has every thread of the manager looked at. A thread that ends at that very moment makes strace give up; and
/// a manager that came just now may make its system call by itself, before it is asked for anything.
fn trace(world: &mut World, inject: &str) -> Child {
    for _ in 0..PATIENCE {
        if world.node_mut().has_ended() {
            world.start_node();
        }
        let pid = world.node().pid();
        let mut tracer = Command::new("/usr/bin/strace");
        tracer.args(["-f", "-qq", "-o", "/dev/null", "-e", inject, "-p", &pid.to_string()]);
        let mut tracer = tracer.spawn().unwrap(); // what it says is seen where the test fails
        let mut has_ended = || matches!(tracer.try_wait(), Ok(Some(_)));
        until("strace has come to the manager, or given up", || has_ended() || is_traced(pid));
        if !has_ended() {
            return tracer;
        }
        tracer.wait().unwrap();
    }
    panic!("strace never comes to the manager");
}

/// Is somebody looking at every thread of this process?
fn is_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    threads
        .filter_map(Result::ok)
        .map(|thread| thread.path().join("status"))
        .all(|status| !fs::read_to_string(status).unwrap_or_default().contains("TracerPid:\t0\n"))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it is never so that {what}");
}

fn workspace(world: &World) -> std::path::PathBuf {
    let app = fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap().path();
    app.join("installation-1/instances/instance-1/root")
}

/// Of ten milliseconds each.
const PATIENCE: usize = 1000;
/// Usually every how manieth call of a kind is taken.
const STEP: usize = 4;
/// What a start consists of; each is counted for each thread.
const CALLS: [&str; 13] = [
    "recvfrom",
    "openat",
    "openat2",
    "pwrite64",
    "fdatasync",
    "renameat",
    "mkdirat",
    "sendmsg",
    "recvmsg",
    "inotify_add_watch",
    "newfstatat",
    "futex",
    "writev",
];
