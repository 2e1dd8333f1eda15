//! The caller's side: starts the process, feeds it, and hears how it ended.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use durable::Tree;

use crate::error::{UnpackError, chain};
use crate::job::{How, Job, Outcome, Report, Sandbox};
use crate::pipeline;

/// Unpacks archives, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Unpacker {
    isolation: Isolation,
}

/// Where foreign bytes are looked at.
#[derive(Debug, Clone)]
pub enum Isolation {
    /// In a process of its own: this program with these arguments, and the job as one more.
    Process {
        /// The program. It calls [`run_child`](crate::run_child).
        program: PathBuf,
        /// What comes before the job.
        arguments: Vec<OsString>,
        /// Confine it with Landlock? Not so behaves as on a kernel without it.
        landlock: bool,
    },
    /// In this process, on this thread, in one fixed order: for tests that count what is written.
    Inline,
}

/// Where the bytes of an archive come from.
pub enum Source<'a> {
    /// As a stream that ends. Only a tar can be unpacked from it.
    Stream(&'a mut dyn Read),
    /// From a file.
    File(File),
}

impl Unpacker {
    /// An unpacker that works in this way.
    pub fn new(isolation: Isolation) -> Unpacker {
        Unpacker { isolation }
    }

    /// Unpacks an archive into `tree`: its files to `files/`, and `manifest` beside. The directories in
    /// `files` are closed; nothing is durable before the tree is published. Blocking; a process ends with the calling thread.
    ///
    /// A stream is read as far as the archive asks for it, or to where the unpacker gave up: what the
    /// rest says (a checksum of the whole) is the caller's to read.
    ///
    /// # Errors
    /// Any [`UnpackError`]. The tree is of no use then.
    pub fn unpack(
        &self,
        tree: &mut Tree,
        how: How,
        source: Source<'_>,
    ) -> Result<Outcome, UnpackError> {
        match (&self.isolation, source) {
            (Isolation::Inline, source) => {
                let how = How { writers: 0, ..how };
                let dropped = match source {
                    Source::Stream(input) => pipeline::unpack_stream(tree, input, &how)?,
                    Source::File(file) => pipeline::unpack_file(tree, file, &how)?,
                };
                Ok(Outcome { dropped, sandbox: Sandbox::None })
            }
            (Isolation::Process { program, arguments, landlock }, source) => {
                let job = Job { how, parent: std::process::id(), landlock: *landlock };
                let mut command = Command::new(program);
                command.args(arguments);
                run(command, tree.path(), &job, source)
            }
        }
    }
}

/// A process that is ended with this value.
struct Running(Child);

fn run(
    mut command: Command,
    tree: &Path,
    job: &Job,
    source: Source<'_>,
) -> Result<Outcome, UnpackError> {
    let start = |message: String| UnpackError::Start { message };
    let words = serde_json::to_string(job).map_err(|error| start(error.to_string()))?;
    let (stdin, stream) = match source {
        Source::Stream(stream) => (Stdio::piped(), Some(stream)),
        Source::File(file) => (Stdio::from(file), None),
    };
    command.arg0("fettle").arg(words).current_dir(tree).env_clear();
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null());
    #[allow(
        clippy::disallowed_methods,
        reason = "no instance: a part of this process, and ended with it"
    )]
    let child = command.spawn().map_err(|error| start(chain(&error)))?;
    let mut running = Running(child);
    if let Some(stream) = stream {
        running.feed(stream)?;
    }
    running.finish()
}

impl Running {
    /// Hands the stream over until it ends, or the process wants no more of it.
    fn feed(&mut self, stream: &mut dyn Read) -> Result<(), UnpackError> {
        let Some(mut pipe) = self.0.stdin.take() else { return Ok(()) };
        // A larger pipe saves switches between the two. Some systems allow less; that is fine.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE);
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Input { message: chain(&error) }),
            };
            if pipe.write_all(&buffer[..read]).is_err() {
                return Ok(()); // it has ended, and says why
            }
        }
    }

    fn finish(mut self) -> Result<Outcome, UnpackError> {
        let mut report = Vec::new();
        if let Some(stdout) = self.0.stdout.take() {
            // What the process says is foreign too, once it has looked at foreign bytes.
            let _ = stdout.take(LONGEST_REPORT).read_to_end(&mut report);
        }
        let status = self.0.wait();
        let how = || match &status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => status.to_string(),
            },
            Err(error) => error.to_string(),
        };
        match serde_json::from_slice(&report) {
            Ok(Report::Done(outcome)) => Ok(outcome),
            Ok(Report::Failed(error)) => Err(error),
            Err(_) => Err(UnpackError::Died { how: how() }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `finish` it is reaped, and both do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Small pieces stay in the processor's cache: 64-KiB reads are several times faster than 1-MiB ones.
const PIECE: usize = 64 << 10;
/// Bytes that a pipe may hold.
const PIPE: usize = 512 << 10;
/// Bytes of a report; names of entries in it are cut to some hundred.
const LONGEST_REPORT: u64 = 64 << 10;
