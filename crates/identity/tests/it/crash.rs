//! The process dies or the power goes at every operation on the disk: whoever was somebody is somebody, and
//! the same command again does what it should have done.

use std::path::Path;

use durable::Disk;
use durable::faults::{PowerCut, Recorder, Script};
use identity::{Home, HomeError};

use crate::home::{at, founded, name, unlocked, wish};
use crate::world::*;

/// A change of a directory that lies ready, and what is true after it.
struct Case {
    title: &'static str,
    prepare: fn(&Path) -> String,
    /// Takes what `prepare` gave.
    change: fn(&Home, &str) -> Result<(), HomeError>,
    /// Who it is before, at every moment.
    before: Option<&'static str>,
    after: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        title: "found",
        prepare: |_| String::new(),
        change: |home, _| match home.found(&"acme/admin".parse().unwrap(), *NOW) {
            // It was done, and nobody heard of it.
            Err(HomeError::Taken { .. }) => Ok(()),
            outcome => outcome,
        },
        before: None,
        after: "acme/admin",
    },
    Case {
        title: "accept",
        prepare: |dir| {
            let request = at(dir).request(true).unwrap();
            let elsewhere = tempfile::tempdir().unwrap();
            founded(elsewhere.path()).extend(&request, &wish("acme/alice", true), *NOW).unwrap()
        },
        change: |home, answer| match home.accept(answer, *NOW).map(drop) {
            Err(HomeError::NotAsked { .. }) if home.identity(*NOW)?.is_some() => Ok(()),
            outcome => outcome,
        },
        before: None,
        after: "acme/alice",
    },
    Case {
        title: "rotate the leaf",
        prepare: |dir| founded_in(dir),
        change: |home, _| home.rotate_leaf(*NOW).map(drop),
        before: Some("acme/admin"),
        after: "acme/admin",
    },
    Case {
        title: "rotate the signing certificate",
        prepare: |dir| founded_in(dir),
        change: |home, _| home.rotate_signing(*NOW).map(drop),
        before: Some("acme/admin"),
        after: "acme/admin",
    },
    Case {
        title: "rotate the root",
        prepare: |dir| founded_in(dir),
        change: |home, _| {
            home.begin_root(*NOW)?;
            home.switch_root(*NOW)?;
            home.finish_root(*NOW)
        },
        before: Some("acme/admin"),
        after: "acme/admin",
    },
];

fn founded_in(dir: &Path) -> String {
    founded(dir);
    String::new()
}

/// Whoever it was or becomes, and able to go on.
fn check(case: &Case, dir: &Path, given: &str, when: &str) {
    let home = at(dir);
    let found = home.identity(*NOW);
    let found = found.unwrap_or_else(|error| panic!("{}, {when}: {error:?}", case.title));
    let found = found.map(|identity| identity.who.leaf.principal.to_string());
    let fine = found.as_deref() == case.before || found.as_deref() == Some(case.after);
    assert!(fine, "{}, {when}: {found:?}", case.title);
    let again = (case.change)(&home, given);
    assert!(again.is_ok(), "{}, {when}, again: {again:?}", case.title);
    assert_eq!(name(&home), case.after, "{}, {when}", case.title);
    // It may name others, who are believed.
    let other = tempfile::tempdir().unwrap();
    let (other, own) = (at(other.path()), format!("{}/x", case.after));
    let given = case.after == "acme/alice" || home.issuer().unwrap().is_some();
    assert!(given, "{}, {when}", case.title);
    let own = if case.after == "acme/admin" { "acme/x".to_owned() } else { own };
    let answer = home.extend(&other.request(false).unwrap(), &wish(&own, false), *NOW).unwrap();
    assert_eq!(other.accept(&answer, *NOW).unwrap().leaf.principal.as_str(), own);
}

#[test]
fn a_kill_at_any_operation_leaves_who_it_was_and_the_command_can_be_given_again() {
    for case in &CASES {
        let mut deaths = 0;
        for at in 0.. {
            let scratch = tempfile::tempdir().unwrap();
            let dir = scratch.path().join("identity");
            let given = (case.prepare)(&dir);
            let recorder = Recorder::new(scratch.path()).unwrap();
            let open = || Home::on(Disk::create_recorded(&dir, &recorder).unwrap(), None);
            let home = unlocked(open);
            recorder.play(Script::Kill { at });
            let outcome = (case.change)(&home, &given);
            let over = recorder.tried() <= at;
            drop(home);
            recorder.play(Script::Nothing);
            check(case, &dir, &given, &format!("killed at {at}"));
            if over {
                assert!(outcome.is_ok(), "{}: {outcome:?}", case.title);
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 3, "{}: only {deaths} operations", case.title);
    }
}

#[test]
fn a_power_cut_at_any_operation_does_too() {
    for case in &CASES {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("identity");
        let given = (case.prepare)(&dir);
        let recorder = Recorder::new(scratch.path()).unwrap();
        let home = unlocked(|| Home::on(Disk::create_recorded(&dir, &recorder).unwrap(), None));
        (case.change)(&home, &given).unwrap();
        drop(home);
        let mut states = 0;
        for (prefix, state) in PowerCut::new(recorder.log(), 7, 2).states() {
            let left = tempfile::tempdir().unwrap();
            state.materialise(left.path()).unwrap();
            check(
                case,
                &left.path().join("identity"),
                &given,
                &format!("power cut after {prefix}"),
            );
            states += 1;
        }
        assert!(states >= 5, "{}: only {states} states", case.title);
    }
}
