//! Writable packages: every instance has its own copy, and keeps it until it asks for another.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use client::Change;
use model::{Digest, InstanceId};
use wire::Code;
use wire::v1::{InstallRequest, OperationResult, PinBody, RevertRequest, UpdateRequest};

use crate::machine::{Machine, create, delete, fresh, install, revert, update};
use crate::world::{World, envelope, names_in, noise, tar};

/// What version `version` of the package `model` has in its file.
fn content(version: &str) -> String {
    format!("weights of {version}")
}

fn model(world: &World, version: &str) -> PinBody {
    let archive = tar(&[
        ("m/", b'5', "", b"", 0o755),
        ("m/weights", b'0', "", content(version).as_bytes(), 0o644),
        ("m/again", b'1', "m/weights", b"", 0o644),
        ("m/latest", b'2', "weights", b"", 0o777),
        ("m/run", b'0', "", b"#!/bin/sh\n", 0o755),
    ]);
    world.object(&format!("w/{version}/model.tar"), &archive)
}

/// Publishes a version of `demo/w` with the package `model`, and the file `notes`, writable or not.
async fn publish(world: &World, version: &str, writable: bool) {
    publish_with(world, version, model(world, version), writable).await;
}

async fn publish_with(world: &World, version: &str, model: PinBody, writable: bool) {
    let program = world.script(&format!("w/{version}/program"), &format!("sleep 1000 # {version}"));
    let mut published = envelope("w", version, program);
    let notes = world.object("w/notes.txt", b"read me");
    published.packages = [
        ("model".parse().unwrap(), PinBody { writable, ..model }),
        ("notes".parse().unwrap(), PinBody { writable, ..notes }),
    ]
    .into();
    world.publish(&published).await;
}

async fn instance(machine: &Machine) -> InstanceId {
    let installed = machine.install(install("w")).await;
    match machine.done(create(&installed.installation, false)).await {
        OperationResult::Instance(body) => body.instance,
        other => panic!("{other:?}"),
    }
}

fn weights(machine: &Machine, id: &InstanceId) -> PathBuf {
    machine.instance_dir(id).join("root/packages/model/m/weights")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn copies(machine: &Machine, id: &InstanceId) -> Vec<String> {
    names_in(&machine.instance_dir(id).join("writable"))
}

/// Digest, mode, number of names and time of every file in the store.
fn store(machine: &Machine) -> BTreeMap<PathBuf, (String, u32, u64, i64)> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![machine.root.join("store")];
    while let Some(path) = waiting.pop() {
        let found = std::fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        }
        let bytes = if found.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let links = if found.is_file() { found.nlink() } else { 0 };
        files.insert(path, (Digest::of(&bytes).hex(), found.mode(), links, found.mtime()));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_do_not_see_each_others_changes_and_the_store_has_none_of_them() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let one = instance(&machine).await;
    let before = store(&machine);
    let OperationResult::Instance(other) = machine.done(create(&one.installation, false)).await
    else {
        panic!()
    };
    let other = other.instance;
    assert_eq!(copies(&machine, &one), ["model.1", "notes.1"]);
    let packages = machine.instance_dir(&one).join("root/packages");
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&packages.join("model/m")), 0o755);
    assert_eq!(mode(&packages.join("model/m/weights")), 0o644);
    assert_eq!(mode(&packages.join("model/m/run")), 0o755);
    assert_eq!(std::fs::metadata(packages.join("notes")).unwrap().mode() & 0o7777, 0o644);

    // A file, through its other name, a new one, one that is gone, and the package that is a file.
    std::fs::write(packages.join("model/m/again"), "changed").unwrap();
    std::fs::write(packages.join("model/m/new"), "new").unwrap();
    std::fs::remove_file(packages.join("model/m/run")).unwrap();
    std::fs::write(packages.join("notes"), "written").unwrap();
    assert_eq!(read(&weights(&machine, &one)), "changed", "hard links stay hard links");
    assert_eq!(read(&packages.join("model/m/latest")), "changed");

    let others = machine.instance_dir(&other).join("root/packages");
    assert_eq!(read(&weights(&machine, &other)), content("1.0.0"));
    assert_eq!(names_in(&others.join("model/m")), ["again", "latest", "run", "weights"]);
    assert_eq!(read(&others.join("notes")), "read me");
    assert_eq!(store(&machine), before, "the store is as it was");

    machine.done(delete(&one, false)).await;
    assert!(!machine.instance_dir(&one).exists());
    assert_eq!(read(&weights(&machine, &other)), content("1.0.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_a_revert_leave_what_the_instance_changed_alone() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    std::fs::write(weights(&machine, &id), "trained").unwrap();
    publish(&world, "1.1.0", true).await;
    machine.done(update(&id.installation)).await;
    let moved = machine.change(update(&id)).await;
    assert_eq!(
        moved.notes,
        [
            "package model: kept the instance's own copy (from 1.0.0); --fresh-packages begins anew from 1.1.0's"
        ]
    );
    assert_eq!(machine.instance(&id).await.version.to_string(), "1.1.0");
    assert_eq!(read(&weights(&machine, &id)), "trained");
    std::fs::write(weights(&machine, &id), "trained more").unwrap();
    let back = machine.change(revert(&id)).await;
    assert_eq!((back.error, back.notes), (None, Vec::new()));
    assert_eq!(read(&weights(&machine, &id)), "trained more", "both lead to the same copy");
    assert_eq!(copies(&machine, &id), ["model.1", "notes.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_in_another_version_is_kept_without_a_word() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    publish_with(&world, "1.1.0", model(&world, "1.0.0"), true).await;
    machine.done(update(&id.installation)).await;
    assert_eq!(machine.change(update(&id)).await.notes, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_a_version_begins_anew_and_the_one_before_stays_as_it_was() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    std::fs::write(weights(&machine, &id), "trained").unwrap();
    publish(&world, "1.1.0", true).await;
    machine.done(update(&id.installation)).await;
    let moved = machine.change(fresh(update(&id))).await;
    assert_eq!((moved.error, moved.notes), (None, Vec::new()));
    assert_eq!(read(&weights(&machine, &id)), content("1.1.0"));
    std::fs::write(weights(&machine, &id), "trained anew").unwrap();
    machine.done(revert(&id)).await;
    assert_eq!(read(&weights(&machine, &id)), "trained");
    // The version is known to the instance: it finds there what it left there.
    machine.done(update(&id)).await;
    assert_eq!(read(&weights(&machine, &id)), "trained anew");
    assert_eq!(copies(&machine, &id), ["model.1", "model.2", "notes.1", "notes.2"]);
    // Back, but from the beginning: what 1.0.0 had before is of no use to anybody any more.
    machine.done(fresh(revert(&id))).await;
    assert_eq!(read(&weights(&machine, &id)), content("1.0.0"));
    assert_eq!(copies(&machine, &id), ["model.1-2", "model.2", "notes.1-2", "notes.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_may_become_writable_and_read_only_again() {
    let world = World::start().await;
    publish(&world, "1.0.0", false).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    assert_eq!(copies(&machine, &id), [""; 0]);
    publish(&world, "1.1.0", true).await;
    machine.done(update(&id.installation)).await;
    machine.done(update(&id)).await;
    assert_eq!(copies(&machine, &id), ["model.2", "notes.2"]);
    assert_eq!(read(&weights(&machine, &id)), content("1.1.0"));
    std::fs::write(weights(&machine, &id), "trained").unwrap();
    publish(&world, "1.2.0", false).await;
    machine.done(update(&id.installation)).await;
    machine.done(update(&id)).await;
    assert_eq!(read(&weights(&machine, &id)), content("1.2.0"));
    let leads = std::fs::canonicalize(weights(&machine, &id)).unwrap();
    assert!(leads.starts_with(machine.root.join("store")), "{}", leads.display());
    machine.done(revert(&id)).await;
    assert_eq!(read(&weights(&machine, &id)), "trained");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_writable_if_what_it_replaces_is() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let other = model(&world, "other");
    let machine = Machine::start(&world).await;
    let packages = [
        ("model".parse().unwrap(), other.object.clone()),
        ("more".parse().unwrap(), other.object.clone()),
    ];
    let request = InstallRequest { packages: packages.into(), start: true, ..install("w") };
    let id = machine.install(request).await.instance.unwrap();
    assert_eq!(copies(&machine, &id), ["model.1", "notes.1"]);
    assert_eq!(read(&weights(&machine, &id)), content("other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_has_no_copies_that_could_begin_anew() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    let name = id.installation.to_string();
    for change in [
        Change::Update(UpdateRequest {
            name: name.clone(),
            to: None,
            fresh_packages: true,
            again: false,
        }),
        Change::Revert(RevertRequest { name: name.clone(), fresh_packages: true }),
    ] {
        let refused = machine.node.node().submit(crate::machine::new_id(), &change).await;
        assert_eq!(refused.unwrap_err().code(), Code::Usage);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_the_disk_has_no_room_for_are_refused_before_anything_is_written() {
    let world = World::start().await;
    let measured = wire::v1::MeasuredBody {
        entries: 5,
        unpacked_bytes: 1 << 60,
        largest_file: 1 << 60,
        inodes: 5,
        deepest_path: 9,
        disk_bytes: 1 << 60,
        window: 0,
    };
    // Not asked for with the first version, so that this is installed.
    publish(&world, "1.0.0", false).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    let huge = PinBody { measured: Some(measured), ..model(&world, "1.0.0") };
    publish_with(&world, "1.1.0", huge, true).await;
    machine.done(update(&id.installation)).await;
    for change in [create(&id.installation, false), update(&id)] {
        let error = machine.refused(change).await;
        assert_eq!(error.code, Code::NoSpace, "{error:#?}");
        assert!(error.message.contains("its own copies of packages"), "{error:#?}");
    }
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
    assert_eq!(machine.instance(&id).await.version.to_string(), "1.0.0");
}

/// Without figures of the publisher nobody knows before that there is no room.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_a_copy_is_no_space_and_has_nothing_of_it() {
    let world = World::start().await;
    let root = world.dir.path().join("small");
    std::fs::create_dir(&root).unwrap();
    let Some(_mounted) = SmallDisk::mount(&root) else {
        println!("skipped: this account may not mount a small disk");
        return;
    };
    publish(&world, "1.0.0", false).await;
    let machine = Machine::start_at(&root, &world.address).await;
    let id = instance(&machine).await;
    let archive = tar(&[("m/weights", b'0', "", &noise(1_500_000, 7), 0o644)]);
    publish_with(&world, "1.1.0", world.object("w/1.1.0/model.tar", &archive), true).await;
    machine.done(update(&id.installation)).await;
    for change in [create(&id.installation, false), update(&id)] {
        let error = machine.refused(change).await;
        assert_eq!(error.code, Code::NoSpace, "{error:#?}");
        assert!(error.hint.is_some(), "{error:#?}");
        assert_eq!(names_in(&root.join("staging")), [""; 0]);
        assert_eq!(names_in(&root.join("trash")), [""; 0]);
    }
    assert_eq!(machine.instance(&id).await.version.to_string(), "1.0.0");
    assert_eq!(copies(&machine, &id), [""; 0]);
    assert_eq!(read(&weights(&machine, &id)), content("1.0.0"));
    let instances = machine.installation_dir(&id.installation).join("instances");
    assert_eq!(names_in(&instances), ["instance-1"]);
}

/// A file system of four million bytes in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<SmallDisk> {
        let mut mount = std::process::Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", "size=4m", "none"]).arg(at).output();
        done.is_ok_and(|done| done.status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Copies are made of a tree while directories of it are thrown away by a repair: one waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_tree_that_is_being_mended_is_whole() {
    let world = World::start().await;
    publish(&world, "1.0.0", true).await;
    let machine = Machine::start(&world).await;
    let id = instance(&machine).await;
    let tree = crate::repair::tree(&machine.root, &model(&world, "1.0.0"));
    let files = tree.join("files");
    for _ in 0..3 {
        crate::repair::chmod(&files, 0o755);
        for directory in 0..40 {
            let extra = files.join(format!("extra-{directory:02}"));
            std::fs::create_dir(&extra).unwrap();
            (0..10).for_each(|n| std::fs::write(extra.join(n.to_string()), "x").unwrap());
        }
        crate::repair::chmod(&files, 0o555);
        let copying = async {
            for _ in 0..4 {
                machine.done(create(&id.installation, false)).await;
            }
        };
        futures_util::future::join(machine.done(crate::machine::repair()), copying).await;
        assert!(!files.join("extra-00").exists());
    }
}
