//! The process dies, the disk fills up, the power goes: at every disk operation of every kind of change.
//!
//! Whatever happened, the next manager opens the tree by itself; an operation whose record is there goes
//! on and ends done; one that is not there has left nothing; every name stands for a whole thing.
//! Which cases are taken is said in `sweep`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use client::Change;
use durable::faults::{PowerCut, Recorder, Script};
use futures_util::stream;
use model::{Digest, InstallationId, OperationId};
use node_manager::Node;
use wire::v1::{InstallRequest, OperationResult, PinBody};

use crate::machine::{
    Machine, create, delete, fresh, gc, install, new_id, repair, revert, uninstall, update,
};
use crate::store::{garbage, litter};
use crate::sweep::{self, stride};
use crate::world::{TarEntry, World, envelope, make_removable, names_in, noise, tar};

/// One kind of change, on a tree that lies ready for it.
struct Case {
    name: &'static str,
    /// The directory that is copied; `None` for an empty one.
    template: Option<PathBuf>,
    change: Change,
    /// What happens to the tree once the manager has it open, and has cleared up by itself.
    spoil: fn(&Path),
}

const SCRIPT: &str = "exec sleep 1000";

async fn publish(world: &World, version: &str) {
    let program = world.script(&format!("c/{version}/program"), &format!("{SCRIPT} # {version}"));
    let mut published = envelope("c", version, program);
    let same: &[TarEntry<'_>] = &[
        ("d/", b'5', "", b"", 0o755),
        ("d/run", b'0', "", b"#!/bin/sh\n", 0o755),
        ("d/l", b'2', "run", b"", 0o777),
        ("d/h", b'1', "d/run", b"", 0o755),
    ];
    let content = noise(40_000, version.len() as u64 + u64::from(version.as_bytes()[2]));
    let other = tar(&[("x", b'0', "", &content, 0o644)]);
    let text = world.object(&format!("c/{version}/notes.txt"), version.as_bytes());
    let own = tar(&[
        ("d/", b'5', "", b"", 0o755),
        ("d/x", b'0', "", version.as_bytes(), 0o644),
        ("d/h", b'1', "d/x", b"", 0o644),
    ]);
    let writable = |pin: PinBody| PinBody { writable: true, ..pin };
    let own = writable(world.object(&format!("c/{version}/own.tar"), &own));
    published.packages = [
        ("own".parse().unwrap(), own),
        ("file".parse().unwrap(), writable(text.clone())),
        ("same".parse().unwrap(), world.object("c/same.tar", &tar(same))),
        ("other".parse().unwrap(), world.object(&format!("c/{version}/other.tar"), &other)),
        ("notes".parse().unwrap(), text),
    ]
    .into();
    world.publish(&published).await;
}

/// Every kind of change that touches the disk, each on a tree that lies ready for it.
async fn cases(world: &World) -> Vec<Case> {
    publish(world, "1.0.0").await;
    let place = |name: &str| world.dir.path().join("template").join(name).join("node");
    let id: InstallationId = "c/1".parse().unwrap();
    let instance: model::InstanceId = "c/1/1".parse().unwrap();
    let mut machine = Machine::start_at(&place("base"), &world.address).await;
    machine.install(install("c")).await;
    machine.turn_off().await;
    let base = machine.root.clone();
    let grown = async |name: &'static str, from: &Path, changes: &[Change]| {
        let root = place(name);
        copy(from, &root);
        let mut machine = Machine::start_at(&root, &world.address).await;
        for change in changes {
            machine.done(change.clone()).await;
        }
        machine.turn_off().await;
        root
    };
    let with_instance = grown("instance", &base, &[create(&id, false)]).await;
    publish(world, "1.1.0").await;
    let updated = grown("updated", &with_instance, &[update(&id)]).await;
    let moved = grown("moved", &updated, &[update(&instance)]).await;
    let case = |name, template: Option<&PathBuf>, change| Case {
        name,
        template: template.cloned(),
        change,
        spoil: |_| {},
    };
    let spoilt = |case: Case, spoil| Case { spoil, ..case };
    let with_reference =
        InstallRequest { reference: "demo/c@1.0.0".parse().unwrap(), ..install("c") };
    vec![
        case("install", None, Change::Install(with_reference.clone())),
        case("second install", Some(&base), Change::Install(with_reference)),
        case("create", Some(&base), create(&id, false)),
        case("second create", Some(&with_instance), create(&id, false)),
        case("update", Some(&with_instance), update(&id)),
        case("switch", Some(&updated), update(&instance)),
        case("switch back", Some(&moved), revert(&instance)),
        case("switch afresh", Some(&updated), fresh(update(&instance))),
        case("switch back afresh", Some(&moved), fresh(revert(&instance))),
        case("revert", Some(&updated), revert(&id)),
        case("delete", Some(&with_instance), delete(&instance, false)),
        case("uninstall", Some(&base), uninstall(&id)),
        spoilt(case("gc", Some(&with_instance), gc()), |root| drop(litter(root))),
        spoilt(case("repair", Some(&with_instance), repair()), damage),
    ]
}

/// A tree with a wrong, a missing and an extra entry, and a blob that is wrong in each version.
fn damage(root: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let chmod = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let version = root.join("apps").join(&names_in(&root.join("apps"))[0]);
    let version = version.join("installation-1/1-1.0.0");
    let dir = std::fs::canonicalize(version.join("packages/same/d")).unwrap();
    chmod(&dir, 0o755);
    chmod(&dir.join("run"), 0o755);
    std::fs::write(dir.join("run"), "#!/bin/false\n").unwrap();
    chmod(&dir.join("run"), 0o555);
    std::fs::remove_file(dir.join("l")).unwrap();
    std::fs::write(dir.join("extra"), "").unwrap();
    chmod(&dir, 0o555);
    let notes = version.join("pkg/notes");
    chmod(&notes, 0o644);
    std::fs::write(&notes, "wrong").unwrap();
    chmod(&notes, 0o444);
}

/// A machine whose disk is recorded, with its change ready.
struct Run {
    dir: tempfile::TempDir,
    machine: Machine,
    recorder: Recorder,
    operation: OperationId,
}

impl Run {
    async fn prepare(world: &World, case: &Case) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("node");
        if let Some(template) = &case.template {
            copy(template, &root);
        }
        let recorder = Recorder::new(dir.path()).unwrap();
        let mut machine = open(&root, &world.address, &recorder).await;
        if case.name == "gc" {
            machine.is_at_rest().await;
        }
        (case.spoil)(&root);
        recorder.start_over(dir.path()).unwrap();
        Run { dir, machine, recorder, operation: new_id() }
    }

    /// Asks for the change, and waits for its end if it was taken on. Was it?
    async fn go(&self, case: &Case) -> bool {
        let taken_on = self.machine.node.node().submit(self.operation, &case.change).await.is_ok();
        if taken_on {
            self.machine.end_of(self.operation).await;
        }
        taken_on
    }
}

async fn open(root: &Path, server: &str, recorder: &Recorder) -> Machine {
    let mut machine = Machine::off(root, server);
    machine.turn_on_with(|config| Node::open_recorded(config, recorder.clone())).await;
    machine
}

/// What the next manager makes of a tree. `promised`: the operation was taken on, so it must be there.
async fn assert_recovers(
    world: &World,
    case: &Case,
    dir: &Path,
    operation: OperationId,
    promised: bool,
    when: &str,
) {
    let when = format!("{}, {when}", case.name);
    let recorder = Recorder::new(dir).unwrap(); // it syncs nothing, which is fast
    let mut machine = open(&dir.join("node"), &world.address, &recorder).await;
    let is_there = machine.root.join("operations").join(operation.to_string()).exists();
    assert!(is_there || !promised, "{when}: the operation is lost");
    if is_there {
        let body = machine.end_of(operation).await;
        assert!(body.error.is_none() && body.result.is_some(), "{when}: {:#?}", body.error);
    }
    assert_whole(&machine, &when).await;
    if !is_there {
        // It has left nothing: the same can be asked for again, under the same id.
        machine.node.node().submit(operation, &case.change).await.unwrap();
        let body = machine.end_of(operation).await;
        assert!(body.error.is_none(), "{when}, repeated: {:#?}", body.error);
        assert_whole(&machine, &when).await;
    }
    assert_done(&machine, case, operation, &when).await;
    assert_eq!(names_in(&machine.root.join("trash")), [""; 0], "{when}");
    machine.turn_off().await;
    make_removable(dir);
}

/// The change has the effect that it should have, once.
async fn assert_done(machine: &Machine, case: &Case, operation: OperationId, when: &str) {
    let result = machine.end_of(operation).await.result.unwrap();
    let dir = machine.installation_dir(&"c/1".parse().unwrap());
    let versions: BTreeSet<String> = names_in(&dir)
        .into_iter()
        .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let link = |path: &str| std::fs::read_link(dir.join(path)).unwrap();
    let at = |path: &str, target: &str| assert_eq!(link(path), Path::new(target), "{when}");
    match case.name {
        "install" => {
            // A number may have been counted and not used; nothing else is there.
            let OperationResult::Installed(body) = result else { panic!("{when}: {result:?}") };
            let app = machine.installation_dir(&body.installation);
            let all = names_in(app.parent().unwrap());
            assert_eq!(
                all,
                ["info".to_owned(), format!("installation-{}", body.installation.number)]
            );
        }
        "second install" => {
            // Beside the first, under a number of its own; the first is what it was.
            let OperationResult::Installed(body) = result else { panic!("{when}: {result:?}") };
            assert!(body.installation.number > 1, "{when}: {}", body.installation);
            let expected = ["info", "installation-1"].map(str::to_owned).into_iter();
            let expected: BTreeSet<String> =
                expected.chain([format!("installation-{}", body.installation.number)]).collect();
            let found = names_in(dir.parent().unwrap()).into_iter().collect();
            assert_eq!(expected, found, "{when}");
            at("current", "1-1.0.0");
        }
        "second create" => {
            let OperationResult::Instance(body) = result else { panic!("{when}: {result:?}") };
            assert!(body.instance.number > 1, "{when}: {}", body.instance);
            let expected = ["instance-1".to_owned(), format!("instance-{}", body.instance.number)];
            let found: BTreeSet<String> = names_in(&dir.join("instances")).into_iter().collect();
            assert_eq!(BTreeSet::from(expected), found, "{when}");
        }
        "create" => {
            let OperationResult::Instance(body) = result else { panic!("{when}: {result:?}") };
            let expected = format!("instance-{}", body.instance.number);
            assert_eq!(names_in(&dir.join("instances")), [expected], "{when}");
        }
        "update" => {
            at("current", versions.last().unwrap());
            assert_eq!(versions.len(), 2, "{when}");
            assert!(versions[1].ends_with("-1.1.0"), "{when}: {versions:?}");
            at("instances/instance-1/version", "../../1-1.0.0");
        }
        "switch" | "switch afresh" => {
            at("instances/instance-1/version", "../../2-1.1.0");
            at("instances/instance-1/root/packages", "../packages/2-1.1.0");
        }
        "switch back" | "switch back afresh" => {
            at("instances/instance-1/version", "../../1-1.0.0");
            at("instances/instance-1/root/packages", "../packages/1-1.0.0");
        }
        "revert" => at("current", "1-1.0.0"),
        "delete" => assert_eq!(names_in(&dir.join("instances")), [""; 0], "{when}"),
        "uninstall" => assert!(!dir.exists(), "{when}"),
        "repair" => match result {
            OperationResult::Repaired(body) => assert_eq!(body.damaged, 0, "{when}: {body:#?}"),
            other => panic!("{when}: {other:?}"),
        },
        "gc" => assert!(matches!(result, OperationResult::Collected(_)), "{when}: {result:?}"),
        other => panic!("{other}"),
    }
    let own = dir.join("instances/instance-1");
    if own.exists() {
        // No copy but those that some version uses, and of those none is missing.
        let (copies, content) = match case.name {
            "switch afresh" => (["file.1", "file.2", "own.1", "own.2"].as_slice(), "1.1.0"),
            "switch back afresh" => {
                (["file.1", "file.1-2", "own.1", "own.1-2"].as_slice(), "1.0.0")
            }
            _ => (["file.1", "own.1"].as_slice(), "1.0.0"),
        };
        assert_eq!(names_in(&own.join("writable")), copies, "{when}");
        for file in ["root/packages/own/d/x", "root/packages/own/d/h", "root/packages/file"] {
            assert_eq!(std::fs::read_to_string(own.join(file)).unwrap(), content, "{when}: {file}");
        }
    }
}

/// Every name stands for a whole thing, and nothing lies about.
async fn assert_whole(machine: &Machine, when: &str) {
    let root = &machine.root;
    // A change that was not taken on has mended nothing.
    if case_is_repair(when) {
        let mended = machine.change(repair()).await;
        assert!(mended.error.is_none(), "{when}: {:#?}", mended.error);
    }
    // What nothing needs is collected by itself at some time; from here on it is no more.
    let collected = machine.change(gc()).await;
    assert!(collected.error.is_none(), "{when}: {:#?}", collected.error);
    assert_eq!(garbage(machine).await, [], "{when}");
    for shard in names_in(&root.join("store/blobs")) {
        for name in names_in(&root.join("store/blobs").join(&shard)) {
            let bytes = std::fs::read(root.join("store/blobs").join(&shard).join(&name)).unwrap();
            assert_eq!(Digest::of(&bytes).hex(), name, "{when}: a blob is not what its name says");
        }
    }
    for shard in names_in(&root.join("store/trees")) {
        for name in names_in(&root.join("store/trees").join(&shard)) {
            assert_tree(&root.join("store/trees").join(&shard).join(&name), when);
        }
    }
    let staged = names_in(&root.join("staging"));
    assert!(staged.iter().all(|name| name.starts_with("receive-")), "{when}: {staged:?}");
    let calls = machine.node.node();
    let mut installations = calls.installations(None).await.unwrap();
    let mut shown = 0;
    while let Some(body) = installations.next_line().await.unwrap() {
        shown += 1;
        let dir = machine.installation_dir(&body.installation);
        for version in names_in(&dir).iter().filter(|name| name.contains('-')) {
            assert_version(&dir.join(version), when);
        }
        for id in &body.instances {
            calls.instance(id).await.unwrap();
            let packages = machine.instance_dir(id).join("root/packages");
            assert!(packages.join("same/d/run").exists(), "{when}: {}", packages.display());
            assert!(packages.join("notes").exists() && packages.join("other/x").exists(), "{when}");
        }
    }
    let on_disk = names_in(&root.join("apps")).into_iter().flat_map(|app| {
        let names = names_in(&root.join("apps").join(app));
        names.into_iter().filter(|name| name.starts_with("installation-"))
    });
    assert_eq!(on_disk.count(), shown, "{when}: an installation is there and not shown");
}

fn case_is_repair(when: &str) -> bool {
    when.starts_with("repair,")
}

fn assert_version(dir: &Path, when: &str) {
    for file in
        ["bin", "envelope", "pkg/same", "pkg/same.__info", "packages/same/d/l", "packages/notes"]
    {
        let path = dir.join(file);
        assert!(std::fs::metadata(&path).is_ok(), "{when}: {} is missing", path.display());
    }
    let script = std::fs::read_to_string(dir.join("bin")).unwrap();
    assert!(script.contains(SCRIPT), "{when}");
}

fn assert_tree(dir: &Path, when: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(dir), 0o555, "{when}: {} is open", dir.display());
    let manifest = std::fs::read_to_string(dir.join("manifest")).unwrap();
    let lines: Vec<serde_json::Value> =
        manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, entries) = lines.split_last().expect("a manifest has a last line");
    assert_eq!(last["entries"].as_u64(), Some(entries.len() as u64), "{when}");
    for entry in entries {
        let path = dir.join("files").join(entry["path"].as_str().unwrap());
        let found = std::fs::symlink_metadata(&path);
        assert!(found.is_ok(), "{when}: {} is missing", path.display());
        if entry["kind"] == "file" {
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(entry["sha256"], Digest::of(&bytes).hex(), "{when}: {}", path.display());
            let stated = u32::from_str_radix(entry["mode"].as_str().unwrap(), 8).unwrap();
            assert_eq!(mode(&path), stated, "{when}: {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_disk_operation_is_survived() {
    let world = Arc::new(World::start().await);
    let mut runs = 0;
    for (offset, case) in cases(&world).await.into_iter().enumerate() {
        let (name, case, world) = (format!("kills, {}", case.name), Arc::new(case), world.clone());
        let stride = stride(KILLS);
        runs += sweep::until_the_last(&name, offset % stride, stride, move |at| {
            let (world, case) = (world.clone(), case.clone());
            async move {
                let run = Run::prepare(&world, &case).await;
                run.recorder.play(Script::Kill { at });
                let taken_on = run.go(&case).await;
                let over = run.recorder.tried() <= at;
                let Run { dir, mut machine, operation, .. } = run;
                machine.turn_off().await;
                let when = format!("killed at {at}");
                assert_recovers(&world, &case, dir.path(), operation, taken_on, &when).await;
                over
            }
        })
        .await;
    }
    println!("{runs} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_disk_operation_is_survived() {
    let world = Arc::new(World::start().await);
    let mut cuts = 0;
    for (offset, case) in cases(&world).await.into_iter().enumerate() {
        let run = Run::prepare(&world, &case).await;
        let node = run.machine.node.clone();
        node.node().submit(run.operation, &case.change).await.unwrap();
        // What is in the log by now may be a little more than what the answer waited for.
        let promised_from = run.recorder.len();
        assert!(run.machine.end_of(run.operation).await.error.is_none());
        let Run { dir, mut machine, recorder, operation } = run;
        let log = recorder.log();
        machine.turn_off().await;
        // They are worked out one after the other, and no faster than they are tried.
        let (sender, mut states) = tokio::sync::mpsc::channel(8);
        std::thread::spawn(move || {
            let power_cut = PowerCut::new(log, SEED, 2);
            let stride = stride(CUTS);
            let states = power_cut.states().enumerate().skip(offset % stride).step_by(stride);
            states
                .map(|state| sender.blocking_send(state))
                .take_while(Result::is_ok)
                .for_each(drop);
        });
        let (name, case, world) = (format!("cuts, {}", case.name), Arc::new(case), world.clone());
        let states = stream::poll_fn(move |context| states.poll_recv(context));
        cuts += sweep::at_once(&name, states, move |(number, (prefix, state))| {
            let (world, case) = (world.clone(), case.clone());
            async move {
                let dir = tempfile::tempdir().unwrap();
                state.materialise(dir.path()).unwrap();
                let when = format!("power cut after {prefix}, state {number}");
                let promised = prefix >= promised_from;
                assert_recovers(&world, &case, dir.path(), operation, promised, &when).await;
            }
        })
        .await;
        drop(dir);
    }
    println!("{cuts} power cuts");
}

/// The process lives on, and says what is wrong: a full disk or quota is `no-space` and not `internal`, a
/// broken one is not `no-space`, and whatever was begun is cleared up at once, not only by the next manager.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_broken_disk_at_any_operation_is_said_so_and_leaves_nothing_behind() {
    let world = Arc::new(World::start().await);
    let mut failures = 0;
    for (offset, case) in cases(&world).await.into_iter().enumerate() {
        let (name, case, world) = (format!("full, {}", case.name), Arc::new(case), world.clone());
        let stride = stride(FULL);
        failures += sweep::until_the_last(&name, offset % stride, stride, move |at| {
            let (world, case) = (world.clone(), case.clone());
            async move { fails_cleanly(&world, &case, at).await }
        })
        .await;
    }
    println!("{failures} failures");
}

/// One failure, at this operation. Was it beyond the last?
async fn fails_cleanly(world: &World, case: &Case, at: usize) -> bool {
    const ENOSPC: i32 = 28;
    const EDQUOT: i32 = 122;
    const EIO: i32 = 5;
    let run = Run::prepare(world, case).await;
    let errno = [ENOSPC, EDQUOT, EIO][at % 3];
    run.recorder.play(Script::FailOnce { at, errno });
    let submitted = run.machine.node.node().submit(run.operation, &case.change).await;
    let when = format!("{}, error {errno} at {at}", case.name);
    let error = match submitted {
        Ok(_) => run.machine.end_of(run.operation).await.error,
        Err(client::ClientError::Refused { body, .. }) => Some(*body),
        Err(other) => panic!("{when}: {other:?}"),
    };
    let over = run.recorder.tried() <= at;
    run.recorder.play(Script::Nothing);
    if let Some(error) = &error {
        let code = if errno == EIO { wire::Code::Internal } else { wire::Code::NoSpace };
        assert_eq!(error.code, code, "{when}: {error:#?}");
        let staged = names_in(&run.machine.root.join("staging"));
        // What gc was to remove may still be there.
        let expected = |name: &String| case.name == "gc" && name.starts_with("receive-");
        assert!(staged.iter().all(expected), "{when}: {staged:?}");
        // With room again, the same command is done.
        let again = run.machine.change(case.change.clone()).await;
        let fine = again.error.as_ref().is_none_or(|error| {
            // It had been done but for its verdict.
            matches!(error.code, wire::Code::NothingNew | wire::Code::NotFound)
        });
        assert!(fine, "{when}: {:#?}", again.error);
    }
    assert_whole(&run.machine, &when).await;
    make_removable(run.dir.path());
    assert!(!over || error.is_none(), "{when}");
    over
}

/// Copies a tree with its links and modes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

const KILLS: usize = 9;
const FULL: usize = 8;
const CUTS: usize = 97;
const SEED: u64 = 0x6665_7474_6c65;
