//! The journey of an application over a node, and what lies on the disk at each of its stations.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use model::lifecycle::InstanceState;
use wire::Code;
use wire::v1::{EnvelopeBody, InstallRequest, OperationResult};

use crate::machine::{
    Machine, create, delete, install, line_in, revert, start, stop, uninstall, update,
};
use crate::world::{TarEntry, World, envelope, tar};

const MODEL: &[TarEntry<'_>] = &[
    ("model/", b'5', "", b"", 0o700),
    ("model/weights", b'0', "", b"0.1 0.2\n", 0o600),
    ("model/run.sh", b'0', "", b"#!/bin/sh\n", 0o700),
    ("model/latest", b'2', "weights", b"", 0o777),
];

async fn publish_weather(world: &World, version: &str) -> EnvelopeBody {
    let lines = format!(
        "echo {version} > version; cat packages/model/model/latest packages/notes > seen; echo >> seen; exec sleep 1000"
    );
    let program = world.script(&format!("weather/{version}/program"), &lines);
    let mut envelope = envelope("weather", version, program);
    let model = world.object("weather/model.tar", &tar(MODEL));
    let notes = world.object(&format!("weather/{version}/notes.txt"), version.as_bytes());
    envelope.packages =
        [("model".parse().unwrap(), model), ("notes".parse().unwrap(), notes)].into();
    world.publish(&envelope).await;
    envelope
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_application_lies_on_the_disk_as_it_is_drawn() {
    let world = World::start().await;
    let published = publish_weather(&world, "1.0.0").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("weather").await;
    line_in(&machine.instance_dir(&id).join("root/seen")).await;

    let wire::v1::ProgramBody::Object(program) = &published.program else { panic!() };
    let [model, notes] = ["model", "notes"].map(|name| &published.packages[&name.parse().unwrap()]);
    let text = listing(&machine.root);
    let mut text = text.replace(&boot_id(), "<boot>");
    for (digest, name) in [(&program.digest, "P"), (&model.digest, "M"), (&notes.digest, "N")] {
        let hex = digest.hex();
        text = text.replace(&format!("/{}/{hex}", &hex[..2]), &format!("/{name}/{name}"));
    }
    let installation = "apps/app-e5e72beb4e3c6926d3dc9e3e2ef7833b/installation-1/";
    text = text.replace(installation, "./");
    for operation in crate::world::names_in(&machine.root.join("operations")) {
        text = text.replace(&operation, "<operation>");
    }
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| !shards(line));
    lines.sort_unstable();
    let mut expected: Vec<&str> = EXPECTED.lines().collect();
    expected.sort_unstable();
    assert_eq!(lines, expected, "\n{text}");

    let version = machine.installation_dir(&id.installation).join("1-1.0.0");
    let info = |name: &str| std::fs::read_to_string(version.join("pkg").join(name)).unwrap();
    assert_eq!(info("model.__info"), r#"{"Type":"application/x-tar","Encoding":""}"#);
    assert_eq!(info("notes.__info"), r#"{"Type":"text/plain","Encoding":""}"#);
    let same = |a: &Path, b: &Path| inode(a) == inode(b);
    assert!(same(&version.join("pkg/model"), &blob(&machine.root, &model.digest.hex())));
    assert!(same(&version.join("bin"), &blob(&machine.root, &program.digest.hex())));

    let tree = std::fs::read_dir(machine.root.join("store/trees").join(&model.digest.hex()[..2]));
    let tree = tree.unwrap().next().unwrap().unwrap().path();
    let manifest = std::fs::read_to_string(tree.join("manifest")).unwrap();
    assert_eq!(manifest.lines().count(), MODEL.len() + 1);
    assert!(manifest.lines().last().unwrap().starts_with(r#"{"entries":4,"#));
    let seen = std::fs::read_to_string(machine.instance_dir(&id).join("root/seen")).unwrap();
    assert_eq!(seen, "0.1 0.2\n1.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_updated_reverted_and_removed_and_its_numbers_never_come_back() {
    let world = World::start().await;
    publish_weather(&world, "1.0.0").await;
    let machine = Machine::start(&world).await;
    let first = machine.running("weather").await;
    let installation = first.installation.clone();
    assert_eq!(machine.refused(update(&installation)).await.code, Code::NothingNew);
    assert_eq!(machine.refused(revert(&installation)).await.code, Code::NothingNew);
    assert_eq!(machine.refused(update(&first)).await.code, Code::NothingNew);

    // The installation moves, its instance stays, and runs on.
    publish_weather(&world, "1.1.0").await;
    let before = machine.instance(&first).await;
    let moved = machine.done(update(&installation)).await;
    let OperationResult::Installation(moved) = moved else { panic!("{moved:?}") };
    assert_eq!(
        (moved.version.to_string(), moved.previous.map(|v| v.to_string())),
        ("1.1.0".into(), Some("1.0.0".into()))
    );
    assert_eq!(machine.instance(&first).await, before);

    // The instance moves: another process, in the same workspace, with the new packages.
    let mark = machine.instance_dir(&first).join("root/mark");
    std::fs::write(&mark, "the program's own").unwrap();
    machine.done(update(&first)).await;
    let after = machine.instance(&first).await;
    assert_eq!((after.state, after.version.to_string()), (InstanceState::Running, "1.1.0".into()));
    assert!(after.pid.is_some() && after.pid != before.pid);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "the program's own");
    let packages = machine.instance_dir(&first).join("root/packages");
    assert_eq!(std::fs::read(packages.join("notes")).unwrap(), b"1.1.0");

    // What both versions have in common is there once, for every instance.
    let OperationResult::Instance(second) = machine.done(create(&installation, false)).await else {
        panic!()
    };
    assert_eq!(second.state, InstanceState::NotRunning);
    let second = second.instance;
    assert_eq!(second.number, 2);
    let weights = |version: &str, id| {
        let packages = machine.instance_dir(id).join("packages").join(version);
        inode(&packages.join("model/model/weights"))
    };
    assert_eq!(weights("1-1.0.0", &first), weights("2-1.1.0", &first));
    assert_eq!(weights("2-1.1.0", &first), weights("2-1.1.0", &second));

    machine.done(revert(&first)).await;
    assert_eq!(machine.instance(&first).await.version.to_string(), "1.0.0");
    assert_eq!(std::fs::read(packages.join("notes")).unwrap(), b"1.0.0");
    machine.done(revert(&installation)).await;
    let body = machine.node.node().installation(&installation).await.unwrap();
    assert_eq!((body.version.to_string(), body.previous), ("1.0.0".into(), None));
    assert_eq!(machine.refused(revert(&first)).await.code, Code::NothingNew);

    // In use, then not; and no number is used again.
    assert_eq!(machine.refused(uninstall(&installation)).await.code, Code::InUse);
    machine.done(delete(&first, true)).await;
    machine.done(delete(&second, false)).await;
    let OperationResult::Instance(third) = machine.done(create(&installation, false)).await else {
        panic!()
    };
    assert_eq!(third.instance.number, 3);
    machine.done(delete(&third.instance, false)).await;
    machine.done(uninstall(&installation)).await;
    assert!(!machine.installation_dir(&installation).exists());
    let again = machine.install(install("weather")).await;
    assert_eq!((again.installation.number, again.version.to_string()), (2, "1.1.0".into()));
    machine.done(create(&again.installation, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_sees_the_environment_of_the_contract_and_nothing_else() {
    let world = World::start().await;
    let program = world.script(
        "env/program",
        "tr '\\0' '\\n' < /proc/$$/environ | sort; pwd; echo \"$@\"; sleep 1000",
    );
    let mut published = envelope("env", "1.0.0", program);
    published.args = vec!["--data".into(), "a b".into()];
    published.env =
        [("LANG".parse().unwrap(), "C".into()), ("B".parse().unwrap(), "envelope".into())].into();
    world.publish(&published).await;
    let machine = Machine::start(&world).await;
    let request = InstallRequest {
        env: [("B".parse().unwrap(), "override".into())].into(),
        args: vec!["--more".into()],
        start: true,
        ..install("env")
    };
    let id = machine.install(request).await.instance.unwrap();
    let dir = machine.instance_dir(&id);
    let stdout = dir.join("logs/stdout");
    crate::machine::eventually("it printed", || {
        std::fs::read_to_string(&stdout).unwrap_or_default().contains("--more")
    })
    .await;
    let dir = dir.display();
    let expected = format!(
        "B=override\nFETTLE_INSTALLATION=env/1\nFETTLE_INSTANCE=env/1/1\nFETTLE_LOGS={dir}/logs\n\
         FETTLE_PACKAGES={dir}/root/packages\nFETTLE_TITLE=env\nFETTLE_VERSION=1.0.0\n\
         FETTLE_WORKSPACE={dir}/root\nHOME={dir}/root\nLANG=C\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n{dir}/root\n--data a b --more\n"
    );
    // The id of the launch is another one each time.
    let printed = std::fs::read_to_string(stdout).unwrap();
    let (launch, printed): (Vec<&str>, Vec<&str>) =
        printed.split_inclusive('\n').partition(|line| line.starts_with("FETTLE_LAUNCH="));
    assert_eq!((launch.len(), printed.concat()), (1, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_or_stop_is_done_and_changes_nothing() {
    let world = World::start().await;
    world.publish_script("calm", "1.0.0", "exec sleep 1000").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("calm").await;
    let before = machine.instance(&id).await;
    machine.done(start(&id)).await;
    assert_eq!(machine.instance(&id).await, before);
    machine.done(stop(&id)).await;
    let before = machine.instance(&id).await;
    assert_eq!((before.state, before.pid), (InstanceState::NotRunning, None));
    machine.done(stop(&id)).await;
    assert_eq!(machine.instance(&id).await, before);
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn blob(root: &Path, hex: &str) -> std::path::PathBuf {
    root.join("store/blobs").join(&hex[..2]).join(hex)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// The directories between the store and what is in it: their names depend on the content.
fn shards(line: &str) -> bool {
    let path = line.split(' ').nth(1).unwrap_or("");
    ["store/blobs/", "store/trees/"].iter().any(|dir| {
        path.strip_prefix(dir).is_some_and(|rest| rest.len() == 3 && rest.ends_with('/'))
    })
}

/// Everything below a directory: mode and path; of links, where they lead.
fn listing(root: &Path) -> String {
    let mut text = String::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let found = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display();
            let mode = found.permissions().mode() & 0o7777;
            if found.is_symlink() {
                writeln!(text, "link {name} -> {}", std::fs::read_link(&path).unwrap().display())
                    .unwrap();
            } else if found.is_dir() {
                writeln!(text, "{mode:04o} {name}/").unwrap();
                waiting.push(path);
            } else {
                writeln!(text, "{mode:04o} {name}").unwrap();
            }
        }
    }
    text
}

/// The lines that begin with a dot lie in `apps/app-<hash of the title>/installation-1`.
const EXPECTED: &str = "\
0600 format
0600 redo
0600 lock
0700 staging/
0700 trash/
0700 run/
0700 run/<boot>/
0600 run/<boot>/launcher.sock
0600 run/<boot>/weather.1.1
0755 operations/
0600 operations/<operation>
0755 store/
0755 store/blobs/
0555 store/blobs/P/P
0444 store/blobs/M/M
0444 store/blobs/N/N
0755 store/trees/
0555 store/trees/M/M.tar.2/
0444 store/trees/M/M.tar.2/manifest
0555 store/trees/M/M.tar.2/files/
0555 store/trees/M/M.tar.2/files/model/
0444 store/trees/M/M.tar.2/files/model/weights
0555 store/trees/M/M.tar.2/files/model/run.sh
link store/trees/M/M.tar.2/files/model/latest -> weights
0755 apps/
0755 apps/app-e5e72beb4e3c6926d3dc9e3e2ef7833b/
0600 apps/app-e5e72beb4e3c6926d3dc9e3e2ef7833b/info
0755 ./
0600 ./origin
0600 ./config
0600 ./packages
0600 ./status
link ./current -> 1-1.0.0
0755 ./1-1.0.0/
0555 ./1-1.0.0/bin
0600 ./1-1.0.0/envelope
0755 ./1-1.0.0/pkg/
0444 ./1-1.0.0/pkg/model
0644 ./1-1.0.0/pkg/model.__info
0444 ./1-1.0.0/pkg/notes
0644 ./1-1.0.0/pkg/notes.__info
0755 ./1-1.0.0/packages/
link ./1-1.0.0/packages/model -> ../../../../../store/trees/M/M.tar.2/files
link ./1-1.0.0/packages/notes -> ../pkg/notes
0755 ./instances/
0755 ./instances/instance-1/
0600 ./instances/instance-1/info
0644 ./instances/instance-1/systemname
link ./instances/instance-1/version -> ../../1-1.0.0
0755 ./instances/instance-1/credentials/
0755 ./instances/instance-1/logs/
0600 ./instances/instance-1/logs/stderr
0600 ./instances/instance-1/logs/stdout
0755 ./instances/instance-1/packages/
0755 ./instances/instance-1/packages/1-1.0.0/
link ./instances/instance-1/packages/1-1.0.0/model -> ../../../../../../../store/trees/M/M.tar.2/files
link ./instances/instance-1/packages/1-1.0.0/notes -> ../../../../1-1.0.0/pkg/notes
0755 ./instances/instance-1/root/
link ./instances/instance-1/root/packages -> ../packages/1-1.0.0
0644 ./instances/instance-1/root/version
0644 ./instances/instance-1/root/seen
";
