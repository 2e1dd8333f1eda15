//! Installs that cannot succeed: each says why, and leaves nothing behind.

use client::Change;
use model::MediaInfo;
use wire::Code;
use wire::v1::{EnvelopeBody, InstallRequest, OperationResult, PinBody, ProgramBody};

use crate::cable::Cable;
use crate::machine::{Machine, create, install, line_in, new_id, update, update_to};
use crate::world::{TarEntry, World, envelope, names_in, noise, tar};

pub async fn publish_with(world: &World, title: &str, package: PinBody) -> EnvelopeBody {
    let mut published =
        envelope(title, "1.0.0", world.script(&format!("{title}/program"), "exec sleep 1000"));
    published.packages = [("data".parse().unwrap(), package)].into();
    world.publish(&published).await;
    published
}

/// Nothing is there under any name of this digest, and nothing is left in `staging/` but what `kept` says.
fn assert_absent(machine: &Machine, pin: &PinBody, kept: bool) {
    let hex = pin.digest.hex();
    let shard = |dir: &str| machine.root.join("store").join(dir).join(&hex[..2]);
    assert!(!shard("blobs").join(&hex).exists());
    assert!(names_in(&shard("trees")).iter().all(|name| !name.starts_with(&hex)));
    let staged = names_in(&machine.root.join("staging"));
    let expected = if kept { vec![format!("receive-{hex}")] } else { vec![] };
    assert_eq!(staged, expected);
    assert_eq!(names_in(&machine.root.join("trash")), [""; 0]);
}

fn assert_no_installation(machine: &Machine, title: &str) {
    let dir = machine.installation_dir(&format!("{title}/1").parse().unwrap());
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_repository_does_not_have_is_named() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    let mut other = envelope("elsewhere", "1.0.0", world.script("elsewhere/p", "exit 0"));
    other.profile = "plan9-mips".parse().unwrap();
    world.publish(&other).await;
    let machine = Machine::start(&world).await;
    for (reference, code) in [
        ("demo/absent", Code::NotFound),
        ("demo/p@^2", Code::NoVersion),
        ("demo/elsewhere", Code::NoProfile),
    ] {
        let request = InstallRequest { reference: reference.parse().unwrap(), ..install("p") };
        let error = machine.refused(Change::Install(request)).await;
        assert_eq!(error.code, code, "{error:#?}");
        assert!(error.message.contains(reference), "{error:#?}");
    }
    let packages = [("x".parse().unwrap(), "no/such/object".parse().unwrap())].into();
    let request = InstallRequest { packages, ..install("p") };
    let error = machine.refused(Change::Install(request)).await;
    assert_eq!(error.code, Code::NotFound, "{error:#?}");
    assert_eq!(names_in(&machine.root.join("apps")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_repository_nothing_is_installed_and_the_node_says_how_to_get_one() {
    let world = World::start().await;
    let mut machine = Machine::off(&world.dir.path().join("node"), &world.address);
    machine.config.server = None;
    machine.turn_on().await;
    let error = machine.refused(Change::Install(install("p"))).await;
    assert_eq!(
        (error.code, error.hint.as_deref()),
        (Code::Usage, Some("start the node with --server URL"))
    );
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    machine.install(InstallRequest { server: Some(world.address.clone()), ..install("p") }).await;
    let gone = InstallRequest { server: Some("http://127.0.0.1:1".into()), ..install("p") };
    assert_eq!(machine.refused(Change::Install(gone)).await.code, Code::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_damaged_on_the_server_are_never_published() {
    let world = World::start().await;
    let archive = tar(&[("file", b'0', "", &noise(200_000, 1), 0o644)]);
    let pin = world.object("damaged/data.tar", &archive);
    publish_with(&world, "damaged", pin.clone()).await;
    let machine = Machine::start(&world).await;
    for at in [700, 0, archive.len() - 1] {
        world.damage(&pin.digest, |bytes| bytes[at] ^= 1);
        let error = machine.refused(Change::Install(install("damaged"))).await;
        assert!(matches!(error.code, Code::DigestMismatch | Code::Damaged), "{error:#?}");
        assert!(error.hint.is_some());
        assert_absent(&machine, &pin, false);
        assert_no_installation(&machine, "damaged");
        world.damage(&pin.digest, |bytes| bytes[at] ^= 1);
    }
    world.damage(&pin.digest, |bytes| bytes.truncate(100_000));
    let error = machine.refused(Change::Install(install("damaged"))).await;
    println!("truncated: {error:#?}");
    assert!(
        matches!(error.code, Code::Damaged | Code::DigestMismatch | Code::Unreachable),
        "{error:#?}"
    );
    assert_no_installation(&machine, "damaged");
    // Mended, it is installed, whatever the attempts left behind.
    world.damage(&pin.digest, |bytes| *bytes = archive.clone());
    machine.install(install("damaged")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_lost_on_the_server_is_damage_and_not_a_wait() {
    let world = World::start().await;
    let pin = world.object("lost/data.txt", b"gone tomorrow");
    publish_with(&world, "lost", pin.clone()).await;
    std::fs::remove_file(world.blob(&pin.digest)).unwrap();
    let machine = Machine::start(&world).await;
    let error = machine.refused(Change::Install(install("lost"))).await;
    assert_eq!(error.code, Code::Damaged, "{error:#?}");
    assert_no_installation(&machine, "lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_cut_only_the_missing_bytes_cross_the_wire() {
    let world = World::start().await;
    let size = 2_000_000;
    let archive = tar(&[("file", b'0', "", &noise(size, 2), 0o644)]);
    let pin = world.object("cut/data.tar", &archive);
    publish_with(&world, "cut", pin.clone()).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    // Cut and mended at once: the operation goes on by itself.
    let id = new_id();
    cable.cut_after(1_500_000);
    machine.node.node().submit(id, &Change::Install(install("cut"))).await.unwrap();
    cable.was_spent().await;
    cable.mend();
    let ended = machine.end_of(id).await;
    assert_eq!(ended.error, None);
    assert!(cable.count() < size as u64 + 200_000, "{} bytes", cable.count());
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_long_outage_is_kept_and_checked_again() {
    let world = World::start().await;
    let size = 2_000_000;
    let archive = tar(&[("file", b'0', "", &noise(size, 3), 0o644)]);
    let pin = world.object("outage/data.tar", &archive);
    publish_with(&world, "outage", pin.clone()).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.cut_after(1_500_000);
    let error = machine.refused(Change::Install(install("outage"))).await;
    assert_eq!(error.code, Code::Unreachable, "{error:#?}");
    assert_absent(&machine, &pin, true);
    assert_no_installation(&machine, "outage");
    // What was received is torn meanwhile, as a power cut may leave it: it is received once more.
    let partial = machine.root.join("staging").join(format!("receive-{}", pin.digest.hex()));
    let mut bytes = std::fs::read(&partial).unwrap();
    assert!(bytes.len() > 1_000_000);
    bytes[500_000..600_000].fill(0);
    std::fs::write(&partial, bytes).unwrap();
    cable.mend();
    machine.install(install("outage")).await;
    assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
    let tree =
        machine.installation_dir(&"outage/1".parse().unwrap()).join("1-1.0.0/packages/data/file");
    assert!(std::fs::read(tree).unwrap() == noise(size, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_on_the_second_try_are_noticed() {
    let world = World::start().await;
    let archive = noise(2_000_000, 4);
    let pin = world.object("swap/data.bin", &archive);
    publish_with(&world, "swap", pin.clone()).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    cable.cut_after(1_500_000);
    machine.refused(Change::Install(install("swap"))).await;
    world.damage(&pin.digest, |bytes| bytes[1_900_000] ^= 1);
    cable.mend();
    let error = machine.refused(Change::Install(install("swap"))).await;
    assert!(matches!(error.code, Code::DigestMismatch | Code::Damaged), "{error:#?}");
    assert_absent(&machine, &pin, false);
    world.damage(&pin.digest, |bytes| bytes[1_900_000] ^= 1);
    machine.install(install("swap")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_is_refused_and_nothing_leaves_its_directory() {
    let world = World::start().await;
    let machine = Machine::start(&world).await;
    let outside = world.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let up = "../../../../../../../../outside/evil";
    let escape = outside.to_str().unwrap().to_owned();
    let hostile: [(&str, Vec<TarEntry<'_>>); 6] = [
        ("dots", vec![("ok", b'0', "", b"x", 0o644), (up, b'0', "", b"evil", 0o644)]),
        ("absolute", vec![("/tmp/fettle-evil", b'0', "", b"evil", 0o644)]),
        ("link", vec![("l", b'2', &escape, b"", 0o777), ("l/evil", b'0', "", b"evil", 0o644)]),
        ("climb", vec![("d/l", b'2', "../../../x", b"", 0o777)]),
        ("hard", vec![("h", b'1', up, b"", 0o644)]),
        ("device", vec![("null", b'3', "", b"", 0o666)]),
    ];
    for (title, entries) in hostile {
        let pin = world.object(&format!("{title}/data.tar"), &tar(&entries));
        publish_with(&world, title, pin.clone()).await;
        let error = machine.refused(Change::Install(install(title))).await;
        assert_eq!(error.code, Code::UnsafeArchive, "{title}: {error:#?}");
        assert!(error.hint.is_some() && !error.causes.is_empty());
        assert_absent(&machine, &pin, false);
        assert_no_installation(&machine, title);
    }
    assert_eq!(names_in(&outside), [""; 0]);
    assert!(!std::path::Path::new("/tmp/fettle-evil").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_ends_early_was_made_so_and_is_refused() {
    let world = World::start().await;
    let machine = Machine::start(&world).await;
    let whole = tar(&[("file", b'0', "", &noise(5000, 5), 0o644)]);
    for (title, name, bytes) in [
        ("short", "data.tar", &whole[..3000]),
        ("notgz", "data.tar.gz", &whole[..]),
        ("notzip", "data.zip", &whole[..]),
    ] {
        let pin = world.object(&format!("{title}/{name}"), bytes);
        publish_with(&world, title, pin.clone()).await;
        let error = machine.refused(Change::Install(install(title))).await;
        println!("{title}: {error:#?}");
        assert_eq!(error.code, Code::UnsafeArchive, "{title}: {error:#?}");
        let hex = pin.digest.hex();
        assert!(names_in(&machine.root.join("store/trees").join(&hex[..2])).is_empty());
        assert_eq!(names_in(&machine.root.join("staging")), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unpacked_is_refused_before_it_is_fetched() {
    let world = World::start().await;
    let encoding = Some(model::Encoding::Xz);
    let media = MediaInfo { encoding, ..MediaInfo::from_file_name("data.zip") };
    let pin = world.object_as("odd/data.zip.xz", media, &noise(1_000_000, 6));
    publish_with(&world, "odd", pin.clone()).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&world.dir.path().join("node"), &cable.address).await;
    let error = machine.refused(Change::Install(install("odd"))).await;
    assert_eq!(error.code, Code::Unsupported, "{error:#?}");
    assert!(cable.count() < 20_000, "{} bytes", cable.count());
    assert_absent(&machine, &pin, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_inside_a_package_must_be_there_and_executable() {
    let world = World::start().await;
    let script = b"#!/bin/sh\nls packages/app > seen\nexec sleep 1000\n";
    let app = tar(&[
        ("bin/run", b'0', "", script, 0o755),
        ("bin/data", b'0', "", b"x", 0o644),
        ("bin/link", b'2', "run", b"", 0o777),
    ]);
    let pin = world.object("app.tar", &app);
    let machine = Machine::start(&world).await;
    for (title, path, good) in [
        ("absent", "bin/absent", false),
        ("plain", "bin/data", false),
        ("directory", "bin", false),
        ("good", "bin/run", true),
        ("linked", "bin/link", true),
    ] {
        let program = ProgramBody::InPackage {
            package: "data".parse().unwrap(),
            path: path.parse().unwrap(),
        };
        let mut published = envelope(title, "1.0.0", program);
        published.packages = [("data".parse().unwrap(), pin.clone())].into();
        world.publish(&published).await;
        match good {
            true => drop(machine.running(title).await),
            false => {
                let error = machine.refused(Change::Install(install(title))).await;
                assert_eq!(error.code, Code::BadManifest, "{title}: {error:#?}");
                assert_no_installation(&machine, title);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_pinned_when_it_is_installed_and_lasts_over_updates() {
    let world = World::start().await;
    world.object("mine/data.txt", b"mine");
    let theirs = world.object("p/data.txt", b"theirs");
    let publish = async |version: &str| {
        let script = "cat packages/data packages/extra; echo; exec sleep 1000";
        let mut published =
            envelope("p", version, world.script(&format!("p/{version}/program"), script));
        published.packages = [("data".parse().unwrap(), theirs.clone())].into();
        world.publish(&published).await;
    };
    publish("1.0.0").await;
    let machine = Machine::start(&world).await;
    let object = || "mine/data.txt".parse().unwrap();
    let packages =
        [("data".parse().unwrap(), object()), ("extra".parse().unwrap(), object())].into();
    let installed = machine.install(InstallRequest { packages, ..install("p") }).await;
    let id = installed.installation;
    machine.done(create(&id, true)).await;
    // The name gets other content; what was pinned is what was there then.
    world.objects.delete(&object()).unwrap();
    world.object("mine/data.txt", b"other");
    publish("1.1.0").await;
    machine.done(update(&id)).await;
    let body = machine.node.node().installation(&id).await.unwrap();
    let pin = &body.overrides.packages[&"data".parse().unwrap()];
    assert_eq!(
        (pin.digest, body.version.to_string()),
        (model::Digest::of(b"mine"), "1.1.0".into())
    );
    let OperationResult::Instance(second) = machine.done(create(&id, true)).await else { panic!() };
    let log = machine.instance_dir(&second.instance).join("logs/stdout");
    assert_eq!(line_in(&log).await, "minemine");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_where_it_is_told_to_and_never_to_another_application() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    world.publish_script("p", "1.1.0", "exec sleep 1001").await;
    world.publish_script("q", "9.0.0", "exec sleep 1002").await;
    let machine = Machine::start(&world).await;
    let request = InstallRequest { reference: "demo/p@1.0.0".parse().unwrap(), ..install("p") };
    let id = machine.install(request).await.installation;
    // The reference says 1.0.0, so there is nothing newer.
    assert_eq!(machine.refused(update(&id)).await.code, Code::NothingNew);
    let error = machine.refused(update_to(&id, "demo/q")).await;
    assert_eq!(error.code, Code::OtherTitle, "{error:#?}");
    assert_eq!(machine.refused(update_to(&id, "demo/p@^2")).await.code, Code::NoVersion);
    let version = async || machine.node.node().installation(&id).await.unwrap().version.to_string();
    machine.done(update_to(&id, "demo/p")).await;
    assert_eq!(version().await, "1.1.0");
    // Further updates follow the new reference; backwards only when told to, into a directory of its own.
    world.publish_script("p", "1.2.0", "exec sleep 1003").await;
    machine.done(update(&id)).await;
    assert_eq!(version().await, "1.2.0");
    machine.done(update_to(&id, "demo/p@1.0.0")).await;
    assert_eq!(version().await, "1.0.0");
    let versions = names_in(&machine.installation_dir(&id));
    let versions: Vec<_> = versions.iter().filter(|name| name.contains('-')).collect();
    assert_eq!(versions, ["1-1.0.0", "2-1.1.0", "3-1.2.0", "4-1.0.0"]);
    assert_eq!(machine.refused(update_to(&id, "demo/p@1.0.0")).await.code, Code::NothingNew);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_many_entries_is_unpacked_whole() {
    let world = World::start().await;
    let names: Vec<String> = (0..50_000).map(|n| format!("d{}/f{n}", n % 100)).collect();
    let entries: Vec<TarEntry<'_>> =
        names.iter().map(|name| (name.as_str(), b'0', "", &b""[..], 0o644)).collect();
    let pin = world.object("many/data.tar", &tar(&entries));
    publish_with(&world, "many", pin).await;
    let machine = Machine::start(&world).await;
    let id = machine.install(install("many")).await.installation;
    let data = machine.installation_dir(&id).join("1-1.0.0/packages/data");
    assert_eq!(names_in(&data).len(), 100);
    assert_eq!(names_in(&data.join("d99")).len(), 500);
    let manifest =
        std::fs::read_to_string(data.canonicalize().unwrap().join("../manifest")).unwrap();
    let last = manifest.lines().last().unwrap();
    assert!(last.starts_with("{\"entries\":50000,\"sha256\":\""), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_space_and_nothing_is_left_on_it() {
    let world = World::start().await;
    let root = world.dir.path().join("small");
    std::fs::create_dir(&root).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "none"])
        .arg(&root)
        .output();
    if !mounted.is_ok_and(|done| done.status.success()) {
        println!("skipped: this account may not mount a small disk");
        return;
    }
    let _unmount = Unmount(root.clone());
    let archive = tar(&[("a", b'0', "", &noise(1_900_000, 7), 0o644)]);
    // Without a measure only the bytes to download are known before: it is found out on the way.
    let on_the_way = world.object("way/data.tar", &archive);
    publish_with(&world, "way", on_the_way.clone()).await;
    // With one, nothing is even begun.
    let mut measured = world.object("before/data.tar", &noise(4_000_000, 8));
    measured.measured = None;
    publish_with(&world, "before", measured.clone()).await;
    let cable = Cable::to(&world.address).await;
    let machine = Machine::start_at(&root, &cable.address).await;
    let error = machine.refused(Change::Install(install("before"))).await;
    assert_eq!(error.code, Code::NoSpace, "{error:#?}");
    assert!(cable.count() < 20_000, "{} bytes", cable.count());
    assert_absent(&machine, &measured, false);
    let error = machine.refused(Change::Install(install("way"))).await;
    assert_eq!(error.code, Code::NoSpace, "{error:#?}");
    assert!(error.hint.is_some());
    assert_absent(&machine, &on_the_way, false);
    assert_no_installation(&machine, "way");
    // It was the disk's fault and not the node's: what fits is installed.
    world.publish_script("p", "1.0.0", "exec sleep 1000").await;
    machine.running("p").await;
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
