//! `install-service`: what it writes, what it leaves alone, what it refuses. It is installed for an account here,
//! where nothing of the machine is touched; the tests in a booted systemd install it for the machine.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::harness::World;

const UNIT: &str = "config/systemd/user/fettle-node.service";

fn install<'a>(config: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["node", "install-service", "--user", "--config", config], more].concat()
}

#[test]
fn a_service_is_written_with_its_settings_and_repeating_it_changes_nothing() {
    let world = World::empty();
    let config = world.text("etc/fettle/node.toml");
    let arguments = install(&config, &["--server", "http://127.0.0.1:9", "--reserve", "1GiB"]);
    let first = world.json(&arguments);
    let expected = |unit: &str, settings: &str| {
        json!({
            "unit": world.text(UNIT), "unit_is": unit,
            "settings": config, "settings_are": settings,
            "next": ["systemctl --user daemon-reload", "systemctl --user enable --now fettle-node"],
        })
    };
    assert_eq!(first, expected("written", "written"));
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let (unit, settings) = (read(&world.text(UNIT)), read(&config));
    assert!(
        unit.contains(&format!("\" node --config {config}"))
            || unit.contains(&format!(" node --config {config}\n")),
        "{unit}"
    );
    assert!(unit.contains(&format!("ExecStart={}", env!("CARGO_BIN_EXE_fettle"))), "{unit}");
    assert!(settings.contains("\nserver = \"http://127.0.0.1:9\"\n"), "{settings}");
    assert!(settings.contains("\nreserve = \"1GiB\"\n"), "{settings}");
    assert!(settings.contains("\nroot = \"") && settings.contains("\n#listen = "), "{settings}");

    assert_eq!(world.json(&arguments), expected("kept", "kept"));
    assert_eq!((read(&world.text(UNIT)), read(&config)), (unit, settings));
    // What was written is what the daemon reads.
    let error = world.refused(&["node", "--config", &config, "--listen", "0.0.0.0:1"]);
    assert_eq!(error["code"], "not-loopback");
}

#[test]
fn settings_that_are_there_are_never_overwritten() {
    let world = World::empty();
    let config = world.write("node.toml", "# mine\nreserve = \"2GiB\"\n");
    let error = world.refused(&install(&config, &["--reserve", "1GiB"]));
    assert_eq!(error["code"], "wrong-state");
    assert!(error["message"].as_str().unwrap().ends_with("for: server, reserve"), "{error}");
    assert!(!world.path(UNIT).exists(), "a refusal writes nothing");
    let mut command = world.command(&install(&config, &["--json"]));
    assert!(command.env_remove("FETTLE_SERVER").status().unwrap().success());
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\nreserve = \"2GiB\"\n");
    let wrong = world.write("wrong.toml", "reserv = 1\n");
    let error = world.refused(&install(&wrong, &[]));
    assert!(error["message"].as_str().unwrap().contains("line 1, column 1"), "{error}");
}

#[test]
fn a_unit_that_was_edited_is_replaced_only_by_force_and_the_difference_is_shown() {
    let world = World::empty();
    let config = world.text("node.toml");
    world.json(&install(&config, &[]));
    let written = fs::read_to_string(world.path(UNIT)).unwrap();
    let edited = written.replace("RestartSec=1\n", "RestartSec=5\n");
    fs::write(world.path(UNIT), &edited).unwrap();
    let error = world.refused(&install(&config, &[]));
    assert_eq!(error["code"], "wrong-state");
    let difference = error["causes"][0].as_str().unwrap();
    assert!(difference.contains("\n-RestartSec=5\n+RestartSec=1\n"), "{difference}");
    assert!(error["hint"].as_str().unwrap().contains("systemctl edit fettle-node"), "{error}");
    assert_eq!(fs::read_to_string(world.path(UNIT)).unwrap(), edited);
    let report = world.json(&install(&config, &["--force"]));
    assert_eq!(report["unit_is"], "replaced");
    assert_eq!(fs::read_to_string(world.path(UNIT)).unwrap(), written);
    // One that another version of fettle wrote, and nobody touched, is replaced without being asked.
    let moved = world.text("moved.toml");
    assert_eq!(world.json(&install(&moved, &[]))["unit_is"], "replaced");
}

#[test]
fn printing_a_unit_writes_nothing_and_prints_what_would_be_written() {
    let world = World::empty();
    let config = world.text("etc/node.toml");
    let printed = world.run(&install(&config, &["--print"]));
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert!(!world.path("etc").exists() && !world.path("config").exists());
    let value = world.json(&install(&config, &["--print"]));
    assert_eq!(value["unit"], world.text(UNIT));
    world.json(&install(&config, &[]));
    assert_eq!(fs::read_to_string(world.path(UNIT)).unwrap(), printed.stdout);
    assert_eq!(value["text"], printed.stdout);
}

#[test]
fn a_link_to_the_program_stays_a_link_so_that_switching_it_is_an_upgrade() {
    let world = World::empty();
    fs::create_dir(world.path("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fettle"), world.path("bin/fettle")).unwrap();
    let print = ["node", "install-service", "--user", "--print"];
    for (shell, name) in
        [("bin/fettle \"$@\"", "bin/fettle"), ("PATH=$PWD/bin; fettle \"$@\"", "bin/fettle")]
    {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", shell, "sh"]).args(print).current_dir(world.path(""));
        command.env("HOME", world.path("")).env("XDG_CONFIG_HOME", world.path("config"));
        let printed = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let line = format!("ExecStart={} node --config", world.text(name));
        assert!(printed.contains(&line), "{line} is not in\n{printed}");
    }
}

#[test]
fn only_root_installs_services_of_the_machine_and_everybody_may_look_at_them() {
    let world = World::empty();
    if rustix::process::geteuid().is_root() {
        return; // the tests in a booted systemd do that
    }
    for daemon in ["node", "server"] {
        let error = world.refused(&[daemon, "install-service"]);
        assert_eq!(error["code"], "denied");
        assert!(error["hint"].as_str().unwrap().contains("--user"), "{error}");
        assert_eq!(world.run(&[daemon, "install-service", "--print"]).code, 0);
    }
}

#[test]
fn systemd_finds_nothing_to_complain_about_in_any_unit() {
    let world = World::empty();
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return; // this is about units on machines that have a systemd
    }
    for daemon in ["node", "server"] {
        for scope in [&[][..], &["--user"]] {
            let arguments = [&[daemon, "install-service", "--print"], scope].concat();
            let unit =
                world.write(&format!("fettle-{daemon}.service"), world.run(&arguments).stdout);
            let verify = ["verify", "--man=no", "--recursive-errors=no", &unit];
            let verified = Command::new("systemd-analyze").args(verify).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let about_it: Vec<&str> = said.lines().filter(|line| line.contains("fettle")).collect();
            assert!(verified.status.success() && about_it.is_empty(), "{said}");
        }
    }
}
