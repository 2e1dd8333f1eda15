//! The command line's manners: exit codes, one value or one line per thing, waiting and leaving.

use std::io::Read as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::world::as_every_account;

#[test]
fn several_things_get_a_line_each_and_a_partial_success_has_its_own_exit_code() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/many", "1.0.0", &[]);
        world.json(&["install", "demo/many"]);
        for _ in 0..3 {
            world.json(&["instance", "create", "many/1"]);
        }
        let started = world.lines(&["start", "many/1/1", "many/1/2"]);
        assert_eq!(started.iter().map(|line| &line["state"]).collect::<Vec<_>>(), ["running"; 2]);
        let all = world.lines(&["stop", "many/**"]);
        assert_eq!(all.len(), 3, "a glob names every instance once");
        assert!(all.iter().all(|line| line["state"] == "not-running"));

        let ended = world.run(&["--json", "start", "many/1/3", "many/1/9"]);
        assert_eq!(ended.code, Some(3), "{ended}");
        let lines: Vec<Value> =
            ended.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["state"], "running");
        assert_eq!(lines[1]["error"]["code"], "not-found");
        let ended = world.run(&["--json", "start", "many/1/8", "many/1/9"]);
        assert_eq!(ended.code, Some(1), "{ended}");
        assert_eq!(world.refused(&["start", "nothing/**"])["code"], "not-found");
        let deleted = world.lines(&["delete", "--stop", "many/**"]);
        assert!(deleted.iter().all(|line| line["state"] == "deleted"), "{deleted:?}");
    });
}

#[test]
fn a_detached_command_prints_its_operation_at_once_and_can_be_come_back_to() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/later", "1.0.0", &[]);
        let detached = world.json(&["install", "demo/later", "--start", "--detach"]);
        assert_eq!(detached.as_object().unwrap().len(), 1);
        let id = detached["operation"].as_str().unwrap();
        let ended = world.json(&["operation", "wait", id]);
        assert_eq!((&ended["state"], &ended["kind"]), (&json!("done"), &json!("install")));
        let shown = world.json(&["operation", "show", id]);
        assert_eq!(shown, ended);
        for key in [
            "operation",
            "kind",
            "state",
            "phase",
            "bytes_done",
            "bytes_total",
            "started",
            "progressed",
            "ended",
            "error",
            "created_by",
        ] {
            assert!(shown.get(key).is_some(), "{key} is missing: {shown}");
        }
        assert_eq!(world.lines(&["operation", "list"])[0], shown);
        assert_eq!(shown["bytes_done"], shown["bytes_total"]);
        assert_eq!(world.json(&["status", "later/1/1"])["state"], "running");
    });
}

#[test]
fn ctrl_c_leaves_the_operation_to_go_on_and_says_how_to_come_back() {
    as_every_account(|world| {
        world.with_node();
        let stubborn =
            world.write("stubborn.sh", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n");
        let manifest = world.manifest("demo/stubborn", "1.0.0", &stubborn, &[], &[]);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        world.json(&["install", "demo/stubborn", "--start"]);
        let mut stop = world.user(&["stop", "stubborn/1/1", "--timeout", "2s"]);
        let mut stop = stop.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        world.wait_for("stubborn/1/1", |status| status["state"] == "stopping");
        kill_process(Pid::from_raw(stop.id() as i32).unwrap(), Signal::INT).unwrap();
        assert_eq!(stop.wait().unwrap().code(), Some(130));
        let mut said = String::new();
        stop.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("fettle operation wait"), "{said}");
        let id =
            said.split_whitespace().find(|word| word.len() == 36).expect("it names the operation");
        assert_eq!(world.json(&["operation", "wait", id])["state"], "done");
        // SIGTERM was ignored: after the timeout it was killed.
        let status = world.json(&["status", "stubborn/1/1"]);
        assert_eq!(
            (&status["state"], &status["exit"]["signal"]),
            (&json!("not-running"), &json!(9))
        );
    });
}

#[test]
fn logs_are_the_text_and_with_json_a_line_each_and_follow_what_comes() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/talks", "1.0.0", &[]);
        world.json(&["install", "demo/talks", "--start"]);
        world.wait_for("talks/1/1", |_| {
            world.run(&["logs", "talks/1/1"]).stdout.contains("talks 1.0.0\n")
        });
        let lines = world.lines(&["logs", "talks/1/1"]);
        assert_eq!(
            lines[0],
            json!({"instance": "talks/1/1", "stream": "stdout", "offset": 0, "line": "talks 1.0.0"})
        );
        world.wait_for("talks/1/1", |_| {
            world.run(&["logs", "--stderr", "talks/1/1"]).stdout == "ready\n"
        });
        let mut follow = world.user(&["logs", "-f", "talks/1/1"]);
        let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
        world.json(&["stop", "talks/1/1"]);
        let mut out = follow.stdout.take().unwrap();
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&seen).contains("told to end") {
            out.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        follow.kill().unwrap();
        follow.wait().unwrap();
    });
}

#[test]
fn a_caller_over_tcp_may_look_at_a_node_and_change_nothing_unless_it_was_allowed() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/tcp", "1.0.0", &[]);
        world.json(&["install", "demo/tcp"]);
        world.node_mut().terminate();
        for (allowed, code) in [(false, Some(1)), (true, Some(0))] {
            let root = world.root();
            let mut arguments =
                vec!["node", "--listen", "127.0.0.1:0", "--root", root.to_str().unwrap()];
            arguments.extend(allowed.then_some("--allow-loopback"));
            let mut node = world
                .user(&arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut out = std::io::BufReader::new(node.stdout.take().unwrap());
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            let url = line.trim_end().strip_prefix("ready ").unwrap();
            let status = world.json(&["--node", url, "status", "tcp/1"]);
            assert_eq!(status["installation"], "tcp/1");
            let created = world.run(&["--json", "--node", url, "instance", "create", "tcp/1"]);
            assert_eq!(created.code, code, "{created}");
            assert!(allowed || created.stderr.contains("\"code\":\"denied\""), "{created}");
            node.kill().unwrap();
            node.wait().unwrap();
        }
    });
}
