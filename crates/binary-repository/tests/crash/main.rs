//! What a kill, a failing disk and a power cut leave, at every operation on the disk and at every call of
//! the catalog: a restart finds whole objects and uploads that go on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the test damages what the repository wrote")]

mod mortal;
mod workload;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use binary_repository::catalog::sqlite::Sqlite;
use durable::Disk;
use durable::faults::{PowerCut, Recorder, Script};

use mortal::{Commit, Death, Mortal, When};
use workload::{Run, STEPS, Size, check};

#[test]
fn a_kill_at_any_operation_of_the_disk_leaves_whole_objects_and_uploads_that_go_on() {
    for size in [Size::Small, Size::TwoParts] {
        let deaths = each_death(|at| Run::prepare(Death::Disk { at }, size, None));
        assert!(deaths > 40, "only {deaths} operations");
    }
}

#[test]
fn a_kill_before_or_after_any_call_of_the_catalog_does_too() {
    for when in [When::Before, When::After] {
        let deaths = each_death(|at| Run::prepare(Death::Catalog { at, when }, Size::Small, None));
        assert!(deaths > 40, "only {deaths} calls");
    }
}

#[test]
fn a_disk_that_fails_once_is_a_clean_error_and_the_same_request_again_succeeds() {
    for at in 0.. {
        let run = Run::prepare(Death::Never, Size::Small, None);
        run.recorder().play(Script::FailOnce { at, errno: ENOSPC });
        let done = run.go_on_from(0);
        let over = run.recorder().tried() <= at;
        // Without a restart: what failed is asked for again; staged bytes that were lost are sent again.
        let again = run.go_on_from(run.go_on_from(done));
        assert_eq!(again, STEPS.len(), "after a failure at {at}");
        run.restart_and_check(STEPS.len(), &format!("operation {at} failed once"));
        if over {
            assert_eq!(done, STEPS.len());
            break;
        }
    }
}

/// The catalog is SQLite's promise: what was committed when the power went is there. The disk may be in
/// any state that its log allows.
#[test]
fn a_power_cut_at_any_moment_leaves_whole_objects_and_uploads_that_go_on() {
    let commits = Shared::<Vec<Commit>>::default();
    let run = Run::prepare(Death::Never, Size::Small, Some(commits.clone()));
    let ends: Vec<(usize, usize)> = (0..STEPS.len())
        .map(|step| {
            run.step(step).unwrap_or_else(|why| panic!("step {step}: {why}"));
            (run.recorder().len(), commits.lock().unwrap().len())
        })
        .collect();
    let commits = commits.lock().unwrap();
    let mut states = 0;
    for (prefix, state) in PowerCut::new(run.recorder().log(), SEED, 6).states() {
        // The last commit before the last operation, and the last one before the next.
        let before = commits.iter().rposition(|commit| commit.operations < prefix);
        let after = commits.iter().rposition(|commit| commit.operations <= prefix);
        let moments = [before, after.filter(|after| Some(*after) != before)];
        for moment in moments.into_iter().flatten() {
            let scratch = tempfile::tempdir().unwrap();
            state.materialise(scratch.path()).unwrap();
            let database = scratch.path().join("catalog.sqlite");
            commits[moment].restore(&database);
            let is_over = |end: &&(usize, usize)| end.0 <= prefix && end.1 <= moment + 1;
            let done = ends.iter().filter(is_over).count();
            let recorder = Recorder::new(scratch.path()).unwrap();
            let data = scratch.path().join("data");
            let disk = Disk::open_recorded(&data, &recorder).unwrap();
            let catalog = Arc::new(Sqlite::open(&database).unwrap());
            let when = format!("power cut after {prefix} operations and {moment} commits");
            check(disk, &catalog, &data, done, Size::Small, &when);
            states += 1;
        }
    }
    assert!(states > 100, "only {states} states");
    println!("{states} states");
}

/// Kills a run at every turn until one survives; how many died.
fn each_death(prepare: impl Fn(usize) -> Run) -> usize {
    for at in 0.. {
        let run = prepare(at);
        let done = run.go_on_from(0);
        let survived = run.survived();
        run.restart_and_check(done, &format!("killed at {at}"));
        if survived {
            assert_eq!(done, STEPS.len());
            return at;
        }
    }
    unreachable!("the workload ends")
}

fn mortal(
    recorder: &Recorder,
    death: Death,
    catalog: Sqlite,
    commits: Option<(PathBuf, Shared<Vec<Commit>>)>,
) -> Arc<Mortal> {
    Arc::new(Mortal::new(recorder.clone(), death, catalog, commits))
}

type Shared<T> = Arc<Mutex<T>>;

const ENOSPC: i32 = 28;
const SEED: u64 = 0x6665_7474_6c65;
