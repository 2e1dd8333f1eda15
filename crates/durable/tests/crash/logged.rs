//! The same verbs on a disk that keeps a log of small writes: they promise what they always do, and so does
//! what becomes of a logged file by other verbs.

use durable::{Disk, DiskError, Seal};

use crate::harness::{Step, Workload, empty_both, everything};
use crate::workloads::{dependent, p, step, together};

/// With a log that was there before.
pub(crate) fn first_times() -> Vec<Workload> {
    let (together, dependent) = (together(), dependent());
    vec![
        logged("log, replace", replaces()),
        logged("log, that is full", until_it_begins_again()),
        logged("log, files that go", files_that_go()),
        logged("log, other names", other_names()),
        logged("log, directories", directories()),
        logged("log, points in directories", points_in_directories()),
        logged("log, names in directories", names_in_directories()),
        Workload {
            name: "log, replace_all",
            setup: |disk| {
                for dir in ["a", "b"] {
                    disk.make_dir(p(dir), 0o755).expect("make_dir");
                }
                keep(disk).expect("log");
                for path in ["a/one", "a/two", "b/three", "b/four"] {
                    disk.replace(p(path), b"old content", 0o600).expect("replace");
                }
            },
            recover,
            steps: after_keeping(together.steps),
            ..together
        },
        Workload {
            name: "log, replace_all, the second not without the first",
            setup: |disk| keep(disk).expect("log"),
            recover,
            steps: after_keeping(dependent.steps),
            ..dependent
        },
    ]
}

/// With one that is made on the way.
pub(crate) fn making() -> Workload {
    Workload {
        setup: |disk| disk.make_dir(p("a"), 0o755).expect("make_dir"),
        ..logged("log, made", replaces())
    }
}

fn logged(name: &'static str, steps: Vec<Step>) -> Workload {
    Workload {
        name,
        setup: |disk| {
            disk.make_dir(p("a"), 0o755).expect("make_dir");
            keep(disk).expect("log");
            // The log of a predecessor is not empty.
            put(disk, "a/one", "of the setup").expect("replace");
        },
        steps: after_keeping(steps),
        recover,
        observe: |disk| {
            let lines = everything(disk);
            lines.lines().filter(|line| !line.starts_with(LOG)).collect::<Vec<_>>().join("\n")
        },
        starts_over: false,
    }
}

fn replaces() -> Vec<Step> {
    vec![
        step(|disk| put(disk, "a/one", "first content")),
        step(|disk| disk.replace(p("a/one"), b"second content, longer", 0o644)),
        step(|disk| put(disk, "fresh", "third")),
        step(|disk| put(disk, "a/one", "4th")),
    ]
}

fn until_it_begins_again() -> Vec<Step> {
    let large = |letter: &str| letter.repeat(usize::try_from(ROOM).unwrap_or(0) / 4 - 200);
    let mut steps = vec![step(|disk| put(disk, "a/small", "small"))];
    for (path, letter) in [("x", "1"), ("y", "2"), ("x", "3"), ("y", "4"), ("x", "5")] {
        let content = large(letter);
        steps.push(step(move |disk| put(disk, path, &content)));
    }
    // What no log takes, over what it has taken; and the other way round.
    let huge = large("6").repeat(2);
    steps.push(step(move |disk| put(disk, "x", &huge)));
    steps.push(step(|disk| put(disk, "x", "small again")));
    steps
}

fn files_that_go() -> Vec<Step> {
    vec![
        step(|disk| put(disk, "a/one", "to be removed")),
        step(|disk| disk.remove(p("a/one"))),
        step(|disk| put(disk, "a/one", "again")),
        step(|disk| disk.set_mode(p("a/one"), 0o640)),
        step(|disk| disk.discard(p("a"))),
        step(|disk| disk.make_dir(p("a"), 0o755)),
        step(|disk| put(disk, "a/three", "the third")),
        step(|disk| {
            let thrown = disk.throw_away(&["a/three".into()])?;
            thrown.into_iter().try_for_each(durable::Thrown::delete)
        }),
    ]
}

/// What becomes of a logged file without the log.
fn other_names() -> Vec<Step> {
    vec![
        step(|disk| put(disk, "a/two", "to be linked")),
        step(|disk| disk.link(p("a/two"), p("linked"))),
        step(|disk| put(disk, "b", "to be another's")),
        step(|disk| disk.relink(p("a/two"), p("b"), || true).map(drop)),
        step(|disk| put(disk, "c", "to be a link")),
        step(|disk| disk.point(p("c"), p("a"))),
    ]
}

fn directories() -> Vec<Step> {
    vec![
        step(|disk| build(disk, "new")),
        step(|disk| put(disk, "new/sub/file", "written later")),
        step(|disk| build(disk, "new/sub/inner")),
        step(|disk| disk.discard(p("new/sub"))),
        step(|disk| build(disk, "other")),
        step(|disk| disk.discard(p("other"))),
    ]
}

/// What is made without the log in a directory that lasts by the log alone.
fn points_in_directories() -> Vec<Step> {
    vec![
        step(|disk| build(disk, "new")),
        step(|disk| disk.point(p("new/current"), p("bin"))),
        step(|disk| build(disk, "more")),
        step(|disk| disk.create_new(p("more/created"), b"created", 0o644).map(drop)),
    ]
}

fn names_in_directories() -> Vec<Step> {
    vec![
        step(|disk| build(disk, "most")),
        step(|disk| disk.make_dir(p("most/made"), 0o755)),
        step(|disk| disk.remove(p("most/sub/file"))),
        step(|disk| build(disk, "made")),
        step(|disk| disk.link(p("a/one"), p("made/linked"))),
    ]
}

fn build(disk: &Disk, to: &str) -> Result<(), DiskError> {
    let mut tree = disk.stage_dir()?;
    tree.directory(p("empty"), None)?;
    tree.write(p("sub/file"), b"content", 0o600)?;
    tree.symlink(p("current"), b"sub", None, false)?;
    tree.link_from(p("a/one"), p("bin"))?;
    tree.publish(p(to), Seal::Writable).map(drop)
}

fn put(disk: &Disk, path: &str, content: &str) -> Result<(), DiskError> {
    disk.replace(p(path), content.as_bytes(), 0o600)
}

fn keep(disk: &Disk) -> Result<(), DiskError> {
    disk.keep_log(p(LOG), ROOM)
}

fn recover(disk: &Disk) -> Result<(), DiskError> {
    keep(disk)?;
    empty_both(disk)
}

/// Each step may be the first one of a process.
fn after_keeping(steps: Vec<Step>) -> Vec<Step> {
    let after = |work: Step| -> Step {
        Box::new(move |disk| {
            keep(disk)?;
            work(disk)
        })
    };
    steps.into_iter().map(after).collect()
}

const LOG: &str = "log";
/// Bytes; the least that a log has.
const ROOM: u64 = 16 * 1024;
