//! The node's store from the command line: what may go is listed, goes, and goes by itself.

use std::fs;
use std::path::Path;
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

fn litter(world: &World) -> std::path::PathBuf {
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
