//! Copies of trees: equal to the original in all that counts, and independent of it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests plant what the verbs then meet, and a panic is how they fail"
)]

mod common;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use common::{Scratch, disk, p};
use durable::{Disk, Seal};
use proptest::prelude::*;

/// What is planted under one name.
#[derive(Debug, Clone)]
enum Plant {
    Directory,
    /// Pieces of data with holes before them, in blocks of 4 KiB; then a hole of so many bytes.
    File {
        pieces: Vec<(u8, Vec<u8>)>,
        tail: u16,
        executable: bool,
        seconds: u32,
    },
    Link(Vec<u8>),
    /// Another name of the file that was planted before as number so much, if that is one.
    HardLink(usize),
}

fn plant() -> impl Strategy<Value = Plant> {
    let piece = (0u8..4, prop::collection::vec(any::<u8>(), 0..200));
    let file =
        (prop::collection::vec(piece, 0..4), 0u16..9000, any::<bool>(), any::<u32>()).prop_map(
            |(pieces, tail, executable, seconds)| Plant::File { pieces, tail, executable, seconds },
        );
    prop_oneof![
        2 => Just(Plant::Directory),
        5 => file,
        1 => prop::collection::vec(1u8.., 1..20).prop_map(Plant::Link),
        2 => (0usize..20).prop_map(Plant::HardLink),
    ]
}

/// A name of any bytes that a file system takes.
fn name() -> impl Strategy<Value = OsString> {
    prop::collection::vec((1u8..).prop_filter("no slash", |byte| *byte != b'/'), 1..6)
        .prop_map(|bytes| OsStr::from_bytes(&bytes).to_owned())
        .prop_filter("a name", |name| name != "." && name != "..")
}

/// Plants a tree; an entry lies in one of the directories that were planted before it.
fn build(top: &Path, plants: &[(prop::sample::Index, OsString, Plant)]) {
    fs::create_dir(top).unwrap();
    let (mut directories, mut files) = (vec![top.to_owned()], Vec::new());
    for (parent, name, plant) in plants {
        let path = parent.get(&directories).join(name);
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match plant {
            Plant::Directory => {
                fs::create_dir(&path).unwrap();
                directories.push(path);
            }
            Plant::File { pieces, tail, executable, seconds } => {
                let file = File::create(&path).unwrap();
                let mut at = 0;
                for (holes, data) in pieces {
                    at += u64::from(*holes) * 4096;
                    file.write_all_at(data, at).unwrap();
                    at += data.len() as u64;
                }
                file.set_len(at + u64::from(*tail)).unwrap();
                let mode = if *executable { 0o555 } else { 0o444 };
                file.set_permissions(fs::Permissions::from_mode(mode)).unwrap();
                let time = UNIX_EPOCH + Duration::from_secs((*seconds).into());
                file.set_times(FileTimes::new().set_modified(time)).unwrap();
                files.push(path);
            }
            Plant::Link(target) => {
                symlink(OsStr::from_bytes(target), &path).unwrap();
                files.push(path);
            }
            Plant::HardLink(number) => {
                if let Some(original) = files.get(*number) {
                    fs::hard_link(original, &path).unwrap();
                }
            }
        }
    }
    for dir in directories.iter().rev() {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    }
}

/// All that counts of a tree, by path: kind, mode (as `mode` makes it), time, content, and the first of
/// the names that are the same file.
fn facts(top: &Path, mode: fn(u32) -> u32) -> BTreeMap<PathBuf, (String, i64, i64, Vec<u8>)> {
    let mut facts = BTreeMap::new();
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(top.join(&path)).unwrap();
        if found.is_dir() {
            let names = fs::read_dir(top.join(&path)).unwrap();
            waiting.extend(names.map(|entry| path.join(entry.unwrap().file_name())));
        }
        paths.push((path, found));
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, found) in paths {
        let same = first.entry(found.ino()).or_insert_with(|| path.clone());
        let (kind, content) = if found.is_dir() {
            ("directory", Vec::new())
        } else if found.is_symlink() {
            let target = fs::read_link(top.join(&path)).unwrap();
            ("link", target.as_os_str().as_bytes().to_vec())
        } else {
            ("file", fs::read(top.join(&path)).unwrap())
        };
        let mode = if found.is_symlink() { 0 } else { mode(found.mode() & 0o7777) };
        let words = format!("{kind} {mode:o} {}", same.display());
        facts.insert(path, (words, found.mtime(), found.mtime_nsec(), content));
    }
    facts
}

fn opened(mode: u32) -> u32 {
    if mode & 0o111 == 0 { 0o644 } else { 0o755 }
}

fn copy_tree(disk: &Disk) -> PathBuf {
    let mut staged = disk.stage_dir().unwrap();
    staged.copy_from(p("tree"), p("")).unwrap();
    staged.publish(p("copy"), Seal::Writable).unwrap();
    disk.root().join("copy")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_copy_of_any_tree_equals_it_and_is_another(
        plants in prop::collection::vec((any::<prop::sample::Index>(), name(), plant()), 0..20),
    ) {
        let scratch = Scratch::new();
        let disk = disk(&scratch);
        let original = disk.root().join("tree");
        build(&original, &plants);
        let before = facts(&original, |mode| mode);
        let copy = copy_tree(&disk);
        prop_assert_eq!(facts(&copy, |mode| mode), facts(&original, opened));
        prop_assert_eq!(facts(&original, |mode| mode), before);
        let inodes = |top: &Path| -> Vec<u64> {
            let paths = facts(top, |mode| mode).into_keys();
            paths.map(|path| fs::symlink_metadata(top.join(path)).unwrap().ino()).collect()
        };
        let originals = inodes(&original);
        prop_assert!(inodes(&copy).iter().all(|inode| !originals.contains(inode)));
    }
}

#[test]
fn holes_stay_holes() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    fs::create_dir(disk.root().join("tree")).unwrap();
    let file = File::create(disk.root().join("tree/sparse")).unwrap();
    file.write_all_at(b"in the middle", 40 * 1024 * 1024).unwrap();
    file.set_len(100 * 1024 * 1024).unwrap();
    file.sync_all().unwrap();
    let copy = copy_tree(&disk).join("sparse");
    let found = fs::metadata(&copy).unwrap();
    assert_eq!(found.len(), 100 * 1024 * 1024);
    assert!(found.blocks() * 512 <= 64 * 1024, "{} blocks", found.blocks());
    let mut data = [0; 13];
    File::open(&copy).unwrap().read_exact_at(&mut data, 40 * 1024 * 1024).unwrap();
    assert_eq!(&data, b"in the middle");
}

#[test]
fn a_file_is_copied_as_it_is_and_can_be_changed() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.replace(p("program"), b"#!/bin/sh\n", 0o555).unwrap();
    disk.replace(p("notes"), b"read me", 0o444).unwrap();
    disk.link(p("notes"), p("also notes")).unwrap();
    let mut staged = disk.stage_dir().unwrap();
    staged.copy_from(p("program"), p("a/program")).unwrap();
    staged.copy_from(p("notes"), p("b/notes")).unwrap();
    staged.publish(p("copies"), Seal::Writable).unwrap();
    let mode = |path| disk.metadata(p(path)).unwrap().unwrap().mode;
    assert_eq!((mode("copies/a/program"), mode("copies/b/notes")), (0o755, 0o644));
    fs::write(disk.root().join("copies/b/notes"), "changed").unwrap();
    assert_eq!(disk.read(p("notes"), 99).unwrap().unwrap(), b"read me");
    assert_eq!(disk.metadata(p("copies/b/notes")).unwrap().unwrap().nlink, 1);
}

#[test]
fn a_deep_tree_is_copied() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut staged = disk.stage_dir().unwrap();
    let deep: PathBuf = std::iter::repeat_n("d", 1500).collect();
    staged.write(&deep.join("file"), b"down here", 0o444).unwrap();
    staged.publish(p("tree"), Seal::ReadOnly).unwrap();
    copy_tree(&disk);
    let found = disk.read(&p("copy").join(&deep).join("file"), 99).unwrap();
    assert_eq!(found.as_deref(), Some(&b"down here"[..]));
}

#[test]
fn what_is_not_there_or_no_file_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut staged = disk.stage_dir().unwrap();
    let error = staged.copy_from(p("nothing"), p("copy")).unwrap_err();
    assert_eq!(error.path(), disk.root().join("nothing"));
    fs::create_dir(disk.root().join("tree")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(disk.root().join("tree/socket")).unwrap();
    let error = staged.copy_from(p("tree"), p("copy")).unwrap_err();
    assert_eq!(error.path(), disk.root().join("tree/socket"));
}
