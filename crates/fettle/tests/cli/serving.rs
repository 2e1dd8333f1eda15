//! `fettle server` as a process: ready, refused, ended.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::harness::{Server, World};

#[test]
fn a_server_says_where_it_is_and_ends_with_0_on_either_signal() {
    let world = World::empty();
    for signal in ["-TERM", "-INT"] {
        let server = world.serve(&["--data", &world.text("data")]);
        assert!(server.url.starts_with("http://127.0.0.1:") && !server.url.ends_with(":0"));
        let (code, said) = server.end(signal);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("any account of this machine may read and write"), "{said}");
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_after_a_kill() {
    let world = World::empty();
    let file = world.write("a.txt", "hello");
    let data = world.text("data");
    for (name, signal) in [("a", "-TERM"), ("b", "-KILL")] {
        let server = world.serve(&["--data", &data]);
        world.json(&["--server", &server.url, "object", "upload", name, &file]);
        server.end(signal);
    }
    let server = world.serve(&["--data", &data]);
    let names = world.lines(&["--server", &server.url, "object", "list"]);
    let names: Vec<&str> = names.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_second_server_on_the_same_data_is_refused_even_with_other_blobs() {
    let world = World::with_server();
    let (data, blobs) = (world.text("data"), format!("file://{}", world.text("blobs")));
    let first = ["server", "--listen", "127.0.0.1:0", "--data", &data];
    assert_eq!(world.refused(&first)["code"], "busy");
    assert_eq!(world.refused(&[&first[..], &["--blobs", &blobs]].concat())["code"], "busy");
    assert_eq!(world.lines(&["object", "list"]).len(), 0);
}

#[test]
fn an_address_that_is_taken_is_busy() {
    let world = World::with_server();
    let address = world.url().strip_prefix("http://").unwrap().to_owned();
    let other = world.text("other");
    let error = world.refused(&["server", "--data", &other, "--listen", &address]);
    assert_eq!(error["code"], "busy");
}

#[test]
fn an_address_that_other_machines_reach_is_refused() {
    let world = World::empty();
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:7420"] {
        let error = world.refused(&["server", "--listen", address]);
        assert_eq!(error["code"], "not-loopback");
        let error = world.refused(&["node", "--listen", address]);
        assert_eq!(error["code"], "not-loopback");
    }
}

#[test]
fn a_socket_whose_path_is_too_long_is_refused_with_both_lengths() {
    let world = World::empty();
    let address = format!("unix:/{}", "s".repeat(120));
    for command in ["server", "node"] {
        let error = world.refused(&[command, "--listen", &address]);
        assert_eq!(error["code"], "usage");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("121 bytes") && message.contains("103"), "{message}");
    }
}

#[test]
fn databases_and_buckets_that_come_later_are_unsupported() {
    let world = World::empty();
    for (flag, url) in [("--database", "postgres://db/fettle"), ("--blobs", "s3://bucket/prefix")] {
        assert_eq!(world.refused(&["server", flag, url])["code"], "unsupported");
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let world = World::empty();
    world.write("other/staging/precious", "bytes");
    let start = ["server", "--listen", "127.0.0.1:0", "--data", "other"];
    let error = world.refused(&start);
    assert_eq!(error["code"], "usage");
    assert!(error["message"].as_str().unwrap().contains("`staging` is in it"), "{error}");
    assert_eq!(fs::read(world.path("other/staging/precious")).unwrap(), b"bytes");
    assert_eq!(fs::read_dir(world.path("other")).unwrap().count(), 1);
    world.write("file", "bytes");
    assert_eq!(
        world.refused(&["server", "--listen", "127.0.0.1:0", "--data", "file"])["code"],
        "usage"
    );
}

#[test]
fn a_socket_of_another_account_is_denied_not_unreachable() {
    let world = World::empty();
    let path = world.path("s.sock");
    let _listening = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if UnixStream::connect(&path).is_ok() {
        return; // root is let in everywhere
    }
    let error = world.refused(&["--node", &format!("unix://{}", path.display()), "ps"]);
    assert_eq!(error["code"], "denied");
    assert!(error["hint"].as_str().unwrap().contains("account"), "{error}");
}

#[test]
fn database_and_blobs_may_lie_elsewhere() {
    let world = World::empty();
    fs::create_dir(world.path("db")).unwrap();
    let database = format!("sqlite://{}", world.text("db/catalog"));
    let blobs = format!("file://{}", world.text("blobs"));
    let server =
        world.serve(&["--data", &world.text("data"), "--database", &database, "--blobs", &blobs]);
    let file = world.write("a.txt", "hello");
    world.json(&["--server", &server.url, "object", "upload", "a", &file]);
    assert!(world.path("db/catalog").exists() && world.path("blobs/blobs").exists());
    assert!(!world.path("data/blobs").exists());
}

#[test]
fn a_server_may_listen_on_a_socket_that_only_its_account_reaches() {
    let world = World::empty();
    let (data, address) = (world.text("data"), format!("unix:{}", world.text("s.sock")));
    let arguments = ["server", "--data", &data, "--listen", &address];
    let server = Server::start(&mut world.command(&arguments));
    assert_eq!(server.url, format!("unix://{}", world.text("s.sock")));
    let facts = fs::metadata(world.path("s.sock")).unwrap();
    assert!(facts.file_type().is_socket() && facts.permissions().mode() & 0o777 == 0o600);
    assert_eq!(world.lines(&["--server", &server.url, "object", "list"]).len(), 0);
}

#[test]
fn a_server_says_what_it_is_and_what_it_does_not_check() {
    let world = World::with_server();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let connection = client::Connection::new(&world.url().parse().unwrap()).unwrap();
        connection.status().await.unwrap()
    });
    assert_eq!((status.kind.as_str(), status.data), ("server", world.text("data")));
    assert_eq!(status.fettle, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.warnings.len(), 1);
}
