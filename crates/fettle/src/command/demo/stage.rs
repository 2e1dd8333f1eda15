//! Where the demo happens: a directory, a server, a node, and a hand that types commands. Owns the programs
//! that it starts and ends all of them; refuses to know what is shown.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durable::Disk;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use uuid::Uuid;

use super::DemoError;
use crate::notify;
use crate::output::Output;

/// The stage of one performance.
pub(super) struct Stage {
    output: Output,
    /// The directory of everything.
    disk: Disk,
    is_kept: bool,
    program: PathBuf,
    servers: Vec<Server>,
    interrupted: Arc<AtomicBool>,
}

/// A server or node that was started.
struct Server {
    /// The variable by which commands find it.
    variable: &'static str,
    url: String,
    child: Child,
}

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Stage {
    /// An empty stage, in a temporary directory or in `keep`.
    pub(super) fn set(
        output: Output,
        keep: Option<PathBuf>,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Stage, DemoError> {
        let is_kept = keep.is_some();
        let base = match keep {
            None => std::env::temp_dir().join(format!("fettle-demo-{}", short_id())),
            Some(dir) => {
                let path = std::path::absolute(&dir).unwrap_or(dir);
                if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
                    return Err(DemoError::NotEmpty { path });
                }
                path
            }
        };
        let program = std::env::current_exe().map_err(DemoError::Program)?;
        let disk = Disk::create(&base)?;
        Ok(Stage { output, disk, is_kept, program, servers: Vec::new(), interrupted })
    }

    /// The directory of everything.
    pub(super) fn base(&self) -> &Path {
        self.disk.root()
    }

    /// Writes below the directory of everything go through this.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Is the directory to be left behind?
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The program that is demonstrated: this one.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The URL of the server or node that commands find by this variable.
    pub(super) fn url(&self, variable: &str) -> &str {
        self.servers.iter().find(|server| server.variable == variable).map_or("", |s| &s.url)
    }

    /// Explains.
    pub(super) fn say(&self, text: &str) -> Result<(), DemoError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        match self.output.is_json() {
            true => Ok(()),
            false => Ok(self.output.data(&format!("\n{text}\n"))?),
        }
    }

    /// Shows text that no command printed: a file, a tree.
    pub(super) fn quote(&self, text: &str) -> Result<(), DemoError> {
        let lines = text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n");
        let indented: String = lines.collect();
        match self.output.is_json() {
            true => Ok(()),
            false => Ok(self.output.data(&indented)?),
        }
    }

    /// Starts a server that says when it is ready.
    pub(super) fn serve(
        &mut self,
        variable: &'static str,
        arguments: &[&str],
    ) -> Result<(), DemoError> {
        let shown = shown(arguments);
        self.prompt(&shown)?;
        let log = self.base().join(format!("{}.log", arguments[0]));
        let start = |source| DemoError::Start { command: shown.clone(), source };
        #[expect(
            clippy::disallowed_methods,
            reason = "the log of a child of the demo: nobody relies on it after a crash"
        )]
        let log_file = File::create(&log).map_err(start)?;
        // A group of its own: Ctrl-C reaches the demo alone, which then ends everything in order.
        let mut command = self.command(arguments);
        command.process_group(0).stdout(Stdio::piped()).stderr(log_file);
        #[expect(
            clippy::disallowed_methods,
            reason = "the demo plays a person who starts programs; instances are not among them"
        )]
        let mut child = command.spawn().map_err(start)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(start)?;
        }
        let Some(url) = line.trim_end().strip_prefix("ready ") else {
            end(&mut child);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(DemoError::NotReady { command: shown, said: line + said.trim() });
        };
        self.servers.push(Server { variable, url: url.to_owned(), child });
        self.report(&shown, &Ended { code: 0, stdout: line, stderr: String::new() })
    }

    /// Types a command and shows what it prints. It has to end with 0.
    pub(super) fn run(&self, dir: &Path, arguments: &[&str]) -> Result<(), DemoError> {
        self.prompt(&shown(arguments))?;
        let ended = self.call(dir, arguments)?;
        self.report(&shown(arguments), &ended)?;
        must_end_with(0, arguments, ended).map(drop)
    }

    /// Types a command that is refused, and shows the refusal.
    pub(super) fn run_refused(&self, dir: &Path, arguments: &[&str]) -> Result<(), DemoError> {
        self.prompt(&shown(arguments))?;
        let ended = self.call(dir, arguments)?;
        self.report(&shown(arguments), &ended)?;
        must_end_with(1, arguments, ended).map(drop)
    }

    /// Runs a command behind the scenes and answers what it printed.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<String, DemoError> {
        let ended = self.call(self.base(), arguments)?;
        Ok(must_end_with(0, arguments, ended)?.stdout)
    }

    /// Runs a command behind the scenes until it prints what is wanted.
    pub(super) fn wait_for(
        &self,
        arguments: &[&str],
        wanted: &'static str,
    ) -> Result<(), DemoError> {
        let began = Instant::now();
        while !self.ask(arguments)?.contains(wanted) {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(DemoError::Interrupted);
            }
            if began.elapsed() > PATIENCE {
                return Err(DemoError::NotSeen { command: shown(arguments), wanted });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends everything that was started, and removes the directory unless it is to be kept.
    pub(super) fn clear(mut self) -> Result<(), DemoError> {
        self.end_servers();
        if self.is_kept {
            return Ok(());
        }
        for entry in self.disk.list(Path::new(""))? {
            if entry.name != "staging" && entry.name != "trash" {
                self.disk.discard(Path::new(&entry.name))?;
            }
        }
        self.disk.empty_staging()?;
        self.disk.empty_trash()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "three empty directories outside of any tree: a crash leaves them in the temporary directory"
        )]
        for dir in [self.base().join("staging"), self.base().join("trash"), self.base().to_owned()]
        {
            std::fs::remove_dir(&dir).map_err(|source| DemoError::Read { path: dir, source })?;
        }
        Ok(())
    }

    fn prompt(&self, shown: &str) -> Result<(), DemoError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        match self.output.is_json() {
            true => Ok(()),
            false => Ok(self.output.data(&format!("\n  $ {shown}\n"))?),
        }
    }

    fn report(&self, shown: &str, ended: &Ended) -> Result<(), DemoError> {
        let Ended { code, stdout, stderr } = ended;
        if self.output.is_json() {
            let line =
                json!({ "command": shown, "exit": code, "stdout": stdout, "stderr": stderr });
            return Ok(self.output.value(&line, |_| String::new())?);
        }
        self.quote(stdout)?;
        self.quote(stderr)
    }

    fn call(&self, dir: &Path, arguments: &[&str]) -> Result<Ended, DemoError> {
        let ended = self.command(arguments).current_dir(dir).output();
        let ended =
            ended.map_err(|source| DemoError::Start { command: shown(arguments), source })?;
        Ok(Ended {
            code: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        })
    }

    /// This program, told where the server and the node of the demo are and nothing else about either.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null());
        let others = std::env::vars_os().map(|(name, _)| name);
        let others = others.filter(|name| name.as_bytes().starts_with(b"FETTLE_"));
        for variable in others.chain(notify::VARIABLES.map(OsString::from)) {
            command.env_remove(variable);
        }
        // The settings of this machine's own services are not the demo's.
        command.env("FETTLE_NODE_CONFIG", "/dev/null").env("FETTLE_SERVER_CONFIG", "/dev/null");
        command.envs(self.servers.iter().map(|server| (server.variable, &server.url)));
        command
    }

    fn end_servers(&mut self) {
        if self.servers.iter().any(|server| server.variable == NODE) {
            // A program outlives its node by design: it is ended first. There may be none.
            let _ = self.call(self.base(), &["stop", "**", "--timeout", "2s"]);
        }
        while let Some(mut server) = self.servers.pop() {
            end(&mut server.child);
        }
    }
}

/// However the demo leaves: nothing that it started goes on.
impl Drop for Stage {
    fn drop(&mut self) {
        self.end_servers();
    }
}

fn must_end_with(code: i32, arguments: &[&str], ended: Ended) -> Result<Ended, DemoError> {
    if ended.code == code {
        return Ok(ended);
    }
    let said = ended.stderr.trim().to_owned();
    Err(DemoError::Command { command: shown(arguments), code: ended.code, said })
}

/// Tells a child to end and sees to it.
fn end(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The command as a person types it.
fn shown(arguments: &[&str]) -> String {
    let quoted = arguments.iter().map(|argument| match argument.contains(['*', ' ', '\'']) {
        true => format!("'{argument}'"),
        false => (*argument).to_owned(),
    });
    std::iter::once("fettle".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Eight digits that no other demo has: the path of a socket may not be long.
fn short_id() -> String {
    let mut id = Uuid::now_v7().simple().to_string();
    id.drain(..24);
    id
}

/// The variable by which commands find the server.
pub(super) const SERVER: &str = "FETTLE_SERVER";
/// The variable by which commands find the node.
pub(super) const NODE: &str = "FETTLE_NODE";
const PATIENCE: Duration = Duration::from_secs(20);
