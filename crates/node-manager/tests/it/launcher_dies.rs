//! The launcher dies at any of its system calls while an instance is started: whatever the next manager
//! finds, one program runs in the end, and never two. Which cases are taken is said in `sweep`.

use std::path::Path;
use std::sync::Arc;

use model::InstanceId;
use model::lifecycle::InstanceState;

use crate::machine::{Machine, create, eventually, install, processes_under, start};
use crate::sweep::{self, stride};
use crate::world::{World, envelope};

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_dies_at_any_system_call_of_a_start_leaves_one_program() {
    if !Path::new("/usr/bin/strace").exists() {
        return println!("skipped: there is no strace");
    }
    let world = Arc::new(World::start().await);
    let program = world.script("p/program", "exec sleep 300");
    world.publish(&envelope("p", "1.0.0", program)).await;
    let mut points = 0;
    for (offset, call) in CALLS.into_iter().enumerate() {
        let (world, stride) = (world.clone(), stride(EVERY));
        points += sweep::until_the_last(call, 1 + offset % stride, stride, move |at| {
            let world = world.clone();
            async move { !dies_at(&world, call, at).await }
        })
        .await;
    }
    println!("{points} system calls");
    assert!(points > 1);
}

/// Was it killed?
async fn dies_at(world: &World, call: &str, at: usize) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::off(&directory.path().join("node"), &world.address);
    let whole = machine.config.launcher.clone();
    let inject = format!("inject={call}:signal=KILL:when={at}");
    let words = ["-qq", "-o", "/dev/null", "-e", &inject];
    machine.config.launcher.program = "/usr/bin/strace".into();
    machine.config.launcher.args = words.map(Into::into).into();
    machine.config.launcher.args.push(whole.program.clone().into());
    machine.turn_on().await;
    let installation = machine.install(install("p")).await.installation;
    let id = InstanceId { installation, number: 1 };
    machine.done(create(&id.installation, false)).await;
    // It may fail: nothing else is promised here.
    let has_failed = machine.change(start(&id)).await.error.is_some();
    let was_killed = has_failed || !has_launcher(directory.path());
    machine.turn_off().await;
    machine.config.launcher = whole;
    machine.turn_on().await;
    if machine.instance(&id).await.state != InstanceState::Running {
        drop(machine.change(start(&id)).await);
    }
    machine.until(&id, "running", |body| body.state == InstanceState::Running).await;
    let root = machine.root.clone();
    eventually(&format!("one program, killed at {call} {at}"), || {
        processes_under(&root).len() == 1
    })
    .await;
    machine.turn_off().await;
    was_killed
}

/// Does a launcher of this machine run?
fn has_launcher(directory: &Path) -> bool {
    let is_one = |process: std::path::PathBuf| {
        let read = |name| std::fs::read_to_string(process.join(name)).unwrap_or_default();
        read("comm").trim() == "fettle-launch"
            && read("cmdline").contains(directory.to_str().unwrap())
    };
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.map(|process| process.path()).any(is_one)
}

/// Usually every how manieth system call is taken.
const EVERY: usize = 5;
/// What a start consists of; strace counts each by itself. One that an architecture lacks is marked.
const CALLS: [&str; 12] = [
    "?poll,ppoll",
    "recvmsg",
    "recvfrom",
    "openat",
    "read",
    "pipe2",
    "clone3",
    "close",
    "sendmsg",
    "wait4",
    "accept4",
    "prlimit64",
];
