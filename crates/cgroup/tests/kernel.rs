//! Groups with real processes in the real kernel.
#![allow(clippy::disallowed_methods, reason = "tests start processes and write files")]

mod kit;

use std::num::{NonZeroU32, NonZeroU64};
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use cgroup::{Changed, Groups, Limits, RemoveError, Usage, Watch, WatchError};
use kit::{LONG, Node, can, can_by_v2, start, start_ready, until};
use rustix::event::{PollFd, PollFlags, poll};

#[test]
fn every_ability_is_there_or_says_why_not() {
    let node = Node::new();
    for (word, capability) in node.capabilities().all() {
        println!("{word}: {capability}");
        assert!(capability.to_string().len() > 8, "{word}");
    }
    assert!(node.sweep().unwrap().is_empty(), "the probe leaves nothing");
}

#[test]
fn a_second_open_is_harmless_and_finds_what_the_first_has_made() {
    let node = Node::new();
    if !can("groups", &node.capabilities().start) {
        return;
    }
    let group = node.make("weather.1.0", &Limits::default()).unwrap();
    let mut child = start_ready(&group, "echo ready; exec sleep 1000");
    let again = Groups::open(&node.name).unwrap();
    assert_eq!(again.capabilities(), node.capabilities());
    let found = again.find("weather.1.0").unwrap();
    assert_eq!(found.processes().unwrap(), [child.id()]);
    assert!(again.find("weather.1.1").is_none());
    found.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn kill_ends_also_what_left_its_parents_and_its_session() {
    let node = Node::new();
    if !can("kill", &node.capabilities().kill) {
        return;
    }
    let group = node.make("family", &Limits::default()).unwrap();
    let script = "trap '' TERM; (setsid sleep 1000 & setsid sh -c 'sleep 1000 & sleep 1000' &); \
                  sleep 1000 & echo ready; wait";
    let mut child = start_ready(&group, script);
    until("all have started", || group.processes().unwrap().len() >= 5);
    assert!(group.is_populated().unwrap());
    assert!(!group.wait_empty(Duration::from_millis(20)).unwrap());
    assert!(matches!(group.remove(), Err(RemoveError::Populated { .. })));
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(group.wait_empty(LONG).unwrap());
    assert!(group.processes().unwrap().is_empty() && !group.is_populated().unwrap());
    until("the kernel lets it go", || group.remove().is_ok());
    group.remove().unwrap();
    group.kill().unwrap();
    assert!(group.wait_empty(LONG).unwrap(), "a group that is gone is empty");
}

#[test]
fn frozen_processes_halt_and_go_on_and_can_be_killed() {
    let node = Node::new();
    if !can("freeze", &node.capabilities().freeze) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("count");
    let size = || std::fs::metadata(&file).map_or(0, |file| file.len());
    let group = node.make("count", &Limits::default()).unwrap();
    let mut child = start(&group, &format!("while :; do echo x >>{}; done", file.display()));
    until("it counts", || size() > 0);
    group.freeze(LONG).unwrap();
    group.freeze(LONG).unwrap();
    assert!(group.is_frozen().unwrap());
    let halted = size();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(size(), halted);
    group.thaw().unwrap();
    assert!(!group.is_frozen().unwrap());
    until("it goes on", || size() > halted);
    group.freeze(LONG).unwrap();
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(group.wait_empty(LONG).unwrap());
}

#[test]
fn whoever_is_over_the_memory_limit_is_killed_and_it_is_known_why() {
    let node = Node::new();
    if !can("a memory limit", &node.capabilities().memory) {
        return;
    }
    let limits = Limits { memory: NonZeroU64::new(16 << 20), ..Limits::default() };
    let group = node.make("hog", &limits).unwrap();
    assert_eq!(group.usage().memory_kills, Some(0));
    let mut child = start(&group, "exec tail /dev/zero");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(group.usage().memory_kills >= Some(1), "{:?}", group.usage());
    assert!(group.usage().memory.is_some_and(|bytes| bytes <= 16 << 20));
}

#[test]
fn no_more_tasks_are_started_than_the_limit() {
    let node = Node::new();
    if !can("a limit of tasks", &node.capabilities().tasks) {
        return;
    }
    let limits = Limits { tasks: NonZeroU32::new(10), ..Limits::default() };
    let group = node.make("bomb", &limits).unwrap();
    // A bomb with a bound: if the limit does not hold, there are sixty sleeps to end.
    let script =
        "for i in 1 2 3 4 5 6; do for j in 1 2 3 4 5 6 7 8 9 0; do sleep 1000 & done; done";
    let mut child = start(&group, script);
    until("one is refused", || group.usage().tasks_refused > Some(0));
    assert!(group.usage().tasks <= Some(10));
    assert!(group.processes().unwrap().len() <= 10);
    group.kill().unwrap();
    child.wait().unwrap();
    assert!(group.wait_empty(LONG).unwrap());
}

#[test]
fn no_more_processor_time_is_taken_than_the_limit() {
    let node = Node::new();
    if !can("a limit of processor time", &node.capabilities().cpu) {
        return;
    }
    let limits = Limits { cpu: NonZeroU32::new(100), ..Limits::default() };
    let group = node.make("busy", &limits).unwrap();
    if group.usage().cpu.is_none() {
        return kit::skipped(&"nothing here counts processor time");
    }
    let mut child = start_ready(&group, "echo ready; while :; do :; done");
    let (begun, before) = (Instant::now(), group.usage().cpu.unwrap());
    std::thread::sleep(Duration::from_secs(1));
    let (elapsed, taken) = (begun.elapsed(), group.usage().cpu.unwrap() - before);
    group.kill().unwrap();
    child.wait().unwrap();
    assert!(taken < elapsed / 3, "{taken:?} of {elapsed:?}");
}

#[test]
fn limits_are_set_anew_while_it_runs() {
    let node = Node::new();
    if !can("a limit of tasks", &node.capabilities().tasks) {
        return;
    }
    let mut group = node.make("grow", &Limits::default()).unwrap();
    let script = "echo ready; while :; do sleep 0.01; done";
    let mut child = start_ready(&group, script);
    let limits = Limits {
        memory: NonZeroU64::new(64 << 20),
        cpu: NonZeroU32::new(500),
        tasks: NonZeroU32::new(20),
    };
    group.set_limits(&limits).unwrap();
    group.set_limits(&limits).unwrap();
    assert!(group.usage().tasks >= Some(1), "what runs has come along: {:?}", group.usage());
    let smaller = Limits { tasks: NonZeroU32::new(1), ..Limits::default() };
    group.set_limits(&smaller).unwrap();
    until("no sleep is started any more", || group.usage().tasks_refused > Some(0));
    group.kill().unwrap();
    child.wait().unwrap();
    // Made again under the same name, what was set before is lifted.
    assert!(group.wait_empty(LONG).unwrap());
    let group = node.make("grow", &Limits::default()).unwrap();
    let mut child = start_ready(&group, "sleep 1000 & echo ready; wait");
    group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn one_descriptor_tells_which_of_many_groups_became_empty() {
    let node = Node::new();
    if !can("events", &node.capabilities().events) {
        return;
    }
    let watch = Watch::new().unwrap();
    let mut open = Vec::new();
    for number in 0..40 {
        let group = node.make(&format!("many.{number}"), &Limits::default()).unwrap();
        let child = start_ready(&group, "echo ready; exec sleep 1000");
        open.push((watch.add(&group).unwrap(), group, child));
    }
    for (_, group, _) in open.iter().rev() {
        group.kill().unwrap();
    }
    while !open.is_empty() {
        let woken =
            poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&LONG.try_into().unwrap()));
        assert_eq!(woken, Ok(1), "{} groups were never told", open.len());
        let Changed::These(changed) = watch.changed().unwrap() else { panic!("so few overflow?") };
        open.retain_mut(|(watched, group, child)| {
            let told = changed.contains(watched) && !group.is_populated().unwrap();
            if told {
                child.wait().unwrap();
                watch.forget(*watched);
            }
            !told
        });
    }
}

#[test]
fn a_group_that_is_removed_leaves_its_watch_in_peace() {
    let node = Node::new();
    if !can("events", &node.capabilities().events) {
        return;
    }
    let watch = Watch::new().unwrap();
    let group = node.make("short", &Limits::default()).unwrap();
    let watched = watch.add(&group).unwrap();
    group.remove().unwrap();
    watch.forget(watched);
    assert_eq!(watch.changed().unwrap(), Changed::These(vec![watched]), "the kernel had kept it");
    watch.forget(watched);
    assert!(matches!(watch.add(&group), Err(WatchError::Control(_))));
}

#[test]
fn empty_groups_are_swept_and_those_with_processes_are_kept() {
    let node = Node::new();
    if !can("groups", &node.capabilities().start) {
        return;
    }
    let other = Node::new();
    let foreign = other.make("not.ours", &Limits::default()).unwrap();
    let limits = Limits { tasks: NonZeroU32::new(50), ..Limits::default() };
    node.make("empty", &limits).unwrap();
    let kept = node.make("kept", &limits).unwrap();
    let mut child = start_ready(&kept, "echo ready; exec sleep 1000");
    let names =
        || node.sweep().unwrap().iter().map(|group| group.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(), ["kept"]);
    assert!(node.find("empty").is_none());
    assert!(other.find(foreign.name()).is_some());
    assert_eq!(names(), ["kept"], "again");
    kept.kill().unwrap();
    child.wait().unwrap();
    assert!(kept.wait_empty(LONG).unwrap());
    until("it is swept", || node.sweep().unwrap().is_empty() && node.find("kept").is_none());
}

#[test]
fn a_process_leads_to_its_group() {
    let node = Node::new();
    if !can("groups", &node.capabilities().start) {
        return;
    }
    let limits = Limits { tasks: NonZeroU32::new(50), ..Limits::default() };
    let group = node.make("lost and found", &limits).unwrap();
    let mut child = start_ready(&group, "echo ready; exec sleep 1000");
    let found = node.of_process(child.id()).unwrap().unwrap();
    assert_eq!(found.name(), "lost and found");
    assert_eq!(found.processes().unwrap(), [child.id()]);
    assert!(node.of_process(std::process::id()).unwrap().is_none());
    assert!(Groups::open("fettle-test-other").unwrap().of_process(child.id()).unwrap().is_none());
    Groups::open("fettle-test-other").unwrap().remove().unwrap();
    found.kill().unwrap();
    child.wait().unwrap();
    until("it is forgotten", || node.of_process(child.id()).is_err());
}

#[test]
fn a_start_needs_descriptors_of_those_trees_only_whose_limits_are_set() {
    let node = Node::new();
    if !can_by_v2("start", &node.capabilities().start) {
        return;
    }
    let bare = node.make("bare", &Limits::default()).unwrap().descriptors().unwrap();
    assert!(bare.group.is_some() && bare.group_procs.is_some());
    assert_eq!(bare.procs.len(), 0);
    let limits = Limits { tasks: NonZeroU32::new(50), ..Limits::default() };
    let bound = node.make("bound", &limits).unwrap();
    let by_v1 = node.capabilities().tasks.by() == Some(cgroup::By::V1);
    assert_eq!(bound.descriptors().unwrap().procs.len(), usize::from(by_v1));
    assert_ne!(bound.usage(), Usage::default());
}
