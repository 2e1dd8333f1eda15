//! Writable packages as their users see them, and what their copies take on real file systems.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mounted::Mounted;
use crate::world::{Account, World, as_every_account, is_root};

/// Adds a line to a file in its package at every start.
const PROGRAM: &str = "#!/bin/sh
echo \"started as $FETTLE_VERSION\" >>packages/model/journal
echo ready >&2
trap 'exit 0' TERM
while :; do sleep 0.1; done
";

/// Publishes a version of `demo/w` whose package `model` is writable.
fn publish(world: &World, version: &str, model: &Path) {
    let program = world.write("program.sh", PROGRAM);
    let text = format!(
        "title = \"w\"\nname = \"demo/w\"\nversion = {version:?}\n[program]\nany = {:?}\n\
         [packages]\nmodel = {{ path = {:?}, writable = true }}\n",
        program.to_str().unwrap(),
        model.to_str().unwrap(),
    );
    let manifest = world.write(&format!("w-{version}.toml"), text);
    world.json(&["app", "publish", manifest.to_str().unwrap()]);
}

/// A directory with the file `weights`.
fn model(world: &World, version: &str) -> PathBuf {
    world.write(&format!("model-{version}/weights"), version);
    world.path(&format!("model-{version}"))
}

fn instance_dir(world: &World) -> PathBuf {
    let app = fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap();
    app.path().join("installation-1/instances/instance-1")
}

/// Waits until the programs of the instance have written so many lines, which must be these.
fn journal(world: &World, lines: &[&str]) {
    let path = instance_dir(world).join("root/packages/model/journal");
    let mut text = String::new();
    for _ in 0..600 {
        text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().count() >= lines.len() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

fn weights(world: &World) -> String {
    fs::read_to_string(instance_dir(world).join("root/packages/model/weights")).unwrap()
}

/// The notes of the update that came last.
fn notes(world: &World) -> Vec<String> {
    let operations = world.lines(&["operation", "list"]);
    let update = operations.iter().find(|body| body["kind"] == "update").unwrap();
    let notes = update["notes"].as_array().unwrap().iter();
    notes.map(|note| note.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_program_changes_its_own_copy_and_keeps_it_until_it_asks_for_another() {
    as_every_account(|world| {
        world.with_node();
        publish(world, "1.0.0", &model(world, "1.0.0"));
        let shown = world.run(&["app", "show", "demo/w"]).stdout;
        assert!(shown.contains(", writable)"), "{shown}");
        assert_eq!(world.json(&["app", "show", "demo/w"])["packages"]["model"]["writable"], true);
        world.json(&["install", "demo/w", "--start"]);
        journal(world, &["started as 1.0.0"]);
        publish(world, "1.1.0", &model(world, "1.1.0"));
        world.json(&["update", "w/1"]);
        world.json(&["update", "w/1/1"]);
        journal(world, &["started as 1.0.0", "started as 1.1.0"]);
        assert_eq!(weights(world), "1.0.0");
        assert_eq!(
            notes(world),
            ["package model: kept the instance's own copy (from 1.0.0); \
              --fresh-packages begins anew from 1.1.0's"]
        );
        publish(world, "1.2.0", &model(world, "1.2.0"));
        world.json(&["update", "w/1"]);
        world.json(&["update", "w/1/1", "--fresh-packages"]);
        journal(world, &["started as 1.2.0"]);
        assert_eq!((weights(world).as_str(), notes(world).len()), ("1.2.0", 0));
        world.json(&["revert", "w/1/1"]);
        journal(world, &["started as 1.0.0", "started as 1.1.0", "started as 1.1.0"]);
        let usage = world.run(&["update", "w/1", "--fresh-packages"]);
        assert_eq!(usage.code, Some(2), "{usage}");
        world.json(&["delete", "w/1/1", "--stop"]);
    });
}

/// Bytes that no file system can make smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

#[test]
fn a_copy_shares_its_blocks_where_the_file_system_can_and_takes_its_own_where_it_cannot() {
    if !is_root() {
        eprintln!("skipped: only root can mount file systems to try it on");
        return;
    }
    const SIZE: u64 = 16 << 20;
    for (mkfs, shares) in [
        (["mkfs.xfs", "-q", "-m", "reflink=1"].as_slice(), true),
        (&["mkfs.btrfs", "-q"], true),
        (&["mkfs.ext4", "-q"], false),
    ] {
        let mut world = World::new(Account::Own);
        let Some(mounted) = Mounted::over(&world, mkfs) else { continue };
        world.with_node();
        world.write("model/weights", noise(usize::try_from(SIZE).unwrap()));
        publish(&world, "1.0.0", &world.path("model"));
        world.json(&["install", "demo/w"]);
        let before = mounted.free();
        world.json(&["instance", "create", "w/1"]);
        let taken = before.saturating_sub(mounted.free());
        eprintln!("{}: a copy of {SIZE} bytes takes {taken}", mkfs[0]);
        assert_eq!(taken < SIZE / 4, shares, "{mkfs:?}: a copy of {SIZE} bytes takes {taken}");
        let own = instance_dir(&world).join("root/packages/model/weights");
        let map = Command::new("filefrag").arg("-v").arg(&own).output().unwrap();
        let map = String::from_utf8(map.stdout).unwrap();
        assert_eq!(map.contains("shared"), shares, "{mkfs:?}: {map}");
        // Shared or not, a change of one is no change of the other.
        let file = fs::File::options().write(true).open(&own).unwrap();
        file.write_all_at(b"changed", 4096).unwrap();
        world.json(&["instance", "create", "w/1"]);
        let other = instance_dir(&world).join("../instance-2/root/packages/model/weights");
        let (own, other) = (fs::read(own).unwrap(), fs::read(other).unwrap());
        assert_eq!(&own[4096..4103], b"changed");
        assert!(other == noise(usize::try_from(SIZE).unwrap()), "{mkfs:?}: the store was changed");
    }
}
