//! The workloads: each verb, in the order in which the product uses it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use durable::record::{self, Record, RecordError};
use durable::{Blobs, Disk, DiskError, IfExists, Key, Replacement, Seal};
use serde::{Deserialize, Serialize};

use crate::harness::{Step, Workload, empty_both, everything};
use crate::logged;

/// Every verb, and what happens if its work is done already.
pub(crate) fn all() -> Vec<Workload> {
    let mut all = first_times();
    all.push(logged::making());
    all.push(workload(
        "publish, taken",
        vec![
            step(|disk| put(disk, "old", IfExists::Keep)),
            step(|disk| put(disk, "new", IfExists::Keep)),
            step(|disk| put(disk, "new", IfExists::Keep)),
        ],
    ));
    all
}

/// Every verb, with work to do.
pub(crate) fn first_times() -> Vec<Workload> {
    let mut all = vec![
        replace(),
        together(),
        dependent(),
        workload(
            "create_new",
            vec![
                step(|disk| disk.create_new(p("first"), b"one", 0o644).map(drop)),
                step(|disk| disk.create_new(p("other"), b"two", 0o600).map(drop)),
            ],
        ),
        point(),
        publish(),
        resume(),
        tree(),
        copy(),
        records(),
        link(),
        workload(
            "relink",
            vec![
                step(|disk| disk.replace(p("other"), b"other content", 0o444)),
                step(|disk| disk.relink(p("old"), p("other"), || true).map(drop)),
                step(|disk| disk.relink(p("old"), p("fresh"), || true).map(drop)),
            ],
        ),
        workload("remove", vec![step(|disk| disk.remove(p("old")))]),
        discard(),
        throw_away(),
        mend(),
        blobs(),
        make_dir(),
        workload("set_mode", vec![step(|disk| disk.set_mode(p("old"), 0o640))]),
    ];
    all.extend(logged::first_times());
    all
}

/// Verbs that find their work done and have to make sure of it.
pub(crate) fn repeats() -> Vec<Workload> {
    vec![
        Workload {
            steps: vec![step(|disk| disk.create_new(p("new"), b"one", 0o644).map(drop))],
            ..blank("create_new")
        },
        Workload { steps: vec![step(|disk| disk.point(p("link"), p("target")))], ..blank("point") },
        Workload { steps: vec![step(|disk| disk.link(p("old"), p("again")))], ..blank("link") },
        Workload {
            steps: vec![step(|disk| disk.relink(p("old"), p("again"), || true).map(drop))],
            ..blank("relink")
        },
        Workload { steps: vec![step(|disk| disk.remove(p("old")))], ..blank("remove") },
        Workload { steps: vec![step(|disk| disk.discard(p("old")))], ..blank("discard") },
        Workload { steps: vec![step(|disk| disk.make_dir(p("dir"), 0o755))], ..blank("make_dir") },
        Workload { steps: vec![step(|disk| put(disk, "new", IfExists::Keep))], ..blank("publish") },
    ]
}

pub(crate) fn replace() -> Workload {
    workload(
        "replace",
        vec![
            step(|disk| disk.replace(p("old"), b"first content", 0o600)),
            step(|disk| disk.replace(p("old"), b"second content, longer", 0o644)),
            step(|disk| disk.replace(p("fresh"), b"third", 0o644)),
        ],
    )
}

/// Each file is old or new by itself; once it is said that all are new, they are.
pub(crate) fn together() -> Workload {
    const FILES: [&str; 5] = ["a/one", "a/two", "b/three", "b/four", "five"];
    Workload {
        setup: |disk| {
            for dir in ["a", "b"] {
                disk.make_dir(p(dir), 0o755).expect("make_dir");
            }
            // The last one is not there before.
            for path in &FILES[..4] {
                disk.replace(p(path), b"old content", 0o600).expect("replace");
            }
        },
        observe: |disk| {
            let read = |path: &&str| match disk.read(p(path), 99).expect("read").as_deref() {
                None | Some(b"old content") => "old",
                Some(b"new content of another length") => {
                    let mode = disk.metadata(p(path)).expect("stat").expect("read").mode;
                    if mode == 0o640 { "new" } else { "of another mode" }
                }
                Some(_) => "damaged",
            };
            let found: Vec<&str> = FILES.iter().map(read).collect();
            match found.iter().all(|state| *state == "old" || *state == "new") {
                true if found.contains(&"old") => "not all are new\n".to_owned(),
                true => "all are new\n".to_owned(),
                false => format!("{found:?}\n"),
            }
        },
        steps: vec![step(|disk| {
            let all = FILES.map(|path| Replacement {
                path: p(path),
                bytes: b"new content of another length",
                mode: 0o640,
                after_previous: false,
            });
            disk.replace_all(&all).into_iter().collect()
        })],
        ..blank("replace_all")
    }
}

/// Two files, of which the second must never be new without the first.
pub(crate) fn dependent() -> Workload {
    Workload {
        observe: |disk| {
            let is_new =
                |path| disk.read(p(path), 99).expect("read").as_deref() == Some(&b"new"[..]);
            match (is_new("first"), is_new("second")) {
                (true, true) => "both\n",
                (false, true) => "the second alone\n",
                (_, false) => "not both\n",
            }
            .to_owned()
        },
        steps: vec![step(|disk| {
            let new = |path, after_previous| Replacement {
                path: p(path),
                bytes: b"new",
                mode: 0o600,
                after_previous,
            };
            disk.replace_all(&[new("first", false), new("second", true)]).into_iter().collect()
        })],
        ..blank("replace_all, the second not without the first")
    }
}

fn point() -> Workload {
    workload(
        "point",
        vec![
            step(|disk| disk.point(p("current"), p("1-1.0.0"))),
            step(|disk| disk.point(p("current"), p("2-1.1.0"))),
        ],
    )
}

fn publish() -> Workload {
    workload(
        "publish",
        vec![
            step(|disk| put(disk, "new", IfExists::Keep)),
            step(|disk| put(disk, "old", IfExists::Replace)),
        ],
    )
}

fn put(disk: &Disk, to: &str, then: IfExists) -> Result<(), DiskError> {
    let mut staged = disk.stage_file()?;
    staged.append(b"half of it, ")?;
    staged.append(b"the other half")?;
    staged.publish(p(to), 0o444, then).map(drop)
}

/// Parts that were synced are there after a power cut, and the staged name never leads into what was
/// published.
fn resume() -> Workload {
    fn part(disk: &Disk, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let staged = disk.resume_file("upload")?;
        staged.set_len(8)?;
        staged.write_at(at, bytes)?;
        staged.sync_data()
    }
    Workload {
        recover: |disk| {
            disk.empty_staging_except(|name| name == "upload")?;
            disk.empty_trash()
        },
        observe: |disk| {
            let mut text = everything(disk);
            let staged = disk.read(p("staging/upload"), 99).expect("read").unwrap_or_default();
            let published = disk.metadata(p("whole")).expect("stat").is_some();
            let has =
                |at: usize, part: &[u8]| published || staged.get(at..at + part.len()) == Some(part);
            writeln!(text, "{} {}", has(0, b"AAAA"), has(4, b"BBBB")).expect("text");
            if published {
                // The next upload of that name starts anew and leaves what was published alone.
                let next = disk.resume_file("upload").expect("resume");
                next.write_at(0, b"XXXX").expect("write");
                next.discard().expect("discard");
                assert_eq!(disk.read(p("whole"), 99).expect("read").expect("there"), b"AAAABBBB");
            }
            text
        },
        steps: vec![
            step(|disk| part(disk, 0, b"AAAA")),
            step(|disk| part(disk, 4, b"BBBB")),
            step(|disk| {
                // Repeated after it was published, there is nothing left to do.
                if disk.metadata(p("whole"))?.is_some() {
                    return disk.link(p("whole"), p("whole"));
                }
                disk.resume_file("upload")?.publish(p("whole"), 0o444, IfExists::Keep).map(drop)
            }),
        ],
        starts_over: true,
        ..blank("resume")
    }
}

fn tree() -> Workload {
    fn build(disk: &Disk, to: &str, seal: Seal) -> Result<(), DiskError> {
        let then = Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let mut tree = disk.stage_dir()?;
        tree.directory(p("lib"), then)?;
        let mut file = tree.file(p("bin/run"), 0o555, then, false)?;
        file.append(b"#!/bin/sh\n")?;
        file.close()?;
        tree.write(p("lib/deep/down/data"), b"content", 0o444)?;
        tree.symlink(p("lib/link"), b"deep/down", then, false)?;
        tree.hard_link(p("bin/run"), p("bin/again"), false)?;
        tree.link_from(p("old"), p("pkg/blob"))?;
        tree.publish(p(to), seal).map(drop)
    }
    Workload {
        recover: |disk| {
            empty_both(disk)?;
            if disk.metadata(p("closed"))?.is_some() {
                disk.close_tree(p("closed"))
            } else {
                Ok(())
            }
        },
        steps: vec![
            step(|disk| build(disk, "closed", Seal::ReadOnly)),
            step(|disk| build(disk, "open", Seal::Writable)),
        ],
        ..blank("tree")
    }
}

/// A copy that may be changed is whole or not there, and the original stays as it is.
fn copy() -> Workload {
    Workload {
        setup: |disk| {
            let then = Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000));
            let mut tree = disk.stage_dir().expect("stage");
            tree.write(p("bin/run"), b"#!/bin/sh\n", 0o555).expect("write");
            tree.hard_link(p("bin/run"), p("again"), false).expect("link");
            tree.symlink(p("link"), b"bin/run", then, false).expect("symlink");
            let mut sparse = tree.file(p("sparse"), 0o444, then, false).expect("file");
            sparse.write_at(8192, b"data").expect("write");
            sparse.set_len(20_000).expect("length");
            sparse.close().expect("close");
            tree.publish(p("tree"), Seal::ReadOnly).expect("publish");
            disk.replace(p("old"), b"old content", 0o444).expect("replace");
        },
        steps: vec![
            step(|disk| {
                let mut copy = disk.stage_dir()?;
                copy.copy_from(p("tree"), p(""))?;
                copy.publish(p("copy"), Seal::Writable).map(drop)
            }),
            step(|disk| {
                let mut copy = disk.stage_dir()?;
                copy.copy_from(p("old"), p("one/file"))?;
                copy.publish(p("file"), Seal::Writable).map(drop)
            }),
        ],
        ..blank("copy")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Counter {
    value: u32,
    note: String,
}

impl Record for Counter {
    const KIND: &'static str = "counter";
    const VERSION: u32 = 1;
}

fn records() -> Workload {
    fn put(disk: &Disk, value: u32) -> Result<(), DiskError> {
        let note = "so that it has some length ".repeat(value as usize);
        record::write(disk, p("counter"), &Counter { value, note }).map_err(|error| match error {
            RecordError::Disk(error) => error,
            error => panic!("{error}"),
        })
    }
    Workload {
        observe: |disk| match record::read::<Counter>(disk, p("counter")).expect("read") {
            record::Read::Absent => "absent\n".into(),
            record::Read::Present(counter) => format!("{counter:?}\n"),
            bad => format!("bad: {bad:?}\n"),
        },
        steps: (1..=3).map(|value| step(move |disk| put(disk, value))).collect(),
        ..blank("record")
    }
}

fn link() -> Workload {
    workload(
        "link",
        vec![
            step(|disk| disk.link(p("old"), p("again"))),
            step(|disk| disk.link(p("old"), p("once more"))),
        ],
    )
}

fn discard() -> Workload {
    Workload {
        steps: vec![step(|disk| disk.discard(p("tree"))), step(|disk| disk.discard(p("old")))],
        ..with_a_tree("discard")
    }
}

/// The names go first, the content afterwards: also when the two are asked for apart.
fn throw_away() -> Workload {
    fn throw(disk: &Disk, paths: &[&str]) -> Result<(), DiskError> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        disk.throw_away(&paths)?.into_iter().try_for_each(durable::Thrown::delete)
    }
    Workload {
        steps: vec![
            step(|disk| throw(disk, &["dir/never there", "tree"])),
            step(|disk| throw(disk, &["old", "also not"])),
        ],
        ..with_a_tree("throw_away")
    }
}

/// A damaged tree in use: each entry is the old one or the new one, and what is right stays the same file.
fn mend() -> Workload {
    fn build(disk: &Disk) -> Result<durable::StagedDir, DiskError> {
        let mut tree = disk.stage_dir()?;
        for path in ["files/a/wrong", "files/b/lost", "files/one", "manifest"] {
            tree.write(p(path), path.as_bytes(), 0o444)?;
        }
        tree.hard_link(p("files/one"), p("files/a/two"), false)?;
        Ok(tree)
    }
    Workload {
        setup: |disk| {
            use std::fs;
            use std::os::unix::fs::PermissionsExt as _;
            build(disk).expect("stage").publish(p("tree"), Seal::ReadOnly).expect("publish");
            let at = |path: &str| disk.root().join("tree/files").join(path);
            let chmod = |path: &str, mode| {
                fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).expect("chmod");
            };
            ["", "a", "b"].into_iter().for_each(|path| chmod(path, 0o755));
            chmod("a/wrong", 0o644);
            fs::write(at("a/wrong"), "files/b/wrong").expect("write");
            fs::remove_dir_all(at("b")).expect("remove");
            fs::remove_file(at("a/two")).expect("remove");
            fs::write(at("a/two"), "files/one").expect("write");
            fs::write(at("a/extra"), "extra").expect("write");
            ["", "a"].into_iter().for_each(|path| chmod(path, 0o555));
            chmod("one", 0o644);
        },
        observe: |disk| {
            let text = everything(disk);
            let read = |path: &str| disk.read(&p("tree/files").join(path), 99).expect("read");
            for (path, old, new) in [
                ("a/wrong", &b"files/b/wrong"[..], &b"files/a/wrong"[..]),
                ("a/two", b"files/one", b"files/one"),
                ("one", b"files/one", b"files/one"),
            ] {
                match read(path) {
                    Some(found) if found == old || found == new => {}
                    torn => return format!("{path} is torn: {torn:?}"),
                }
            }
            // On the way there are many states; at both ends there is one.
            let stat = |path: &str| disk.metadata(&p("tree/files").join(path)).expect("stat");
            let one_file = stat("one").map(|stat| stat.ino) == stat("a/two").map(|stat| stat.ino);
            let has = |path, mode| stat(path).is_some_and(|stat| stat.mode == mode);
            let mended = one_file
                && ["", "a", "b"].into_iter().all(|path| has(path, 0o555))
                && has("one", 0o444)
                && read("a/wrong").as_deref() == Some(b"files/a/wrong")
                && read("b/lost").as_deref() == Some(b"files/b/lost")
                && read("a/extra").is_none();
            if mended { text } else { "damaged\n".to_owned() }
        },
        steps: vec![step(|disk| disk.mend_tree(p("tree"), build(disk)?).map(drop))],
        ..blank("mend")
    }
}

fn with_a_tree(name: &'static str) -> Workload {
    Workload {
        setup: |disk| {
            let mut tree = disk.stage_dir().expect("stage");
            for path in ["a/b/c/file", "a/b/file", "a/file", "d/file"] {
                tree.write(p(path), b"content", 0o444).expect("write");
            }
            tree.symlink(p("a/link"), b"../d", None, false).expect("symlink");
            tree.publish(p("tree"), Seal::ReadOnly).expect("publish");
            disk.replace(p("old"), b"old content", 0o600).expect("replace");
        },
        // The top of a tree is opened just before it goes; a crash there leaves it for recovery.
        recover: |disk| {
            empty_both(disk)?;
            if disk.metadata(p("tree"))?.is_some() { disk.close_tree(p("tree")) } else { Ok(()) }
        },
        ..blank(name)
    }
}

fn blobs() -> Workload {
    fn put(disk: &Disk, content: &[u8]) -> Result<(), DiskError> {
        let mut staged = disk.stage_file()?;
        staged.append(content)?;
        let key = Blobs::hash(content).expect("memory");
        Blobs::new(disk.clone(), p("blobs")).publish(staged, key, 0o444).map(drop)
    }
    Workload {
        observe: |disk| {
            let blobs = Blobs::new(disk.clone(), p("blobs"));
            let mut text = String::new();
            for key in blobs.keys() {
                let key = key.expect("list");
                let content = blobs.open(key).expect("open").expect("listed");
                let whole = Blobs::hash(content).expect("read") == key;
                writeln!(text, "{key} hashes to its name: {whole}").expect("text");
            }
            let linked = disk.read(p("linked"), 99).expect("read");
            writeln!(text, "{linked:?}").expect("text");
            text
        },
        steps: vec![
            step(|disk| put(disk, b"one blob")),
            step(|disk| put(disk, b"another blob")),
            step(|disk| {
                let key: Key = Blobs::hash(&b"one blob"[..]).expect("memory");
                Blobs::new(disk.clone(), p("blobs")).link_to(key, p("linked"))
            }),
        ],
        ..blank("blobs")
    }
}

fn make_dir() -> Workload {
    Workload {
        // The levels on the way are not part of the promise.
        observe: |disk| {
            let leaf = |path| disk.metadata(p(path)).expect("stat").map(|stat| stat.mode);
            format!("{:?} {:?}\n", leaf("a/b/c"), leaf("a/b/d"))
        },
        steps: vec![
            step(|disk| disk.make_dir(p("a/b/c"), 0o750)),
            step(|disk| disk.make_dir(p("a/b/d"), 0o777)),
        ],
        ..blank("make_dir")
    }
}

fn workload(name: &'static str, steps: Vec<Step>) -> Workload {
    Workload { steps, ..blank(name) }
}

fn blank(name: &'static str) -> Workload {
    Workload {
        name,
        setup: |disk| disk.replace(p("old"), b"old content", 0o600).expect("replace"),
        steps: Vec::new(),
        recover: empty_both,
        observe: everything,
        starts_over: false,
    }
}

pub(crate) fn step(run: impl Fn(&Disk) -> Result<(), DiskError> + 'static) -> Step {
    Box::new(run)
}

pub(crate) fn p(path: &str) -> &Path {
    Path::new(path)
}
