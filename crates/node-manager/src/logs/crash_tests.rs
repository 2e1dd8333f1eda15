//! What a crash leaves of a release: killed and cut off at every operation on the disk, on file systems that
//! take heads out and on those that keep holes. Every line says its own address, so that a line that is found
//! at another one is seen.
#![allow(clippy::disallowed_methods, reason = "tests play the program that prints")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use durable::faults::{PowerCut, Recorder, Script};
use durable::{Disk, LockMode};

use super::reader::PIECE_BYTES;
use super::*;
use crate::layout;

const LINE: u64 = 16;

struct Tree {
    base: tempfile::TempDir,
}

fn id() -> InstanceId {
    "p/1/1".parse().unwrap()
}

fn lines(from: u64, count: u64) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "{:015}", from + n * LINE).unwrap();
        text
    })
}

impl Tree {
    /// With an old run and one that is far over the budget.
    fn new(on: &Path) -> Tree {
        let tree = Tree { base: tempfile::tempdir_in(on).unwrap() };
        let disk = tree.open();
        disk.make_dir(&layout::logs(&id()), 0o755).unwrap();
        fs::write(tree.path(0), lines(0, 50)).unwrap();
        fs::write(tree.path(50 * LINE), lines(50 * LINE, 9000)).unwrap();
        tree
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    fn open(&self) -> Disk {
        Disk::create(&self.root()).unwrap()
    }

    fn path(&self, base: u64) -> PathBuf {
        self.root().join(path(&id(), LogStream::Stdout, base))
    }
}

fn logs(disk: Disk) -> Logs {
    let tenure = disk.try_lock(Path::new("lock"), LockMode::Exclusive).unwrap().unwrap();
    Logs::new(disk, Arc::new(tenure), budget::LEAST)
}

/// Every whole line that is there, by its address; wrong if one is somewhere else, or if one is torn.
fn found(logs: &Logs) -> Result<Vec<u64>, String> {
    let (mut text, mut at, mut found) = (Vec::new(), 0, Vec::new());
    while let Some(piece) = logs.piece(&id(), LogStream::Stdout, at).unwrap() {
        assert!(piece.bytes.len() as u64 <= PIECE_BYTES);
        if piece.place.address != at {
            text.clear();
            // A line of which only the end is there.
            let part = (LINE - piece.place.address % LINE) % LINE;
            let part = usize::try_from(part).unwrap();
            text.extend_from_slice(&piece.bytes[part..]);
        } else {
            text.extend_from_slice(&piece.bytes);
        }
        at = piece.place.address + piece.bytes.len() as u64;
        let mut address = at - text.len() as u64;
        while text.len() as u64 >= LINE {
            let line: Vec<u8> = text.drain(..usize::try_from(LINE).unwrap()).collect();
            if line != format!("{address:015}\n").as_bytes() {
                let line = String::from_utf8_lossy(&line);
                return Err(format!("at {address} is {line:?}"));
            }
            found.push(address);
            address += LINE;
        }
    }
    Ok(found)
}

/// The newest lines are there, each once, and nothing else.
fn assert_whole(logs: &Logs, end: u64, when: &str) -> u64 {
    let found = found(logs).unwrap_or_else(|why| panic!("{when}: {why}"));
    let first = *found.first().unwrap();
    let expected: Vec<u64> = (first..end).step_by(16).collect();
    assert_eq!(found, expected, "{when}");
    first
}

/// File systems: that of the tests (mostly one that takes heads out), and one in memory (which keeps holes).
fn places() -> Vec<PathBuf> {
    let memory = PathBuf::from("/dev/shm");
    std::iter::once(std::env::temp_dir()).chain(memory.is_dir().then_some(memory)).collect()
}

#[test]
fn a_stream_is_brought_within_its_budget_and_each_line_keeps_its_address() {
    for place in places() {
        let tree = Tree::new(&place);
        let logs = logs(tree.open());
        let end = 9050 * LINE;
        assert_eq!(assert_whole(&logs, end, "before"), 0);
        logs.check(&id()).unwrap();
        let first = assert_whole(&logs, end, "after");
        assert!(end - first <= budget::LEAST && end - first >= budget::LEAST * 3 / 4, "{first}");
        assert!(!tree.path(0).exists());
        // Once more, and once more after more was printed.
        logs.check(&id()).unwrap();
        assert_eq!(assert_whole(&logs, end, "again"), first);
        let mut file = File::options().append(true).open(tree.path(50 * LINE)).unwrap();
        file.write_all(lines(end, 9000).as_bytes()).unwrap();
        logs.check(&id()).unwrap();
        let end = 18_050 * LINE;
        assert!(end - assert_whole(&logs, end, "more") <= budget::LEAST);
        assert_eq!(logs.end(&id(), LogStream::Stdout), end);
        logs.begin_run(&id()).unwrap();
        assert!(tree.path(end).exists());
    }
}

#[test]
fn a_kill_at_any_operation_loses_no_line_and_moves_none_while_the_program_prints_on() {
    for place in places() {
        for at in 0.. {
            let tree = Tree::new(&place);
            let recorder = Recorder::new(tree.base.path()).unwrap();
            let disk = Disk::open_recorded(&tree.root(), &recorder).unwrap();
            let killed = logs(disk);
            recorder.play(Script::Kill { at });
            let (stop, mut end) = (AtomicBool::new(false), 9050 * LINE);
            let over = std::thread::scope(|scope| {
                let printer = scope.spawn(|| {
                    let file = tree.path(50 * LINE);
                    let mut file = File::options().append(true).open(file).unwrap();
                    let mut at = 9050 * LINE;
                    while !stop.load(Ordering::Relaxed) {
                        file.write_all(lines(at, 3).as_bytes()).unwrap();
                        at += 3 * LINE;
                    }
                    at
                });
                let outcome = killed.check(&id());
                stop.store(true, Ordering::Relaxed);
                end = printer.join().unwrap();
                outcome.is_ok()
            });
            drop(killed);
            recorder.play(Script::Nothing);
            let logs = logs(tree.open());
            let when = format!("killed at {at}");
            assert_whole(&logs, end, &when);
            logs.check(&id()).unwrap();
            let first = assert_whole(&logs, end, &when);
            assert!(end - first <= budget::LEAST, "{when}");
            if over {
                assert!(at > 3, "{at} operations");
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_operation_moves_no_line_and_each_sync_is_needed_for_that() {
    let tree = Tree::new(&std::env::temp_dir());
    let recorder = Recorder::new(tree.base.path()).unwrap();
    let logs_here = logs(Disk::open_recorded(&tree.root(), &recorder).unwrap());
    if !logs_here
        .inner
        .disk
        .open_appended(&path(&id(), LogStream::Stdout, 0))
        .unwrap()
        .unwrap()
        .can_collapse()
    {
        return; // positions never move here
    }
    recorder.start_over(tree.base.path()).unwrap();
    logs_here.check(&id()).unwrap();
    let log = recorder.log();
    let wrong = |log: &durable::faults::Log| {
        PowerCut::new(log.clone(), 0x10c5, 2).states().find_map(|(prefix, state)| {
            let scratch = tempfile::tempdir().unwrap();
            state.materialise(scratch.path()).unwrap();
            let root = scratch.path().join("root");
            let logs = logs(Disk::open(&root).unwrap());
            let check = |when| {
                let found = found(&logs).map_err(|why| format!("{when}: {why}"))?;
                let last = found.last().copied();
                (last == Some(9049 * LINE))
                    .then_some(())
                    .ok_or(format!("{when}: ends with {last:?}"))
            };
            let right = check("found").and_then(|()| {
                logs.check(&id()).unwrap();
                check("recovered")
            });
            right.err().map(|why| format!("cut at {prefix}: {why}"))
        })
    };
    assert_eq!(wrong(&log), None);
    let syncs = log.syncs();
    // The very last one is for who comes after: without it the record still says what the hole says.
    for sync in &syncs[..syncs.len() - 1] {
        let is_of_removed = matches!(log.ops[sync - 1], durable::faults::Op::Unlink { .. });
        if !is_of_removed {
            assert!(wrong(&log.without(*sync)).is_some(), "nothing needs {:?}", log.ops[*sync]);
        }
    }
}

#[test]
fn what_a_program_puts_in_the_way_is_neither_followed_nor_released() {
    let tree = Tree::new(&std::env::temp_dir());
    let victim = tree.root().join("victim");
    fs::write(&victim, lines(0, 9000)).unwrap();
    fs::remove_file(tree.path(50 * LINE)).unwrap();
    fs::hard_link(&victim, tree.path(50 * LINE)).unwrap();
    std::os::unix::fs::symlink(&victim, tree.path(1 << 30)).unwrap();
    fs::create_dir(tree.path(1 << 31)).unwrap();
    let logs = logs(tree.open());
    let _ = logs.check(&id());
    assert_eq!(fs::read_to_string(&victim).unwrap(), lines(0, 9000));
    assert_eq!(logs.end(&id(), LogStream::Stdout), 9050 * LINE);
    for name in 0..3000 {
        fs::write(tree.path(7_000_000 + name), "x").unwrap();
    }
    assert!(Streams::read(&logs.inner.disk, &id()).unwrap().stdout.runs().len() <= 1024);
}
