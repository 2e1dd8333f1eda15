//! The verbs of a disk, on real files.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests plant what the verbs then meet, and a panic is how they fail"
)]

mod common;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread;

use common::{Scratch, disk, p};
use durable::faults::Recorder;
use durable::{Disk, DiskError, Kind, Refused, Seal};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};

#[test]
fn no_verb_takes_a_path_that_leads_outside() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    for path in ["/etc/x", "../x", "a/../../x", "a/..", "..", ".", "./x", ""] {
        let path = p(path);
        let mut failed: Vec<DiskError> = vec![
            disk.replace(path, b"x", 0o600).unwrap_err(),
            disk.replace_unsynced(path, b"x", 0o600).unwrap_err(),
            disk.create_new(path, b"x", 0o600).unwrap_err(),
            disk.point(path, p("target")).unwrap_err(),
            disk.link(path, p("to")).unwrap_err(),
            disk.link(p("from"), path).unwrap_err(),
            disk.remove(path).unwrap_err(),
            disk.discard(path).unwrap_err(),
            disk.set_mode(path, 0o600).unwrap_err(),
            disk.read(path, 1).unwrap_err(),
            disk.read_link(path).unwrap_err(),
            disk.metadata(path).unwrap_err(),
            disk.stage_file().unwrap().publish(path, 0o600, durable::IfExists::Keep).unwrap_err(),
            disk.stage_dir().unwrap().publish(path, Seal::ReadOnly).unwrap_err(),
        ];
        if !path.as_os_str().is_empty() {
            failed.push(disk.make_dir(path, 0o700).unwrap_err());
            failed.push(disk.list(path).unwrap_err());
        }
        for error in failed {
            assert_eq!(error.refused(), Some(Refused::NotBeneath), "{error}");
        }
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_link_on_the_way_is_not_followed_by_openat2() {
    links_are_not_followed(&Scratch::new(), |_| ());
}

#[test]
fn a_link_on_the_way_is_not_followed_without_openat2() {
    links_are_not_followed(&Scratch::new(), Disk::resolve_without_openat2);
}

fn links_are_not_followed(scratch: &Scratch, prepare: fn(&Disk)) {
    let disk = disk(scratch);
    prepare(&disk);
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    disk.make_dir(p("a/b"), 0o700).unwrap();
    disk.replace(p("a/b/file"), b"inside", 0o600).unwrap();
    symlink(&outside, disk.root().join("link")).unwrap();
    symlink(&outside, disk.root().join("a/link")).unwrap();
    symlink("b", disk.root().join("a/inside")).unwrap();
    for link in ["link", "a/link", "a/inside"] {
        let path = p(link).join("secret");
        assert!(disk.replace(&path, b"x", 0o600).is_err());
        assert!(disk.create_new(&p(link).join("new"), b"x", 0o600).is_err());
        assert!(disk.make_dir(&p(link).join("dir"), 0o700).is_err());
        assert!(disk.point(&p(link).join("new"), p("x")).is_err());
        assert!(disk.link(p("a/b/file"), &p(link).join("new")).is_err());
        assert!(disk.remove(&path).is_err());
        assert!(disk.discard(&path).is_err());
        assert!(disk.set_mode(p(link), 0o777).is_err());
        assert!(disk.read(&path, 99).is_err());
        assert!(disk.list(p(link)).is_err());
        assert!(disk.lock(&path, durable::LockMode::Shared).is_err());
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");

    // A link in the last place is the thing itself.
    symlink(outside.join("secret"), disk.root().join("last")).unwrap();
    assert!(disk.read(p("last"), 99).is_err());
    assert_eq!(disk.metadata(p("last")).unwrap().unwrap().kind, Kind::Link);
    disk.replace(p("last"), b"mine", 0o600).unwrap();
    assert_eq!(disk.read(p("last"), 99).unwrap().unwrap(), b"mine");
    disk.discard(p("link")).unwrap();
    disk.remove(p("a/link")).unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
}

#[test]
fn an_absent_thing_is_an_answer() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    for path in ["absent", "absent/below/it"] {
        assert_eq!(disk.read(p(path), 9).unwrap(), None);
        assert!(disk.open_file(p(path)).unwrap().is_none());
        assert_eq!(disk.read_link(p(path)).unwrap(), None);
        assert_eq!(disk.metadata(p(path)).unwrap(), None);
        assert_eq!(disk.list(p(path)).unwrap(), vec![]);
        disk.remove(p(path)).unwrap();
        disk.discard(p(path)).unwrap();
    }
}

#[test]
fn modes_are_as_asked_whatever_the_umask() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mode = |path| disk.metadata(p(path)).unwrap().unwrap().mode;
    disk.replace(p("file"), b"", 0o666).unwrap();
    disk.make_dir(p("dir/below"), 0o777).unwrap();
    assert_eq!((mode("file"), mode("dir"), mode("dir/below")), (0o666, 0o777, 0o777));
    disk.set_mode(p("file"), 0o4755).unwrap();
    assert_eq!(mode("file"), 0o755, "nothing becomes set-user-id");
    disk.make_dir(p("dir"), 0o700).unwrap();
    assert_eq!(mode("dir"), 0o777, "one that exists keeps its mode");
    assert_eq!(fs::metadata(disk.root()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn reading_stops_at_the_limit() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.replace(p("file"), b"12345", 0o600).unwrap();
    assert_eq!(disk.read(p("file"), 5).unwrap().unwrap(), b"12345");
    let error = disk.read(p("file"), 4).unwrap_err();
    assert_eq!(error.refused(), Some(Refused::TooLarge { limit: 4 }));
    assert_eq!(error.to_string(), format!("cannot read `{}/file`", disk.root().display()));
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_at_once() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let fifo = disk.root().join("pipe");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(disk.read(p("pipe"), 9).unwrap_err().refused(), Some(Refused::NotAFile));
    assert_eq!(disk.list(p("")).unwrap()[0].kind, Kind::Other);
}

#[test]
fn of_many_creators_exactly_one_wins_and_its_content_stays() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let winners: Vec<u8> = thread::scope(|scope| {
        let creators: Vec<_> = (0..8_u8)
            .map(|creator| {
                let disk = &disk;
                scope.spawn(move || {
                    disk.create_new(p("one"), &[creator], 0o600).unwrap().then_some(creator)
                })
            })
            .collect();
        creators.into_iter().filter_map(|creator| creator.join().unwrap()).collect()
    });
    assert_eq!(winners.len(), 1);
    assert_eq!(disk.read(p("one"), 9).unwrap().unwrap(), winners);
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn a_file_of_another_account_that_may_be_read_is_read() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can be somebody else
    }
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.make_dir(p("dir"), 0o755).unwrap();
    disk.replace(p("dir/file"), b"content", 0o644).unwrap();
    let mut above = disk.root().to_owned();
    while above != std::env::temp_dir() {
        fs::set_permissions(&above, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        above.pop();
    }
    for walks in [false, true] {
        if walks {
            disk.resolve_without_openat2();
        }
        let disk = disk.clone();
        let read = thread::spawn(move || {
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_uid(nobody).unwrap(); // of this thread alone
            disk.read(p("dir/file"), 100)
        });
        assert_eq!(read.join().unwrap().unwrap().unwrap(), b"content", "walks: {walks}");
    }
}

#[test]
fn readers_see_the_old_content_or_the_new_one_whole() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let content = |round: usize| vec![b'a' + (round % 26) as u8; 10_000];
    disk.replace(p("file"), &content(0), 0o600).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..400 {
                let seen = disk.read(p("file"), 20_000).unwrap().unwrap();
                assert!(seen.len() == 10_000 && seen.iter().all(|&byte| byte == seen[0]));
            }
        });
        for round in 0..400 {
            disk.replace_unsynced(p("file"), &content(round), 0o600).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn observed_state_costs_no_sync() {
    let scratch = Scratch::new();
    let recorder = Recorder::new(scratch.path()).unwrap();
    let disk = Disk::create_recorded(&scratch.path().join("root"), &recorder).unwrap();
    recorder.start_over(scratch.path()).unwrap();
    disk.replace_unsynced(p("state"), b"pid 1", 0o600).unwrap();
    assert!(recorder.log().syncs().is_empty());
}

#[test]
fn pointing_switches_links_and_nothing_else() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.point(p("current"), p("../outside/is/only/written/down")).unwrap();
    disk.point(p("current"), p("1-1.0.0")).unwrap();
    disk.point(p("current"), p("1-1.0.0")).unwrap();
    assert_eq!(disk.read_link(p("current")).unwrap().as_deref(), Some(p("1-1.0.0")));
    disk.make_dir(p("dir"), 0o700).unwrap();
    assert!(disk.point(p("dir"), p("x")).is_err());
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn a_further_name_is_the_same_file_or_an_error() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.replace(p("one"), b"1", 0o600).unwrap();
    disk.replace(p("two"), b"2", 0o600).unwrap();
    disk.link(p("one"), p("again")).unwrap();
    disk.link(p("one"), p("again")).unwrap();
    assert_eq!(disk.metadata(p("one")).unwrap().unwrap().nlink, 2);
    let error = disk.link(p("one"), p("two")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.read(p("two"), 9).unwrap().unwrap(), b"2");
}

#[test]
fn listings_are_sorted_and_say_what_is_what() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    disk.make_dir(p("dir/b"), 0o700).unwrap();
    disk.replace(p("dir/c"), b"", 0o600).unwrap();
    disk.point(p("dir/a"), p("c")).unwrap();
    let listed: Vec<_> =
        disk.list(p("dir")).unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
    assert_eq!(
        listed,
        [("a".into(), Kind::Link), ("b".into(), Kind::Directory), ("c".into(), Kind::File)]
    );
}

/// Deeper than any path may be long: a program can get there one `chdir` at a time.
#[test]
fn a_tree_of_any_depth_is_discarded() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let name = "d".repeat(200);
    disk.make_dir(p("deep"), 0o700).unwrap();
    let mut here = OwnedFd::from(fs::File::open(disk.root().join("deep")).unwrap());
    for _ in 0..300 {
        mkdirat(&here, name.as_str(), Mode::RWXU).unwrap();
        here = openat(&here, name.as_str(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    disk.discard(p("deep")).unwrap();
    assert_eq!(disk.metadata(p("deep")).unwrap(), None);
    assert!(disk.list(p("trash")).unwrap().is_empty());
}

#[test]
fn closed_directories_are_discarded_and_other_names_of_their_files_stay() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let mut tree = disk.stage_dir().unwrap();
    tree.write(p("a/b/file"), b"content", 0o444).unwrap();
    tree.publish(p("tree"), Seal::ReadOnly).unwrap();
    disk.link(p("tree/a/b/file"), p("kept")).unwrap();
    disk.discard(p("tree")).unwrap();
    assert_eq!(disk.read(p("kept"), 99).unwrap().unwrap(), b"content");
    assert!(disk.list(p("trash")).unwrap().is_empty());
}

#[test]
fn emptying_takes_what_a_dead_process_left() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    for place in ["staging", "trash"] {
        disk.make_dir(&p(place).join(".1-1/a/b"), 0o700).unwrap();
        disk.replace(&p(place).join(".1-2"), b"", 0o600).unwrap();
        disk.replace(&p(place).join("named"), b"bytes", 0o600).unwrap();
    }
    disk.empty_staging_except(|name| name == "named").unwrap();
    disk.empty_trash().unwrap();
    assert_eq!(disk.list(p("staging")).unwrap().len(), 1);
    assert!(disk.list(p("trash")).unwrap().is_empty());
    disk.empty_staging().unwrap();
    assert!(disk.list(p("staging")).unwrap().is_empty());
}

#[test]
fn what_is_left_in_the_trash_can_be_deleted_by_two_at_a_time() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    for round in 0..20 {
        for name in 0..40 {
            disk.make_dir(&p("trash").join(format!(".1-{round}{name:02}/a/b/c")), 0o500).unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for thrown in disk.left_in_trash().unwrap() {
                        thrown.delete().unwrap();
                    }
                });
            }
        });
        assert!(disk.list(p("trash")).unwrap().is_empty());
    }
}

#[test]
fn opening_what_is_not_there_is_an_error_and_creating_is_repeatable() {
    let scratch = Scratch::new();
    let root = scratch.path().join("a/b");
    assert_eq!(Disk::open(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    let first = Disk::create(&root).unwrap();
    first.replace(p("file"), b"1", 0o600).unwrap();
    let second = Disk::create(&root).unwrap();
    assert_eq!(second.read(p("file"), 9).unwrap().unwrap(), b"1");
    let space = second.space().unwrap();
    assert!(space.free_bytes > 0 && space.free_inodes > 0);
    assert!(space.total_bytes >= space.free_bytes);
}
