//! The store: what stays in it, what goes, and what stops the going.

use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Change;
use model::Digest;
use wire::Code;
use wire::v1::{CollectedBody, GarbageKind, GarbageLine, InstallRequest, OperationResult, PinBody};

use crate::cable::Cable;
use crate::machine::{
    Machine, create, delete, eventually, gc, install, new_id, record, uninstall, update, update_to,
};
use crate::world::{World, envelope, names_in, noise, tar};

/// Publishes `demo/<title>` with a program, a file, and archives of these contents.
async fn publish(world: &World, title: &str, version: &str, archives: &[&[u8]]) -> Vec<PinBody> {
    let lines = format!("exec sleep 1000 # {version}");
    let program = world.script(&format!("{title}/{version}/program"), &lines);
    let mut published = envelope(title, version, program);
    let mut pins = Vec::new();
    for (number, content) in archives.iter().enumerate() {
        let bytes = tar(&[
            ("d/", b'5', "", b"", 0o755),
            ("d/file", b'0', "", content, 0o644),
            ("d/again", b'1', "d/file", b"", 0o644),
        ]);
        let pin = world.object(&format!("{title}/{version}/{number}.tar"), &bytes);
        published.packages.insert(format!("p{number}").parse().unwrap(), pin.clone());
        pins.push(pin);
    }
    world.publish(&published).await;
    pins
}

pub async fn garbage(machine: &Machine) -> Vec<GarbageLine> {
    let mut lines = machine.node.node().garbage().await.unwrap();
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        all.push(line);
    }
    all
}

pub async fn collect(machine: &Machine) -> CollectedBody {
    match machine.done(gc()).await {
        OperationResult::Collected(body) => body,
        other => panic!("{other:?}"),
    }
}

/// What is in the store: names, without their shards.
fn content(machine: &Machine, what: &str) -> Vec<String> {
    let dir = machine.root.join("store").join(what);
    names_in(&dir).iter().flat_map(|shard| names_in(&dir.join(shard))).collect()
}

fn has(machine: &Machine, pin: &PinBody) -> (bool, bool) {
    let hex = pin.digest.hex();
    let tree = content(machine, "trees").iter().any(|name| name.starts_with(&hex));
    (content(machine, "blobs").contains(&hex), tree)
}

/// A blob, a tree and a partly received blob that nothing refers to.
pub fn litter(root: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let bytes = noise(70_000, 77);
    let hex = Digest::of(&bytes).hex();
    let blob = root.join("store/blobs").join(&hex[..2]).join(&hex);
    let tree = root.join("store/trees").join(&hex[..2]).join(format!("{hex}.tar.1"));
    let partial = root.join(format!("staging/receive-{hex}"));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::create_dir_all(tree.join("files/deep/er")).unwrap();
    std::fs::write(&blob, &bytes).unwrap();
    std::fs::write(tree.join("files/deep/er/file"), &bytes).unwrap();
    std::fs::write(tree.join("manifest"), "{\"entries\":0}\n").unwrap();
    std::fs::write(&partial, &bytes[..10_000]).unwrap();
    for closed in ["files/deep/er", "files/deep", "files", ""] {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = tree.join(closed);
        std::fs::set_permissions(closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    (blob, tree, partial)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_installation_leaves_behind_goes_by_itself_and_what_is_shared_stays() {
    let world = World::start().await;
    let shared = noise(50_000, 1);
    let own = noise(60_000, 2);
    let of_a = publish(&world, "a", "1.0.0", &[&shared, &own]).await;
    publish(&world, "b", "1.0.0", &[&shared]).await;
    let machine = Machine::start(&world).await;
    let first = machine.install(install("a")).await;
    machine.install(install("b")).await;
    assert_eq!((has(&machine, &of_a[0]), has(&machine, &of_a[1])), ((true, true), (true, true)));
    machine.done(uninstall(&first.installation)).await;
    eventually("what only it had is gone", || has(&machine, &of_a[1]) == (false, false)).await;
    assert_eq!(has(&machine, &of_a[0]), (true, true));
    // Its program went too; that of the other one is there.
    eventually("two blobs", || content(&machine, "blobs").len() == 2).await;
    let running = machine.running("b").await;
    machine.done(delete(&running, true)).await;
    for number in [1, 2] {
        machine.done(uninstall(&format!("b/{number}"))).await;
    }
    let empty = || content(&machine, "blobs").is_empty() && content(&machine, "trees").is_empty();
    eventually("nothing is left", empty).await;
    eventually("nor in the trash", || names_in(&machine.root.join("trash")).is_empty()).await;
    // What is gone is fetched again.
    machine.install(install("a")).await;
    assert_eq!(has(&machine, &of_a[1]), (true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_versions_and_instances_of_any_age_use_stays() {
    let world = World::start().await;
    let old = publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let machine = Machine::start(&world).await;
    let id = machine.running("a").await;
    let new = publish(&world, "a", "1.1.0", &[&noise(9_000, 2)]).await;
    machine.done(update(&id.installation)).await;
    machine.done(create(&id.installation, true)).await;
    let before = (content(&machine, "blobs"), content(&machine, "trees"));
    let collected = collect(&machine).await;
    assert_eq!((collected.bytes, collected.blobs + collected.trees + collected.partial), (0, 0));
    assert_eq!((content(&machine, "blobs"), content(&machine, "trees")), before);
    assert_eq!((has(&machine, &old[0]), has(&machine, &new[0])), ((true, true), (true, true)));
    machine.done(update(&id)).await;
    machine.done(crate::machine::revert(&id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_lists_what_goes_with_its_size_and_changes_nothing() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let mut machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    collect(&machine).await;
    assert_eq!(garbage(&machine).await, []);
    machine.is_at_rest().await;
    let (blob, tree, partial) = litter(&machine.root);
    let lines = garbage(&machine).await;
    let kinds: Vec<GarbageKind> = lines.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [GarbageKind::Blob, GarbageKind::Tree, GarbageKind::Partial]);
    assert!(lines.iter().all(|line| tree.to_str().unwrap().contains(&line.name[..64])));
    assert!(lines[0].bytes >= 70_000 && lines[1].bytes >= 70_000 && lines[2].bytes >= 10_000);
    assert!(blob.exists() && tree.exists() && partial.exists());
    let collected = collect(&machine).await;
    let bytes = lines.iter().map(|line| line.bytes).sum();
    assert_eq!(collected, CollectedBody { bytes, blobs: 1, trees: 1, partial: 1 });
    assert!(!blob.exists() && !tree.exists() && !partial.exists());
    assert_eq!(garbage(&machine).await, []);
    assert_eq!(names_in(&machine.root.join("trash")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_collects_what_its_predecessor_left() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let mut machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    machine.turn_off().await;
    let (blob, tree, partial) = litter(&machine.root);
    std::fs::create_dir_all(machine.root.join("store/trees/mine/too")).unwrap();
    machine.turn_on().await;
    let gone = || !blob.exists() && !tree.exists() && !partial.exists();
    eventually("it is collected", gone).await;
    assert_eq!((content(&machine, "blobs").len(), content(&machine, "trees").len()), (2, 2));
    assert!(machine.root.join("store/trees/mine/too").exists());
}

/// The install has its first package, and waits for the second: both the blob and the tree of the first
/// have no link yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operation_counts_on_stays_also_while_nothing_links_to_it() {
    let world = World::start().await;
    let pins = publish(&world, "a", "1.0.0", &[&noise(300_000, 1), &noise(3_000_000, 2)]).await;
    let cable = Cable::to(&world.address).await;
    let mut machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    let id = new_id();
    cable.hold_after(1_500_000);
    machine.node.node().submit(id, &Change::Install(install("a"))).await.unwrap();
    cable.was_spent().await;
    machine.is_at_rest().await;
    let (blob, tree, partial) = litter(&machine.root);
    let there = || has(&machine, &pins[0]) == (true, true);
    eventually("the first package is there", there).await;
    let collected = collect(&machine).await;
    assert_eq!((collected.blobs, collected.trees, collected.partial), (1, 1, 1));
    assert!(!blob.exists() && !tree.exists() && !partial.exists());
    let kept = format!("receive-{}", pins[1].digest.hex());
    assert!(there() && names_in(&machine.root.join("staging")).contains(&kept));
    // Also the next manager knows: the memo is on disk.
    machine.turn_off().await;
    machine.turn_on().await;
    collect(&machine).await;
    assert!(has(&machine, &pins[0]) == (true, true));
    cable.mend();
    assert_eq!(machine.end_of(id).await.error, None);
    assert_eq!(garbage(&machine).await, []);
}

/// An update brings in the new version's packages, and unpacks the overrides once more where this fettle
/// makes other trees of them: nothing links to those until the version is laid out.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_on_the_overrides_too() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let extra = world.object("extra.tar", &tar(&[("x", b'0', "", b"extra", 0o644)]));
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    let packages = [("extra".parse().unwrap(), extra.object.clone())].into();
    let id = machine.install(InstallRequest { packages, ..install("a") }).await.installation;
    publish(&world, "a", "1.1.0", &[&noise(3_000_000, 2)]).await;
    let operation = new_id();
    cable.hold_after(1_500_000);
    machine.node.node().submit(operation, &update(&id)).await.unwrap();
    cable.was_spent().await;
    // As if it had been made by another unpacker just now.
    let hex = extra.digest.hex();
    let shard = machine.root.join("store/trees").join(&hex[..2]);
    std::fs::create_dir(shard.join(format!("{hex}.tar.9"))).unwrap();
    collect(&machine).await;
    assert!(names_in(&shard).contains(&format!("{hex}.tar.9")) && names_in(&shard).len() == 2);
    cable.mend();
    assert_eq!(machine.end_of(operation).await.error, None);
    assert_eq!(collect(&machine).await.trees, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_install_received_goes_with_the_next_collection() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0", &[&noise(2_000_000, 1)]).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.cut_after(1_000_000);
    machine.refused(Change::Install(install("a"))).await;
    assert_eq!(names_in(&machine.root.join("staging")).len(), 1);
    assert_eq!(collect(&machine).await.partial, 1);
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_stops_the_collection_and_is_named() {
    let world = World::start().await;
    let pins = publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let mut machine = Machine::start(&world).await;
    let id = machine.install(install("a")).await.installation;
    let version = machine.installation_dir(&id).join("1-1.0.0");
    collect(&machine).await;
    machine.is_at_rest().await;
    let (blob, ..) = litter(&machine.root);
    let refused = async |machine: &Machine, names: &str| {
        let error = machine.refused(gc()).await;
        assert_eq!(error.code, Code::Damaged, "{error:#?}");
        let said = format!("{} {}", error.message, error.causes.join(" "));
        assert!(said.contains(names), "{said}");
        assert!(error.hint.is_some());
        assert!(blob.exists() && has(machine, &pins[0]) == (true, true));
        let listed = machine.node.node().garbage().await;
        assert!(listed.is_err(), "a dry run is as careful");
    };
    // A link is lost.
    let link = version.join("packages/p0");
    let target = std::fs::read_link(&link).unwrap();
    std::fs::remove_file(&link).unwrap();
    refused(&machine, "packages/p0").await;
    std::os::unix::fs::symlink(target, &link).unwrap();
    // A version's envelope is damaged.
    let envelope = version.join("envelope");
    let good = std::fs::read(&envelope).unwrap();
    std::fs::write(&envelope, &good[..good.len() / 2]).unwrap();
    refused(&machine, "envelope").await;
    std::fs::write(&envelope, good).unwrap();
    // An operation's record is damaged: nobody knows what it was about to do.
    machine.turn_off().await;
    let operation = machine.root.join("operations").join(new_id().to_string());
    std::fs::write(&operation, record("operation", 1, "{}")).unwrap();
    machine.turn_on().await;
    tokio::time::sleep(Duration::from_millis(50)).await; // the collection at the start is refused too
    refused(&machine, operation.file_name().unwrap().to_str().unwrap()).await;
    std::fs::remove_file(&operation).unwrap();
    // Nothing is wrong any more.
    assert_eq!(collect(&machine).await.blobs, 1);
    assert!(!blob.exists() && has(&machine, &pins[0]) == (true, true));
}

/// Installs, updates and removals of things that share content, while it is collected all the time.
#[tokio::test(flavor = "multi_thread")]
async fn collecting_all_the_time_disturbs_nobody() {
    let world = World::start().await;
    let shared = noise(200_000, 1);
    for title in ["a", "b", "c"] {
        for (seed, version) in [(10, "1.0.0"), (11, "1.1.0")] {
            publish(&world, title, version, &[&shared, &noise(100_000, seed)]).await;
        }
    }
    let machine = std::sync::Arc::new(Machine::start(&world).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let collector = tokio::spawn({
        let (machine, stop) = (machine.clone(), stop.clone());
        async move {
            let mut runs = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                collect(&machine).await;
                runs += 1;
            }
            runs
        }
    });
    let user = async |title: &'static str| {
        for _ in 0..6 {
            let request = InstallRequest {
                reference: format!("demo/{title}@1.0.0").parse().unwrap(),
                ..install(title)
            };
            let id = machine.install(request).await.installation;
            machine.done(update_to(&id, &format!("demo/{title}@1.1.0"))).await;
            for version in ["1-1.0.0", "2-1.1.0"] {
                for package in ["p0", "p1"] {
                    let file =
                        machine.installation_dir(&id).join(version).join("packages").join(package);
                    assert!(std::fs::metadata(file.join("d/again")).is_ok(), "{}", file.display());
                }
            }
            machine.done(uninstall(&id)).await;
        }
    };
    futures_util::future::join3(user("a"), user("b"), user("c")).await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    println!("{} collections", collector.await.unwrap());
    collect(&machine).await;
    assert!(content(&machine, "blobs").is_empty() && content(&machine, "trees").is_empty());
}

/// What lies in the trash has lost its name, and could not be deleted when it did.
#[tokio::test(flavor = "multi_thread")]
async fn what_stayed_in_the_trash_goes_with_the_next_collection_and_what_it_had_with_it() {
    let world = World::start().await;
    let pins = publish(&world, "a", "1.0.0", &[&noise(9_000, 1)]).await;
    let machine = Machine::start(&world).await;
    let id = machine.install(install("a")).await.installation;
    collect(&machine).await;
    // As if uninstalling it had ended in an error of the disk.
    let left = machine.root.join("trash/.1-1");
    std::fs::rename(machine.installation_dir(&id), &left).unwrap();
    assert!(left.join("1-1.0.0/pkg/p0").exists());
    let collected = collect(&machine).await;
    assert_eq!((collected.blobs, collected.trees), (2, 1));
    assert_eq!(has(&machine, &pins[0]), (false, false));
    assert_eq!(names_in(&machine.root.join("trash")), [""; 0]);
}
