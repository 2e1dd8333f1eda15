//! The settings of daemons: who is heard, and how a file is refused.

use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::harness::{Server, World};

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let world = World::empty();
    let socket = |name: &str| format!("unix:{}", world.text(name));
    let file = format!("data = {:?}\nlisten = {:?}\n", world.text("data"), socket("file.sock"));
    let file = world.write("server.toml", file);
    for (environment, flag, listens) in [
        (None, None, "file.sock"),
        (Some("environment.sock"), None, "environment.sock"),
        (Some("environment.sock"), Some("flag.sock"), "flag.sock"),
        (None, Some("flag.sock"), "flag.sock"),
    ] {
        let mut command = world.command(&["server", "--config", &file]);
        if let Some(name) = environment {
            command.env("FETTLE_SERVER_LISTEN", socket(name));
        }
        if let Some(name) = flag {
            command.args(["--listen", &socket(name)]);
        }
        let server = Server::start(&mut command);
        assert_eq!(server.url, format!("unix://{}", world.text(listens)));
        server.end("-TERM");
    }
}

#[test]
fn every_setting_of_a_node_can_stand_in_its_file_and_status_names_the_file() {
    let world = World::empty();
    let socket = world.text("own.sock");
    let file = format!(
        "root = {:?}\nlisten = \"unix:{socket}\"\nserver = \"http://127.0.0.1:9\"\n\
         allow-loopback = true\nreserve = \"1MiB\"\nmax-unpacked = \"1GiB\"\nmax-window = \"8MiB\"\n\
         log-budget = \"1MiB\"\n\
         log = \"off\"\n",
        world.text("root")
    );
    let file = world.write("node.toml", file);
    let mut command = world.command(&["node"]);
    command.env("FETTLE_NODE_CONFIG", &file).env_remove("FETTLE_SERVER");
    let node = Server::start(&mut command);
    assert_eq!(node.url, format!("unix://{socket}"));
    let status = world.json(&["--node", &node.url, "status"]);
    assert_eq!(status["config"], file);
    assert_eq!(status["data"], world.text("root"));
    assert_eq!(status["server"], "http://127.0.0.1:9");
    assert_eq!(status["warnings"].as_array().unwrap().len(), 1, "loopback is allowed: {status}");
    let shown = world.run(&["--node", &node.url, "status"]).stdout;
    assert!(shown.contains(&file), "{shown}");
    let (_, said) = node.end("-TERM");
    assert_eq!(said, "", "nothing is logged");

    let mut command = world.command(&["node", "--allow-loopback=false"]);
    command.env("FETTLE_NODE_CONFIG", &file).env("FETTLE_SERVER", "http://127.0.0.1:7");
    let node = Server::start(&mut command);
    let status = world.json(&["--node", &node.url, "status"]);
    assert_eq!(status["server"], "http://127.0.0.1:7", "the environment beats the file");
    assert_eq!(status["warnings"], Value::Array(vec![]), "the flag beats the file: {status}");
}

#[test]
fn a_wrong_line_is_refused_with_its_place_and_a_hint_and_nothing_is_made() {
    let world = World::empty();
    for (daemon, text, says, hint) in [
        ("node", "\n lisen = \"x\"", "line 2, column 2: unknown key `lisen`", "`listen`"),
        ("node", "reserve = 5", "line 1, column 11: `reserve` is a number", "64MiB"),
        ("node", "data = \"/x\"", "unknown key `data`", "root"),
        ("server", "data = \"x\"", "line 1, column 8: `data`: `x` is not absolute", "absolute"),
        ("server", "# ä\ndata: /x", "line 2, column", "key = value"),
        ("server", "log = \"[\"", "line 1, column 7: `log`", "filter"),
    ] {
        let file = world.write("wrong.toml", text);
        let error = world.refused(&[daemon, "--config", &file]);
        assert_eq!(error["code"], "usage");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&file) && message.contains(says), "{message}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{error}");
    }
    assert!(!world.path("share").exists());
}

#[test]
fn a_file_that_is_named_has_to_be_there_and_readable() {
    let world = World::empty();
    let absent = world.text("absent.toml");
    let error = world.refused(&["node", "--config", &absent]);
    assert_eq!(error["code"], "usage");
    assert!(error["message"].as_str().unwrap().contains(&absent), "{error}");
    let socket = world.path("socket");
    let _socket = UnixListener::bind(&socket).unwrap();
    world.refused(&["server", "--config", socket.to_str().unwrap()]);
}
