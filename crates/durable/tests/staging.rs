//! Files and trees that are built aside.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests plant what the verbs then meet, and a panic is how they fail"
)]

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Scratch, disk, p};
use durable::faults::{Op, Recorder, Script};
use durable::{Blobs, Disk, IfExists, Key, Mended, Published, Refused, Seal};
use rustix::io::Errno;

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut staged = disk.stage_file().unwrap();
    staged.write_all(b"12345678").unwrap();
    staged.truncate(99).unwrap();
    staged.truncate(4).unwrap();
    staged.append(b"abcd").unwrap();
    staged.write_at(2, b"..").unwrap();
    let mut seen = String::new();
    staged.reader().read_to_string(&mut seen).unwrap();
    assert_eq!((seen.as_str(), staged.len()), ("12..abcd", 8));
    assert_eq!(disk.metadata(p("file")).unwrap(), None);
    assert_eq!(staged.publish(p("file"), 0o640, IfExists::Fail).unwrap(), Published::New);
    assert_eq!(disk.read(p("file"), 99).unwrap().unwrap(), b"12..abcd");
    assert_eq!(disk.metadata(p("file")).unwrap().unwrap().mode, 0o640);
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn what_to_do_with_a_taken_name_is_the_callers_choice() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let publish = |content: &[u8], then| {
        let mut staged = disk.stage_file().unwrap();
        staged.append(content).unwrap();
        staged.publish(p("file"), 0o600, then)
    };
    let now = || disk.read(p("file"), 99).unwrap().unwrap();
    assert_eq!(publish(b"1", IfExists::Keep).unwrap(), Published::New);
    assert_eq!(publish(b"2", IfExists::Keep).unwrap(), Published::Kept);
    assert_eq!(now(), b"1");
    assert_eq!(publish(b"3", IfExists::Fail).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(now(), b"1");
    assert_eq!(publish(b"4", IfExists::Replace).unwrap(), Published::New);
    assert_eq!(now(), b"4");
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn an_unnamed_file_is_removed_and_a_resumable_one_goes_on_where_it_stopped() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    drop(disk.stage_file().unwrap());
    let mut staged = disk.resume_file("upload").unwrap();
    staged.append(b"first, ").unwrap();
    drop(staged);
    assert_eq!(disk.list(p("staging")).unwrap().len(), 1);

    let next = Disk::open(disk.root()).unwrap();
    let mut staged = next.resume_file("upload").unwrap();
    assert_eq!(staged.len(), 7);
    staged.append(b"second").unwrap();
    staged.publish(p("whole"), 0o600, IfExists::Fail).unwrap();
    assert_eq!(next.read(p("whole"), 99).unwrap().unwrap(), b"first, second");
    assert_eq!(next.resume_file("upload").unwrap().len(), 0);
}

#[test]
fn resuming_never_writes_into_what_was_published() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.resume_file("upload").unwrap().append(b"content").unwrap();
    // What a crash leaves on a file system that gives the second name before it takes the first.
    disk.link(p("staging/upload"), p("published")).unwrap();
    let mut again = disk.resume_file("upload").unwrap();
    assert_eq!(again.len(), 0);
    again.append(b"other").unwrap();
    again.discard().unwrap();
    assert_eq!(disk.read(p("published"), 99).unwrap().unwrap(), b"content");
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn a_resumable_name_is_one_plain_component_and_a_file() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a/"] {
        let error = disk.resume_file(name).unwrap_err();
        assert!(matches!(error.refused(), Some(Refused::NotAName | Refused::NotBeneath)), "{name}");
    }
    disk.make_dir(p("staging/dir"), 0o700).unwrap();
    assert!(disk.resume_file("dir").is_err());
    fs::write(scratch.path().join("outside"), "outside").unwrap();
    symlink(scratch.path().join("outside"), disk.root().join("staging/link")).unwrap();
    assert!(disk.resume_file("link").is_err());
    assert_eq!(fs::read(scratch.path().join("outside")).unwrap(), b"outside");
}

#[test]
fn several_threads_write_their_parts_at_a_time() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let staged = disk.stage_file().unwrap();
    thread::scope(|scope| {
        for part in (0..8_u8).rev() {
            let staged = &staged;
            scope.spawn(move || {
                staged.write_at(u64::from(part) * 1000, &[part; 1000]).unwrap();
                staged.sync_data().unwrap();
            });
        }
    });
    assert_eq!(staged.len(), 8000);
    staged.publish(p("file"), 0o600, IfExists::Fail).unwrap();
    let content = disk.read(p("file"), 9000).unwrap().unwrap();
    assert!(content.iter().enumerate().all(|(at, &byte)| usize::from(byte) == at / 1000));
}

#[test]
fn a_file_whose_sync_failed_is_never_published() {
    let scratch = Scratch::new();
    let recorder = Recorder::new(scratch.path()).unwrap();
    let disk = Disk::create_recorded(&scratch.path().join("root"), &recorder).unwrap();
    let mut staged = disk.resume_file("upload").unwrap();
    staged.append(b"content").unwrap();
    recorder.play(Script::FailOnce { at: 0, errno: Errno::IO.raw_os_error() });
    assert!(staged.sync_data().is_err());
    // The kernel says Ok the second time, without having written anything.
    assert_eq!(staged.sync_data().unwrap_err().refused(), Some(Refused::Spoiled));
    assert!(staged.publish(p("file"), 0o600, IfExists::Keep).is_err());
    assert_eq!(disk.resume_file("upload").unwrap().len(), 0);
}

#[test]
fn a_tree_appears_with_its_modes_times_and_links() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.replace(p("blob"), b"blob", 0o444).unwrap();
    let old = UNIX_EPOCH - Duration::new(86_400, 500);
    let then = UNIX_EPOCH + Duration::new(1_000_000_000, 7);
    let mut tree = disk.stage_dir().unwrap();
    tree.directory(p(""), Some(then)).unwrap();
    tree.directory(p("dir"), Some(old)).unwrap();
    let mut file = tree.file(p("dir/sub/run"), 0o555, Some(then), false).unwrap();
    file.write_all(b"#!").unwrap();
    assert_eq!(file.len(), 2);
    file.close().unwrap();
    tree.symlink(p("dir/link"), b"sub/run", Some(old), false).unwrap();
    tree.hard_link(p("dir/sub/run"), p("again"), false).unwrap();
    tree.link_from(p("blob"), p("pkg/blob")).unwrap();
    assert_eq!(tree.publish(p("tree"), Seal::ReadOnly).unwrap(), Published::New);

    let stat = |path| disk.metadata(p(path)).unwrap().unwrap();
    let modes = ["tree", "tree/dir", "tree/dir/sub", "tree/pkg", "tree/dir/sub/run"]
        .map(|path| stat(path).mode);
    assert_eq!(modes, [0o555; 5]);
    assert_eq!(stat("tree/again").ino, stat("tree/dir/sub/run").ino);
    assert_eq!(stat("tree/pkg/blob").ino, stat("blob").ino);
    assert_eq!(disk.read_link(p("tree/dir/link")).unwrap().as_deref(), Some(p("sub/run")));
    let times: [(_, SystemTime); 4] =
        [("tree", then), ("tree/dir", old), ("tree/dir/link", old), ("tree/again", then)];
    for (path, time) in times {
        assert_eq!(stat(path).modified, time, "{path}");
    }
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn files_of_a_tree_can_be_made_and_filled_by_threads_and_have_holes() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut tree = disk.stage_dir().unwrap();
    thread::scope(|scope| {
        for name in ["a/1", "a/2", "b/3"] {
            let new = tree.begin_file(p(name), 0o444, None, false).unwrap();
            scope.spawn(move || {
                let mut file = new.create().unwrap();
                file.write_at(1 << 20, name.as_bytes()).unwrap();
                file.set_len(1 << 21).unwrap();
                file.close().unwrap();
            });
        }
    });
    tree.publish(p("tree"), Seal::ReadOnly).unwrap();
    for name in ["a/1", "a/2", "b/3"] {
        let stat = disk.metadata(&p("tree").join(name)).unwrap().unwrap();
        assert_eq!((stat.size, stat.mode), (1 << 21, 0o444));
        assert!(stat.allocated < 1 << 20, "{} bytes for a file of holes", stat.allocated);
    }
}

#[test]
fn a_path_may_have_more_components_than_a_process_may_have_files_open() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let deep = "d/".repeat(2000);
    let mut tree = disk.stage_dir().unwrap();
    tree.write(p(&format!("{deep}one")), b"1", 0o444).unwrap();
    tree.write(p("two"), b"2", 0o444).unwrap();
    // Up by more levels than are kept open, and down again elsewhere.
    tree.write(p(&format!("{}three", "d/".repeat(1000))), b"3", 0o444).unwrap();
    tree.hard_link(p(&format!("{deep}one")), p("again"), false).unwrap();
    tree.publish(p("tree"), Seal::ReadOnly).unwrap();
    assert_eq!(disk.read(p("tree/again"), 9).unwrap().unwrap(), b"1");
    disk.discard(p("tree")).unwrap();
}

#[test]
fn a_tree_that_is_there_already_is_kept() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let publish = |content: &[u8]| {
        let mut tree = disk.stage_dir().unwrap();
        tree.write(p("file"), content, 0o444).unwrap();
        tree.publish(p("tree"), Seal::ReadOnly).unwrap()
    };
    assert_eq!(publish(b"1"), Published::New);
    assert_eq!(publish(b"2"), Published::Kept);
    assert_eq!(disk.read(p("tree/file"), 9).unwrap().unwrap(), b"1");
    assert!(disk.list(p("staging")).unwrap().is_empty());
    assert!(disk.list(p("trash")).unwrap().is_empty());
}

#[test]
fn an_open_tree_is_closed_by_recovery() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.stage_dir().unwrap().publish(p("tree"), Seal::Writable).unwrap();
    assert_eq!(disk.metadata(p("tree")).unwrap().unwrap().mode, 0o755);
    disk.close_tree(p("tree")).unwrap();
    disk.close_tree(p("tree")).unwrap();
    assert_eq!(disk.metadata(p("tree")).unwrap().unwrap().mode, 0o555);
}

#[test]
fn no_entry_of_a_tree_goes_through_a_link() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "safe").unwrap();
    let mut tree = disk.stage_dir().unwrap();
    tree.directory(p("real"), None).unwrap();
    tree.symlink(p("out"), outside.as_os_str().as_encoded_bytes(), None, false).unwrap();
    tree.symlink(p("in"), b"real", None, false).unwrap();
    tree.symlink(p("file"), outside.join("victim").as_os_str().as_encoded_bytes(), None, false)
        .unwrap();
    for link in ["out", "in"] {
        let below = p(link).join("victim");
        assert!(tree.file(&below, 0o644, None, true).is_err());
        assert!(tree.write(&below, b"x", 0o644).is_err());
        assert!(tree.symlink(&below, b"x", None, true).is_err());
        assert!(tree.directory(&below, None).is_err());
        assert!(tree.directory(p(link), None).is_err());
        assert!(tree.hard_link(p("file"), &below, true).is_err());
        assert!(tree.hard_link(&below, p("stolen"), false).is_err());
    }
    for path in ["../x", "/x", "a/../../x", "..", ""] {
        assert!(tree.file(p(path), 0o644, None, true).is_err(), "{path}");
        assert!(tree.hard_link(p("file"), p(path), false).is_err(), "{path}");
        assert!(tree.hard_link(p(path), p("stolen"), false).is_err(), "{path}");
    }
    // A link in the last place gives way to the file, and is not written through.
    assert!(tree.file(p("file"), 0o644, None, false).is_err());
    tree.file(p("file"), 0o644, None, true).unwrap().append(b"mine").unwrap();
    tree.publish(p("tree"), Seal::Writable).unwrap();
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"safe");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(disk.read(p("tree/file"), 9).unwrap().unwrap(), b"mine");
}

/// The directory that is written to was opened before the link was planted.
#[test]
fn a_link_planted_while_a_tree_is_built_is_not_followed() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut tree = disk.stage_dir().unwrap();
    tree.write(p("dir/one"), b"1", 0o644).unwrap();
    let staged = disk.list(p("staging")).unwrap().remove(0).name;
    let dir = disk.root().join("staging").join(staged).join("dir");
    fs::rename(&dir, dir.with_extension("moved")).unwrap();
    symlink(&outside, &dir).unwrap();
    let _ = tree.write(p("dir/two"), b"2", 0o644);
    let _ = tree.write(p("elsewhere/file"), b"", 0o644);
    assert!(tree.write(p("dir/three"), b"3", 0o644).is_err());
    assert!(tree.publish(p("tree"), Seal::ReadOnly).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(disk.metadata(p("tree")).unwrap(), None);
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn a_tree_of_any_size_takes_one_sync_of_the_file_system_and_one_of_the_parent() {
    let scratch = Scratch::new();
    let recorder = Recorder::new(scratch.path()).unwrap();
    let disk = Disk::create_recorded(&scratch.path().join("root"), &recorder).unwrap();
    recorder.start_over(scratch.path()).unwrap();
    let mut tree = disk.stage_dir().unwrap();
    for number in 0..200 {
        tree.write(&p("dir").join((number % 7).to_string()).join(number.to_string()), b"x", 0o444)
            .unwrap();
    }
    tree.publish(p("tree"), Seal::ReadOnly).unwrap();
    let log = recorder.log();
    let syncs: Vec<&Op> = log.syncs().into_iter().map(|at| &log.ops[at]).collect();
    assert!(matches!(syncs[..], [Op::SyncFs, Op::SyncDir { .. }]), "{syncs:?}");
}

#[test]
fn a_blob_lies_under_its_digest_once() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let blobs = Blobs::new(disk.clone(), p("store/blobs"));
    let key = Blobs::hash(&b"content"[..]).unwrap();
    assert_eq!(
        blobs.path_of(key),
        p("store/blobs/ed/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73")
    );
    assert_eq!(blobs.contains(key).unwrap(), None);
    assert_eq!(blobs.keys().count(), 0);
    for expected in [Published::New, Published::Kept] {
        let mut staged = disk.stage_file().unwrap();
        staged.append(b"content").unwrap();
        assert_eq!(blobs.publish(staged, key, 0o444).unwrap(), expected);
    }
    assert_eq!(blobs.contains(key).unwrap(), Some(7));
    assert_eq!(Blobs::hash(blobs.open(key).unwrap().unwrap()).unwrap(), key);
    blobs.link_to(key, p("linked")).unwrap();
    disk.replace(p("store/blobs/ed/not a key"), b"", 0o600).unwrap();
    disk.make_dir(p("store/blobs/00"), 0o700).unwrap();
    assert_eq!(blobs.keys().collect::<Result<Vec<_>, _>>().unwrap(), [key]);
    blobs.remove(key).unwrap();
    assert_eq!(blobs.contains(key).unwrap(), None);
    assert_eq!(fs::metadata(disk.root().join("linked")).unwrap().nlink(), 1);
}

#[test]
fn a_key_has_one_text() {
    let key = Blobs::hash(&b""[..]).unwrap();
    assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
    let text = key.to_string();
    for bad in [&text.to_uppercase(), &text[1..], &format!("{text}0"), &text.replace('e', "g"), ""]
    {
        assert!(bad.parse::<Key>().is_err(), "{bad}");
    }
}

/// The rights of root over modes are given up by the thread of this test, which then is what an ordinary
/// owner is.
fn become_ordinary() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let mut sets = capabilities(None).unwrap();
    let over_modes = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    sets.effective.remove(over_modes);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn directories_that_their_owner_may_not_look_into_are_mended_and_closed_too() {
    use std::os::unix::fs::PermissionsExt as _;
    become_ordinary();
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let build = || {
        let mut tree = disk.stage_dir().unwrap();
        for path in ["d/e/right", "d/lost", "f/g"] {
            tree.write(p(path), path.as_bytes(), 0o444).unwrap();
        }
        tree
    };
    build().publish(p("tree"), Seal::ReadOnly).unwrap();
    let at = |path: &str| disk.root().join("tree").join(path);
    let chmod = |path: &str, mode| {
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let right = disk.metadata(p("tree/d/e/right")).unwrap().unwrap().ino;
    chmod("d", 0o755);
    fs::remove_file(at("d/lost")).unwrap();
    for (path, mode) in [("d/e", 0), ("d", 0o055), ("f", 0o444), ("", 0o300)] {
        chmod(path, mode);
    }
    assert!(fs::read_dir(at("")).is_err(), "this test has to lack the rights that it took away");
    let mended = disk.mend_tree(p("tree"), build()).unwrap();
    assert_eq!(mended, Mended { replaced: 1, modes: 4, removed: 0 });
    assert_eq!(disk.metadata(p("tree/d/e/right")).unwrap().unwrap().ino, right);
    for closed in ["", "d", "d/e", "f"] {
        assert_eq!(fs::metadata(at(closed)).unwrap().permissions().mode() & 0o777, 0o555);
    }
    assert_eq!(disk.mend_tree(p("tree"), build()).unwrap(), Mended::default());
    chmod("", 0);
    disk.close_tree(p("tree")).unwrap();
    assert_eq!(fs::metadata(at("")).unwrap().permissions().mode() & 0o777, 0o555);
}

#[test]
fn a_mended_tree_keeps_what_is_right_and_whoever_has_a_file_open_keeps_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let build = || {
        let mut tree = disk.stage_dir().unwrap();
        for (path, mode) in
            [("d/right", 0o444), ("d/wrong", 0o444), ("e/f/g", 0o444), ("run", 0o555)]
        {
            tree.write(p(path), path.as_bytes(), mode).unwrap();
        }
        tree.hard_link(p("d/wrong"), p("again"), false).unwrap();
        tree.symlink(p("link"), b"run", None, false).unwrap();
        tree
    };
    build().publish(p("tree"), Seal::ReadOnly).unwrap();
    let untouched = disk.mend_tree(p("tree"), build()).unwrap();
    assert_eq!(untouched, Mended::default());
    let at = |path: &str| disk.root().join("tree").join(path);
    let ino = |path: &str| disk.metadata(&p("tree").join(path)).unwrap().unwrap().ino;
    let (right, run) = (ino("d/right"), ino("run"));
    let mut open = fs::File::open(at("d/wrong")).unwrap();
    let chmod = |path: &str, mode| {
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod("d/wrong", 0o644);
    fs::write(at("d/wrong"), "d/WRONG").unwrap();
    chmod("", 0o755);
    chmod("run", 0o511);
    fs::write(at("extra"), "x").unwrap();
    fs::rename(at("e"), at("elsewhere")).unwrap();
    fs::write(at("e"), "not a directory").unwrap();
    fs::remove_file(at("link")).unwrap();
    let mended = disk.mend_tree(p("tree"), build()).unwrap();
    // Replaced: both names of the wrong file, `e`, the link. Modes: the top, the program.
    assert_eq!(mended, Mended { replaced: 4, modes: 2, removed: 2 });
    assert_eq!((ino("d/right"), ino("run")), (right, run));
    assert_eq!(ino("again"), ino("d/wrong"));
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "d/WRONG");
    assert_eq!(disk.mend_tree(p("tree"), build()).unwrap(), Mended::default());
    assert_eq!(disk.list(p("trash")).unwrap(), []);
    assert_eq!(disk.list(p("staging")).unwrap(), []);
    assert_eq!(disk.read(p("tree/e/f/g"), 99).unwrap().unwrap(), b"e/f/g");
    for closed in ["", "d", "e", "e/f"] {
        assert_eq!(fs::metadata(at(closed)).unwrap().permissions().mode() & 0o777, 0o555);
    }
}
