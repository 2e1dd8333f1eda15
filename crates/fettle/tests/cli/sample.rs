//! The demo's sample program, which tests of the node make misbehave.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::{Ended, World};

fn start(world: &World, arguments: &[&str]) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = world.command(&[&["__sample", "--interval", "10ms"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(Result::unwrap))
}

fn terminate(pid: u32) {
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}

#[test]
fn it_exits_with_the_code_that_it_was_told() {
    let world = World::empty();
    let arguments = ["__sample", "--exit", "7", "--after", "20ms"];
    let ended = Ended::of(world.command(&arguments).env("FETTLE_TITLE", "weather"));
    assert_eq!(ended.code, 7);
    assert!(ended.stdout.starts_with("weather ? starts") && !ended.stderr.is_empty());
}

#[test]
fn it_says_what_lies_in_its_packages_and_ends_with_0_when_told_to() {
    let world = World::empty();
    world.write("packages/model/forecasts.txt", "sun\nrain\n");
    world.write("packages/greeting", "hello\n");
    let (mut child, mut lines) = start(&world, &[]);
    assert!(lines.any(|line| line.contains("packages/greeting begins `hello`")));
    assert!(lines.any(|line| line.contains("packages/model/forecasts.txt begins `sun`")));
    assert!(lines.any(|line| line == "forecast 3: sun"));
    terminate(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_lets_a_signal_pass_and_has_a_child_where_it_was_told_to() {
    let world = World::empty();
    let (mut child, mut lines) = start(&world, &["--ignore-term", "--spawn-child"]);
    let pid = lines.find_map(|line| line.strip_prefix("child ").map(str::to_owned)).unwrap();
    terminate(child.id());
    assert!(lines.any(|line| line == "told to end, and goes on"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
}
