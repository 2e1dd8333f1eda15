//! What a manager finds that runs as an ordinary user, or as a delegated service of version 2. Each test runs
//! this program again as that process, with the test to run and its part in an environment variable.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "tests start processes and write files, and a panic is how they fail"
)]

mod kit;

use std::env;
use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use cgroup::{By, Groups, Limits, MANAGER_LEAF};
use kit::{LONG, Node, can_by_v2, command, skipped, start_ready, until};

const PART: &str = "FETTLE_TEST_PART";
const INNER: &str = "fettle-test-inner";

#[test]
fn an_ordinary_user_is_told_why_nothing_is_enforced() {
    if let Ok(node) = env::var(PART) {
        return ordinary(&node);
    }
    if !rustix::process::geteuid().is_root() {
        return skipped(&"only root can become an ordinary user");
    }
    // A copy that any user may read.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = dir.path().join("test");
    std::fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(program);
    child.uid(65534).gid(65534).current_dir("/");
    let name = "an_ordinary_user_is_told_why_nothing_is_enforced";
    finish(child.args(["--exact", name, "--nocapture"]).env(PART, "fettle-test-ordinary"));
}

fn ordinary(node: &str) {
    let groups = Groups::open(node).unwrap();
    for (word, capability) in groups.capabilities().all() {
        println!("{word}: {capability}");
        assert_eq!(capability.by(), None, "{word}");
        let reason = capability.to_string();
        assert!(reason.contains("Permission denied") || reason.contains("not mounted"), "{reason}");
    }
    let limits = Limits { tasks: NonZeroU32::new(5), ..Limits::default() };
    let mut group = groups.make("weather.1.0", &limits).unwrap();
    assert!(!group.exists() && groups.find("weather.1.0").is_none());
    let descriptors = group.descriptors().unwrap();
    assert!(descriptors.group.is_none() && descriptors.procs.is_empty());
    group.set_limits(&limits).unwrap();
    assert!(group.kill().is_err() && group.is_populated().is_err() && group.processes().is_err());
    assert!(group.freeze(LONG).is_err() && group.thaw().is_err());
    assert_eq!(group.usage(), cgroup::Usage::default());
    group.remove().unwrap();
    assert!(groups.sweep().unwrap().is_empty());
    assert!(groups.of_process(std::process::id()).unwrap().is_none());
    groups.remove().unwrap();
}

#[test]
fn a_delegated_service_makes_room_for_its_groups() {
    if let Ok(part) = env::var(PART) {
        return service(&part);
    }
    let node = Node::new();
    if !can_by_v2("a limit of tasks", &node.capabilities().tasks) {
        return;
    }
    let outer = node.make("service", &Limits::default()).unwrap();
    // With a process of somebody else beside it nothing can be handed down.
    let mut foreign = start_ready(&outer, "echo ready; exec sleep 1000");
    finish(&mut again(&outer, "beside a foreigner"));
    assert!(outer.processes().unwrap().contains(&foreign.id()));
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    assert!(outer.wait_empty(LONG).unwrap());
    // Alone, with a child of its own, it moves both and hands down.
    finish(&mut again(&outer, "alone"));
    // Its successor is started in the leaf (`DelegateSubgroup=`), and finds what was left.
    assert!(outer.is_populated().unwrap(), "the program outlives its manager");
    let leaf = leaf_of(&outer);
    let (above, _) = leaf.rsplit_once('/').unwrap();
    finish(again(&outer, "successor in the leaf").env("LEAF", &leaf));
    // Without such a leaf nobody may enter, until the controllers are taken back by a process beside.
    let refused = std::fs::write(format!("{above}/cgroup.procs"), std::process::id().to_string());
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    let beside = format!("{above}/.control");
    std::fs::create_dir(&beside).unwrap();
    finish(again(&outer, "withdraw").env("LEAF", &beside));
    finish(again(&outer, "successor").env("LEAF", above));
    outer.kill().unwrap();
    assert!(outer.wait_empty(LONG).unwrap());
}

/// Runs inside of the service's group.
fn service(part: &str) {
    let own = || {
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        text.lines().find(|line| line.starts_with("0::")).unwrap().to_owned()
    };
    if part == "withdraw" {
        return Groups::withdraw(INNER).unwrap();
    }
    let before = own();
    let mut started = (part == "alone").then(|| Command::new("sleep").arg("1000").spawn().unwrap());
    let groups = Groups::open(INNER).unwrap();
    if part == "beside a foreigner" {
        let reason = groups.capabilities().tasks.to_string();
        assert!(reason.contains("1 processes that are not ours to move"), "{reason}");
        assert_eq!(own(), before, "and it has not moved itself");
        for capability in [&groups.capabilities().kill, &groups.capabilities().freeze] {
            assert_eq!(capability.by(), Some(By::V2), "{capability}");
        }
        groups.remove().unwrap();
        return;
    }
    assert!(own().ends_with(MANAGER_LEAF), "{}", own());
    let limits = Limits {
        memory: NonZeroU64::new(64 << 20),
        cpu: NonZeroU32::new(500),
        tasks: NonZeroU32::new(20),
    };
    assert_eq!(groups.capabilities().tasks.by(), Some(By::V2));
    let kept = groups.sweep().unwrap();
    if part == "alone" {
        assert!(kept.is_empty());
        let group = groups.make("weather.1.0", &limits).unwrap();
        let child = start_ready(&group, "echo ready; exec sleep 1000 >/dev/null 2>&1");
        assert_eq!(group.processes().unwrap(), [child.id()]);
        assert_eq!(group.usage().tasks, Some(1));
    } else {
        assert_eq!(kept.len(), 1);
        let pid = kept[0].processes().unwrap()[0];
        assert_eq!(groups.of_process(pid).unwrap().unwrap().name(), "weather.1.0");
        let group = groups.make("weather.1.0", &limits).unwrap();
        assert_eq!((group.processes().unwrap(), group.usage().tasks), (vec![pid], Some(1)));
        if part == "successor" {
            group.kill().unwrap();
            assert!(group.wait_empty(LONG).unwrap());
            until("the kernel lets it go", || group.remove().is_ok());
            groups.remove().unwrap();
        }
    }
    if let Some(child) = &mut started {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// This program again, in a group, in its part.
fn again(group: &cgroup::Group, part: &str) -> Command {
    let program = env::current_exe().unwrap();
    let name = "a_delegated_service_makes_room_for_its_groups";
    let arguments = ["--exact", name, "--nocapture"];
    let mut command = if ["alone", "beside a foreigner"].contains(&part) {
        command(group, program.to_str().unwrap(), &arguments)
    } else {
        let mut command = Command::new("/bin/sh");
        let enter = "echo 0 >\"$LEAF/cgroup.procs\" || exit 99; exec \"$@\"";
        command.args(["-c", enter, "sh"]).arg(&program).args(arguments);
        command
    };
    command.env(PART, part);
    command
}

/// The directory that the manager has made below a group of ours.
fn leaf_of(group: &cgroup::Group) -> String {
    let pid = group.processes().unwrap()[0];
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let service = own.split("/fettle-test-inner").next().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let point = mounts.lines().find(|line| line.contains(" cgroup2 ")).unwrap();
    format!("{}{service}/{MANAGER_LEAF}", point.split(' ').nth(1).unwrap())
}

fn finish(command: &mut Command) {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(status.success() && said.contains("1 passed"), "{status}\n{said}");
    println!("{said}");
}
