//! The manager goes and comes back; programs do not notice.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::json;

use crate::proxy::Proxy;
use crate::publish::noise;
use crate::world::as_every_account;

#[test]
fn an_instance_outlives_a_killed_manager_and_is_found_again() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/steady", "1.0.0", &[]);
        world.json(&["install", "demo/steady", "--start"]);
        let before = world.json(&["status", "steady/1/1"]);
        world.node_mut().kill();
        let pid = before["pid"].as_u64().unwrap();
        assert!(fs::exists(format!("/proc/{pid}/stat")).unwrap(), "it runs without its manager");
        // Not even the repository is needed to come back.
        world.server_mut().kill();
        world.start_node();
        let after = world.json(&["status", "steady/1/1"]);
        assert_eq!((&after["pid"], &after["state"]), (&before["pid"], &json!("running")));
        assert_eq!(after["restarts"], 0);
        assert_eq!(world.json(&["stop", "steady/1/1"])["state"], "not-running");
        assert!(!is_running(pid), "it was told to end");
        assert!(world.run(&["logs", "steady/1/1"]).stdout.contains("told to end"));
    });
}

#[test]
fn what_ended_while_no_manager_was_there_is_started_again_and_how_it_ended_is_known() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/gone", "1.0.0", &[]);
        world.json(&["install", "demo/gone", "--start"]);
        let before = world.json(&["status", "gone/1/1"]);
        world.node_mut().kill();
        let pid = rustix::process::Pid::from_raw(before["pid"].as_i64().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        while is_running(before["pid"].as_u64().unwrap()) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        world.start_node();
        let after = world.wait_for("gone/1/1", |status| status["state"] == "running");
        assert_ne!(after["pid"], before["pid"]);
        assert_eq!(after["restarts"], 1);
        assert_eq!(after["exit"]["signal"], 9, "{after}");
    });
}

#[test]
fn a_manager_that_is_asked_to_end_leaves_its_instances_running_and_exits_with_0() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/polite", "1.0.0", &[]);
        world.json(&["install", "demo/polite", "--start"]);
        let before = world.json(&["status", "polite/1/1"]);
        assert_eq!(world.node_mut().terminate(), Some(0));
        assert_eq!(world.server_mut().terminate(), Some(0));
        assert!(is_running(before["pid"].as_u64().unwrap()));
        world.start_server();
        world.start_node();
        assert_eq!(world.json(&["status", "polite/1/1"])["pid"], before["pid"]);
    });
}

#[test]
fn a_manager_that_is_killed_in_the_middle_of_an_install_goes_on_with_the_missing_bytes() {
    as_every_account(|world| {
        world.start_server();
        let proxy = Proxy::new(&world.server().url);
        let size = 24 << 20;
        let big = world.write("big.bin", noise(size));
        world.publish("demo/onward", "1.0.0", &[("big", &big)]);
        world.start_node_from(&proxy.url);
        proxy.down.hold_after(size as u64 / 2);
        let detached =
            world.json(&["--server", &proxy.url, "install", "demo/onward", "--start", "--detach"]);
        let id = detached["operation"].as_str().unwrap();
        proxy.down.wait_until_held();
        // What was passed on arrives, at the latest when the disk has it.
        let received = world.root().join("staging").join(format!("receive-{}", digest(&big)));
        while fs::metadata(&received).map_or(0, |facts| facts.len()) < size as u64 / 4 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let running = world.json(&["operation", "show", id]);
        assert_eq!(running["state"], "running");
        assert_eq!(running["phase"], "receiving package big");
        assert!(running["bytes_done"].as_u64() > Some(0), "{running}");
        world.node_mut().kill();
        let kept = fs::metadata(&received).unwrap().len();
        let before = proxy.down.passed();
        proxy.down.release();
        world.start_node_from(&proxy.url);
        let ended = world.json(&["operation", "wait", id]);
        assert_eq!((&ended["state"], &ended["error"]), (&json!("done"), &json!(null)));
        assert_eq!(ended["result"]["installed"]["instance"], "onward/1/1");
        let again = proxy.down.passed() - before;
        let missing = size as u64 - kept;
        // What the first connection still had in its buffers was passed on to nobody.
        let lost = 8 << 20;
        assert!(again < missing + lost, "{again} bytes for {missing} that were missing");
        assert_eq!(world.json(&["status", "onward/1/1"])["state"], "running");
    });
}

fn digest(path: &std::path::Path) -> String {
    model::Digest::of(&fs::read(path).unwrap()).hex()
}

#[test]
fn a_second_manager_on_the_same_tree_is_refused() {
    as_every_account(|world| {
        world.with_node();
        let root = world.root();
        let ended = world.run(&["--json", "node", "--root", root.to_str().unwrap()]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("another node manager"), "{ended}");
        assert_eq!(world.lines(&["ps"]).len(), 0, "the first one goes on");
    });
}

/// A zombie whose parent has not looked yet does not run.
fn is_running(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn whoever_follows_a_log_does_not_hold_up_the_end_of_the_manager_and_gets_a_whole_answer() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/heard", "1.0.0", &[]);
        world.json(&["install", "demo/heard", "--start"]);
        let mut follow = UnixStream::connect(world.root().join("node.sock")).unwrap();
        let request = "GET /v1/instances/heard/1/1/logs?follow=true HTTP/1.1\r\nHost: node\r\n\r\n";
        follow.write_all(request.as_bytes()).unwrap();
        follow.read_exact(&mut [0]).unwrap();
        assert_eq!(world.node_mut().terminate(), Some(0));
        let mut answer = String::new();
        follow.read_to_string(&mut answer).unwrap();
        // The last chunk is there: the manager ended the answer, and did not cut it off when patience ended.
        assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    });
}
