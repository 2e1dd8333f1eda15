//! The node's store from the command line: what may go is listed, goes, and goes by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::archives::a_crate;
use crate::world::{World, as_every_account};

#[test]
fn what_nothing_needs_is_listed_and_removed_and_goes_by_itself_after_an_uninstall() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        world.publish("demo/kept", "1.0.0", &[]);
        world.publish("demo/gone", "1.0.0", &[("source", &archive)]);
        world.json(&["install", "demo/kept", "--start"]);
        world.json(&["install", "demo/gone"]);
        // The node has looked by itself: what is put there from now on is this test's to collect.
        eventually("the collection of the start is over", || {
            let log = fs::read_to_string(world.path("node.log")).unwrap();
            log.contains("there was nothing to collect")
        });
        assert!(world.lines(&["store", "gc", "--dry-run"]).is_empty());
        let nothing = world.run(&["store", "gc", "--dry-run"]);
        assert_eq!((nothing.stdout.as_str(), nothing.code), ("", Some(0)));
        assert_eq!(world.run(&["store", "gc"]).stdout, "nothing to collect\n");
        // What nobody refers to: a file under a name that is its digest.
        let litter = litter(world);
        let listed = world.lines(&["store", "gc", "--dry-run"]);
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0]["kind"], "blob");
        assert_eq!(litter.file_name().unwrap().to_str(), listed[0]["name"].as_str());
        assert!(litter.exists());
        let table = world.run(&["store", "gc", "--dry-run"]).stdout;
        assert!(table.starts_with("KIND  SIZE") && table.contains("blob"), "{table}");
        let collected = world.json(&["store", "gc"]);
        assert_eq!(collected["blobs"], 1);
        assert_eq!(collected["bytes"], listed[0]["bytes"]);
        assert_eq!((&collected["trees"], &collected["partial"]), (&0.into(), &0.into()));
        assert!(!litter.exists());
        // Trees are read-only directories: also an ordinary account removes them.
        let trees = world.root().join("store/trees");
        assert_eq!(entries(&trees), 1);
        world.json(&["uninstall", "gone/1"]);
        eventually("its tree is gone", || entries(&trees) == 0);
        assert_eq!(world.json(&["status", "kept/1/1"])["state"], "running");
        let operations = world.lines(&["operation", "list"]);
        assert!(operations.iter().any(|operation| operation["kind"] == "store-gc"));
    });
}

#[test]
fn damage_is_named_and_mended_while_the_program_runs_on() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        world.publish("demo/hurt", "1.0.0", &[("source", &archive)]);
        world.json(&["install", "demo/hurt", "--start"]);
        let pid = world.json(&["status", "hurt/1/1"])["pid"].clone();
        let whole = world.json(&["store", "verify"]);
        assert_eq!(
            (&whole["damaged"], &whole["blobs"], &whole["trees"]),
            (&0.into(), &2.into(), &1.into())
        );
        let files = files_in(&world.root().join("store/trees"));
        let manifest = files.iter().find(|path| path.ends_with("Cargo.toml")).unwrap();
        overwrite(manifest, b"[damaged]\n");
        let blob = files_in(&world.root().join("store/blobs"));
        let size = fs::metadata(&archive).unwrap().len();
        let blob = blob.iter().find(|path| fs::metadata(path).unwrap().len() == size).unwrap();
        let good = fs::read(blob).unwrap();
        overwrite(blob, b"not the archive");
        let found = world.run(&["--json", "store", "verify"]);
        assert_eq!(found.code, Some(1), "{found}");
        let body: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(body["damaged"], 2, "{body}");
        let said = world.run(&["store", "verify"]);
        assert_eq!(said.code, Some(1));
        assert!(said.stdout.contains("Cargo.toml: it has 10 bytes"), "{said}");
        assert!(said.stdout.contains("fettle store repair"), "{said}");
        let mended = world.json(&["store", "repair"]);
        assert_eq!((&mended["damaged"], &mended["blobs"]), (&0.into(), &1.into()), "{mended}");
        assert_eq!(fs::read(blob).unwrap(), good);
        assert_ne!(fs::read(manifest).unwrap(), b"[damaged]\n");
        assert_eq!(world.json(&["store", "verify"])["damaged"], 0);
        let status = world.json(&["status", "hurt/1/1"]);
        assert_eq!((&status["pid"], &status["state"]), (&pid, &"running".into()));
        // The server has lost it: that is said, and the rest is mended.
        overwrite(blob, b"not the archive");
        overwrite(manifest, b"[damaged]\n");
        let program = files_in(&world.root().join("store/blobs"));
        let program = program.iter().find(|path| *path != blob).unwrap();
        let mode = fs::metadata(program).unwrap().permissions();
        let script = fs::read(program).unwrap();
        overwrite(program, b"#!/bin/false\n");
        for path in files_in(&world.path("server/blobs")) {
            if path.file_name() == blob.file_name() {
                fs::remove_file(path).unwrap();
            }
        }
        let some = world.run(&["--json", "store", "repair"]);
        assert_eq!(some.code, Some(3), "{some}");
        assert_eq!(fs::read(program).unwrap(), script);
        assert_eq!(fs::metadata(program).unwrap().permissions(), mode);
        let none = world.run(&["store", "repair"]);
        assert_eq!(none.code, Some(1), "{none}");
        assert!(none.stdout.contains("cannot be fetched again"), "{none}");
    });
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_in(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, before).unwrap();
}

fn litter(world: &World) -> PathBuf {
    let hex = model::Digest::of(b"litter").hex();
    let path = world.write(&format!("node/store/blobs/{}/{hex}", &hex[..2]), "litter");
    assert!(path.starts_with(world.root()));
    path
}

/// Entries of all shards.
fn entries(dir: &Path) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count())
        .sum()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it never was so: {what}");
}
