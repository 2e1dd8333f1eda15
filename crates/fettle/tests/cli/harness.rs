//! The world of a test: a directory, a server if wanted, and a way to run commands that see nothing of the
//! account that runs the tests.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A directory that is the home of every command.
pub(crate) struct World {
    dir: TempDir,
    server: Option<Server>,
}

/// A server that is ready.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// Without a server.
    pub(crate) fn empty() -> World {
        World { dir: tempfile::tempdir().unwrap(), server: None }
    }

    /// With a server that commands find by the environment.
    pub(crate) fn with_server() -> World {
        let mut world = World::empty();
        let server = world.serve(&["--data", &world.text("data")]);
        world.server = Some(server);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and answers its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        self.text(name)
    }

    pub(crate) fn url(&self) -> &str {
        &self.server.as_ref().unwrap().url
    }

    /// Starts a server on any free port.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let mut command = self.command(&["server", "--listen", "127.0.0.1:0"]);
        Server::start(command.args(arguments))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fettle"));
        command.args(arguments).current_dir(self.dir.path());
        for variable in ["FETTLE_SERVER", "FETTLE_NODE", "FETTLE_LOG"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.dir.path()).env("XDG_CONFIG_HOME", self.path("config"));
        command.env("XDG_DATA_HOME", self.path("share"));
        // Root's settings would be those of this machine.
        command.env("FETTLE_NODE_CONFIG", "/dev/null").env("FETTLE_SERVER_CONFIG", "/dev/null");
        // Nothing listens there, whoever runs the tests.
        command.env("FETTLE_NODE", format!("unix://{}", self.text("nobody.sock")));
        match &self.server {
            Some(server) => command.env("FETTLE_SERVER", &server.url),
            None => command.env("FETTLE_SERVER", "http://127.0.0.1:1"),
        };
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).stdin(Stdio::null()))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ended::wait(child)
    }

    /// The one value that a command prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The values of a listing.
    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The error of a command that is refused: nothing on standard output, one line on standard error, a
    /// hint, and the exit code that belongs to the error's code.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[&["--json"], arguments].concat());
        let error = ended.error();
        let usage = error["code"] == "usage";
        assert_eq!(ended.code, if usage { 2 } else { 1 }, "{arguments:?}: {error}");
        error
    }
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Ended {
        Ended::wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for the end of a command; one that goes on for ever fails the test instead of stopping it.
    fn wait(child: Child) -> Ended {
        let pid = child.id().to_string();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(child.wait_with_output()));
        let output = told.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
            panic!("the command goes on");
        });
        let output = output.unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.stdout, "");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        let mut line: Value = serde_json::from_str(&self.stderr).unwrap();
        let error = line["error"].take();
        let wanted = ["causes", "code", "hint", "message", "operation", "request"];
        assert_eq!(keys(&error), wanted, "{error}");
        assert!(error["hint"].is_string() && error["causes"].is_array(), "{error}");
        error
    }
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        match line.trim_end().strip_prefix("ready ") {
            Some(url) => Server { url: url.to_owned(), child },
            None => panic!("`{line}`, not ready: {:?}", child.wait_with_output()),
        }
    }

    /// Sends a signal and waits for the end; answers the exit code and what it said on standard error.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "the server goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        }
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The keys of an object, sorted.
pub(crate) fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

/// The keys of an example in `crates/wire/golden/v1`, sorted.
pub(crate) fn golden_keys(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/golden/v1").join(name);
    keys(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
}

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
