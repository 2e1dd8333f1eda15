//! What is said about wrong arguments, illegal names, unknown and silent servers.

use std::process::Stdio;

use crate::harness::{Ended, World};

#[test]
fn wrong_usage_ends_with_2_and_says_the_right_form() {
    let world = World::empty();
    for arguments in [
        &["object"][..],
        &["object", "uplaod"],
        &["object", "upload", "name"],
        &["--nonsense"],
        &["start"],
        &["stop", "a/1/1", "--timeout", "soon"],
        &["install", "demo/weather", "--env", "NOVALUE"],
        &["install", "demo/weather", "--package", "model"],
        &["app", "remove", "demo/weather"],
        &["server", "--database", "sqlite://relative"],
        &["server", "--blobs", "/no/url"],
        &["server", "--listen", "somewhere"],
    ] {
        let error = world.refused(arguments);
        assert_eq!(error["code"], "usage", "{arguments:?}");
        let ended = world.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_version_and_help_are_data() {
    let world = World::empty();
    for arguments in [&["--version"][..], &["-V"], &["--json", "--version"], &["--version", "ps"]] {
        let version = world.run(arguments);
        assert_eq!((version.code, version.stderr.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(version.stdout, concat!("fettle ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    for arguments in [&["--help"][..], &["object", "upload", "--help"]] {
        let help = world.run(arguments);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""));
        assert!(help.stdout.contains("Usage: fettle") && !help.stdout.contains("__sample"));
    }
}

#[test]
fn illegal_names_are_refused_before_anybody_is_asked() {
    let world = World::empty();
    for arguments in [
        &["object", "stat", "a/../b"][..],
        &["object", "upload", "a//b", "file"],
        &["object", "upload", "a", "file", "--type", "tar"],
        &["object", "list", "a\nb"],
        &["app", "show", "Demo"],
        &["app", "show", "demo@one"],
        &["app", "match", "demo", "Linux"],
        &["app", "remove", "demo@^1"],
        &["install", "demo", "--env", "FETTLE_TITLE=x"],
        &["install", "demo", "--package", ".hidden=x"],
        &["start", "weather/1"],
        &["start", "weather/1/01"],
        &["update", "weather"],
        &["status", "weather"],
        &["uninstall", "weather/*"],
        &["operation", "show", "7"],
    ] {
        assert_eq!(world.refused(arguments)["code"], "bad-name", "{arguments:?}");
    }
}

#[test]
fn a_silent_server_or_node_is_unreachable_and_the_next_step_is_named() {
    let world = World::empty();
    for arguments in [
        &["object", "list"][..],
        &["app", "show", "demo/weather"],
        &["ps"],
        &["start", "weather/1/1"],
        &["start", "weather/**", "other/1/1"],
        &["logs", "weather/1/1", "-f"],
        &["install", "demo/weather", "--detach"],
        &["operation", "wait", "01980000-0000-7000-8000-000000000001"],
    ] {
        let error = world.refused(arguments);
        assert_eq!(error["code"], "unreachable", "{arguments:?}");
        assert_ne!(error["causes"].as_array().unwrap().len(), 0, "{arguments:?}");
    }
}

#[test]
fn an_error_for_people_says_what_why_and_what_next() {
    let ended = World::empty().run(&["object", "list"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "error: `http://127.0.0.1:1` cannot be reached");
    assert!(lines[1].starts_with("  caused by: "), "{}", ended.stderr);
    assert!(lines.last().unwrap().starts_with("hint: "), "{}", ended.stderr);
}

#[test]
fn a_server_is_found_by_flag_then_environment_and_by_alias() {
    let world = World::with_server();
    world.write("config/fettle/config.toml", format!("[servers]\noffice = \"{}\"\n", world.url()));
    let listed = |server: &[&str], variable: &str| {
        let mut command = world.command(&[server, &["object", "list", "--json"]].concat());
        Ended::of(command.env("FETTLE_SERVER", variable)).code
    };
    assert_eq!(listed(&["--server", "office"], "http://127.0.0.1:1"), 0);
    assert_eq!(listed(&[], "office"), 0);
    assert_eq!(listed(&["--server", "http://127.0.0.1:1"], world.url()), 1);
}

#[test]
fn an_alias_that_nobody_defined_names_the_file_where_it_belongs() {
    let world = World::empty();
    for arguments in [&["--server", "office", "object", "list"][..], &["--node", "shop-7", "ps"]] {
        let error = world.refused(arguments);
        assert_eq!(error["code"], "usage");
        assert!(error["hint"].as_str().unwrap().contains("config/fettle/config.toml"), "{error}");
    }
}

#[test]
fn an_unknown_key_of_the_configuration_is_refused_with_its_line() {
    let world = World::empty();
    world.write("config/fettle/config.toml", "[servers]\n\n[sewers]\n");
    let error = world.refused(&["--server", "office", "object", "list"]);
    assert_eq!(error["code"], "usage");
    assert!(error["message"].as_str().unwrap().contains("line 3: unknown field `sewers`"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let world = World::with_server();
    world.json(&["object", "upload", "a", &world.write("a.txt", "a")]);
    let mut command = world.command(&["object", "list"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &ended.stderr[..]), (Some(0), &b""[..]));
}

#[test]
fn a_name_that_a_node_gives_and_a_file_that_is_not_there_have_hints_of_their_own() {
    let world = World::empty();
    for (arguments, wanted) in [
        (&["status", "weather"][..], "ps --installations"),
        (&["operation", "show", "7"], "operation list"),
        (&["app", "publish", "none.toml"], "name a manifest"),
        (&["app", "publish", "."], "name a manifest"),
        (&["object", "upload", "demo/none", "none"], "name a file"),
    ] {
        let error = world.refused(arguments);
        assert!(error["hint"].as_str().unwrap().contains(wanted), "{arguments:?}: {error}");
    }
}
