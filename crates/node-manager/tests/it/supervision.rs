//! Programs that end, fail, ignore signals and leave children behind.

use model::InstanceId;
use model::lifecycle::{Desired, InstanceState};
use wire::Code;
use wire::v1::{EnvelopeBody, ExitBody, InstanceBody, RestartBody, RestartWord};

use crate::machine::{
    Machine, create, delete, eventually, install, kill, line_in, new_id, restart, runs, start,
    stop, stop_within, with_instance, workspace,
};
use crate::world::{World, envelope};

/// Runs until there is a file `go`, and ends with what it says.
const UNTIL_GO: &str = "while [ ! -s go ]; do sleep 0.02; done; exit $(cat go)";

fn program(world: &World, lines: &str, on: RestartWord, limit: u32) -> EnvelopeBody {
    let mut published = envelope("p", "1.0.0", world.script("p/program", lines));
    published.restart = RestartBody { on, limit, window: 600.0 };
    published
}

/// A machine with an instance of this program.
async fn with(lines: &str, on: RestartWord, limit: u32) -> (World, Machine, InstanceId) {
    let world = World::start().await;
    let published = program(&world, lines, on, limit);
    with_instance(world, published).await
}

fn say_go(machine: &Machine, id: &InstanceId, code: &str) {
    let workspace = workspace(machine, id);
    std::fs::write(workspace.join("go.new"), code).unwrap();
    std::fs::rename(workspace.join("go.new"), workspace.join("go")).unwrap();
}

fn code(body: &InstanceBody) -> Option<i32> {
    match body.exit {
        Some(ExitBody::Code { code, .. }) => Some(code),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_never_a_failure_is_final_and_its_code_is_shown() {
    let (_world, machine, id) = with(UNTIL_GO, RestartWord::Never, 5).await;
    machine.done(start(&id)).await;
    say_go(&machine, &id, "7");
    let body = machine.until(&id, "failed", |body| body.state == InstanceState::Failed).await;
    assert_eq!((code(&body), body.pid, body.restarts), (Some(7), None, 0));
    assert_eq!(body.desired, Desired::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_well_rests() {
    let (_world, machine, id) = with(UNTIL_GO, RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    say_go(&machine, &id, "0");
    let body = machine.until(&id, "resting", |body| body.state == InstanceState::NotRunning).await;
    assert_eq!((code(&body), body.desired), (Some(0), Desired::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_is_started_again_until_its_budget_is_spent() {
    let lines = format!("echo run >> runs; {UNTIL_GO}");
    let (_world, machine, id) = with(&lines, RestartWord::Failure, 2).await;
    machine.done(start(&id)).await;
    say_go(&machine, &id, "3");
    let body = machine.until(&id, "failed", |body| body.state == InstanceState::Failed).await;
    assert_eq!((code(&body), body.restarts, body.desired), (Some(3), 2, Desired::Running));
    let runs = std::fs::read_to_string(workspace(&machine, &id).join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 3);
    // Somebody starts it: at once, with a new budget.
    std::fs::remove_file(workspace(&machine, &id).join("go")).unwrap();
    machine.done(start(&id)).await;
    let body = machine.instance(&id).await;
    assert_eq!((body.state, body.restarts), (InstanceState::Running, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_always_also_a_good_end_is_followed_by_a_start() {
    let lines =
        "[ -e twice ] && exec sleep 1000; [ -e once ] && touch twice; touch once; sleep 0.4";
    let (_world, machine, id) = with(lines, RestartWord::Always, 50).await;
    machine.done(start(&id)).await;
    let is_so = |body: &InstanceBody| body.restarts == 2 && body.state == InstanceState::Running;
    let body = machine.until(&id, "running for the third time", is_so).await;
    assert_eq!(code(&body), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_is_back_and_its_signal_is_shown() {
    let (_world, machine, id) = with("exec sleep 1000", RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    let before = machine.instance(&id).await;
    kill(before.pid.unwrap());
    let is_so = |body: &InstanceBody| body.restarts == 1 && body.state == InstanceState::Running;
    let after = machine.until(&id, "running again", is_so).await;
    assert!(matches!(after.exit, Some(ExitBody::Signal { signal: 9, .. })));
    assert_ne!(after.pid, before.pid);
    // Restart ends this one and makes another, and restarts by people are not counted.
    machine.done(restart(&id)).await;
    let restarted = machine.instance(&id).await;
    assert_eq!((restarted.state, restarted.restarts), (InstanceState::Running, 0));
    assert_ne!(restarted.pid, after.pid);
    assert!(!runs(after.pid.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ignores_sigterm_is_killed_when_patience_ends() {
    let lines = "trap '' TERM; echo ready > ready; while :; do sleep 0.02; done";
    let (_world, machine, id) = with(lines, RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    line_in(&workspace(&machine, &id).join("ready")).await;
    let pid = machine.instance(&id).await.pid.unwrap();
    // A stop without end, and then somebody with less patience.
    let patient = new_id();
    machine.node.node().submit(patient, &stop_within(&id, 86_400.0)).await.unwrap();
    machine.until(&id, "stopping", |body| body.state == InstanceState::Stopping).await;
    assert!(runs(pid));
    machine.done(stop_within(&id, 0.1)).await;
    assert!(machine.end_of(patient).await.error.is_none());
    let body = machine.instance(&id).await;
    assert!(matches!(body.exit, Some(ExitBody::Signal { signal: 9, .. })), "{body:?}");
    assert_eq!((body.state, body.desired), (InstanceState::NotRunning, Desired::Stopped));
    assert!(!runs(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_left_the_process_group_and_gives_it_the_same_patience() {
    let child = "trap 'sleep 0.3; echo saved > saved; exit 0' TERM; echo $$ > child; while :; do sleep 0.02; done";
    let lines = format!("setsid sh -c \"{}\" & exec sleep 1000", child.replace('$', "\\$"));
    let (_world, machine, id) = with(&lines, RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    let workspace = workspace(&machine, &id);
    let child: u32 = line_in(&workspace.join("child")).await.parse().unwrap();
    machine.done(stop(&id)).await;
    assert!(!runs(child));
    assert_eq!(std::fs::read_to_string(workspace.join("saved")).unwrap(), "saved\n");
    let body = machine.instance(&id).await;
    assert!(matches!(body.exit, Some(ExitBody::Signal { signal: 15, .. })), "{body:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_leaves_behind_ends_with_it() {
    let lines = format!("setsid sleep 1000 & echo $! > child; {UNTIL_GO}");
    let (_world, machine, id) = with(&lines, RestartWord::Never, 5).await;
    machine.done(start(&id)).await;
    let child: u32 = line_in(&workspace(&machine, &id).join("child")).await.parse().unwrap();
    assert!(runs(child));
    say_go(&machine, &id, "0");
    machine.until(&id, "resting", |body| body.state == InstanceState::NotRunning).await;
    eventually("the child has ended", || !runs(child)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_gets_sigterm_once() {
    // `wait` is interrupted at once, so that a second signal finds no first one pending.
    let lines =
        "trap 'echo term >> terms' TERM; echo ready > ready; while :; do sleep 1000 & wait; done";
    let (_world, machine, id) = with(lines, RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    let workspace = workspace(&machine, &id);
    line_in(&workspace.join("ready")).await;
    machine.done(stop_within(&id, 0.5)).await;
    assert_eq!(std::fs::read_to_string(workspace.join("terms")).unwrap(), "term\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_at_once_was_not_started_and_its_last_words_are_quoted() {
    let lines =
        "[ -e old ] || { touch old; echo old words >&2; exec sleep 1000; }; echo oh no >&2; exit 4";
    let (_world, machine, id) = with(lines, RestartWord::Never, 5).await;
    machine.done(start(&id)).await;
    eventually("it spoke", || {
        machine.instance_dir(&id).join("logs/stderr").metadata().is_ok_and(|log| log.len() > 0)
    })
    .await;
    machine.done(stop(&id)).await;
    let error = machine.refused(start(&id)).await;
    assert_eq!(error.code, Code::WrongState);
    assert!(error.message.contains("exit code 4"), "{error:?}");
    assert_eq!(error.causes, ["stderr: oh no"]);
    assert!(error.hint.unwrap().contains("fettle logs --stderr p/1/1"));
    assert_eq!(machine.instance(&id).await.state, InstanceState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_machine_cannot_execute_is_unsupported_and_says_why() {
    let world = World::start().await;
    let garbage = &b"\x7fELF and nothing else"[..];
    for (title, bytes) in [("garbage", garbage), ("lost", b"#!/no/such/interpreter\n")] {
        let program = world.object(&format!("{title}/program"), bytes);
        let program = wire::v1::ProgramBody::Object(program);
        let mut published = envelope(title, "1.0.0", program);
        published.restart.on = RestartWord::Never;
        world.publish(&published).await;
    }
    let machine = Machine::start(&world).await;
    for (title, why) in [("garbage", "Exec format error"), ("lost", "No such file")] {
        let installation = machine.install(install(title)).await.installation;
        let error = machine.refused(create(&installation, true)).await;
        assert_eq!(error.code, Code::Unsupported, "{error:?}");
        assert!(error.causes.iter().any(|cause| cause.contains(why)), "{error:?}");
        let body = machine.instance(&InstanceId { installation, number: 1 }).await;
        assert_eq!((body.state, body.pid), (InstanceState::Failed, None));
        assert!(matches!(body.exit, Some(ExitBody::Unknown { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_not_deleted_unless_it_is_to_be_stopped_too() {
    let (_world, machine, id) = with("exec sleep 1000", RestartWord::Failure, 5).await;
    machine.done(start(&id)).await;
    let pid = machine.instance(&id).await.pid.unwrap();
    let error = machine.refused(delete(&id, false)).await;
    assert_eq!(error.code, Code::WrongState);
    assert!(runs(pid));
    machine.done(delete(&id, true)).await;
    assert!(!runs(pid) && !machine.instance_dir(&id).exists());
    assert_eq!(machine.refused(start(&id)).await.code, Code::NotFound);
    assert_eq!(machine.refused(delete(&id, true)).await.code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_restarts_keeps_nobody_waiting() {
    let lines = "[ -e stay ] && exec sleep 1000; exit 5";
    let (_world, machine, id) = with(lines, RestartWord::Failure, 1_000).await;
    let long_pause =
        |body: &InstanceBody| body.state == InstanceState::Backoff && body.restarts >= 5;
    machine.refused(start(&id)).await;
    machine.until(&id, "pausing", long_pause).await;
    machine.done(stop(&id)).await;
    let body = machine.instance(&id).await;
    assert_eq!((body.state, body.desired), (InstanceState::NotRunning, Desired::Stopped));
    // Once more; now it is started instead, and waits for no pause.
    machine.refused(start(&id)).await;
    machine.until(&id, "pausing", long_pause).await;
    std::fs::write(workspace(&machine, &id).join("stay"), "").unwrap();
    machine.done(start(&id)).await;
    let body = machine.instance(&id).await;
    assert_eq!((body.state, body.restarts), (InstanceState::Running, 0));
    // And deleting waits for none either.
    machine.done(stop(&id)).await;
    std::fs::remove_file(workspace(&machine, &id).join("stay")).unwrap();
    machine.refused(start(&id)).await;
    machine.until(&id, "pausing", long_pause).await;
    assert_eq!(machine.refused(delete(&id, false)).await.code, Code::WrongState);
    machine.done(delete(&id, true)).await;
}
