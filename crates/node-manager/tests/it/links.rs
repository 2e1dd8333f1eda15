//! Records and links of installations and instances: what is damaged of them is named, what can be told from
//! what is there is put right, and what comes and goes in the meantime is no damage.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use wire::v1::DamageBody;

use crate::machine::{Machine, install, uninstall};
use crate::repair::{chmod, publish, repaired, tree, verified};
use crate::world::World;

fn lines(damages: &[DamageBody]) -> Vec<String> {
    let line = |damage: &DamageBody| {
        let path = damage.path.clone().unwrap_or_default();
        format!("{} {}: {path}: {}", damage.kind, damage.name, damage.what)
    };
    damages.iter().map(line).collect()
}

/// Is one line about the thing of this kind and name, at a path with this end, with these words?
fn says(damages: &[DamageBody], about: &str, end: &str, words: &str) -> bool {
    let found = lines(damages);
    let is = |line: &&String| {
        line.starts_with(&format!("{about}: ")) && line.contains(&format!("{end}: {words}"))
    };
    found.iter().find(is).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_links_of_installations_and_instances_are_damage_and_lead_again_where_they_did() {
    let world = World::start().await;
    let (pin, _) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("a").await;
    let (version, instance) =
        (machine.installation_dir(&id.installation).join("1-1.0.0"), machine.instance_dir(&id));
    let links = [
        version.join("packages/tree"),
        version.join("packages/notes"),
        version.parent().unwrap().join("current"),
        instance.join("packages/1-1.0.0/tree"),
        instance.join("packages/1-1.0.0/notes"),
        instance.join("version"),
    ];
    let leads: Vec<PathBuf> = links.iter().map(|link| fs::read_link(link).unwrap()).collect();
    for link in &links {
        fs::remove_file(link).unwrap();
    }
    symlink("elsewhere", &links[1]).unwrap();
    fs::create_dir(&links[4]).unwrap();
    for name in ["bin", "pkg/tree"] {
        fs::remove_file(version.join(name)).unwrap();
    }
    // The tree that nothing leads to any more is known to be missing all the same.
    let path = tree(&machine.root, &pin);
    crate::world::make_removable(&path);
    fs::remove_dir_all(&path).unwrap();
    let found = verified(&machine).await.damages;
    for (about, end, words) in [
        ("installation a/1", "1-1.0.0/packages/tree", "it is missing"),
        ("installation a/1", "1-1.0.0/packages/notes", "it leads to `elsewhere`"),
        ("installation a/1", "installation-1/current", "it is missing"),
        ("instance a/1/1", "packages/1-1.0.0/tree", "it is missing"),
        ("instance a/1/1", "packages/1-1.0.0/notes", "it is a directory"),
        ("instance a/1/1", "instance-1/version", "it is missing"),
    ] {
        assert!(says(&found, about, end, words), "{about} {end}: {:#?}", lines(&found));
    }
    assert_eq!(found.len(), 9, "{:#?}", lines(&found));
    let mended = repaired(&machine).await;
    assert_eq!((mended.damaged, mended.blobs, mended.names), (0, 0, 8), "{mended:#?}");
    for (link, leads) in links.iter().zip(leads) {
        assert_eq!(fs::read_link(link).unwrap(), leads);
    }
    assert_eq!(verified(&machine).await.damaged, 0);
    assert!(version.join("packages/tree/d/run").exists() && version.join("bin").exists());
    crate::store::collect(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_of_an_installation_is_damage_with_its_name_and_stays_named() {
    let world = World::start().await;
    publish(&world, "a", "1.0.0").await;
    publish(&world, "b", "1.0.0").await;
    let machine = Machine::start(&world).await;
    let (a, b) = (machine.running("a").await, machine.running("b").await);
    let dir = machine.installation_dir(&a.installation);
    let app = machine.installation_dir(&b.installation).parent().unwrap().to_owned();
    fs::write(dir.join("1-1.0.0/envelope"), "nothing").unwrap();
    fs::write(dir.join("config"), "nothing").unwrap();
    fs::remove_file(dir.join("origin")).unwrap();
    fs::write(app.join("info"), "nothing").unwrap();
    for damages in [verified(&machine).await.damages, repaired(&machine).await.damages] {
        for (about, end, words) in [
            ("installation a/1".to_owned(), "1-1.0.0/envelope", "`a/1` cannot be used: the record"),
            ("installation a/1".to_owned(), "config", "it is damaged"),
            ("installation a/1".to_owned(), "origin", "it is missing"),
            (
                format!("installation {}", app.file_name().unwrap().display()),
                "info",
                "it is damaged",
            ),
        ] {
            assert!(says(&damages, &about, end, words), "{about} {end}: {:#?}", lines(&damages));
        }
    }
}

/// Verifying and repairing all the time, while installations with shared content come and go, finds and
/// leaves nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_goes_in_the_meantime_is_no_damage() {
    let world = World::start().await;
    for title in ["a", "b"] {
        publish(&world, title, "1.0.0").await;
    }
    let machine = std::sync::Arc::new(Machine::start(&world).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let checker = tokio::spawn({
        let (machine, stop) = (machine.clone(), stop.clone());
        async move {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let found = verified(&machine).await;
                assert_eq!(found.damaged, 0, "{found:#?}");
                let mended = repaired(&machine).await;
                let did = mended.blobs + mended.names + mended.entries + mended.damaged;
                assert_eq!(did, 0, "{mended:#?}");
            }
        }
    });
    let user = async |title: &'static str| {
        for _ in 0..12 {
            let id = machine.running(title).await;
            machine.done(crate::machine::delete(&id, true)).await;
            machine.done(uninstall(&id.installation)).await;
        }
    };
    futures_util::future::join(user("a"), user("b")).await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    checker.await.unwrap();
}

/// A version that is laid out while its blob is replaced must not keep the file that was wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_while_a_blob_is_mended_has_the_right_one() {
    let world = World::start().await;
    let (_, notes) = publish(&world, "a", "1.0.0").await;
    let machine = Machine::start(&world).await;
    machine.install(install("a")).await;
    let blob = crate::repair::blob(&machine.root, &notes);
    for _ in 0..ROUNDS {
        chmod(&blob, 0o644);
        fs::write(&blob, "wrong").unwrap();
        chmod(&blob, 0o444);
        let installing = async {
            for _ in 0..4 {
                machine.install(install("a")).await;
            }
        };
        let (mended, ()) = futures_util::future::join(repaired(&machine), installing).await;
        assert_eq!((mended.blobs, mended.damaged), (1, 0), "{mended:#?}");
        let found = verified(&machine).await;
        assert_eq!(found.damaged, 0, "{found:#?}");
    }
}

const ROUNDS: usize = 3;
