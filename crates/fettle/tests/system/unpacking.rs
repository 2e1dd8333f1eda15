//! The process that unpacks, from outside: what it is, what happens when it dies, and that it dies with
//! the manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::proxy::Proxy;
use crate::world::{World, as_every_account};

/// An archive whose bytes arrive while it is unpacked: a tar of 24 MiB that does not compress.
fn publish_slow(world: &mut World) -> (Proxy, u64) {
    world.start_server();
    let proxy = Proxy::new(&world.server().url);
    let directory = world.path("slow");
    fs::create_dir(&directory).unwrap();
    let mut state = 1u64;
    for number in 0..24 {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(1 << 20)
        .collect();
        fs::write(directory.join(format!("part-{number}")), noise).unwrap();
    }
    let archive = world.path("slow.tar.zst");
    let mut pack = Command::new("tar");
    pack.arg("--zstd").arg("-cf").arg(&archive).arg("-C").arg(&directory).arg(".");
    assert!(pack.status().unwrap().success());
    world.own(&archive);
    world.publish("demo/slow", "1.0.0", &[("data", &archive)]);
    let size = fs::metadata(&archive).unwrap().len();
    (proxy, size)
}

/// Begins an install of it whose bytes stop coming in the middle: the way that they come, the operation,
/// and the node's directory.
fn install_half(world: &mut World) -> (Proxy, String, PathBuf) {
    let (proxy, size) = publish_slow(world);
    world.start_node_from(&proxy.url);
    proxy.down.hold_after(size / 2);
    let detached = world.json(&["--server", &proxy.url, "install", "demo/slow", "--detach"]);
    let operation = detached["operation"].as_str().unwrap().to_owned();
    (proxy, operation, world.root().canonicalize().unwrap())
}

/// The unpackers that work beneath this directory.
fn unpackers(root: &Path) -> Vec<(u32, PathBuf)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let cwd = fs::read_link(process.path().join("cwd")).ok()?;
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let is_one = command.split(|byte| *byte == 0).any(|word| word == b"__unpack");
        (is_one && cwd.starts_with(root)).then_some((pid, cwd))
    });
    found.collect()
}

fn wait_until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    loop {
        match found() {
            Some(found) => return found,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn staged_directories(root: &Path) -> usize {
    let entries = fs::read_dir(root.join("staging")).unwrap().flatten();
    entries.filter(|entry| entry.file_type().unwrap().is_dir()).count()
}

#[test]
fn an_unpacker_that_is_killed_fails_its_operation_and_the_next_install_needs_no_download() {
    as_every_account(|world| {
        let (proxy, operation, root) = install_half(world);
        let (pid, cwd) = wait_until(|| unpackers(&root).pop());
        assert!(cwd.starts_with(root.join("staging")), "{}", cwd.display());
        wait_until(|| cwd.join("files").exists().then_some(())); // it has given up its rights
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("Name:"), "fettle-unpack", "{status}");
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        assert_eq!(u64::from_str_radix(&field("CapEff:"), 16), Ok(0), "{status}");
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        proxy.down.release();
        let refused = world.refused(&["operation", "wait", &operation]);
        assert!(refused["causes"].to_string().contains("signal 9"), "{refused}");
        assert_eq!(staged_directories(&root), 0);
        let before = proxy.down.passed();
        world.json(&["--server", &proxy.url, "install", "demo/slow"]);
        let again = proxy.down.passed() - before;
        assert!(again < 100_000, "{again} bytes were downloaded again");
        assert_eq!(unpackers(&root), []);
    });
}

#[test]
fn an_unpacker_ends_with_its_manager_and_what_it_wrote_is_gone_after_the_restart() {
    as_every_account(|world| {
        let (proxy, operation, root) = install_half(world);
        let (_, cwd) = wait_until(|| unpackers(&root).pop());
        wait_until(|| cwd.join("files/part-1").exists().then_some(()));
        world.node_mut().kill();
        wait_until(|| unpackers(&root).is_empty().then_some(()));
        proxy.down.release();
        world.start_node_from(&proxy.url);
        assert!(!cwd.exists());
        let ended = world.json(&["operation", "wait", &operation]);
        assert_eq!((&ended["state"], &ended["error"]), (&json!("done"), &json!(null)));
        assert_eq!(staged_directories(&root), 0);
    });
}

#[test]
fn what_was_left_out_of_an_archive_is_said_in_the_notes() {
    as_every_account(|world| {
        world.with_node();
        let script = world.write(
            "pack.py",
            "import io, sys, tarfile\n\
             out = tarfile.open(sys.argv[1], 'w')\n\
             def add(name, mode, uid, kind=tarfile.REGTYPE):\n\
             \x20   entry = tarfile.TarInfo(name)\n\
             \x20   entry.mode, entry.uid, entry.type = mode, uid, kind\n\
             \x20   out.addfile(entry, io.BytesIO())\n\
             add('run', 0o4755, 1000)\n\
             add('closed', 0o000, 0, tarfile.DIRTYPE)\n\
             add('closed/within', 0o644, 0)\n\
             out.close()\n",
        );
        let archive = world.path("odd.tar");
        let packed = Command::new("python3").arg(&script).arg(&archive).status().unwrap();
        assert!(packed.success());
        world.own(&archive);
        world.publish("demo/odd", "1.0.0", &[("odd", &archive)]);
        let installed = world.json(&["install", "demo/odd"]);
        let shown = world.json(&["operation", "show", installed["operation"].as_str().unwrap()]);
        let notes = shown["notes"].to_string();
        for said in ["the owners of 1 entry", "set-user-id", "out of directories"] {
            assert!(notes.contains(said), "{notes}");
        }
    });
}

#[test]
fn what_nobody_measured_may_amount_to_what_the_configuration_says() {
    as_every_account(|world| {
        world.start_server();
        let data = world.write("data/file", vec![b'x'; 100_000]);
        let archive = world.path("data.tar.zst");
        let mut pack = Command::new("tar");
        pack.args(["--use-compress-program=zstd --long=28", "-cf"]).arg(&archive);
        pack.arg("-C").arg(data.parent().unwrap()).arg("file");
        assert!(pack.status().unwrap().success());
        world.own(&archive);
        let manifest = world.manifest("demo/wide", "1.0.0", &data, &[], &[("data", &archive)]);
        let publish = ["app", "publish", manifest.to_str().unwrap()];
        let refused = world.refused(&publish);
        assert_eq!(refused["code"], "too-large", "{refused}");
        assert!(refused["hint"].to_string().contains("zstd -dc --long=31"), "{refused}");
        let small = [&publish[..], &["--max-window", "256MiB", "--max-unpacked", "50kB"]].concat();
        let refused = world.refused(&small);
        assert!(refused["hint"].to_string().contains("--max-unpacked"), "{refused}");
        world.json(&[&publish[..], &["--max-window", "256MiB"]].concat());
        // What the publisher allows itself, a node need not have the memory for.
        world.start_node();
        let refused = world.refused(&["install", "demo/wide"]);
        assert_eq!(refused["code"], "too-large", "{refused}");
    });
}
