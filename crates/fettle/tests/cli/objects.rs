//! `fettle object …` against a real server: what is printed, and what lies on the disk afterwards.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::harness::{World, golden_keys, keys};

#[test]
fn an_object_goes_up_once_and_comes_down_with_its_media_info() {
    let world = World::with_server();
    let bytes = vec![7; 100_000];
    let file = world.write("model.TAR.gz", &bytes);
    let up = world.json(&["object", "upload", "demo/model 1", &file]);
    assert_eq!(keys(&up), ["digest", "name", "sent", "size"]);
    assert_eq!((&up["size"], &up["sent"]), (&json!(100_000), &json!(100_000)));
    let again = world.json(&["object", "upload", "demo/model 1", &file]);
    assert_eq!((&again["digest"], &again["sent"]), (&up["digest"], &json!(0)));

    let down = world.json(&["object", "download", "demo/model 1", "out"]);
    assert_eq!(keys(&down), ["digest", "name", "size"]);
    assert_eq!(down["digest"], up["digest"]);
    assert_eq!(fs::read(world.path("out")).unwrap(), bytes);
    let info = fs::read_to_string(world.path("out.__info")).unwrap();
    assert_eq!(info, r#"{"Type":"application/x-tar","Encoding":"gzip"}"#);
}

#[test]
fn stat_and_list_have_the_keys_of_the_examples() {
    let world = World::with_server();
    world.json(&["object", "upload", "a/b", &world.write("a.txt", "hello")]);
    world.json(&["object", "upload", "a/c/d", &world.write("b", "hello")]);
    let stat = world.json(&["object", "stat", "a/b"]);
    assert_eq!(keys(&stat), golden_keys("object.json"));
    assert_eq!(stat["complete"], true);
    assert_eq!((&stat["type"], &stat["encoding"]), (&json!("text/plain"), &Value::Null));
    assert_eq!(stat["created_by"], "loopback");
    let all = world.lines(&["object", "list"]);
    assert_eq!(keys(&all[0]), golden_keys("object-line.json"));
    assert_eq!(all.len(), 2);
    assert_eq!(world.lines(&["object", "list", "a/*"]).len(), 1);
    assert_eq!(world.lines(&["object", "list", "b*"]), Vec::<Value>::new());
}

#[test]
fn media_info_comes_from_flags_then_from_the_file_beside_then_from_the_name() {
    let world = World::with_server();
    let media = |name: &str, flags: &[&str]| {
        let file = world.text("x.tar.gz");
        world.json(&[&["object", "upload", name, &file], flags].concat());
        let stat = world.json(&["object", "stat", name]);
        (stat["type"].as_str().unwrap().to_owned(), stat["encoding"].clone())
    };
    world.write("x.tar.gz", "x");
    assert_eq!(media("name", &[]), ("application/x-tar".into(), json!("gzip")));
    world.write("x.tar.gz.__info", r#"{"Type":"text/csv","Encoding":"xz"}"#);
    assert_eq!(media("beside", &[]), ("text/csv".into(), json!("xz")));
    let flags = ["--type", "application/zip", "--encoding", "none"];
    assert_eq!(media("flags", &flags), ("application/zip".into(), Value::Null));
}

#[test]
fn standard_input_and_directories_are_objects_too() {
    let world = World::with_server();
    let upload = ["object", "upload", "in", "-", "--type", "text/plain", "--json"];
    let ended = world.run_with_input(&upload, b"from a pipe");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    world.json(&["object", "download", "in", "out"]);
    assert_eq!(fs::read(world.path("out")).unwrap(), b"from a pipe");

    world.write("dir/b", "b");
    symlink("b", world.path("dir/a")).unwrap();
    let first = world.json(&["object", "upload", "dir", &world.text("dir")]);
    fs::File::open(world.path("dir/b")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let second = world.json(&["object", "upload", "dir", &world.text("dir")]);
    assert_eq!(first["digest"], second["digest"]);
    let stat = world.json(&["object", "stat", "dir"]);
    assert_eq!((&stat["type"], &stat["encoding"]), (&json!("application/x-tar"), &Value::Null));
    assert_eq!(stat["measured"]["entries"], 2);
    let typed = ["object", "upload", "dir", &world.text("dir"), "--type", "text/plain"];
    assert_eq!(world.refused(&typed)["code"], "usage");
}

#[test]
fn a_name_is_written_once_and_the_refusal_names_both_digests() {
    let world = World::with_server();
    let up = world.json(&["object", "upload", "a", &world.write("a.txt", "one")]);
    let other = world.write("b.txt", "two");
    let error = world.refused(&["object", "upload", "a", &other]);
    assert_eq!(error["code"], "name-taken");
    let said = error.to_string();
    assert!(said.contains(up["digest"].as_str().unwrap()), "{said}");
    assert_eq!(said.matches("sha256:").count(), 2, "{said}");
    assert!(error["request"].is_string());
}

#[test]
fn what_is_not_there_cannot_be_read_removed_or_sent() {
    let world = World::with_server();
    for arguments in [
        &["object", "stat", "a"][..],
        &["object", "download", "a", "out"],
        &["object", "delete", "a"],
        &["object", "upload", "a", "no-such-file"],
    ] {
        assert_eq!(world.refused(arguments)["code"], "not-found", "{arguments:?}");
    }
    assert!(!world.path("out").exists());
}

#[test]
fn what_this_machine_refuses_has_a_hint_about_this_machine() {
    let world = World::with_server();
    let file = world.write("a.txt", "hello");
    world.json(&["object", "upload", "a", &file]);
    fs::create_dir(world.path("dir")).unwrap();
    world.write("odd.txt", "hello");
    world.write("odd.txt.__info", "no JSON");
    for (arguments, code, hint) in [
        (&["object", "download", "a", "none/out"][..], "not-found", "path"),
        (&["object", "download", "a", "dir"], "usage", "name the file"),
        (&["object", "upload", "b", "/dev/null"], "usage", "standard input"),
        (&["object", "upload", "b", "odd.txt"], "usage", "\"Type\""),
        (&["object", "upload", "b", &file, "--encoding", "br"], "unsupported", "use one"),
    ] {
        let error = world.refused(arguments);
        assert_eq!(error["code"], code, "{arguments:?}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
}

#[test]
fn where_standard_output_is_full_it_is_said() {
    let world = World::with_server();
    world.json(&["object", "upload", "a", &world.write("a.txt", "hello")]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = world.command(&["--json", "object", "list"]);
    let ended = command.stdout(full).output().unwrap();
    let said: Value = serde_json::from_slice(&ended.stderr).unwrap();
    assert_eq!((ended.status.code(), &said["error"]["code"]), (Some(1), &json!("no-space")));
}

#[test]
fn a_deleted_object_is_gone_and_its_name_is_free() {
    let world = World::with_server();
    world.json(&["object", "upload", "a", &world.write("a.txt", "one")]);
    assert_eq!(world.json(&["object", "delete", "a"]), json!({ "name": "a" }));
    assert_eq!(world.refused(&["object", "stat", "a"])["code"], "not-found");
    world.json(&["object", "upload", "a", &world.write("b.txt", "two")]);
}

#[test]
fn people_get_aligned_text_without_escape_codes() {
    let world = World::with_server();
    world.json(&["object", "upload", "a", &world.write("a.txt", "one")]);
    world.json(&["object", "upload", "a-long-name", &world.write("b.txt", "two")]);
    let ended = world.run(&["object", "list"]);
    let starts: Vec<usize> =
        ended.stdout.lines().map(|line| line.find("te").unwrap_or(13)).collect();
    assert_eq!(starts, [13, 13, 13], "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'));
}
