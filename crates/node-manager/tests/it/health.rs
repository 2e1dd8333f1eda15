//! What an envelope asks of a program beyond being there: readiness, liveness, the way it ends.

use std::time::Duration;

use client::Change;
use model::InstanceId;
use model::lifecycle::{Desired, InstanceState};
use serde_json::json;
use wire::Code;
use wire::v1::{ExitBody, InstanceBody, NameRequest, RestartBody, RestartWord};

use crate::machine::{
    Machine, eventually, kill, launcher_of, line_in, runs, start, stop, stop_within, with_instance,
    workspace,
};
use crate::world::{World, envelope};

/// Says something through `NOTIFY_SOCKET`.
const NOTIFY: &str = concat!(env!("CARGO_BIN_EXE_node-launcher"), " notify");
/// Answers HTTP at `$PORT` with the status that is in the file `status`.
const ANSWER: &str = concat!(env!("CARGO_BIN_EXE_node-launcher"), " answer");

/// A machine with an instance of this program, with these policies.
pub async fn with(lines: &str, policies: serde_json::Value) -> (World, Machine, InstanceId) {
    let world = World::start().await;
    let mut published = envelope("p", "1.0.0", world.script("p/program", lines));
    published.restart = RestartBody { on: RestartWord::Failure, limit: 2, window: 600.0 };
    published.policies = serde_json::from_value(policies).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    published.env.insert("PORT".parse().unwrap(), port.to_string());
    with_instance(world, published).await
}

fn put(machine: &Machine, id: &InstanceId, name: &str, text: &str) {
    let workspace = workspace(machine, id);
    std::fs::write(workspace.join("new"), text).unwrap();
    std::fs::rename(workspace.join("new"), workspace.join(name)).unwrap();
}

fn state(wanted: InstanceState) -> impl Fn(&InstanceBody) -> bool {
    move |body| body.state == wanted
}

fn pause(id: &InstanceId) -> Change {
    Change::Pause(NameRequest { name: id.to_string() })
}

fn resume(id: &InstanceId) -> Change {
    Change::Resume(NameRequest { name: id.to_string() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_when_it_is_ready_is_launching_until_then() {
    let lines = format!(
        "{NOTIFY} 'STATUS=opening 3 files'; until [ -e go ]; do sleep 0.02; done; \
         {NOTIFY} 'READY=1\\nSTATUS=at work'; exec sleep 1000"
    );
    let policies = json!({ "ready": { "notify": true, "within": 60.0 } });
    let (_world, machine, id) = with(&lines, policies).await;
    let operation = crate::machine::new_id();
    machine.node.node().submit(operation, &start(&id)).await.unwrap();
    let opening = |body: &InstanceBody| body.status.as_deref() == Some("opening 3 files");
    let body = machine.until(&id, "opening", opening).await;
    assert_eq!((body.state, body.ready), (InstanceState::Launching, None));
    put(&machine, &id, "go", "");
    assert!(machine.end_of(operation).await.error.is_none());
    let body = machine.instance(&id).await;
    assert_eq!(body.state, InstanceState::Running);
    assert!(body.ready.is_some());
    machine.until(&id, "at work", |body| body.status.as_deref() == Some("at work")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_while_no_manager_is_there_is_heard_by_the_next() {
    let lines = format!(
        "until [ -e go ]; do sleep 0.02; done; {NOTIFY} READY=1; touch said; exec sleep 1000"
    );
    let policies = json!({ "ready": { "notify": true, "within": 600.0 } });
    let (_world, mut machine, id) = with(&lines, policies).await;
    let operation = crate::machine::new_id();
    machine.node.node().submit(operation, &start(&id)).await.unwrap();
    let before = machine.until(&id, "launched", |body| body.pid.is_some()).await;
    assert_eq!(before.state, InstanceState::Launching);
    machine.turn_off().await;
    put(&machine, &id, "go", "");
    let said = workspace(&machine, &id).join("said");
    eventually("it said so", || said.exists()).await;
    machine.turn_on().await;
    let body = machine.until(&id, "running", state(InstanceState::Running)).await;
    assert_eq!((body.pid, body.restarts), (before.pid, 0));
    assert!(machine.end_of(operation).await.error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_become_ready_is_ended_and_fails_with_its_reason() {
    let lines = "echo not today >&2; trap '' TERM; while :; do sleep 0.02; done";
    let policies = json!({ "ready": { "notify": true, "within": 0.5 }, "stop": { "within": 0.1 } });
    let (_world, machine, id) = with(lines, policies).await;
    let refusal = machine.refused(start(&id)).await;
    assert_eq!(refusal.code, Code::WrongState);
    assert!(refusal.message.contains("did not become ready"), "{refusal:?}");
    assert!(refusal.message.contains("READY=1"), "{refusal:?}");
    assert!(refusal.causes.contains(&"stderr: not today".to_owned()), "{refusal:?}");
    let body = machine.until(&id, "failed", state(InstanceState::Failed)).await;
    assert_eq!((body.restarts, body.desired, body.pid), (2, Desired::Running, None));
    assert!(body.reason.unwrap().contains("not ready within 500ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_before_it_is_ready_has_failed_however_it_ends() {
    let policies = json!({ "ready": { "notify": true, "within": 60.0 } });
    let (_world, machine, id) = with("exit 3", policies).await;
    let refusal = machine.refused(start(&id)).await;
    assert!(refusal.message.contains("exit code 3"), "{refusal:?}");
    machine.until(&id, "failed", state(InstanceState::Failed)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_ready_when_it_answers_and_is_started_again_when_it_does_not_any_more() {
    let lines = format!("[ -e status ] || echo 503 > status; exec {ANSWER} $PORT status");
    let http = json!({ "port": "PORT", "path": "/healthz" });
    let policies = json!({
        "ready": { "http": http, "within": 60.0, "every": 0.05 },
        "alive": { "http": http, "every": 0.05, "timeout": 0.5, "failures": 3 },
        "stop": { "within": 5.0 },
    });
    let (_world, machine, id) = with(&lines, policies).await;
    let operation = crate::machine::new_id();
    machine.node.node().submit(operation, &start(&id)).await.unwrap();
    let first = machine.until(&id, "launched", |body| body.pid.is_some()).await;
    assert_eq!(first.state, InstanceState::Launching);
    put(&machine, &id, "status", "204");
    assert!(machine.end_of(operation).await.error.is_none());
    assert_eq!(machine.instance(&id).await.pid, first.pid);
    // It answers, and the answer is no; then it does not answer at all.
    for (restarts, status, why) in [(1, "500", "answered 500"), (2, "silence", "no answer within")]
    {
        put(&machine, &id, "status", status);
        let is_so = |body: &InstanceBody| {
            body.restarts == restarts
                && body.state == InstanceState::Launching
                && body.pid.is_some()
        };
        let body = machine.until(&id, status, is_so).await;
        let reason = body.reason.unwrap();
        assert!(reason.contains(why) && reason.contains("3 times in a row"), "{reason}");
        put(&machine, &id, "status", "200");
        machine.until(&id, "running again", state(InstanceState::Running)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_and_a_command_that_ends_well_are_answers_too() {
    for ready in [
        json!({ "tcp": { "port": "PORT" }, "within": 60.0, "every": 0.05 }),
        json!({ "command": ["/bin/sh", "-c", "[ -e status ] && [ \"$FETTLE_TITLE\" = p ]"], "within": 60.0, "every": 0.05 }),
    ] {
        let lines = format!("echo 200 > status; exec {ANSWER} $PORT status");
        let (_world, machine, id) = with(&lines, json!({ "ready": ready })).await;
        machine.done(start(&id)).await;
        assert_eq!(machine.instance(&id).await.state, InstanceState::Running);
    }
    let command = json!(["/bin/sh", "-c", "echo the disk is cold; exit 4"]);
    let policies = json!({ "ready": { "command": command, "within": 0.5, "every": 0.05 } });
    let (_world, machine, id) = with("exec sleep 1000", policies).await;
    let refusal = machine.refused(start(&id)).await;
    assert!(refusal.message.contains("code 4: the disk is cold"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_that_is_not_fed_ends_the_program() {
    let lines = format!(
        "echo $WATCHDOG_USEC > usec; while [ ! -e tired ]; do {NOTIFY} WATCHDOG=1; sleep 0.1; done; sleep 1000"
    );
    let policies = json!({ "alive": { "watchdog": 3.0 }, "stop": { "within": 5.0 } });
    let (_world, machine, id) = with(&lines, policies).await;
    machine.done(start(&id)).await;
    let before = machine.instance(&id).await;
    assert_eq!(line_in(&workspace(&machine, &id).join("usec")).await, "3000000");
    // Longer than the watchdog: it was fed.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(machine.instance(&id).await.pid, before.pid);
    put(&machine, &id, "tired", "");
    let body = machine.until(&id, "started again", |body| body.restarts >= 1).await;
    assert!(body.reason.unwrap().contains("WATCHDOG=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_ended_by_the_signal_or_the_command_that_its_envelope_names() {
    let lines = "trap 'echo $0 > ended; exit 0' USR1; trap 'echo term > ended' TERM; \
                 echo up > up; while [ ! -e quit ]; do sleep 0.02; done; echo command > ended";
    for (policies, ended) in [
        (json!({ "stop": { "signal": "SIGUSR1" } }), None),
        (json!({ "stop": { "command": ["/usr/bin/touch", "quit"] } }), Some("command")),
        // A command that fails is followed by the signal.
        (json!({ "stop": { "command": ["/bin/false"], "signal": "SIGUSR1" } }), None),
    ] {
        let (_world, machine, id) = with(lines, policies).await;
        machine.done(start(&id)).await;
        line_in(&workspace(&machine, &id).join("up")).await;
        machine.done(stop(&id)).await;
        let said = line_in(&workspace(&machine, &id).join("ended")).await;
        assert!(said != "term" && ended.is_none_or(|ended| said == ended), "{said}");
        let body = machine.instance(&id).await;
        assert!(matches!(body.exit, Some(ExitBody::Code { code: 0, .. })), "{body:?}");
        assert_eq!((body.state, body.reason), (InstanceState::NotRunning, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_program_is_ended_for_another_reason_is_the_last_word() {
    let lines = "trap 'touch asked' TERM; while :; do sleep 0.02; done";
    let policies =
        json!({ "ready": { "notify": true, "within": 0.3 }, "stop": { "within": 600.0 } });
    let (_world, machine, id) = with(lines, policies).await;
    let operation = crate::machine::new_id();
    machine.node.node().submit(operation, &start(&id)).await.unwrap();
    let asked = workspace(&machine, &id).join("asked");
    eventually("it is asked to end", || asked.exists()).await;
    machine.done(stop_within(&id, 0.1)).await;
    let body = machine.instance(&id).await;
    assert_eq!((body.state, body.desired), (InstanceState::NotRunning, Desired::Stopped));
    assert_eq!(body.restarts, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_program_gets_no_time_and_goes_on_where_it_was() {
    let lines =
        "i=0; while :; do i=$((i+1)); echo $i > count.new; mv count.new count; sleep 0.01; done";
    let (_world, machine, id) = with(lines, json!({})).await;
    machine.done(start(&id)).await;
    let count = workspace(&machine, &id).join("count");
    line_in(&count).await;
    let before = machine.instance(&id).await;
    for _ in 0..2 {
        machine.done(pause(&id)).await;
    }
    assert_eq!(machine.instance(&id).await.state, InstanceState::Paused);
    let first = std::fs::read_to_string(&count).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(std::fs::read_to_string(&count).unwrap(), first);
    machine.done(resume(&id)).await;
    eventually("it goes on", || std::fs::read_to_string(&count).is_ok_and(|now| now != first))
        .await;
    let after = machine.instance(&id).await;
    assert_eq!((after.state, after.pid), (InstanceState::Running, before.pid));
    // A paused one can be stopped.
    machine.done(pause(&id)).await;
    machine.done(stop_within(&id, 1.0)).await;
    assert!(!runs(before.pid.unwrap()));
    assert_eq!(machine.refused(pause(&id)).await.code, Code::WrongState);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_from_its_program_ends_with_it_where_there_are_control_groups() {
    let child = "exec env -i setsid sh -c 'echo $$ > child.new; mv child.new child; trap \"\" TERM; while :; do sleep 0.05; done'";
    let lines = format!("({child} &); exec sleep 1000");
    let (_world, machine, id) = with(&lines, json!({ "stop": { "within": 0.3 } })).await;
    let enforced = machine.node.status().await.unwrap().enforced.unwrap();
    if !enforced.iter().any(|ability| ability.what == "kill" && ability.why.is_none()) {
        return println!("skipped: {enforced:?}");
    }
    machine.done(start(&id)).await;
    let child: u32 = line_in(&workspace(&machine, &id).join("child")).await.parse().unwrap();
    assert!(runs(child));
    machine.done(stop(&id)).await;
    assert!(!runs(child), "no environment, no group, no session, no parent in common");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_program_is_asked_nothing_hears_a_stop_and_is_watched_again_after_its_pause() {
    let lines = format!(
        "trap 'exit 0' TERM; while [ ! -e tired ]; do {NOTIFY} WATCHDOG=1; sleep 0.1; done; \
         while :; do sleep 0.02; done"
    );
    let (_world, machine, id) = with(&lines, json!({ "alive": { "watchdog": 2.0 } })).await;
    machine.done(start(&id)).await;
    let before = machine.instance(&id).await;
    machine.done(pause(&id)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    machine.done(resume(&id)).await;
    put(&machine, &id, "tired", "");
    let body = machine.until(&id, "started again", |body| body.restarts >= 1).await;
    assert!(body.reason.unwrap().contains("WATCHDOG=1"));
    assert_ne!(body.pid, before.pid);
    machine.until(&id, "running", state(InstanceState::Running)).await;
    machine.done(pause(&id)).await;
    machine.done(stop(&id)).await;
    let body = machine.instance(&id).await;
    assert!(matches!(body.exit, Some(ExitBody::Code { code: 0, .. })), "{body:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_over_when_its_command_has_cleared_up_and_what_comes_after_it_is_left_alone() {
    let policies = json!({ "stop": { "command": ["./quit"], "within": 20.0 } });
    let lines = "printf '#!/bin/sh\\ntouch asked\\nsleep 0.5\\ntouch cleared\\nexit 1\\n' >quit; \
                 chmod +x quit; rm -f asked; while [ ! -e asked ]; do sleep 0.02; done";
    let (_world, machine, id) = with(lines, policies).await;
    machine.done(start(&id)).await;
    eventually("there is a command", || workspace(&machine, &id).join("quit").exists()).await;
    machine.done(stop(&id)).await;
    // It failed after all, and when nothing was left to be ended.
    assert!(workspace(&machine, &id).join("cleared").exists());
    let body = machine.instance(&id).await;
    assert!(matches!(body.exit, Some(ExitBody::Code { code: 0, .. })), "{body:?}");
    assert_eq!(body.state, InstanceState::NotRunning);
}

/// Neither the manager nor the launcher saw the end of a program that was being ended since it did not work.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_as_unwell_comes_back_also_if_nobody_saw_its_end() {
    let policies = json!({ "alive": { "watchdog": 1.0 }, "stop": { "within": 300.0 } });
    let lines = "trap 'touch asked' TERM; echo $$ >> pids; while :; do sleep 0.02; done";
    let (_world, mut machine, id) = with(lines, policies).await;
    machine.done(start(&id)).await;
    machine.until(&id, "being ended", state(InstanceState::Stopping)).await;
    let pid = machine.instance(&id).await.pid.unwrap();
    machine.turn_off().await;
    for pid in [launcher_of(pid), pid] {
        kill(pid);
        eventually("it has ended", || !runs(pid)).await;
    }
    machine.turn_on().await;
    let body = machine.until(&id, "back", |body| body.restarts >= 1 && body.pid.is_some()).await;
    assert_eq!(body.desired, Desired::Running, "{body:?}");
}
