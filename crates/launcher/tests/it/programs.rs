//! Programs from their beginning to their end.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use launcher::{
    Connection, End, Ended, Event, Launched, Limit, Refused, Request, Step, Way, end_of,
};
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open, test_kill_process};

use crate::node::{Node, ended, gone, launched, pid, runs, wait_until};

#[test]
fn a_program_begins_with_what_was_asked_for_and_nothing_of_ours() {
    let node = Node::new();
    let (connection, known) = node.reach();
    assert!(known.is_empty());
    let script = "env | sort; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; \
                  grep -E 'Sig(Blk|Ign)' /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj; \
                  ps -o sid= -p $$ 2>/dev/null || cut -d' ' -f6 /proc/$$/stat; read line || echo no input";
    let mut program = node.shell("a", script);
    program.env.push("A=b c".into());
    program.limits = vec![Limit { resource: 7, soft: Some(123), hard: Some(200) }]; // RLIMIT_NOFILE
    program.oom_score = Some(17);
    let Launched { pid, .. } = launched(node.launch(&connection, program));
    assert_eq!(ended(&connection).end, End::Code(0));
    let printed = node.printed();
    let lines: Vec<&str> = printed.lines().map(str::trim).collect();
    let directory = node.directory.path().canonicalize().unwrap();
    assert!(lines.contains(&"A=b c") && lines.contains(&directory.to_str().unwrap()), "{printed}");
    assert!(!printed.contains("CARGO"), "nothing of our environment: {printed}");
    assert!(lines.contains(&"0 1 2 3"), "no other descriptor: {printed}");
    for signals in lines.iter().filter(|line| line.starts_with("Sig")) {
        assert!(signals.ends_with("0000000000000000"), "{printed}");
    }
    assert!(
        lines.contains(&"123") && lines.contains(&"17") && lines.contains(&"no input"),
        "{printed}"
    );
    assert!(lines.contains(&pid.to_string().as_str()), "a session of its own: {printed}");
}

#[test]
fn the_same_launch_twice_makes_one_process() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let program = node.shell("a", "echo once; exec sleep 1000");
    let first = launched(node.launch(&connection, program.clone()));
    assert_eq!(launched(node.launch(&connection, program.clone())), first);
    wait_until("it prints", || node.printed() == "once\n");
    let signal = Request::Signal { launch: "a".into(), signal: 15, group: true };
    connection.send(&signal, &[]).unwrap();
    let end = ended(&connection);
    assert_eq!(end.end, End::Signal(15));
    assert_eq!(launched(node.launch(&connection, program)), first, "also when it has ended");
    assert_eq!(ended(&connection), end);
    assert_eq!(node.printed(), "once\n");
}

#[test]
fn an_end_that_no_manager_saw_is_told_to_the_next_until_it_is_acknowledged() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let waits = "until [ -e end ]; do sleep 0.01; done; exit 7";
    let first = launched(node.launch(&connection, node.shell("a", waits)));
    let launcher = connection.welcome().pid;
    drop(connection);
    let (connection, known) = node.reach();
    assert_eq!(connection.welcome().pid, launcher, "it outlives the manager");
    assert_eq!(known[0].launched, first);
    drop(connection);
    std::fs::write(node.path("end"), "").unwrap();
    wait_until("it ends", || !runs(first.pid));
    for _ in 0..2 {
        let (connection, known) = node.reach();
        assert_eq!(known.len(), 1);
        let end = known[0].ended.clone().unwrap_or_else(|| ended(&connection));
        assert!(matches!(end, Ended { end: End::Code(7), at, .. } if at > 0));
    }
    let (connection, known) = node.reach();
    assert!(known[0].ended.is_some());
    connection.send(&Request::Acknowledge { launch: "a".into() }, &[]).unwrap();
    drop(connection);
    gone(launcher);
    let (connection, known) = node.reach();
    assert!(known.is_empty() && connection.welcome().pid != launcher);
}

#[test]
fn what_cannot_be_made_is_refused_with_the_step_and_the_systems_error() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let mut program = node.shell("a", "");
    program.program = "/nowhere".into();
    let refused = |event, step, errno| {
        assert_eq!(event, Event::Refused(Refused { launch: "a".into(), step, errno }));
    };
    refused(node.launch(&connection, program.clone()), Step::Execute, 2);
    program.directory = "/nowhere".into();
    refused(node.launch(&connection, program.clone()), Step::Directory, 2);
    program.args.push("a\0b".into());
    refused(node.launch(&connection, program.clone()), Step::Request, 22);
    program = node.shell("a", "");
    program.in_group = true; // and no descriptor of one
    refused(node.launch(&connection, program), Step::Request, 9);
    // Nothing of it is left: the same launch can still be made.
    launched(node.launch(&connection, node.shell("a", "exit 0")));
}

#[test]
fn a_replaced_launcher_is_the_same_process_and_forgets_nothing() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let (kept, writer) = std::io::pipe().unwrap();
    let mut program = node.shell("a", "read x < go; exit 7");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        node.path("go"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    program.keeps = true;
    let kept = OwnedFd::from(kept);
    let before = launched(node.launch_with(&connection, program, &[&kept]));
    drop(kept);
    launched(node.launch(&connection, node.shell("b", "exit 3")));
    let end = ended(&connection);
    let launcher = connection.welcome().pid;
    let way = node.way();
    let replace = |program: &Path| Request::Replace {
        program: program.into(),
        args: vec![way.directory.as_path().into()],
    };
    connection.send(&replace(Path::new("/nowhere")), &[]).unwrap();
    let event = connection.receive().unwrap();
    assert!(matches!(event, Event::Refused(Refused { errno: 2, .. })), "it goes on: {event:?}");
    connection.send(&replace(&way.program), &[]).unwrap();
    assert!(connection.receive().is_err());
    let (connection, mut known) = node.reach();
    assert_eq!(connection.welcome().pid, launcher);
    assert_eq!(known.len(), 2);
    assert_eq!((&known[0].launched, &known[0].ended), (&before, &None));
    assert_eq!(known[1].ended, Some(end));
    // What was kept is still what it was.
    drop(writer);
    let mut read = String::new();
    let mut kept = File::from(known.remove(0).kept.unwrap());
    std::io::Read::read_to_string(&mut kept, &mut read).unwrap();
    std::fs::write(node.path("go"), "\n").unwrap();
    assert_eq!(ended(&connection).end, End::Code(7));
}

#[test]
fn killed_it_takes_no_program_with_it_and_the_kernel_tells_how_that_ended() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let program = launched(node.launch(&connection, node.shell("a", "exec sleep 1000")));
    let held = pidfd_open(pid(program.pid), PidfdFlags::empty()).unwrap();
    kill_process(pid(connection.welcome().pid), Signal::KILL).unwrap();
    assert!(connection.receive().is_err());
    let (connection, known) = node.reach();
    assert!(known.is_empty(), "what it knew is lost");
    assert!(runs(program.pid));
    assert_eq!(end_of(&held), None);
    launched(node.launch(&connection, node.shell("b", "exit 0")));
    kill_process(pid(program.pid), Signal::TERM).unwrap();
    // Whoever is its parent now reaps it sooner or later, or the kernel is older than 6.15.
    wait_until("it ends", || !runs(program.pid));
    assert!(matches!(end_of(&held), None | Some(End::Signal(15))));
}

#[test]
fn what_forks_twice_is_reaped_and_is_no_end_of_its_program() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let script = "(setsid sh -c 'echo $$ > grandchild; exec sleep 0.2' &) ; exec sleep 1000";
    let program = launched(node.launch(&connection, node.shell("a", script)));
    wait_until("it forks", || {
        std::fs::read_to_string(node.path("grandchild")).is_ok_and(|t| t.ends_with('\n'))
    });
    let number: u32 =
        std::fs::read_to_string(node.path("grandchild")).unwrap().trim().parse().unwrap();
    wait_until("it is reaped", || test_kill_process(pid(number)).is_err());
    let signal = Request::Signal { launch: "a".into(), signal: 9, group: false };
    connection.send(&signal, &[]).unwrap();
    let end = ended(&connection);
    assert_eq!((end.launch.as_str(), end.end), ("a", End::Signal(9)));
    assert!(!runs(program.pid));
}

#[test]
fn it_ends_with_the_last_program_of_a_node_that_is_gone() {
    let node = Node::new();
    let (connection, _) = node.reach();
    let program = launched(node.launch(&connection, node.shell("a", "exec sleep 1000")));
    let launcher = connection.welcome().pid;
    drop(connection);
    drop(node);
    assert!(runs(launcher) && runs(program.pid));
    kill_process(pid(program.pid), Signal::KILL).unwrap();
    gone(launcher);
}

#[test]
fn a_program_begins_in_its_control_group() {
    let Some(group) = Group::new() else {
        return println!("skipped: no control group can be made here");
    };
    let node = Node::new();
    let (connection, _) = node.reach();
    let directory = OwnedFd::from(File::open(&group.0).unwrap());
    let mut program = node.shell("a", "cat /proc/self/cgroup");
    program.in_group = true;
    launched(node.launch_with(&connection, program, &[&directory]));
    ended(&connection);
    let name = group.0.file_name().unwrap().to_str().unwrap();
    assert!(node.printed().lines().any(|line| line.starts_with("0::") && line.ends_with(name)));
}

#[test]
fn without_the_newest_system_call_a_program_enters_its_group_by_itself() {
    let (Some(group), true) = (Group::new(), Path::new("/usr/bin/strace").exists()) else {
        return println!("skipped: no control group can be made here, or there is no strace");
    };
    let node = Node::new();
    let Way { directory, program, .. } = node.way();
    let inject = ["-qq", "-o", "/dev/null", "-e", "inject=clone3:error=ENOSYS"];
    let args = inject.into_iter().map(Into::into).chain([program.into()]).collect();
    let way = Way { directory, program: "/usr/bin/strace".into(), args };
    let (connection, _) = Connection::reach(&way).unwrap();
    let directory = OwnedFd::from(File::open(&group.0).unwrap());
    let mut program = node.shell("a", "cat /proc/self/cgroup");
    program.in_group = true;
    launched(node.launch_with(&connection, program, &[&directory]));
    ended(&connection);
    let name = group.0.file_name().unwrap().to_str().unwrap();
    assert!(node.printed().lines().any(|line| line.starts_with("0::") && line.ends_with(name)));
}

/// A v2 group that can be made here.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let mount = mounts.iter().find(|mount| Path::new(mount).join("cgroup.procs").exists())?;
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(mount).join(format!("fettle-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Group(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        wait_until("the group is empty", || std::fs::remove_dir(&self.0).is_ok());
    }
}
