//! The store is looked through and mended, while instances go on.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use client::Change;
use model::lifecycle::InstanceState;
use wire::v1::{DamageBody, InstallRequest, OperationResult, PinBody, RepairedBody, VerifiedBody};

use crate::machine::{Machine, install, repair, uninstall, verify};
use crate::world::{World, envelope, names_in, noise, tar};

/// Publishes `demo/<title>`: a program, a file, and an archive with everything that a tree can have.
pub async fn publish(world: &World, title: &str, version: &str) -> (PinBody, PinBody) {
    let content = noise(20_000, 5);
    let bytes = tar(&[
        ("d/", b'5', "", b"", 0o755),
        ("d/run", b'0', "", b"#!/bin/sh\n", 0o755),
        ("d/data", b'0', "", &content, 0o644),
        ("d/link", b'2', "run", b"", 0o777),
        ("again", b'1', "d/data", b"", 0o644),
        ("implied/deep/file", b'0', "", b"deep", 0o644),
        ("twice", b'0', "", b"first", 0o644),
        ("twice", b'0', "", b"second", 0o644),
        ("empty/", b'5', "", b"", 0o755),
    ]);
    let tree = world.object(&format!("{title}/{version}/tree.tar"), &bytes);
    let notes = world.object(&format!("{title}/{version}/notes.txt"), version.as_bytes());
    let program = world.script(&format!("{title}/{version}/program"), "exec sleep 1000");
    let mut published = envelope(title, version, program);
    published.packages =
        [("tree".parse().unwrap(), tree.clone()), ("notes".parse().unwrap(), notes.clone())].into();
    world.publish(&published).await;
    (tree, notes)
}

pub fn blob(root: &Path, pin: &PinBody) -> PathBuf {
    let hex = pin.digest.hex();
    root.join("store/blobs").join(&hex[..2]).join(hex)
}

/// The tree that was made of an object.
pub fn tree(root: &Path, pin: &PinBody) -> PathBuf {
    let hex = pin.digest.hex();
    let shard = root.join("store/trees").join(&hex[..2]);
    let name = names_in(&shard).into_iter().find(|name| name.starts_with(&hex)).unwrap();
    shard.join(name)
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes what is in a closed directory, and closes it again.
fn within(dir: &Path, change: impl FnOnce(&Path)) {
    chmod(dir, 0o755);
    change(dir);
    chmod(dir, 0o555);
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    chmod(path, 0o644);
    fs::write(path, bytes).unwrap();
    chmod(path, mode);
}

pub async fn verified(machine: &Machine) -> VerifiedBody {
    match machine.done(verify()).await {
        OperationResult::Verified(body) => body,
        other => panic!("{other:?}"),
    }
}

pub async fn repaired(machine: &Machine) -> RepairedBody {
    match machine.done(repair()).await {
        OperationResult::Repaired(body) => body,
        other => panic!("{other:?}"),
    }
}

fn paths(damages: &[DamageBody]) -> Vec<String> {
    let mut paths: Vec<String> =
        damages.iter().map(|damage| damage.path.clone().unwrap_or_else(|| "-".into())).collect();
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_whole_is_read_to_its_end_and_left_alone() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.running("a").await;
    let operation = machine.change(verify()).await;
    let Some(OperationResult::Verified(body)) = operation.result else { panic!("{operation:?}") };
    assert_eq!((body.blobs, body.trees, body.damaged), (3, 1, 0), "{body:#?}");
    assert_eq!(operation.bytes_total, Some(operation.bytes_done));
    assert!(body.bytes > 20_000 && body.damages.is_empty());
    let nothing =
        RepairedBody { blobs: 0, names: 0, trees: 0, entries: 0, damaged: 0, damages: vec![] };
    assert_eq!(repaired(&machine).await, nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_names_that_came_again_are_no_damage() {
    let world = World::start().await;
    let archive = tar(&[
        ("a", b'0', "", b"what a was", 0o644),
        ("b", b'1', "a", b"", 0o644),
        ("c", b'1', "b", b"", 0o644),
        ("b", b'0', "", b"what b is", 0o644),
        ("s", b'2', "a", b"", 0o777),
        ("t", b'1', "s", b"", 0o777),
        ("s", b'2', "b", b"", 0o777),
    ]);
    let pin = world.object("odd/data.tar", &archive);
    crate::failures::publish_with(&world, "odd", pin.clone()).await;
    let machine = Machine::start(&world).await;
    machine.install(install("odd")).await;
    let files = tree(&machine.root, &pin).join("files");
    assert_eq!(fs::read(files.join("c")).unwrap(), b"what a was");
    let found = verified(&machine).await;
    assert_eq!(found.damaged, 0, "{found:#?}");
}

/// A file system bounds how many names a file has, and beyond it a name gets a copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_name_may_be_a_copy_of_the_same_content_and_mode() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "copied", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.running("copied").await;
    let files = tree(&machine.root, &pin).join("files");
    let (original, again) = (files.join("d/data"), files.join("again"));
    within(&files, |_| {
        fs::remove_file(&again).unwrap();
        fs::copy(&original, &again).unwrap();
    });
    assert_eq!(verified(&machine).await.damaged, 0);
    chmod(&again, 0o644);
    assert_eq!(verified(&machine).await.damaged, 1);
    fs::write(&again, noise(20_000, 6)).unwrap();
    chmod(&again, 0o444);
    assert_eq!(verified(&machine).await.damaged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_to_a_tree_is_named_and_mended_in_place() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("a").await;
    let before = machine.instance(&id).await;
    let tree = tree(&machine.root, &pin);
    let files = tree.join("files");
    let ino = |path: &str| fs::symlink_metadata(files.join(path)).unwrap().ino();
    let (right, twice) = (ino("d/run"), ino("twice"));
    let mut flipped = fs::read(files.join("d/data")).unwrap();
    flipped[10_000] ^= 1;
    overwrite(&files.join("d/data"), &flipped);
    chmod(&files.join("d/run"), 0o511);
    within(&files.join("d"), |dir| {
        fs::remove_file(dir.join("link")).unwrap();
        symlink("data", dir.join("link")).unwrap();
        fs::write(dir.join("extra"), "x").unwrap();
    });
    within(&files.join("implied/deep"), |dir| {
        fs::remove_file(dir.join("file")).unwrap();
        fs::create_dir(dir.join("file")).unwrap();
    });
    within(&files, |dir| {
        fs::remove_dir(dir.join("empty")).unwrap();
        fs::write(dir.join("empty"), "now a file").unwrap();
    });
    chmod(&files.join("implied"), 0o755);
    let found = verified(&machine).await;
    assert_eq!(
        paths(&found.damages),
        ["d/data", "d/extra", "d/link", "d/run", "empty", "implied", "implied/deep/file"],
        "{found:#?}"
    );
    assert_eq!(found.damaged, 7);
    assert!(found.damages.iter().all(|damage| damage.name.starts_with(&pin.digest.hex())));
    let mended = repaired(&machine).await;
    assert_eq!((mended.damaged, mended.blobs, mended.trees), (0, 0, 1), "{mended:#?}");
    // One more than was named: the other name of the damaged file.
    assert_eq!(mended.entries, 8);
    assert_eq!(verified(&machine).await.damaged, 0);
    assert_eq!((ino("d/run"), ino("twice")), (right, twice));
    assert_eq!(ino("again"), ino("d/data"));
    assert_eq!(names_in(&machine.root.join("trash")), [""; 0]);
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
    let after = machine.instance(&id).await;
    assert_eq!((after.pid, after.state), (before.pid, InstanceState::Running));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_damaged_or_missing_is_made_again() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    let tree = tree(&machine.root, &pin);
    let good = fs::read(tree.join("manifest")).unwrap();
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    overwrite(&tree.join("manifest"), &flipped);
    let found = verified(&machine).await;
    assert_eq!(paths(&found.damages), ["-"]);
    assert!(found.damages[0].what.contains("manifest"), "{found:#?}");
    assert_eq!(repaired(&machine).await.entries, 1);
    assert_eq!(fs::read(tree.join("manifest")).unwrap(), good);
    within(&tree, |tree| fs::remove_file(tree.join("manifest")).unwrap());
    assert_eq!(verified(&machine).await.damaged, 1);
    assert_eq!(repaired(&machine).await.damaged, 0);
    assert_eq!(fs::read(tree.join("manifest")).unwrap(), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_fetched_again_and_every_version_gets_it() {
    let world = World::start().await;
    let (pin, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("a").await;
    let before = machine.instance(&id).await;
    let second = machine.install(install("a")).await.installation;
    let version = |id| machine.installation_dir(id).join("1-1.0.0");
    let program = fs::canonicalize(version(&second).join("bin")).unwrap();
    let stat = |path: &Path| fs::metadata(path).unwrap();
    overwrite(&blob(&machine.root, &notes), b"something");
    overwrite(&program, b"#!/bin/sh\nexit 1\n");
    fs::remove_file(blob(&machine.root, &pin)).unwrap();
    let found = verified(&machine).await;
    assert!(found.damages.iter().all(|damage| damage.kind.as_str() == "blob"), "{found:#?}");
    assert_eq!(found.damages.iter().filter(|damage| damage.path.is_none()).count(), 3);
    let mended = repaired(&machine).await;
    // What was only gone from the store is still there under its names in versions.
    assert_eq!((mended.damaged, mended.blobs, mended.names), (0, 2, 5), "{mended:#?}");
    assert_eq!(verified(&machine).await.damaged, 0);
    for installation in [&id.installation, &second] {
        let pkg = version(installation).join("pkg/notes");
        assert_eq!(fs::read(&pkg).unwrap(), b"1.0.0");
        assert_eq!(stat(&pkg).ino(), stat(&blob(&machine.root, &notes)).ino());
        assert_eq!(stat(&version(installation).join("bin")).permissions().mode() & 0o777, 0o555);
    }
    let after = machine.instance(&id).await;
    assert_eq!((after.pid, after.state), (before.pid, InstanceState::Running));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_is_gone_is_unpacked_again_also_when_its_blob_is_damaged_too() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    let path = tree(&machine.root, &pin);
    crate::world::make_removable(&path);
    fs::remove_dir_all(&path).unwrap();
    overwrite(&blob(&machine.root, &pin), b"");
    let found = verified(&machine).await;
    assert_eq!(found.trees, 1);
    assert!(found.damages.iter().any(|damage| damage.kind.as_str() == "tree"), "{found:#?}");
    assert_eq!(repaired(&machine).await.damaged, 0);
    assert_eq!(verified(&machine).await.damaged, 0);
    assert!(path.join("files/d/run").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_repository_has_any_more_is_named_and_the_rest_is_mended() {
    let world = World::start().await;
    let (lost, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    overwrite(&blob(&machine.root, &lost), b"lost");
    overwrite(&blob(&machine.root, &notes), b"wrong");
    let path = tree(&machine.root, &lost).join("files/twice");
    overwrite(&path, b"third");
    fs::remove_file(world.blob(&lost.digest)).unwrap();
    let mended = repaired(&machine).await;
    assert_eq!((mended.blobs, mended.trees), (1, 0), "{mended:#?}");
    let hex = lost.digest.hex();
    assert!(mended.damaged >= 2 && mended.damages.iter().all(|left| left.name.starts_with(&hex)));
    assert!(mended.damages[0].what.contains("cannot be fetched again"), "{mended:#?}");
    assert_eq!(fs::read(blob(&machine.root, &notes)).unwrap(), b"1.0.0");
    // What nothing needs is not fetched, and goes.
    machine.done(uninstall(&"a/1")).await;
    crate::store::collect(&machine).await;
    assert_eq!(verified(&machine).await.damaged, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_helps_out() {
    let (first, second) = (World::start().await, World::start().await);
    let (pin, _) = publish(&first, "a", "1.0.0").await;
    publish(&second, "a", "1.0.0").await;
    let machine = Machine::start(&first).await;
    machine.install(install("a")).await;
    let other = InstallRequest { server: Some(second.address.clone()), ..install("a") };
    machine.install(other).await;
    fs::remove_file(first.blob(&pin.digest)).unwrap();
    overwrite(&blob(&machine.root, &pin), b"wrong");
    assert_eq!(repaired(&machine).await.damaged, 0);
    let damaged = machine.change(Change::StoreVerify(wire::v1::StoreRequest {})).await;
    assert!(damaged.error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intact_name_of_a_blob_is_better_than_fetching_it() {
    let world = World::start().await;
    let (_, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let ids = [machine.install(install("a")).await, machine.install(install("a")).await];
    let names =
        ids.map(|body| machine.installation_dir(&body.installation).join("1-1.0.0/pkg/notes"));
    fs::remove_file(world.blob(&notes.digest)).unwrap();
    let store = blob(&machine.root, &notes);
    let inos = || [&store, &names[0], &names[1]].map(|path| fs::metadata(path).unwrap().ino());
    // The blob is torn away from its names, and wrong.
    fs::remove_file(&store).unwrap();
    fs::write(&store, "wrong").unwrap();
    chmod(&store, 0o444);
    assert_eq!(paths(&verified(&machine).await.damages), ["-"]);
    let mended = repaired(&machine).await;
    assert_eq!((mended.damaged, mended.blobs, mended.names), (0, 0, 1), "{mended:#?}");
    assert_eq!(fs::read(&store).unwrap(), b"1.0.0");
    assert!(inos().iter().all(|ino| *ino == inos()[0]));
    // A name that is another file is no damage if its bytes and mode are right, and joined to the blob.
    for mode in [0o444, 0o644] {
        fs::remove_file(&names[1]).unwrap();
        fs::write(&names[1], b"1.0.0").unwrap();
        chmod(&names[1], mode);
        let found = verified(&machine).await;
        assert_eq!(found.damaged, u64::from(mode != 0o444), "{found:#?}");
        assert_eq!(repaired(&machine).await.names, 1);
        assert!(inos().iter().all(|ino| *ino == inos()[0]));
        assert_eq!(repaired(&machine).await.names, 0);
    }
    assert_eq!(verified(&machine).await.damaged, 0);
}

/// ext4 gives a file 65,000 names. On a file system that gives more there is nothing to be seen.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_blob_has_all_names_that_it_may_have_a_version_gets_a_copy() {
    let world = World::start().await;
    let (_, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    let (store, many) = (blob(&machine.root, &notes), tempfile::tempdir().unwrap());
    let link = |number: u32| fs::hard_link(&store, many.path().join(number.to_string()));
    if (0..65_100).try_for_each(link).is_ok() {
        return;
    }
    let id = machine.install(install("a")).await.installation;
    let name = machine.installation_dir(&id).join("1-1.0.0/pkg/notes");
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let first = ino(&name);
    assert_ne!(first, ino(&store));
    let mended = async |count: u64| {
        assert_eq!(verified(&machine).await.damaged, count);
        let mended = repaired(&machine).await;
        assert_eq!((mended.damaged, mended.blobs, mended.names), (0, 0, count), "{mended:#?}");
        assert_eq!(fs::read(&name).unwrap(), b"1.0.0");
    };
    mended(0).await;
    assert_eq!(ino(&name), first);
    overwrite(&name, b"wrong");
    mended(1).await;
    assert_ne!(ino(&name), ino(&store));
    mended(0).await;
    // With fewer names it is one of them again, and that was no damage.
    drop(many);
    assert_eq!(verified(&machine).await.damaged, 0);
    assert_eq!(repaired(&machine).await.names, 1);
    assert_eq!(ino(&name), ino(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modes_of_blobs_and_programs_are_looked_at_and_mended() {
    let world = World::start().await;
    let (_, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let id = machine.install(install("a")).await.installation;
    let program = machine.installation_dir(&id).join("1-1.0.0/bin");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    chmod(&blob(&machine.root, &notes), 0o644);
    chmod(&program, 0o444);
    let found = verified(&machine).await;
    let mut whats: Vec<&str> = found.damages.iter().map(|damage| damage.what.as_str()).collect();
    whats.sort_unstable();
    let expected = ["its mode is 0444, and 0555 is right", "its mode is 0644, and 0444 is right"];
    assert_eq!(whats, expected);
    let mended = repaired(&machine).await;
    assert_eq!((mended.damaged, mended.blobs), (0, 0), "{mended:#?}");
    assert_eq!((mode(&blob(&machine.root, &notes)), mode(&program)), (0o444, 0o555));
    assert_eq!(verified(&machine).await.damaged, 0);
}

/// The same bytes are a file for one package, and an archive with figures for another: the pin of the file
/// says nothing about how they are unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_mended_by_the_pin_that_it_was_made_by() {
    let world = World::start().await;
    let bytes = tar(&[("data", b'0', "", &noise(50_000, 3), 0o644)]);
    let plain = world.object("a/as-file.bin", &bytes);
    let measured = wire::v1::MeasuredBody {
        entries: 1,
        unpacked_bytes: 50_000,
        largest_file: 50_000,
        inodes: 1,
        deepest_path: 4,
        disk_bytes: 53_248,
        window: 0,
    };
    let archive = PinBody { measured: Some(measured), ..world.object("a/x.tar", &bytes) };
    let mut published = envelope("a", "1.0.0", world.script("a/program", "exec sleep 1000"));
    published.packages =
        [("a".parse().unwrap(), plain), ("b".parse().unwrap(), archive.clone())].into();
    world.publish(&published).await;
    let mut machine = Machine::off(&world.dir.path().join("node"), &world.address);
    machine.config.unmeasured = archive::Limits { unpacked_bytes: 1, ..archive::Limits::default() };
    machine.turn_on().await;
    machine.install(install("a")).await;
    overwrite(&tree(&machine.root, &archive).join("files/data"), b"wrong");
    let mended = repaired(&machine).await;
    assert_eq!((mended.damaged, mended.trees), (0, 1), "{mended:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_very_many_damages_the_first_are_named_and_all_are_counted() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    within(&tree(&machine.root, &pin).join("files/d"), |dir| {
        (0..1234).for_each(|n| fs::write(dir.join(format!("extra-{n}")), "x").unwrap());
    });
    let found = verified(&machine).await;
    assert_eq!((found.damaged, found.damages.len()), (1234, 1000));
    assert_eq!(repaired(&machine).await.damaged, 0);
}
