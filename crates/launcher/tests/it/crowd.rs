//! Many programs, programs that hang, and too few descriptors: nobody keeps the others from being served.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use launcher::{Connection, End, Event, Launched, Refused, Request, Step, Way, open_files};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::node::{Node, ended, launched, runs, wait_until};

/// A descriptor that whoever writes to it waits for ever, as on a disk that does not answer; and the other
/// end, which keeps it so.
fn hangs() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    (reader, writer)
}

fn kept() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// A way to a launcher that begins with these limits of open files.
fn limited(node: &Node, soft: u32, hard: u32) -> Way {
    let Way { directory, program, .. } = node.way();
    let script = format!("ulimit -S -n {soft}; ulimit -H -n {hard}; exec \"$0\" \"$@\"");
    let args = vec!["-c".into(), script.into(), program.into()];
    Way { directory, program: "/bin/sh".into(), args }
}

#[test]
fn a_program_that_hangs_before_it_begins_keeps_nobody_waiting_and_is_refused_in_the_end() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let (_reader, writer) = hangs();
    let mut program = node.shell("hangs", "echo never");
    program.joins = 1;
    node.ask(&connection, program, &[&writer]);
    let began = Instant::now();
    launched(node.launch(&connection, node.shell("b", "exit 3")));
    assert_eq!(ended(&connection).end, End::Code(3));
    let refused = Refused { launch: "hangs".into(), step: Step::InTime, errno: 110 };
    assert_eq!(connection.receive().unwrap(), Event::Refused(refused));
    assert!(began.elapsed() > Duration::from_secs(4), "it had its time");
    // Nothing of it is left, and the same launch can be made.
    launched(node.launch(&connection, node.shell("hangs", "exit 4")));
    assert_eq!(ended(&connection).end, End::Code(4));
    assert_eq!(node.printed(), "");
}

#[test]
fn a_manager_that_comes_while_a_start_is_under_way_hears_of_it_when_it_is_made() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let (reader, writer) = hangs();
    let mut program = node.shell("slow", "echo once; exec sleep 60");
    program.joins = 1;
    node.ask(&connection, program, &[&writer]);
    launched(node.launch(&connection, node.shell("b", "exec sleep 60")));
    drop(connection);
    let way = node.way();
    let next = std::thread::spawn(move || Connection::reach(&way).unwrap());
    std::thread::sleep(Duration::from_millis(100)); // or it comes later, which is the same
    assert!(!next.is_finished(), "it would be told too little");
    drop(reader); // the write fails, and ends its start
    let (_connection, known) = next.join().unwrap();
    let known: Vec<_> = known.iter().map(|known| known.launched.launch.as_str()).collect();
    assert_eq!(known, ["b"]);
}

#[test]
fn one_that_nobody_wants_to_hear_of_leaves_nothing_when_it_ends() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let Launched { pid, .. } = launched(node.launch(&connection, node.shell("a", "exec sleep 60")));
    connection.send(&Request::Acknowledge { launch: "a".into() }, &[]).unwrap();
    let signal = Request::Signal { launch: "a".into(), signal: 9, group: true };
    connection.send(&signal, &[]).unwrap();
    wait_until("it ends", || !runs(pid));
    launched(node.launch(&connection, node.shell("b", "exec sleep 60")));
    drop(connection);
    let (_connection, known) = node.reach();
    let known: Vec<_> = known.iter().map(|known| known.launched.launch.as_str()).collect();
    assert_eq!(known, ["b"], "and nobody is told");
}

#[test]
fn as_many_descriptors_are_kept_as_the_hard_limit_allows_and_programs_have_the_soft_one() {
    let node = Node::new();
    let (connection, _) = Connection::reach(&limited(&node, 24, 80)).unwrap();
    for number in 0..50 {
        let mut program =
            node.shell(&number.to_string(), "ulimit -S -n; ulimit -H -n; exec sleep 60");
        program.keeps = true;
        launched(node.launch_with(&connection, program, &[&kept()]));
    }
    wait_until("all print", || node.printed().lines().count() == 100);
    let printed = node.printed();
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, ["24", "80"], "theirs is as it would be without the launcher");
    drop(connection);
    let (_connection, known) = node.reach();
    assert_eq!(known.iter().filter(|known| known.kept.is_some()).count(), 50);
}

#[test]
fn programs_begin_with_the_soft_limit_that_whoever_started_the_launcher_had_before_it_raised_its_own()
 {
    let node = Node::new();
    let mut way = limited(&node, 80, 80);
    way.args.push(open_files(24));
    let (connection, _) = Connection::reach(&way).unwrap();
    let script = "ulimit -S -n; ulimit -H -n";
    launched(node.launch(&connection, node.shell("a", script)));
    ended(&connection);
    // Also by the launcher that takes its place.
    let Way { program, args, .. } = node.way();
    let replace = Request::Replace {
        program: program.into(),
        args: args.iter().chain([&node.directory.path().into()]).map(Into::into).collect(),
    };
    connection.send(&replace, &[]).unwrap();
    drop(connection);
    let (connection, _) = node.reach();
    launched(node.launch(&connection, node.shell("b", script)));
    wait_until("both print", || node.printed() == "24\n80\n24\n80\n");
}

#[test]
fn without_a_free_descriptor_programs_are_refused_and_the_next_manager_is_heard() {
    let node = Node::new();
    let (connection, _) = Connection::reach(&limited(&node, 40, 40)).unwrap();
    let mut made = 0;
    let refused = loop {
        let mut program = node.shell(&made.to_string(), "exec sleep 60");
        program.keeps = true;
        match node.launch_with(&connection, program, &[&kept()]) {
            Event::Refused(refused) => break refused,
            other => drop(launched(other)),
        }
        made += 1;
        assert!(made < 40);
    };
    assert_eq!(refused.errno, rustix::io::Errno::MFILE.raw_os_error());
    let (connection, known) = node.reach(); // while the other is connected
    assert_eq!(known.len(), made);
    for known in known {
        let launch = known.launched.launch;
        connection.send(&Request::Acknowledge { launch: launch.clone() }, &[]).unwrap();
        connection.send(&Request::Signal { launch, signal: 9, group: true }, &[]).unwrap();
    }
    wait_until("there is room again", || {
        matches!(node.launch(&connection, node.shell("again", "exit 0")), Event::Launched(_))
    });
}
