//! What a crash leaves: every workload killed, failed and cut off at every operation.
//!
//! A workload runs once undisturbed and is observed after each step. Whatever happens to it later,
//! recovery must find what was observed after the steps that returned `Ok`, or after the one step more
//! that was under way, and nothing else.
#![allow(clippy::disallowed_methods, reason = "tests damage what the verbs then mend")]

#[path = "../common/mod.rs"]
mod common;
mod harness;
mod logged;
mod workloads;

use std::collections::HashSet;

use common::Scratch;
use durable::Disk;
use durable::faults::{PowerCut, Script};
use harness::{Run, Workload};
use rustix::io::Errno;

#[test]
fn a_kill_at_any_operation_leaves_the_old_state_or_the_new_one() {
    for workload in workloads::all() {
        let expected = workload.expected();
        for at in 0.. {
            let run = Run::prepare(&workload);
            run.recorder.play(Script::Kill { at });
            let done = run.go_on_from(0).unwrap_or_else(|failed| failed.done);
            let over = run.recorder.tried() <= at;
            run.recorder.play(Script::Nothing);
            let run = run.reopen();
            run.assert_recovered(&expected, done, &format!("killed at operation {at}"));
            run.assert_completes(&expected, done, &format!("repeated after a kill at {at}"));
            if over {
                assert_eq!(done, workload.steps.len());
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_the_old_state_or_the_new_one() {
    for workload in workloads::all() {
        let expected = workload.expected();
        let (run, ends) = Run::whole(&workload);
        let states = harness::violations(&workload, &expected, run.recorder.log(), &ends, |why| {
            panic!("{}: {why}", workload.name)
        });
        println!("{}: {} operations, {states} states", workload.name, run.recorder.len());
    }
}

#[test]
fn every_single_sync_is_needed() {
    for workload in workloads::first_times() {
        let expected = workload.expected();
        let (run, ends) = Run::whole(&workload);
        let log = run.recorder.log();
        for sync in log.syncs() {
            let ends: Vec<usize> = ends.iter().map(|&end| end - usize::from(end > sync)).collect();
            let mut found = None;
            harness::violations(&workload, &expected, log.without(sync), &ends, |why| {
                found = Some(why);
                false
            });
            assert!(
                found.is_some(),
                "{}: nothing needs operation {sync}, {:?}",
                workload.name,
                log.ops[sync]
            );
        }
    }
}

#[test]
fn a_failing_disk_is_a_clean_error_and_leaves_the_old_state_or_the_new_one() {
    for workload in workloads::all() {
        let expected = workload.expected();
        for (errno, from_there_on) in
            [(Errno::NOSPC, false), (Errno::NOSPC, true), (Errno::IO, false)]
        {
            fail_at_every_operation(&workload, &expected, errno, from_there_on);
        }
    }
}

fn fail_at_every_operation(
    workload: &Workload,
    expected: &[String],
    errno: Errno,
    from_there_on: bool,
) {
    for at in 0.. {
        let run = Run::prepare(workload);
        let errno_number = errno.raw_os_error();
        run.recorder.play(if from_there_on {
            Script::FailFrom { at, errno: errno_number }
        } else {
            Script::FailOnce { at, errno: errno_number }
        });
        let outcome = run.go_on_from(0);
        let over = run.recorder.tried() <= at;
        run.recorder.play(Script::Nothing);
        let done = match outcome {
            Ok(done) => done,
            Err(failed) => {
                let error = failed.error;
                assert_eq!(error.is_no_space(), errno == Errno::NOSPC, "{error}");
                assert!(error.path().starts_with(run.scratch.path()), "{error}");
                assert!(error.to_string().starts_with("cannot "), "{error}");
                failed.done
            }
        };
        let when = format!("operation {at} failed with {errno:?}, on: {from_there_on}");
        if over {
            assert_eq!(done, workload.steps.len());
            break;
        }
        let from = run.assert_survived(expected, done, &when);
        run.assert_completes(expected, from, &format!("repeated after {when}"));
    }
}

/// A predecessor did the work and died, or failed, before its last sync. The verb that finds the work
/// done must not say so before it has made it last.
#[test]
fn what_was_found_done_is_made_to_last() {
    for workload in workloads::repeats() {
        let expected = workload.expected();
        let (undisturbed, _) = Run::whole(&workload);
        for at in undisturbed.recorder.log().syncs() {
            let run = Run::prepare(&workload);
            run.recorder.play(Script::FailOnce { at, errno: Errno::IO.raw_os_error() });
            let failed = run.go_on_from(0);
            run.recorder.play(Script::Nothing);
            let Err(failed) = failed else { continue };
            let before = run.recorder.len();
            run.go_on_from(failed.done).expect("the repeat succeeds");
            let log = run.recorder.log();
            run.assert_lasts(&expected, &log, &format!("repeated after failing at {at}"));
            // The second time too, each sync is there for a reason.
            for sync in log.syncs().into_iter().filter(|&sync| sync >= before) {
                assert!(
                    run.lost_at_end(&expected, &log.without(sync)),
                    "{}: after failing at {at} nothing needs {:?}",
                    workload.name,
                    log.ops[sync]
                );
            }
        }
    }
}

/// What a killed process had renamed but not synced is seen by the next one, which may act on it.
#[test]
fn opening_makes_durable_what_a_killed_process_left_unsynced() {
    let workload = workloads::replace();
    let expected = workload.expected();
    let mut needed = false;
    for at in 0.. {
        let run = Run::prepare(&workload);
        run.recorder.play(Script::Kill { at });
        let over = run.go_on_from(0).is_ok();
        run.recorder.play(Script::Nothing);
        let run = run.reopen();
        let log = run.recorder.log();
        let seen = run.observe();
        let states = PowerCut::new(log.clone(), SEED, 8).states_at_end();
        assert!(states.iter().all(|state| harness::observe_state(&workload, state) == seen));
        let opening = *log.syncs().last().expect("opening syncs");
        let states = PowerCut::new(log.without(opening), SEED, 8).states_at_end();
        needed |= states.iter().any(|state| harness::observe_state(&workload, state) != seen);
        assert!(expected.contains(&seen));
        if over {
            break;
        }
    }
    assert!(needed, "opening need not sync");
}

#[test]
fn a_new_tree_lasts_once_it_is_created() {
    let scratch = Scratch::new();
    let recorder = durable::faults::Recorder::new(scratch.path()).expect("an empty directory");
    let root = scratch.path().join("a/b/root");
    let disk = Disk::create_recorded(&root, &recorder).expect("create");
    assert!(disk.root().is_absolute());
    let log = recorder.log();
    let whole = |log| {
        let states: HashSet<_> = PowerCut::new(log, SEED, 16).states_at_end().into_iter().collect();
        states.iter().all(|state| {
            let scratch = Scratch::new();
            state.materialise(scratch.path()).expect("materialise");
            let root = scratch.path().join("a/b/root");
            root.join("staging").is_dir() && Disk::open(&root).is_ok()
        })
    };
    assert!(whole(log.clone()));
    for sync in log.syncs() {
        assert!(!whole(log.without(sync)), "{:?} is not needed", log.ops[sync]);
    }
}

const SEED: u64 = 0x6665_7474_6c65;
