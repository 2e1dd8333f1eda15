//! What cannot be installed says why, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::archives::{a_crate, pack};
use crate::world::{World, as_every_account};

#[test]
fn an_application_a_version_and_a_profile_that_are_not_there_are_told_apart() {
    as_every_account(|world| {
        world.with_node();
        assert_eq!(world.refused(&["install", "demo/missing"])["code"], "not-found");
        world.publish("demo/there", "1.0.0", &[]);
        assert_eq!(world.refused(&["install", "demo/there@^2"])["code"], "no-version");
        let program = world.path("program.sh");
        let manifest = format!(
            "title = \"other\"\nname = \"demo/other\"\nversion = \"1.0.0\"\n[program]\nplan9-mips = {:?}\n",
            program.to_str().unwrap()
        );
        let manifest = world.write("other.toml", manifest);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        let refused = world.refused(&["install", "demo/other"]);
        assert_eq!(refused["code"], "no-profile");
        assert!(refused.to_string().contains("plan9-mips"), "{refused}");
        assert_eq!(world.refused(&["install", "Demo/There"])["code"], "bad-name");
        nothing_is_installed(world);
    });
}

#[test]
fn bytes_that_were_damaged_on_the_servers_disk_are_noticed_and_never_unpacked() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        world.publish("demo/damaged", "1.0.0", &[("source", &archive)]);
        let blob = blob_of_size(&world.path("server/blobs"), fs::metadata(&archive).unwrap().len());
        damage(&blob, |bytes| flip_the_middle(bytes));
        let refused = world.refused(&["install", "demo/damaged"]);
        assert_eq!(refused["code"], "digest-mismatch");
        assert!(refused.to_string().contains("package source"), "it names the package: {refused}");
        assert!(!refused["hint"].is_null() && !refused["operation"].is_null());
        nothing_is_installed(world);
        // The server's disk is mended; the same command now does it.
        damage(&blob, |bytes| flip_the_middle(bytes));
        assert_eq!(world.json(&["install", "demo/damaged"])["installation"], "damaged/1");
    });
}

#[test]
fn an_object_that_was_cut_off_or_lost_on_the_servers_disk_is_called_damaged() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        world.publish("demo/lost", "1.0.0", &[("source", &archive)]);
        let blob = blob_of_size(&world.path("server/blobs"), fs::metadata(&archive).unwrap().len());
        damage(&blob, |bytes| bytes.truncate(100));
        assert_eq!(world.refused(&["install", "demo/lost"])["code"], "damaged");
        fs::remove_file(&blob).unwrap();
        assert_eq!(world.refused(&["install", "demo/lost"])["code"], "damaged");
        nothing_is_installed(world);
    });
}

#[test]
fn an_override_that_names_no_object_is_refused() {
    as_every_account(|world| {
        world.with_node();
        world.publish("demo/plain", "1.0.0", &[]);
        let refused = world.refused(&["install", "demo/plain", "--package", "notes=site/missing"]);
        assert_eq!(refused["code"], "not-found");
        assert!(refused.to_string().contains("site/missing"), "{refused}");
        nothing_is_installed(world);
    });
}

#[test]
fn directories_that_a_program_has_locked_keep_neither_delete_nor_the_manager_from_anything() {
    as_every_account(|world| {
        world.with_node();
        let program = world.write(
            "locks.sh",
            "#!/bin/sh\nmkdir -p a/b c && chmod 0 a/b && chmod 0300 a c\ntouch ready\nexec sleep 1000\n",
        );
        let manifest = world.manifest("demo/locks", "1.0.0", &program, &[], &[]);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        world.json(&["install", "demo/locks", "--start"]);
        world.json(&["instance", "create", "locks/1", "--start"]);
        world.json(&["delete", "--stop", "locks/1/1"]);
        // What a crash has left of a delete.
        world.node_mut().kill();
        let trash = world.root().join("trash/left");
        fs::create_dir_all(trash.join("inner")).unwrap();
        world.own(&world.root().join("trash/left/inner"));
        world.own(&trash);
        fs::set_permissions(trash.join("inner"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&trash, fs::Permissions::from_mode(0o000)).unwrap();
        world.start_node();
        assert!(!trash.exists());
        world.json(&["delete", "--stop", "locks/1/2"]);
        assert_eq!(fs::read_dir(world.root().join("trash")).unwrap().count(), 0);
    });
}

#[test]
fn a_hostile_archive_writes_nothing_anywhere() {
    as_every_account(|world| {
        world.with_node();
        let directory = world.path("content");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("victim"), "evil").unwrap();
        let climbing = pack(
            world,
            "climb.tar",
            &["tar", "--transform", "s,victim,../../../victim,", "-Pcf"],
            &directory,
        );
        fs::remove_file(directory.join("victim")).unwrap();
        std::os::unix::fs::symlink("/tmp", directory.join("out")).unwrap();
        let linked = pack(world, "link.tar", &["tar", "-cf"], &directory);
        world.publish("demo/honest", "1.0.0", &[]);
        let program = world.write("program.sh", "#!/bin/sh\n");
        for (name, archive) in [("climb", &climbing), ("link", &linked)] {
            let manifest = world.manifest(
                &format!("demo/{name}"),
                "1.0.0",
                &program,
                &[],
                &[("evil", archive)],
            );
            let refused = world.refused(&["app", "publish", manifest.to_str().unwrap()]);
            assert_eq!(refused["code"], "unsafe-archive", "{refused}");
            // A node does not believe that every publisher looks.
            world.json(&["object", "upload", name, archive.to_str().unwrap()]);
            let package = format!("evil={name}");
            let refused = world.refused(&["install", "demo/honest", "--package", &package]);
            assert_eq!(refused["code"], "unsafe-archive", "{refused}");
        }
        assert!(!world.path("victim").exists() && !world.path("node/victim").exists());
        nothing_is_installed(world);
    });
}

#[test]
fn the_stored_media_info_decides_and_never_the_name() {
    as_every_account(|world| {
        world.with_node();
        let archive = a_crate(world);
        let path = archive.to_str().unwrap();
        // A tar.gz that is said to be a file stays a file, and under a name that says nothing it is unpacked.
        world.json(&[
            "object",
            "upload",
            "as/file.tar.gz",
            path,
            "--type",
            "application/octet-stream",
        ]);
        world.json(&[
            "object",
            "upload",
            "as/tree",
            path,
            "--type",
            "application/x-tar",
            "--encoding",
            "gzip",
        ]);
        // Bytes that are no zip, said to be one.
        world.json(&["object", "upload", "as/zip", path, "--type", "application/zip"]);
        world.publish("demo/said", "1.0.0", &[]);
        let args = [
            "install",
            "demo/said",
            "--package",
            "file=as/file.tar.gz",
            "--package",
            "tree=as/tree",
            "--start",
        ];
        world.json(&args);
        let app = fs::read_dir(world.root().join("apps")).unwrap().next().unwrap().unwrap().path();
        let packages = app.join("installation-1/instances/instance-1/root/packages");
        assert_eq!(fs::read(packages.join("file")).unwrap(), fs::read(&archive).unwrap());
        assert!(packages.join("tree").is_dir());
        let info = fs::read_to_string(app.join("installation-1/1-1.0.0/pkg/tree.__info")).unwrap();
        assert_eq!(info, r#"{"Type":"application/x-tar","Encoding":"gzip"}"#);
        let refused = world.refused(&["install", "demo/said", "--package", "zip=as/zip"]);
        assert_eq!(refused["code"], "unsafe-archive", "{refused}");
    });
}

#[test]
fn a_program_that_cannot_be_executed_or_ends_at_once_is_said_to_be_so_and_the_instance_stays() {
    as_every_account(|world| {
        world.with_node();
        let garbage = world.write("garbage", [0u8; 64]);
        let manifest = world.manifest("demo/garbage", "1.0.0", &garbage, &[], &[]);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        let refused = world.refused(&["install", "demo/garbage", "--start"]);
        assert_eq!(refused["code"], "unsupported", "{refused}");
        let failing = world.write("failing.sh", "#!/bin/sh\necho the reason >&2\nexit 7\n");
        let manifest = world.manifest("demo/failing", "1.0.0", &failing, &[], &[]);
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        let refused = world.refused(&["install", "demo/failing", "--start"]);
        assert_eq!(refused["code"], "wrong-state");
        assert!(refused["causes"].to_string().contains("the reason"), "{refused}");
        assert!(refused["hint"].as_str().unwrap().contains("fettle logs"), "{refused}");
        let failed = world.wait_for("failing/1/1", |status| status["state"] == "failed");
        assert_eq!(failed["exit"]["code"], 7);
        assert_eq!(failed["desired"], "running");
        assert_eq!(failed["restarts"], 5);
    });
}

fn nothing_is_installed(world: &World) {
    let numbered = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("installation-"))
            .count()
    };
    let apps = fs::read_dir(world.root().join("apps")).unwrap().flatten();
    assert_eq!(apps.map(|app| numbered(&app.path())).sum::<usize>(), 0);
    let trees = fs::read_dir(world.root().join("store/trees")).unwrap().flatten();
    assert_eq!(trees.flat_map(|shard| fs::read_dir(shard.path()).unwrap()).count(), 0);
    let staged = fs::read_dir(world.root().join("staging")).unwrap().flatten();
    let names: Vec<String> = staged.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().all(|name| name.starts_with("receive-")), "{names:?}");
}

fn blob_of_size(blobs: &Path, size: u64) -> PathBuf {
    let shards = fs::read_dir(blobs).unwrap().flatten();
    let mut found = shards
        .filter_map(|shard| fs::read_dir(shard.path()).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| fs::metadata(path).unwrap().len() == size);
    let blob = found.next().expect("the server has the blob");
    assert_eq!(found.next(), None);
    blob
}

fn flip_the_middle(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

fn damage(blob: &Path, change: impl Fn(&mut Vec<u8>)) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bytes = fs::read(blob).unwrap();
    change(&mut bytes);
    fs::set_permissions(blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(blob, bytes).unwrap();
}

#[test]
fn without_a_control_group_for_memory_each_process_is_held_by_itself_and_status_says_so() {
    as_every_account(|world| {
        world.with_node();
        let program =
            world.write("greedy.sh", "#!/bin/sh\necho data $(ulimit -d)\nexec sleep 1000\n");
        let manifest = world.manifest("demo/greedy", "1.0.0", &program, &[], &[]);
        let mut text = fs::read_to_string(&manifest).unwrap();
        text.push_str("\n[limits]\nmemory = \"64MiB\"\n");
        fs::write(&manifest, text).unwrap();
        world.json(&["app", "publish", manifest.to_str().unwrap()]);
        world.json(&["install", "demo/greedy", "--start"]);
        let status = world.json(&["status"]);
        let abilities = status["enforced"].as_array().unwrap();
        let memory = abilities.iter().find(|ability| ability["what"] == "memory").unwrap();
        let by_group = memory["why"].is_null();
        let expected = if by_group { "data unlimited" } else { "data 65536" };
        assert!(world.run(&["logs", "greedy/1/1"]).stdout.contains(expected), "{memory}");
        assert_eq!(memory["by"].as_str().unwrap().starts_with("rlimit"), !by_group, "{memory}");
    });
}
