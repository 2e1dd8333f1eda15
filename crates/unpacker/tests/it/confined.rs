//! What the process cannot do, and how it ends.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use archive::Container;
use unpacker::{Isolation, Sandbox, Source, UnpackError, Unpacker};

use crate::world::{how, process, tar, unpack};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unpack-archive");

/// What a process can still do, in a directory of its own.
fn can(landlock: bool) -> Vec<String> {
    can_through(&[], landlock)
}

/// The same of one that is started by way of these words.
fn can_through(words: &[&str], landlock: bool) -> Vec<String> {
    let words: Vec<&str> = words.iter().chain(&["try"]).copied().collect();
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let _socket = UnixListener::bind(outside.path().join("socket")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tried = Command::new(PROGRAM)
        .args(words)
        .args([outside.path().to_str().unwrap(), &address])
        .arg(if landlock { "yes" } else { "no" })
        .current_dir(inside.path())
        .output()
        .unwrap();
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stderr));
    String::from_utf8(tried.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Does this kernel offer Landlock? Where it does not, the sandbox says so and the tests believe it only
/// if the kernel says so too.
fn kernel_has_landlock() -> bool {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    modules.split(',').any(|name| name.trim() == "landlock")
}

#[test]
fn in_the_sandbox_nothing_can_be_done_but_writing_the_tree() {
    let can = can(true);
    if can[0] == "NoLandlock" {
        assert!(!kernel_has_landlock(), "{can:?}");
        println!("this kernel has no Landlock: the test shows nothing");
        return;
    }
    assert_eq!(can[1..], ["make a file inside", "link inside"], "{can:?}");
}

#[test]
fn without_landlock_it_works_and_says_so() {
    let can = can(false);
    assert_eq!(can[0], "NoLandlock");
    assert!(can.contains(&"read outside".to_owned()), "{can:?}");
    // What needs no Landlock holds: no sockets, no other program.
    for what in ["connect", "reach a socket with a path", "open a UDP socket", "run a program"] {
        assert!(!can.contains(&what.to_owned()), "{can:?}");
    }
    let bytes = tar(&[("a", b'0', "", b"x", 0o644)]);
    let (_dir, outcome) = unpack(&process(false), how(Container::Tar, 1), &bytes);
    assert_eq!(outcome.unwrap().sandbox, Sandbox::NoLandlock);
}

/// With a hard link between directories, which the first Landlock refuses.
fn linked() -> Vec<u8> {
    tar(&[("a/f", b'0', "", b"x", 0o644), ("b/l", b'1', "a/f", b"", 0o644)])
}

#[test]
fn without_a_filter_of_system_calls_it_works_and_says_so() {
    if can(true)[0] != "Full" {
        println!("this kernel has no whole Landlock: the test shows nothing");
        return;
    }
    let can = can_through(&["unfiltered"], true);
    // The sockets that Landlock does not know are what such a kernel leaves.
    assert_eq!(can[0], "Partial", "{can:?}");
    assert!(can.contains(&"open a UDP socket".to_owned()), "{can:?}");
    for what in ["read outside", "write outside", "make a file outside", "move out", "connect"] {
        assert!(!can.contains(&what.to_owned()), "{can:?}");
    }
    let unpacker = Unpacker::new(Isolation::Process {
        program: PROGRAM.into(),
        arguments: vec!["unfiltered".into(), "unpack".into()],
        landlock: true,
    });
    let (dir, outcome) = unpack(&unpacker, how(Container::Tar, 1), &linked());
    assert_eq!(outcome.unwrap().sandbox, Sandbox::Partial);
    assert_eq!(fs::read(dir.path().join("files/b/l")).unwrap(), b"x");
}

/// strace answers the question for Landlock's version in place of the kernel; it is asked twice.
#[test]
fn an_older_landlock_confines_as_far_as_it_can_and_says_so() {
    let strace = Path::new("/usr/bin/strace");
    if can(true)[0] != "Full" || !strace.exists() {
        println!("no strace, or no whole Landlock: the test shows nothing");
        return;
    }
    // 1 knows no hard links between directories (Linux 5.13), 3 no network and no signals (6.2).
    for (version, wanted) in [(1, Sandbox::NoLandlock), (3, Sandbox::Partial)] {
        // -D: the program stays the child of who started it.
        let inject = format!("inject=landlock_create_ruleset:retval={version}:when=1..2");
        let words = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject, PROGRAM, "unpack"];
        let unpacker = Unpacker::new(Isolation::Process {
            program: strace.into(),
            arguments: words.into_iter().map(Into::into).collect(),
            landlock: true,
        });
        let (dir, outcome) = unpack(&unpacker, how(Container::Tar, 1), &linked());
        assert_eq!(outcome.unwrap().sandbox, wanted, "version {version}");
        assert_eq!(fs::read(dir.path().join("files/b/l")).unwrap(), b"x");
    }
}

#[test]
fn a_program_that_cannot_be_started_or_says_nothing_is_an_error_that_says_so() {
    let at = |program: &str| {
        Unpacker::new(Isolation::Process {
            program: program.into(),
            arguments: Vec::new(),
            landlock: true,
        })
    };
    let bytes = tar(&[("a", b'0', "", b"x", 0o644)]);
    let absent = unpack(&at("/nonexistent/program"), how(Container::Tar, 1), &bytes).1;
    assert!(matches!(absent, Err(UnpackError::Start { .. })), "{absent:?}");
    let silent = unpack(&at("/bin/false"), how(Container::Tar, 1), &bytes).1;
    assert_eq!(silent, Err(UnpackError::Died { how: "exit code 1".into() }));
}

#[test]
fn the_process_ends_with_the_one_that_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder =
        Command::new(PROGRAM).arg("hold").arg(dir.path()).stdout(Stdio::null()).spawn().unwrap();
    let file = dir.path().join("files/f");
    wait_until(|| file.exists());
    assert_eq!(working_in(dir.path()), 1);
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_until(|| working_in(dir.path()) == 0);
}

/// Whoever started the manager may have left it a descriptor that survives `exec`.
#[test]
fn what_was_inherited_is_closed_before_the_first_byte() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!("exec 3<'{0}' 9<>'{0}' && exec \"$0\" unpack \"$1\"", secret.display());
    let unpacker = Unpacker::new(Isolation::Process {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into(), PROGRAM.into()],
        landlock: true,
    });
    let bytes = tar(&[("large", b'0', "", &vec![b'x'; 4 << 20], 0o644)]);
    let mut watched = Watched { bytes: &bytes, given: 0, tree: dir.path(), open: Vec::new() };
    let mut tree = durable::Tree::beneath(dir.path()).unwrap();
    let outcome = unpacker.unpack(&mut tree, how(Container::Tar, 1), Source::Stream(&mut watched));
    outcome.unwrap();
    let top = dir.path().canonicalize().unwrap();
    assert!(watched.open.iter().any(|path| path.starts_with(&top)), "{:?}", watched.open);
    assert!(!watched.open.iter().any(|path| path.ends_with("secret")), "{:?}", watched.open);
}

/// Looks what the process has open when it has taken more than a pipe holds.
struct Watched<'a> {
    bytes: &'a [u8],
    given: usize,
    tree: &'a Path,
    open: Vec<PathBuf>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.given > 2 << 20 && self.open.is_empty() {
            let tree = self.tree.canonicalize().unwrap();
            let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
            let cwd = |process: &PathBuf| fs::read_link(process.join("cwd")).ok();
            let process =
                processes.into_iter().find(|process| cwd(process).as_ref() == Some(&tree));
            let descriptors = fs::read_dir(process.unwrap().join("fd")).unwrap().flatten();
            self.open = descriptors.flat_map(|entry| fs::read_link(entry.path())).collect();
        }
        let count = self.bytes.read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

fn wait_until(mut reached: impl FnMut() -> bool) {
    while !reached() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// How many processes have this working directory.
fn working_in(dir: &Path) -> usize {
    let dir = dir.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let directories =
        processes.filter_map(|process| fs::read_link(process.path().join("cwd")).ok());
    directories.filter(|cwd| *cwd == dir).count()
}
