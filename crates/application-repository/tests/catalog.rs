//! The conformance suite of the catalog: what every implementation of [`Catalog`] must do, races
//! included. Each test gets an empty catalog and knows nothing of what is behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use application_repository::Published;
use application_repository::catalog::sqlite::{OpenCatalogError, Sqlite};
use application_repository::catalog::{Catalog, Removal};
use model::{
    AppName, Caller, Digest, Envelope, MediaInfo, Pin, Policies, Program, RestartPolicy, Timestamp,
    Version,
};

macro_rules! conformance {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().unwrap();
                super::$test(&super::Sqlite::open(&dir.path().join("catalog.sqlite")).unwrap());
            })*
        }
    };
}

conformance! {
    what_is_published_is_there_and_the_same_again_changes_nothing
    all_envelopes_are_published_or_none
    a_removed_version_is_remembered_and_comes_back_only_as_it_was
    applications_are_listed_in_pages_by_prefix
    of_many_threads_that_publish_one_version_one_wins
    publishing_and_removing_take_turns
}

fn what_is_published_is_there_and_the_same_again_changes_nothing(c: &dyn Catalog) {
    let (a, b) = (published("1.0.0", "a", "x"), published("1.0.0", "b", "x"));
    assert!(c.publish(&[b.clone(), a.clone()]).unwrap());
    let later = Published { created: Timestamp::from_millis(9), ..a.clone() };
    assert!(c.publish(&[later]).unwrap());
    assert_eq!(c.version(&app(), &Version::new(1, 0, 0)).unwrap(), [a.clone(), b]);
    assert_eq!(c.envelope(&app(), &a.envelope.version, &a.envelope.profile).unwrap(), Some(a));
    assert_eq!(c.entries(&app()).unwrap().unwrap().len(), 2);
    assert_eq!(c.entries(&"other".parse().unwrap()).unwrap(), None);
    assert_eq!(c.version(&app(), &Version::new(1, 0, 1)).unwrap(), []);
}

fn all_envelopes_are_published_or_none(c: &dyn Catalog) {
    assert!(c.publish(&[published("1.0.0", "b", "x")]).unwrap());
    let mixed = [published("1.0.0", "a", "x"), published("1.0.0", "b", "y")];
    assert!(!c.publish(&mixed).unwrap());
    assert_eq!(c.entries(&app()).unwrap().unwrap().len(), 1);
}

fn a_removed_version_is_remembered_and_comes_back_only_as_it_was(c: &dyn Catalog) {
    let one = published("1.0.0", "a", "x");
    let (version, profile) = (&one.envelope.version, &one.envelope.profile);
    assert_eq!(c.remove(&app(), version).unwrap(), Removal::NoApplication);
    c.publish(std::slice::from_ref(&one)).unwrap();
    assert_eq!(c.remove(&app(), &Version::new(1, 0, 1)).unwrap(), Removal::NoVersion);
    for _ in 0..2 {
        assert_eq!(c.remove(&app(), version).unwrap(), Removal::Removed(vec![profile.clone()]));
    }
    assert_eq!(c.envelope(&app(), version, profile).unwrap(), None);
    assert_eq!(c.entries(&app()).unwrap(), Some(vec![]), "it is known, and empty");
    assert_eq!(c.version(&app(), version).unwrap(), [Published { removed: true, ..one.clone() }]);
    assert!(!c.publish(&[published("1.0.0", "a", "y")]).unwrap());
    assert!(c.publish(std::slice::from_ref(&one)).unwrap());
    assert_eq!(c.envelope(&app(), version, profile).unwrap(), Some(one));
}

fn applications_are_listed_in_pages_by_prefix(c: &dyn Catalog) {
    for name in ["b", "a/x", "a", "a/y", "a0", "gone"] {
        let mut one = published("1.0.0", "p", "x");
        one.envelope.application = name.parse().unwrap();
        c.publish(&[one.clone()]).unwrap();
        one.envelope.profile = "q".parse().unwrap();
        c.publish(&[one]).unwrap();
    }
    c.remove(&"gone".parse().unwrap(), &Version::new(1, 0, 0)).unwrap();
    let list = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let after: Option<AppName> = after.map(|name| name.parse().unwrap());
        let page = c.applications(prefix, after.as_ref(), limit).unwrap();
        page.iter().map(ToString::to_string).collect()
    };
    assert_eq!(list("", None, 9), ["a", "a/x", "a/y", "a0", "b"]);
    assert_eq!(list("", None, 2), ["a", "a/x"]);
    assert_eq!(list("", Some("a/x"), 2), ["a/y", "a0"]);
    assert_eq!(list("a/", None, 9), ["a/x", "a/y"]);
    assert_eq!(list("a/", Some("a/x"), 9), ["a/y"]);
    assert_eq!(list("c", None, 9), Vec::<String>::new());
}

fn of_many_threads_that_publish_one_version_one_wins(c: &dyn Catalog) {
    for round in 0..10 {
        let version = format!("{round}.0.0");
        let rivals: Vec<Published> =
            (0..8).map(|n| published(&version, "a", &n.to_string())).collect();
        let won = at_once(&rivals, |one| c.publish(std::slice::from_ref(one)).unwrap());
        let winners: Vec<usize> = (0..8).filter(|&n| won[n]).collect();
        assert_eq!(winners.len(), 1);
        let there = c.version(&app(), &version.parse().unwrap()).unwrap();
        assert_eq!(there, [rivals[winners[0]].clone()]);
    }
}

fn publishing_and_removing_take_turns(c: &dyn Catalog) {
    for round in 0..20 {
        let version: Version = format!("{round}.0.0").parse().unwrap();
        let pair = ["a", "b"].map(|profile| published(&version.to_string(), profile, "x"));
        at_once(&[true, false], |publish| match publish {
            true => assert!(c.publish(&pair).unwrap()),
            false => drop(c.remove(&app(), &version).unwrap()),
        });
        let there = c.version(&app(), &version).unwrap();
        assert!(there.len() == 2 && there[0].removed == there[1].removed, "{there:?}");
    }
}

#[test]
fn a_catalog_of_a_newer_fettle_is_left_alone_and_tables_of_others_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.sqlite");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         INSERT INTO meta VALUES ('binary-repository schema', 99);",
    )
    .unwrap();
    drop(Sqlite::open(&path).unwrap());
    file.execute("UPDATE meta SET value = 99", ()).unwrap();
    assert!(matches!(Sqlite::open(&path), Err(OpenCatalogError::TooNew { found: 99, .. })));
}

fn app() -> AppName {
    "demo/weather".parse().unwrap()
}

fn published(version: &str, profile: &str, arg: &str) -> Published {
    let pin = Pin {
        object: "tool".parse().unwrap(),
        digest: Digest::of(b"tool"),
        size: 4,
        media: MediaInfo::from_file_name(""),
        measured: None,
        writable: false,
    };
    let envelope = Envelope {
        application: app(),
        version: version.parse().unwrap(),
        profile: profile.parse().unwrap(),
        title: "weather".parse().unwrap(),
        program: Program::Object(pin),
        args: vec![arg.to_owned()],
        env: BTreeMap::new(),
        packages: BTreeMap::new(),
        restart: RestartPolicy::default(),
        policies: Policies::default(),
    };
    let (created, created_by) = (Timestamp::from_millis(1), Caller::Uid(7));
    Published { envelope, created, created_by, removed: false }
}

/// Does something with each item, all at the same time.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let barrier = Barrier::new(items.len());
    thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .map(|item| {
                scope.spawn(|| {
                    barrier.wait();
                    work(item)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
