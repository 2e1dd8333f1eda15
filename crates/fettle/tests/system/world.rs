//! A world for one test: a directory, a server, a node, and the command line that talks to them, all as one
//! account. Everything in it ends with it, whatever the test does.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Who plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    /// Whoever runs the tests.
    Own,
    /// An ordinary account without any groups, for tests that run as root.
    Ordinary,
}

/// Plays a test as every account that can be had.
pub(crate) fn as_every_account(play: impl Fn(&mut World)) {
    let accounts: &[Account] =
        if is_root() { &[Account::Own, Account::Ordinary] } else { &[Account::Own] };
    for account in accounts {
        eprintln!("--- as {account:?}");
        play(&mut World::new(*account));
    }
}

pub(crate) struct World {
    account: Account,
    directory: tempfile::TempDir,
    server: Option<Daemon>,
    node: Option<Daemon>,
}

/// A server or node, killed when it goes out of scope.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) url: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    pub(crate) fn new(account: Account) -> World {
        let directory = tempfile::Builder::new().prefix("fettle-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let world = World { account, directory, server: None, node: None };
        world.own(world.directory.path());
        world
    }

    /// A world with a server and a node that installs from it.
    pub(crate) fn with_node(&mut self) -> &mut World {
        self.start_server();
        self.start_node();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The node's directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("node")
    }

    /// Writes a file that the account may read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let mut above = path.parent().unwrap();
        let mut made = Vec::new();
        while !above.exists() {
            made.push(above.to_owned());
            above = above.parent().unwrap();
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        made.iter().for_each(|path| self.own(path));
        self.own(&path);
        path
    }

    /// Gives a file or directory to the account.
    pub(crate) fn own(&self, path: &Path) {
        if self.account == Account::Ordinary {
            std::os::unix::fs::chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
    }

    pub(crate) fn start_server(&mut self) {
        let data = self.path("server");
        let listen = match &self.server {
            None => "127.0.0.1:0".to_owned(),
            // A server that comes back is where it was.
            Some(old) => old.url.trim_start_matches("http://").to_owned(),
        };
        let mut command = self.command();
        command.args(["server", "--listen", &listen, "--data"]).arg(data);
        self.server = Some(Daemon::start(command, &self.path("server.log")));
    }

    pub(crate) fn start_node(&mut self) {
        let server = self.server.as_ref().unwrap().url.clone();
        self.start_node_from(&server);
    }

    pub(crate) fn start_node_from(&mut self, server: &str) {
        let mut command = self.command();
        command.args(["--server", server, "node", "--root"]).arg(self.root());
        self.node = Some(Daemon::start(command, &self.path("node.log")));
    }

    pub(crate) fn server(&self) -> &Daemon {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn server_mut(&mut self) -> &mut Daemon {
        self.server.as_mut().unwrap()
    }

    pub(crate) fn node(&self) -> &Daemon {
        self.node.as_ref().unwrap()
    }

    pub(crate) fn node_mut(&mut self) -> &mut Daemon {
        self.node.as_mut().unwrap()
    }

    /// The binary as this account, with nothing in its environment but what a test gives it.
    pub(crate) fn command(&self) -> Command {
        let binary = binary();
        let mut command = match self.account {
            Account::Own => Command::new(binary),
            Account::Ordinary => {
                let mut command = Command::new("setpriv");
                let id = ORDINARY.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(binary);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("TMPDIR", self.directory.path())
            // Root's settings would be those of this machine.
            .env("FETTLE_NODE_CONFIG", "/dev/null")
            .env("FETTLE_SERVER_CONFIG", "/dev/null")
            .current_dir(self.directory.path());
        command
    }

    /// A command of the user, ready to be spawned.
    pub(crate) fn user(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        if let Some(server) = &self.server {
            command.env("FETTLE_SERVER", &server.url);
        }
        if let Some(node) = &self.node {
            command.env("FETTLE_NODE", &node.url);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command of the user to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let ended = Ended::from(self.user(arguments).output().unwrap());
        eprintln!("$ fettle {}\n{ended}", arguments.join(" "));
        ended
    }

    /// Runs a command that succeeds, and reads its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?} fails: {ended}");
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"))
    }

    /// Runs a command that succeeds, and reads its lines of JSON.
    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?} fails: {ended}");
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that is refused, and gives the error.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended}");
        assert_eq!(ended.stdout, "", "stdout of a refusal is empty");
        assert_eq!(ended.stderr.lines().count(), 1, "stderr is one line: {ended}");
        let mut error: Value = serde_json::from_str(&ended.stderr).unwrap();
        error["error"].take()
    }

    /// Publishes an application whose program is [`SCRIPT`], with these packages.
    pub(crate) fn publish(&self, name: &str, version: &str, packages: &[(&str, &Path)]) -> Value {
        let program = self.write("program.sh", SCRIPT);
        let manifest = self.manifest(name, version, &program, &[], packages);
        self.json(&["app", "publish", manifest.to_str().unwrap()])
    }

    /// Writes a manifest. The title is the last part of the name.
    pub(crate) fn manifest(
        &self,
        name: &str,
        version: &str,
        program: &Path,
        args: &[&str],
        packages: &[(&str, &Path)],
    ) -> PathBuf {
        let title = name.rsplit('/').next().unwrap();
        let mut text = format!(
            "title = {title:?}\nname = {name:?}\nversion = {version:?}\nargs = {args:?}\n\n\
             [program]\nany = {:?}\n\n[packages]\n",
            program.to_str().unwrap()
        );
        for (package, path) in packages {
            text.push_str(&format!("{package} = {:?}\n", path.to_str().unwrap()));
        }
        self.write(&format!("{title}-{version}.toml"), text)
    }

    /// Waits until the node says this of the instance.
    pub(crate) fn wait_for(&self, instance: &str, what: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let status = self.json(&["status", instance]);
            if what(&status) {
                return status;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{instance} never becomes what is waited for: {}", self.json(&["status", instance]));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The node first, or it would start them again: programs outlive their node, but not the test. One
        // that is asked to end takes the groups with it that are empty.
        if let Some(mut node) = self.node.take()
            && !std::thread::panicking()
            && matches!(node.child.try_wait(), Ok(None))
        {
            node.terminate();
        }
        let root = self.directory.path().as_os_str().as_encoded_bytes().to_owned();
        let mut nodes = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            let ours = environment.split(|byte| *byte == 0).any(|variable| {
                variable.strip_prefix(b"FETTLE_WORKSPACE=").is_some_and(|at| at.starts_with(&root))
            });
            if ours && let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
                let of_nodes = |part: &&str| part.starts_with("fettle-");
                nodes.extend(groups.split(['/', '\n']).filter(of_nodes).map(str::to_owned));
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if !nodes.is_empty() {
            remove_groups(Path::new("/sys/fs/cgroup"), &nodes, false);
        }
        if std::thread::panicking() {
            for log in ["server.log", "node.log"] {
                let text = fs::read_to_string(self.path(log)).unwrap_or_default();
                eprintln!("--- {log}\n{text}");
            }
        }
    }
}

/// Removes the control groups of these nodes; what was in them was killed a moment ago.
fn remove_groups(directory: &Path, nodes: &BTreeSet<String>, inside: bool) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let inside = inside || entry.file_name().to_str().is_some_and(|name| nodes.contains(name));
        if inside {
            // What does not fork any more, and what left its environment behind.
            let _ = fs::write(entry.path().join("cgroup.kill"), "1");
        }
        remove_groups(&entry.path(), nodes, inside);
        for _ in 0..if inside { 100 } else { 0 } {
            match fs::remove_dir(entry.path()) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => break,
            }
        }
    }
}

impl Daemon {
    fn start(mut command: Command, log: &Path) -> Daemon {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child =
            command.stdout(Stdio::piped()).stderr(log).process_group(0).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ").map(str::to_owned);
        let url = url.unwrap_or_else(|| panic!("no ready line but {line:?}"));
        Daemon { child, url }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Has it ended? One that was killed a moment ago may still be on its way.
    pub(crate) fn has_ended(&mut self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let is_dead =
            stat.rsplit(')').next().is_none_or(|rest| rest.trim().starts_with(['Z', 'X']));
        is_dead || matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ended { code, stdout, stderr } = self;
        write!(f, "exit {code:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// The binary, where every account can execute it: the build directory may be closed to others.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BINARY.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("fettle-binary-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("fettle");
        fs::copy(env!("CARGO_BIN_EXE_fettle"), &path).unwrap();
        // Without its symbols it is a tenth of the size, and some tests publish it.
        let _ = Command::new("strip").arg(&path).status();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    });
    path
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that says what it sees, and then runs until it is told to end.
pub(crate) const SCRIPT: &str = "#!/bin/sh
echo \"$FETTLE_TITLE $FETTLE_VERSION\"
ls packages
env | sort >environment
echo ready >&2
trap 'echo told to end; exit 0' TERM
while :; do sleep 0.1; done
";

/// `nobody` on most systems; it does not have to exist.
const ORDINARY: u32 = 65534;
