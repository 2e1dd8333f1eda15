//! Room on a real small file system: what does not fit is refused before anything is written, what two
//! installs take together is counted, and a disk that is full in the middle is left as it was.
//!
//! Mounting needs root; elsewhere these tests say that they were skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use client::Change;
use wire::v1::{EnvelopeBody, MeasuredBody, PinBody};
use wire::{Code, ErrorBody};

use crate::cable::Cable;
use crate::machine::{Machine, install, new_id};
use crate::store::{collect, garbage};
use crate::world::{World, envelope, names_in, noise, tar};

/// A file system in memory, of so many MiB and files.
struct Small {
    mount: PathBuf,
}

impl Small {
    #[allow(clippy::print_stdout, reason = "whoever reads the log should know what was not tried")]
    fn mount(world: &World, mib: u32, inodes: u32) -> Option<Small> {
        let mount = world.dir.path().join("small");
        std::fs::create_dir(&mount).unwrap();
        let options = format!("size={mib}m,nr_inodes={inodes},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&mount)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Small { mount }),
            _ => {
                println!("skipped: this account cannot mount a file system");
                None
            }
        }
    }

    fn root(&self) -> PathBuf {
        self.mount.join("node")
    }

    /// Bytes and files that are taken.
    fn used(&self) -> (u64, u64) {
        let facts = rustix::fs::statvfs(&self.mount).unwrap();
        ((facts.f_blocks - facts.f_bfree) * facts.f_frsize, facts.f_files - facts.f_ffree)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

/// Publishes `demo/<title>` with an archive of one file.
async fn publish(world: &World, title: &str, size: u64, measured: bool) -> PinBody {
    let bytes = tar(&[("file", b'0', "", &noise(size as usize, size), 0o644)]);
    let mut pin = world.object(&format!("{title}/data.tar"), &bytes);
    pin.measured = measured.then_some(MeasuredBody {
        entries: 1,
        unpacked_bytes: size,
        largest_file: size,
        inodes: 1,
        deepest_path: 4,
        disk_bytes: size.next_multiple_of(4096),
        window: 0,
    });
    let program = world.script(&format!("{title}/program"), "exec sleep 1000");
    let mut published: EnvelopeBody = envelope(title, "1.0.0", program);
    published.packages = [("data".parse().unwrap(), pin.clone())].into();
    world.publish(&published).await;
    pin
}

fn said(error: &ErrorBody) -> String {
    format!("{} {}", error.message, error.causes.join(" "))
}

fn nothing_was_written(root: &Path) {
    assert_eq!(names_in(&root.join("staging")), [""; 0]);
    let blobs = root.join("store/blobs");
    assert!(names_in(&blobs).iter().all(|shard| names_in(&blobs.join(shard)).is_empty()));
    assert_eq!(names_in(&root.join("trash")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_first_and_told_what_a_clean_up_would_free() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 16, 1000) else { return };
    publish(&world, "giant", 10 << 20, true).await;
    publish(&world, "dwarf", 1 << 20, true).await;
    let mut machine = Machine::start_at(&small.root(), &world.address).await;
    machine.install(install("dwarf")).await;
    machine.done(crate::machine::uninstall(&"dwarf/1")).await;
    collect(&machine).await;
    let before = small.used();
    let error = machine.refused(Change::Install(install("giant"))).await;
    assert_eq!(error.code, Code::NoSpace, "{error:#?}");
    let free = (16 << 20) - before.0;
    // 2 % of 16 MiB are the reserve; the operation's record has taken a little since.
    let promised = "bytes on the node's disk, where ";
    assert!(said(&error).contains(promised) && said(&error).contains("335544 "), "{error:#?}");
    println!("{} of {free} free: {}", before.0, said(&error));
    assert_eq!(
        error.hint.as_deref(),
        Some("free some space on the node's disk and repeat the command")
    );
    assert_eq!(machine.node.node().garbage().await.unwrap().next_line().await.unwrap(), None);
    nothing_was_written(&machine.root);
    // With garbage on the disk the refusal says what removing it gives.
    machine.is_at_rest().await;
    let (blob, ..) = crate::store::litter(&machine.root);
    let error = machine.refused(Change::Install(install("giant"))).await;
    let sum: u64 = garbage(&machine).await.iter().map(|line| line.bytes).sum();
    let hint = format!("a clean-up would free {sum} bytes: fettle store gc");
    assert_eq!(error.hint, Some(hint));
    assert!(blob.exists() && sum > 0);
    // Without the reserve there still is too little; the same with room for it is done.
    machine.turn_off().await;
    machine.config.reserve = Some(14 << 20);
    machine.turn_on().await;
    let error = machine.refused(Change::Install(install("dwarf"))).await;
    assert!(said(&error).contains(&format!("{} of them are the reserve", 14 << 20)), "{error:#?}");
    machine.turn_off().await;
    machine.config.reserve = Some(0);
    machine.turn_on().await;
    machine.install(install("dwarf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_counted_as_bytes_are() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 64, 120) else { return };
    let pin = publish(&world, "many", 1000, true).await;
    let mut many = envelope("crowd", "1.0.0", world.script("crowd/program", "exit 0"));
    let measured = MeasuredBody { inodes: 100, entries: 100, ..pin.measured.unwrap() };
    let pin = PinBody { measured: Some(measured), ..pin };
    many.packages = [("data".parse().unwrap(), pin)].into();
    world.publish(&many).await;
    let machine = Machine::start_at(&small.root(), &world.address).await;
    let error = machine.refused(Change::Install(install("crowd"))).await;
    assert_eq!(error.code, Code::NoSpace, "{error:#?}");
    assert!(said(&error).contains("this takes 106 inodes"), "{error:#?}");
    nothing_was_written(&machine.root);
    machine.install(install("many")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_to_one_install_is_not_there_for_another() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 20, 1000) else { return };
    publish(&world, "first", 5 << 20, true).await;
    publish(&world, "second", 5 << 20 | 1, true).await;
    publish(&world, "third", 1 << 20, true).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&small.root(), &cable.address).await;
    let id = new_id();
    cable.hold_after(3_000_000);
    machine.node.node().submit(id, &Change::Install(install("first"))).await.unwrap();
    cable.was_spent().await;
    // Not over the cable that is held.
    let beside = |title| {
        let server = Some(world.address.clone());
        wire::v1::InstallRequest { server, ..install(title) }
    };
    let error = machine.refused(Change::Install(beside("second"))).await;
    assert_eq!(error.code, Code::NoSpace, "{error:#?}");
    assert!(!said(&error).contains("and 0 are promised"), "{error:#?}");
    println!("{}", said(&error));
    // What fits beside it is done.
    machine.install(beside("third")).await;
    cable.mend();
    assert_eq!(machine.end_of(id).await.error, None);
    let error = machine.refused(Change::Install(beside("second"))).await;
    assert!(said(&error).contains("and 0 are promised"), "{error:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_the_middle_is_left_as_it_was() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 16, 1000) else { return };
    // Nobody measured it: the download fits, what is unpacked does not.
    publish(&world, "unmeasured", 10 << 20, false).await;
    let mut machine = Machine::start_at(&small.root(), &world.address).await;
    machine.config.reserve = Some(0);
    machine.restart_manager().await;
    let error = machine.refused(Change::Install(install("unmeasured"))).await;
    let before = small.used();
    for _ in 0..3 {
        let error = machine.refused(Change::Install(install("unmeasured"))).await;
        assert_eq!(error.code, Code::NoSpace, "{error:#?}");
        nothing_was_written_but_the_program(&machine.root);
    }
    println!("{}", said(&error));
    assert!(said(&error).contains("data.tar"), "{error:#?}");
    // Each left its record, and nothing else.
    let after = small.used();
    assert!(after.0 - before.0 <= 3 * 4096 && after.1 - before.1 <= 3, "{before:?} {after:?}");
}

/// Begins an install that waits in the middle of its download, so that the rest of it is promised.
async fn begun(machine: &Machine, cable: &Cable, title: &str) -> model::OperationId {
    let id = new_id();
    cable.hold_after(1_000_000);
    machine.node.node().submit(id, &Change::Install(install(title))).await.unwrap();
    cable.was_spent().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_to_an_install_is_not_there_for_a_repair() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 24, 1000) else { return };
    let pin = publish(&world, "first", 5 << 20, true).await;
    publish(&world, "second", 5 << 20 | 1, true).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&small.root(), &cable.address).await;
    let server = Some(world.address.clone());
    machine.install(wire::v1::InstallRequest { server, ..install("first") }).await;
    let id = begun(&machine, &cable, "second").await;
    let blob = crate::repair::blob(&machine.root, &pin);
    let spoil = || {
        crate::repair::chmod(&blob, 0o644);
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&blob, bytes).unwrap();
        crate::repair::chmod(&blob, 0o444);
    };
    spoil();
    let repaired = async || match machine.done(crate::machine::repair()).await {
        wire::v1::OperationResult::Repaired(body) => body,
        other => panic!("{other:?}"),
    };
    let left = repaired().await;
    println!("{left:#?}");
    assert_eq!((left.blobs, left.damaged), (0, 1));
    let what = &left.damages[0].what;
    assert!(what.contains("bytes on the node's disk, where "), "{what}");
    assert!(!what.contains("and 0 are promised"), "{what}");
    cable.mend();
    assert_eq!(machine.end_of(id).await.error, None);
    machine.done(crate::machine::uninstall(&"second/1")).await;
    collect(&machine).await;
    assert_eq!((repaired().await.blobs, repaired().await.damaged), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_to_an_install_is_not_there_for_a_copy() {
    let world = World::start().await;
    let Some(small) = Small::mount(&world, 20, 1000) else { return };
    for measured in [true, false] {
        let title = if measured { "told" } else { "untold" };
        let pin = publish(&world, "base", 4 << 20, measured).await;
        let program = world.script(&format!("{title}/program"), "exec sleep 1000");
        let mut published = envelope(title, "1.0.0", program);
        // Older figures do not say what it takes on the disk.
        let figures = pin.measured.map(|measured| MeasuredBody { disk_bytes: 0, ..measured });
        let pin = PinBody { writable: true, measured: figures, ..pin };
        published.packages = [("data".parse().unwrap(), pin)].into();
        world.publish(&published).await;
    }
    publish(&world, "second", 5 << 20 | 1, true).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&small.root(), &cable.address).await;
    let mut installed = Vec::new();
    for title in ["told", "untold"] {
        let server = Some(world.address.clone());
        let request = wire::v1::InstallRequest { server, ..install(title) };
        installed.push(machine.install(request).await.installation);
    }
    let id = begun(&machine, &cable, "second").await;
    for id in &installed {
        let error = machine.refused(crate::machine::create(id, false)).await;
        assert_eq!(error.code, Code::NoSpace, "{error:#?}");
        assert!(said(&error).contains("bytes on the node's disk, where "), "{error:#?}");
        assert!(!said(&error).contains("and 0 are promised"), "{error:#?}");
        assert!(error.hint.is_some(), "{error:#?}");
    }
    cable.mend();
    assert_eq!(machine.end_of(id).await.error, None);
    machine.done(crate::machine::uninstall(&"second/1")).await;
    collect(&machine).await;
    for id in &installed {
        match machine.done(crate::machine::create(id, false)).await {
            wire::v1::OperationResult::Instance(body) => {
                machine.done(crate::machine::delete(&body.instance, true)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn nothing_was_written_but_the_program(root: &Path) {
    assert_eq!(names_in(&root.join("staging")), [""; 0]);
    assert_eq!(names_in(&root.join("trash")), [""; 0]);
    assert_eq!(names_in(&root.join("store/trees")), [""; 0]);
    let shards = names_in(&root.join("store/blobs"));
    assert_eq!(shards.len(), 1, "{shards:?}");
}
