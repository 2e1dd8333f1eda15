//! Further names of a file of a tree, up to as many as a file system allows and beyond.
#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]
#![allow(clippy::disallowed_methods, reason = "tests look at what the verbs made")]

mod common;

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use common::{Scratch, disk, p};
use durable::faults::{Recorder, Script};
use durable::{Disk, Seal};
use rustix::io::Errno;

#[test]
fn at_the_bound_of_the_file_system_a_name_gets_a_copy_and_further_names_are_its() {
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    Disk::create(&root).unwrap();
    let recorder = Recorder::new(scratch.path()).unwrap();
    let disk = Disk::open_recorded(&root, &recorder).unwrap();
    let mut tree = disk.stage_dir().unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mut file = tree.file(p("d/original"), 0o555, Some(time), false).unwrap();
    file.append(b"content").unwrap();
    file.close().unwrap();
    tree.symlink(p("d/link"), b"original", Some(time), false).unwrap();
    tree.write(p("b"), b"old", 0o444).unwrap();
    for original in ["d/original", "d/link"] {
        tree.hard_link(p(original), &p(original).with_extension("a"), false).unwrap();
        // The second name replaces another file, which is removed before the link is refused.
        let replaces = original == "d/original";
        let second = if replaces { p("b").to_owned() } else { p("d/link.b").to_owned() };
        let at = usize::from(replaces);
        recorder.play(Script::FailOnce { at, errno: Errno::MLINK.raw_os_error() });
        tree.hard_link(p(original), &second, replaces).unwrap();
        recorder.play(Script::Nothing);
        tree.hard_link(p(original), &p(original).with_extension("c"), false).unwrap();
    }
    // The copy becomes something else: what is linked then is a name of the original again.
    tree.hard_link(p("d/original"), p("kept"), false).unwrap();
    let mut file = tree.file(p("b"), 0o444, None, true).unwrap();
    file.append(b"new").unwrap();
    file.close().unwrap();
    tree.hard_link(p("d/original"), p("last"), false).unwrap();
    tree.publish(p("tree"), Seal::ReadOnly).unwrap();

    let facts = |path: &str| root.join("tree").join(path).symlink_metadata().unwrap();
    let original = facts("d/original");
    assert_eq!(
        (facts("d/original.a").ino(), facts("last").ino()),
        (original.ino(), original.ino())
    );
    let copy = facts("d/original.c");
    assert!(copy.ino() != original.ino() && copy.ino() == facts("kept").ino());
    assert_eq!((copy.mode(), copy.mtime(), copy.len()), (original.mode(), original.mtime(), 7));
    assert_eq!(disk.read(p("tree/kept"), 9).unwrap().unwrap(), b"content");
    assert_eq!(disk.read(p("tree/b"), 9).unwrap().unwrap(), b"new");
    let (link, copy) = (facts("d/link"), facts("d/link.b"));
    assert!(copy.ino() != link.ino() && copy.ino() == facts("d/link.c").ino());
    assert_eq!((copy.mtime(), facts("d/link.a").ino()), (link.mtime(), link.ino()));
    assert_eq!(disk.read_link(p("tree/d/link.c")).unwrap().unwrap(), p("original"));
}

#[test]
fn at_the_bound_a_version_and_a_name_that_is_wrong_get_a_copy_and_one_that_is_right_stays() {
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    Disk::create(&root).unwrap();
    let recorder = Recorder::new(scratch.path()).unwrap();
    let disk = Disk::open_recorded(&root, &recorder).unwrap();
    disk.create_new(p("blob"), b"content", 0o555).unwrap();
    disk.create_new(p("name"), b"wrong", 0o444).unwrap();
    let facts = |path: &str| root.join(path).symlink_metadata().unwrap();
    let full = |at| recorder.play(Script::FailOnce { at, errno: Errno::MLINK.raw_os_error() });
    full(0);
    assert!(!disk.relink(p("blob"), p("name"), || false).unwrap());
    assert_eq!(disk.read(p("name"), 9).unwrap().unwrap(), b"wrong");
    full(0);
    assert!(disk.relink(p("blob"), p("name"), || true).unwrap());
    recorder.play(Script::Nothing);
    assert_eq!(disk.read(p("name"), 9).unwrap().unwrap(), b"content");
    let (blob, name) = (facts("blob"), facts("name"));
    assert!(blob.ino() != name.ino() && (blob.mode(), blob.mtime()) == (name.mode(), name.mtime()));
    assert!(disk.list(p("staging")).unwrap().is_empty());
    assert!(disk.relink(p("blob"), p("name"), || true).unwrap());
    assert!(!disk.relink(p("blob"), p("name"), || true).unwrap());
    assert_eq!(facts("name").ino(), blob.ino());

    let mut tree = disk.stage_dir().unwrap();
    full(0);
    tree.link_from(p("blob"), p("bin")).unwrap();
    recorder.play(Script::Nothing);
    tree.publish(p("version"), Seal::Writable).unwrap();
    let copy = facts("version/bin");
    assert!(copy.ino() != blob.ino() && (copy.mode(), copy.len()) == (blob.mode(), 7));
}

/// ext4 gives a file 65,000 names; where the temporary directory is on another file system, they are just
/// many.
#[test]
fn a_file_has_more_names_than_ext4_allows() {
    const NAMES: u32 = 65_010;
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut tree = disk.stage_dir().unwrap();
    tree.write(p("original"), b"content", 0o444).unwrap();
    for name in 1..NAMES {
        tree.hard_link(p("original"), p(&format!("d/{name}")), false).unwrap();
    }
    let top = tree.path().to_owned();
    let names = |path: &str| top.join(path).metadata().unwrap().nlink();
    let last = format!("d/{}", NAMES - 1);
    let all =
        if names("original") == 65_000 { names("original") + names(&last) } else { names(&last) };
    assert_eq!(all, u64::from(NAMES));
    assert_eq!(std::fs::read(top.join(last)).unwrap(), b"content");
}
