//! The manager ends, in good order or not, and programs don't notice; the next one finds them again.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::InstanceId;
use model::lifecycle::{Desired, InstanceState};
use node_manager::Node;
use serde_json::json;
use wire::serve::{Address, Listener, serve};
use wire::v1::{ExitBody, InstanceBody, RestartWord};

use crate::health::with;
use crate::machine::{
    Machine, config, create, delete, eventually, install, kill, launcher_of, line_in, record, runs,
    start, stop, stop_within, workspace,
};
use crate::world::{World, envelope, names_in};

/// A node manager in a process of its own, which can be killed.
struct Manager(Child);

impl Manager {
    async fn start(machine: &Machine, world: &World) -> Manager {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "manager::the_manager_of_another_test", "--ignored", "--nocapture"])
            .env(ROOT, &machine.root)
            .env(SERVER, &world.address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        let manager = Manager(command.spawn().unwrap());
        for _ in 0..3000 {
            if machine.node.status().await.is_ok() {
                return manager;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the manager does not answer");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "no test: what other tests start and kill"]
async fn the_manager_of_another_test() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let root = PathBuf::from(root);
    let node = Node::open(config(&root, &std::env::var(SERVER).unwrap())).await.unwrap();
    let listener = Listener::bind(&Address::Unix(root.with_extension("sock"))).await.unwrap();
    serve(listener, node.service(), std::future::pending()).await;
}

fn off(world: &World) -> Machine {
    Machine::off(&world.dir.path().join("node"), &world.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_live_on_when_the_manager_is_killed_and_the_next_one_owns_them() {
    let world = World::start().await;
    world
        .publish_script(
            "p",
            "1.0.0",
            "echo one; setsid sleep 1000 & echo $! > child; exec sleep 1000",
        )
        .await;
    let mut machine = off(&world);
    let manager = Manager::start(&machine, &world).await;
    let id = machine.running("p").await;
    let child: u32 = line_in(&machine.instance_dir(&id).join("root/child")).await.parse().unwrap();
    let before = machine.instance(&id).await;
    manager.kill();
    let manager = Manager::start(&machine, &world).await;
    assert_eq!(machine.instance(&id).await, before);
    manager.kill();
    machine.turn_on().await;
    assert_eq!(machine.instance(&id).await, before);
    machine.done(stop(&id)).await;
    assert!(!runs(before.pid.unwrap()) && !runs(child));
    let stopped = machine.instance(&id).await;
    assert!(matches!(stopped.exit, Some(ExitBody::Signal { signal: 15, .. })), "{stopped:?}");
    assert_eq!(stopped.state, InstanceState::NotRunning);
    machine.done(start(&id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_no_manager_was_there_is_started_again_and_how_it_ended_is_known() {
    let world = World::start().await;
    let lines = "[ -e second ] && exec sleep 1000; touch second; \
                 until [ -e go ]; do sleep 0.02; done; echo last words; exit 7";
    world.publish_script("p", "1.0.0", lines).await;
    let mut machine = off(&world);
    let manager = Manager::start(&machine, &world).await;
    let id = machine.running("p").await;
    let before = machine.instance(&id).await;
    manager.kill();
    std::fs::write(machine.instance_dir(&id).join("root/go"), "").unwrap();
    eventually("it has ended", || !runs(before.pid.unwrap())).await;
    let ended = model::Timestamp::from(std::time::SystemTime::now());
    machine.turn_on().await;
    let again = |body: &InstanceBody| body.state == InstanceState::Running && body.restarts == 1;
    let after = machine.until(&id, "running again", again).await;
    assert!(after.pid.is_some() && after.pid != before.pid);
    let Some(ExitBody::Code { code: 7, at }) = after.exit else { panic!("{after:?}") };
    assert!(at <= ended, "when it ended, and not when that was heard");
    let printed = std::fs::read_to_string(machine.instance_dir(&id).join("logs/stdout")).unwrap();
    assert_eq!(printed, "last words\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_live_on_when_the_launcher_is_killed_too_and_what_nobody_can_tell_is_unknown() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut machine = off(&world);
    let manager = Manager::start(&machine, &world).await;
    let id = machine.running("p").await;
    let before = machine.instance(&id).await;
    // The launcher alone: the manager sees it go, and holds the program by other means.
    kill(launcher_of(before.pid.unwrap()));
    let second = InstanceId { number: 2, ..id.clone() };
    machine.done(create(&id.installation, true)).await;
    let launcher = launcher_of(machine.instance(&second).await.pid.unwrap());
    assert_eq!(machine.instance(&id).await, before);
    // Both.
    manager.kill();
    kill(launcher);
    eventually("the launcher has ended", || !runs(launcher)).await;
    machine.turn_on().await;
    assert_eq!(machine.instance(&id).await, before);
    kill(before.pid.unwrap());
    let again = |body: &InstanceBody| body.state == InstanceState::Running && body.restarts == 1;
    let after = machine.until(&id, "running again", again).await;
    // A kernel of 6.15 tells once somebody has reaped it.
    let told = match after.exit {
        Some(ExitBody::Signal { signal, .. }) => signal == 9,
        Some(ExitBody::Unknown { ref unknown, .. }) => unknown.contains("launcher"),
        _ => false,
    };
    assert!(told, "{after:?}");
    machine.done(stop(&second)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_never_what_ended_unseen_has_failed() {
    let world = World::start().await;
    let mut published = envelope("p", "1.0.0", world.script("p/program", "exec sleep 1000"));
    published.restart.on = RestartWord::Never;
    world.publish(&published).await;
    let mut machine = off(&world);
    let manager = Manager::start(&machine, &world).await;
    let id = machine.running("p").await;
    let pid = machine.instance(&id).await.pid.unwrap();
    manager.kill();
    kill(pid);
    eventually("it has ended", || !runs(pid)).await;
    machine.turn_on().await;
    let body = machine.until(&id, "failed", |body| body.state == InstanceState::Failed).await;
    assert_eq!((body.desired, body.pid), (Desired::Running, None));
    // A failure stays one over a restart of the manager; a boot tries anew.
    machine.restart_manager().await;
    assert_eq!(machine.instance(&id).await, body);
    machine.turn_off().await;
    another_boot(&machine.root);
    machine.turn_on().await;
    assert_eq!(machine.instance(&id).await.state, InstanceState::Running);
    assert_eq!(names_in(&machine.root.join("run")).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_boot_what_should_run_runs_and_what_was_stopped_does_not() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut machine = Machine::start(&world).await;
    let runs_on = machine.running("p").await;
    machine.done(create(&runs_on.installation, true)).await;
    let stopped = InstanceId { number: 2, ..runs_on.clone() };
    machine.done(stop(&stopped)).await;
    let before = machine.instance(&runs_on).await;
    machine.turn_off().await;
    kill(before.pid.unwrap());
    another_boot(&machine.root);
    machine.turn_on().await;
    let after = machine.instance(&runs_on).await;
    assert_eq!((after.state, after.restarts, after.exit), (InstanceState::Running, 0, None));
    assert_ne!(after.pid, before.pid);
    assert_eq!(machine.instance(&stopped).await.state, InstanceState::NotRunning);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_number_was_not_recorded_is_found_and_not_made_twice() {
    let world = World::start().await;
    world
        .publish_script("p", "1.0.0", "echo run >> runs; setsid sleep 1000 & exec sleep 1000")
        .await;
    let mut machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let before = machine.instance(&id).await;
    for state in ["launching", "running"] {
        machine.turn_off().await;
        edit_observed(&machine, &id, |observed| {
            observed["process"] = serde_json::Value::Null;
            observed["state"] = state.into();
        });
        machine.turn_on().await;
        let after = machine.instance(&id).await;
        assert_eq!((after.pid, after.state), (before.pid, InstanceState::Running), "{state}");
    }
    let runs = std::fs::read_to_string(machine.instance_dir(&id).join("root/runs")).unwrap();
    assert_eq!(runs, "run\n");
    // Nothing to be found: then it is made.
    for state in ["launching", "running", "backoff", "updating"] {
        let pid = machine.instance(&id).await.pid.unwrap();
        machine.turn_off().await;
        crate::machine::processes_under(&machine.root).into_iter().for_each(kill);
        eventually("it has ended", || !runs_any(&machine.root, pid)).await;
        edit_observed(&machine, &id, |observed| {
            observed["process"] = serde_json::Value::Null;
            observed["state"] = state.into();
        });
        machine.turn_on().await;
        let another =
            |body: &InstanceBody| body.state == InstanceState::Running && body.pid != Some(pid);
        machine.until(&id, state, another).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_anothers_now_is_neither_adopted_nor_signalled() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let pid = machine.instance(&id).await.pid.unwrap();
    machine.turn_off().await;
    kill(pid);
    eventually("it has ended", || !runs(pid)).await;
    let mut bystander = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    edit_observed(&machine, &id, |observed| observed["process"]["pid"] = bystander.id().into());
    machine.turn_on().await;
    let running = |body: &InstanceBody| body.state == InstanceState::Running;
    let body = machine.until(&id, "running", running).await;
    assert!(body.pid.is_some() && body.pid != Some(bystander.id()));
    machine.done(stop(&id)).await;
    machine.done(delete(&id, true)).await;
    assert!(runs(bystander.id()));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_was_cut_off_goes_on() {
    let world = World::start().await;
    let lines = "trap 'touch asked' TERM; echo ready > ready; while :; do sleep 0.02; done";
    world.publish_script("p", "1.0.0", lines).await;
    let mut machine = off(&world);
    let manager = Manager::start(&machine, &world).await;
    let id = machine.running("p").await;
    let workspace = machine.instance_dir(&id).join("root");
    line_in(&workspace.join("ready")).await;
    let pid = machine.instance(&id).await.pid.unwrap();
    let operation = crate::machine::new_id();
    machine.node.node().submit(operation, &stop_within(&id, 0.6)).await.unwrap();
    eventually("it was asked", || workspace.join("asked").exists()).await;
    manager.kill();
    assert!(runs(pid));
    machine.turn_on().await;
    assert!(machine.end_of(operation).await.error.is_none());
    assert!(!runs(pid));
    assert_eq!(machine.instance(&id).await.desired, Desired::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_does_to_its_workspace_does_not_put_it_out_of_reach() {
    let world = World::start().await;
    world
        .publish_script(
            "p",
            "1.0.0",
            "rm packages; mkdir packages; touch packages/mine; echo done > done; exec sleep 1000",
        )
        .await;
    let mut machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    line_in(&machine.instance_dir(&id).join("root/done")).await;
    let before = machine.instance(&id).await;
    machine.restart_manager().await;
    assert_eq!(machine.instance(&id).await, before);
    machine.done(stop(&id)).await;
    assert!(!runs(before.pid.unwrap()));
    // A link that is missing is made again.
    std::fs::remove_dir_all(machine.instance_dir(&id).join("root/packages")).unwrap();
    machine.restart_manager().await;
    let link = std::fs::read_link(machine.instance_dir(&id).join("root/packages")).unwrap();
    assert_eq!(link, Path::new("../packages/1-1.0.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_has_one_name_however_it_is_spelled() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::start().await;
    world
        .publish_script("p", "1.0.0", "echo $FETTLE_WORKSPACE; setsid sleep 1000 & exec sleep 1000")
        .await;
    // Not UTF-8, and through a link.
    let real = world.dir.path().join(std::ffi::OsStr::from_bytes(b"n\xff"));
    let link = world.dir.path().join("link");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut machine = Machine::start_at(&link, &world.address).await;
    let id = machine.running("p").await;
    let before = machine.instance(&id).await;
    let said = machine.instance_dir(&id).join("logs/stdout");
    eventually("it spoke", || std::fs::read(&said).unwrap_or_default().ends_with(b"\n")).await;
    let expected = real.join(machine.instance_dir(&id).strip_prefix(&link).unwrap()).join("root");
    assert_eq!(std::fs::read(&said).unwrap().trim_ascii_end(), expected.as_os_str().as_bytes());
    machine.turn_off().await;
    edit_observed(&machine, &id, |observed| observed["process"] = serde_json::Value::Null);
    machine.config.root = real.clone();
    machine.turn_on().await;
    assert_eq!(machine.instance(&id).await.pid, before.pid);
    machine.done(stop(&id)).await;
    assert!(crate::machine::processes_under(&real).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_instance_stops_neither_the_others_nor_the_node() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    world.publish_script("q", "1.0.0", "exec sleep 1000").await;
    let mut machine = Machine::start(&world).await;
    let (good, bad) = (machine.running("p").await, machine.running("q").await);
    machine.turn_off().await;
    machine.lose_the_log();
    std::fs::write(machine.instance_dir(&bad).join("info"), "fettle instance 1 sha256:00\n{}")
        .unwrap();
    machine.turn_on().await;
    assert_eq!(machine.instance(&good).await.state, InstanceState::Running);
    machine.install(install("q")).await;
    machine.turn_off().await;
    machine.lose_the_log();
    let app = machine.installation_dir(&bad.installation).parent().unwrap().join("info");
    std::fs::write(app, "").unwrap();
    machine.turn_on().await;
    assert_eq!(machine.instance(&good).await.state, InstanceState::Running);
    // Its numbers are unknown now, so no new one is made up.
    let error = machine.refused(client::Change::Install(install("q"))).await;
    assert_eq!(error.code, wire::Code::Damaged);
}

fn runs_any(root: &Path, pid: u32) -> bool {
    runs(pid) || !crate::machine::processes_under(root).is_empty()
}

/// As if the machine had booted since.
fn another_boot(root: &Path) {
    let run = root.join("run");
    let boot = names_in(&run).pop().unwrap();
    std::fs::rename(run.join(boot), run.join("another-boot")).unwrap();
}

fn edit_observed(machine: &Machine, id: &InstanceId, edit: impl FnOnce(&mut serde_json::Value)) {
    let run = machine.root.join("run");
    let boot = names_in(&run).pop().unwrap();
    let installation = &id.installation;
    let name = format!("{}.{}.{}", installation.title, installation.number, id.number);
    let path = run.join(boot).join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut json = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    edit(&mut json);
    std::fs::write(path, record("observed", 1, &json.to_string())).unwrap();
}

const ROOT: &str = "NODE_MANAGER_TEST_ROOT";
const SERVER: &str = "NODE_MANAGER_TEST_SERVER";

/// Neither the manager nor the launcher saw the end of a program; what it had started runs on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_by_a_program_that_ended_unseen_ends_before_anything_begins_again() {
    let child = "setsid sh -c 'echo $$ > child.new; mv child.new child; trap \"\" TERM; while :; do sleep 0.05; done'";
    // A lock, which its child inherits: a dead one that nobody has reaped yet has none.
    let lines = format!("exec 9>>alone; flock -n 9 || touch twice; ({child} &); exec sleep 1000");
    let (_world, mut machine, id) = with(&lines, json!({})).await;
    machine.done(start(&id)).await;
    let file = workspace(&machine, &id).join("child");
    let child: u32 = line_in(&file).await.parse().unwrap();
    let pid = machine.instance(&id).await.pid.unwrap();
    machine.turn_off().await;
    for pid in [launcher_of(pid), pid] {
        kill(pid);
        eventually("it has ended", || !runs(pid)).await;
    }
    assert!(runs(child));
    machine.turn_on().await;
    machine.until(&id, "back", |body| body.restarts >= 1 && body.pid.is_some()).await;
    assert!(!runs(child));
    assert!(!workspace(&machine, &id).join("twice").exists());
}
