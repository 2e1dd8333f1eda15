//! What a program may use, and that it is the same for what asks and ends it.

use model::lifecycle::InstanceState;
use serde_json::json;
use wire::v1::ExitBody;

use crate::health::with;
use crate::machine::{line_in, new_id, start, stop, workspace};

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_more_memory_than_it_may_is_killed_and_the_reason_says_so() {
    let lines = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done";
    let (_world, machine, id) =
        with(lines, json!({ "limits": { "memory": 33554432, "tasks": 50 } })).await;
    let enforced = machine.node.status().await.unwrap().enforced.unwrap();
    if !enforced.iter().any(|ability| ability.what == "memory" && ability.why.is_none()) {
        return println!("skipped: {enforced:?}");
    }
    let operation = new_id();
    machine.node.node().submit(operation, &start(&id)).await.unwrap();
    let body = machine.until(&id, "failed", |body| body.state == InstanceState::Failed).await;
    assert!(matches!(body.exit, Some(ExitBody::Signal { signal: 9, .. })), "{body:?}");
    assert!(body.reason.unwrap().contains("memory was used up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_has_as_many_open_files_as_its_envelope_says() {
    let lines = "ulimit -n > files; exec sleep 1000";
    let (_world, machine, id) = with(lines, json!({ "limits": { "open_files": 77 } })).await;
    machine.done(start(&id)).await;
    assert_eq!(line_in(&workspace(&machine, &id).join("files")).await, "77");
}

/// A probe that takes memory without end must not do so at the cost of the node.
#[tokio::test(flavor = "multi_thread")]
async fn what_asks_and_what_ends_a_program_is_where_the_program_is() {
    let lines = "echo $$ > pid; cp /proc/self/cgroup own; exec sleep 1000";
    let copied = |to: &str| format!("cp /proc/self/cgroup {to}.new; mv {to}.new {to}");
    let policies = json!({
        "ready": { "command": ["/bin/sh", "-c", copied("asks")], "within": 60.0 },
        "stop": { "command": ["/bin/sh", "-c", copied("ends") + "; kill $(cat pid)"], "within": 60.0 },
    });
    let (_world, machine, id) = with(lines, policies).await;
    machine.done(start(&id)).await;
    let read = |name: &str| std::fs::read_to_string(workspace(&machine, &id).join(name)).unwrap();
    assert_eq!(read("asks"), read("own"));
    machine.done(stop(&id)).await;
    assert_eq!(read("ends"), read("own"));
    let ours = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let enforced = machine.node.status().await.unwrap().enforced.unwrap();
    let starts = enforced.iter().any(|ability| ability.what == "start" && ability.by.is_some());
    assert!(!starts || read("own") != ours, "not where the manager is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_knows_its_launch_and_its_commands_have_none() {
    let lines = "echo ${FETTLE_LAUNCH-none} >> own; exec sleep 1000";
    let asks = ["/bin/sh", "-c", "echo ${FETTLE_LAUNCH-none} > asks.new; mv asks.new asks"];
    let policies = json!({ "ready": { "command": asks, "within": 60.0 } });
    let (_world, machine, id) = with(lines, policies).await;
    let in_workspace = |name: &str| workspace(&machine, &id).join(name);
    machine.done(start(&id)).await;
    assert_eq!(line_in(&in_workspace("asks")).await, "none");
    machine.done(stop(&id)).await;
    machine.done(start(&id)).await;
    let launches = std::fs::read_to_string(in_workspace("own")).unwrap();
    let launches: Vec<&str> = launches.lines().collect();
    assert_eq!(launches.len(), 2);
    assert!(launches[0] != launches[1] && launches.iter().all(|launch| launch.len() == 36));
}
