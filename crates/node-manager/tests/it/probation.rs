//! An update of an instance: the new version has to show that it works, else the old one runs again.

use std::path::Path;
use std::time::Duration;

use client::Change;
use model::InstanceId;
use model::lifecycle::{Desired, InstanceState};
use serde_json::json;
use wire::Code;
use wire::v1::{ExitBody, InstanceBody, UpdateRequest};

use crate::machine::{
    Machine, eventually, kill, new_id, revert, runs, start, stop, update, workspace,
};
use crate::world::{World, envelope};

/// Publishes a version of `p` with these policies.
async fn publish(world: &World, version: &str, lines: &str, policies: serde_json::Value) {
    let program = world.script(&format!("p/{version}/program"), lines);
    let mut published = envelope("p", version, program);
    published.policies = serde_json::from_value(policies).unwrap();
    world.publish(&published).await;
}

/// A machine with a running instance of 1.0.0, whose installation is on a 1.1.0 of this kind.
pub async fn with(lines: &str, policies: serde_json::Value) -> (World, Machine, InstanceId) {
    let world = World::start().await;
    publish(&world, "1.0.0", "echo old >> runs; exec sleep 1000", json!({})).await;
    let machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    publish(&world, "1.1.0", lines, policies).await;
    machine.done(update(&id.installation)).await;
    (world, machine, id)
}

pub fn probation(seconds: f64) -> serde_json::Value {
    json!({ "update": { "probation": seconds } })
}

fn again(id: &InstanceId) -> Change {
    let name = id.to_string();
    Change::Update(UpdateRequest { name, to: None, fresh_packages: false, again: true })
}

fn on(version: &str) -> impl Fn(&InstanceBody) -> bool {
    let version = version.parse().unwrap();
    move |body| body.version == version && body.state == InstanceState::Running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_runs_well_for_its_probation_is_kept() {
    let (_world, machine, id) = with("exec sleep 1000", probation(1.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    let serving = |body: &InstanceBody| body.probation.is_some() && body.ready.is_some();
    let body = machine.until(&id, "on probation", serving).await;
    let probation = body.probation.unwrap();
    assert_eq!(probation.version_before.to_string(), "1.0.0");
    assert!(probation.remaining > 0.0 && probation.remaining <= 1.0);
    assert!(machine.end_of(operation).await.error.is_none());
    let body = machine.instance(&id).await;
    assert_eq!((body.version.to_string().as_str(), body.probation), ("1.1.0", None));
    // What runs badly later is a matter of the restart policy.
    kill(body.pid.unwrap());
    machine.until(&id, "started again", |body| body.restarts == 1).await;
    machine.until(&id, "on the same version", on("1.1.0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_ends_badly_on_probation_gives_way_to_the_old_one_and_is_rejected() {
    let lines = "echo new >> runs; until [ -e go ]; do sleep 0.02; done; exit 9";
    let (_world, machine, id) = with(lines, probation(600.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    machine.until(&id, "on probation", |body| body.probation.is_some()).await;
    machine.until(&id, "running", on("1.1.0")).await;
    std::fs::write(workspace(&machine, &id).join("go"), "").unwrap();
    let error = machine.end_of(operation).await.error.unwrap();
    assert_eq!(error.code, Code::WrongState);
    assert!(
        error.message.contains("on 1.0.0 again") && error.message.contains("exit code 9"),
        "{error:?}"
    );
    assert!(error.hint.unwrap().contains("workspace"));
    let body = machine.instance(&id).await;
    assert_eq!((body.version.to_string().as_str(), body.state), ("1.0.0", InstanceState::Running));
    assert_eq!((body.restarts, body.probation), (0, None));
    assert_eq!(body.rejected.len(), 1);
    assert!(body.rejected[0].reason.contains("exit code 9"));
    let runs = std::fs::read_to_string(workspace(&machine, &id).join("runs")).unwrap();
    assert_eq!(runs, "old\nnew\nold\n", "each began once, in the same workspace");
    // An update passes over it, unless it is wanted.
    let refusal = machine.refused(update(&id)).await;
    assert_eq!(refusal.code, Code::NothingNew);
    assert!(refusal.hint.unwrap().contains("--again"));
    assert_eq!(machine.refused(again(&id)).await.code, Code::WrongState);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_started_or_does_not_become_ready_gives_way_too() {
    for (lines, policies, why) in [
        ("exit 1", json!({}), "exit code 1"),
        ("exec sleep 1000", json!({ "ready": { "notify": true, "within": 0.3 } }), "not ready"),
        ("exec sleep 1000", json!({ "ready": { "tcp": { "port": "NOWHERE" } } }), "NOWHERE"),
    ] {
        let (_world, machine, id) = with(lines, policies).await;
        let error = machine.refused(update(&id)).await;
        assert!(error.message.contains(why), "{error:?}");
        machine.until(&id, "on the old version", on("1.0.0")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_keeps_the_new_version_and_its_probation_begins_anew() {
    let (_world, machine, id) = with("exec sleep 1000", probation(600.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    machine.until(&id, "running", on("1.1.0")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    machine.done(stop(&id)).await;
    let body = machine.instance(&id).await;
    assert_eq!(body.version.to_string(), "1.1.0");
    assert_eq!(body.probation.unwrap().remaining, 600.0);
    machine.done(start(&id)).await;
    assert!(machine.instance(&id).await.probation.is_some());
    // A move back ends it, and the update that waits says so. No network is needed.
    machine.done(revert(&id)).await;
    let body = machine.instance(&id).await;
    assert_eq!((body.version.to_string().as_str(), body.probation), ("1.0.0", None));
    assert!(body.rejected.is_empty());
    let error = machine.end_of(operation).await.error.unwrap();
    assert!(error.message.contains("moved to 1.0.0 before 1.1.0 had shown"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probation_goes_on_when_the_manager_is_started_again() {
    let (_world, mut machine, id) = with("exec sleep 1000", probation(3.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    let before = machine.until(&id, "running", on("1.1.0")).await;
    machine.restart_manager().await;
    let after = machine.instance(&id).await;
    assert_eq!(
        (after.pid, after.desired),
        (before.pid, Desired::Running),
        "it was not begun again"
    );
    assert!(after.probation.is_some());
    // The operation that waits goes on as well, and hears the verdict.
    assert!(machine.end_of(operation).await.error.is_none());
    assert_eq!(machine.instance(&id).await.probation, None);
    assert_eq!(machine.instance(&id).await.pid, before.pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_no_manager_saw_is_judged_by_the_next() {
    let (_world, mut machine, id) = with("exec sleep 1000", probation(600.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    let before = machine.until(&id, "running", on("1.1.0")).await;
    machine.turn_off().await;
    kill(before.pid.unwrap());
    eventually("it has ended", || !runs(before.pid.unwrap())).await;
    machine.turn_on().await;
    let body = machine.until(&id, "on the old version", on("1.0.0")).await;
    assert!(body.rejected[0].reason.contains("signal 9"), "{body:?}");
    let error = machine.end_of(operation).await.error.unwrap();
    assert!(error.message.contains("1.1.0 did not work"), "{error:?}");
}

/// The manager that asked for the end was not there to see it: it is still the end that was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_no_manager_saw_the_end_of_says_nothing_against_a_version() {
    let lines = "trap 'touch asked; while [ ! -e go ]; do sleep 0.02; done; exit 3' TERM; \
                 touch up; while :; do sleep 0.02; done";
    let policies = json!({ "update": { "probation": 600.0 }, "stop": { "within": 300.0 } });
    let (_world, mut machine, id) = with(lines, policies).await;
    machine.node.node().submit(new_id(), &update(&id)).await.unwrap();
    machine.until(&id, "running", on("1.1.0")).await;
    let at = workspace(&machine, &id);
    eventually("it listens", || at.join("up").exists()).await;
    let stopping = new_id();
    machine.node.node().submit(stopping, &stop(&id)).await.unwrap();
    eventually("it is asked", || at.join("asked").exists()).await;
    let pid = machine.instance(&id).await.pid.unwrap();
    machine.turn_off().await;
    std::fs::write(at.join("go"), "").unwrap();
    eventually("it has ended", || !runs(pid)).await;
    machine.turn_on().await;
    assert!(machine.end_of(stopping).await.error.is_none());
    let body = machine.instance(&id).await;
    assert_eq!(body.version.to_string(), "1.1.0", "{body:?}");
    assert_eq!((body.state, body.rejected.len()), (InstanceState::NotRunning, 0), "{body:?}");
    assert!(matches!(body.exit, Some(ExitBody::Code { code: 3, .. })), "{body:?}");
}

/// What only this node is to blame for is no word against a version.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_not_rejected_because_this_node_cannot_open_its_logs() {
    let (_world, machine, id) = with("exec sleep 1000", probation(600.0)).await;
    machine.node.node().submit(new_id(), &update(&id)).await.unwrap();
    machine.until(&id, "running", on("1.1.0")).await;
    machine.done(stop(&id)).await;
    let logs = machine.instance_dir(&id).join("logs");
    std::fs::rename(&logs, logs.with_extension("away")).unwrap();
    std::fs::write(&logs, "in the way").unwrap();
    let error = machine.refused(start(&id)).await;
    assert!(error.causes.iter().any(|cause| cause.contains("logs")), "{error:?}");
    let body = machine.instance(&id).await;
    assert_eq!((body.version.to_string().as_str(), body.rejected.len()), ("1.1.0", 0), "{body:?}");
    std::fs::remove_file(&logs).unwrap();
    std::fs::rename(logs.with_extension("away"), &logs).unwrap();
    machine.until(&id, "running", on("1.1.0")).await;
    assert!(machine.instance(&id).await.probation.is_some());
}

/// The manager was cut off after the start, before it recorded that only the verdict is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_goes_on_does_not_try_a_version_again_that_failed_meanwhile() {
    let (_world, mut machine, id) = with("exec sleep 1000", probation(600.0)).await;
    let operation = new_id();
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    let before = machine.until(&id, "running", on("1.1.0")).await;
    machine.turn_off().await;
    kill(before.pid.unwrap());
    eventually("it has ended", || !runs(before.pid.unwrap())).await;
    machine.lose_the_log();
    rewrite(&machine.root.join(format!("operations/{operation}")), |record| {
        record["memo"]["waits"] = json!(false);
    });
    machine.turn_on().await;
    let error = machine.end_of(operation).await.error.unwrap();
    assert!(error.message.contains("1.1.0 did not work"), "{error:?}");
    let body = machine.instance(&id).await;
    assert_eq!((body.version.to_string().as_str(), body.probation), ("1.0.0", None));
}

/// Puts a record in place of another, with a sum that is right.
fn rewrite(path: &Path, change: impl Fn(&mut serde_json::Value)) {
    let text = std::fs::read_to_string(path).unwrap();
    let (line, body) = text.split_once('\n').unwrap();
    let head = line.split(" sha256:").next().unwrap();
    let mut record: serde_json::Value = serde_json::from_str(body).unwrap();
    change(&mut record);
    let body = record.to_string();
    let sum = model::Digest::of(format!("{head}\n{body}").as_bytes()).hex();
    std::fs::write(path, format!("{head} sha256:{sum}\n{body}")).unwrap();
}
