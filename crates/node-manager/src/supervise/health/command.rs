//! Running a command of an instance beside its program: a question, or the way that it is ended. Owns the
//! process of the command, which never outlives whoever asked; what follows from its end is others'.
//!
//! After a crash of the manager such a command runs on until it ends; it has its instance's group, and ends
//! with it.

use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;

use cgroup::Group;
use launcher::Program;
use model::LaunchId;
use model::policy::Argv;
use tokio::io::AsyncReadExt as _;
use wire::serve::brief;

use super::super::launch::enter;
use super::super::launcher::Launcher;
use super::super::launches::FateOf;

/// A program of the same instance that runs this command: found in the workspace unless it is absolute.
pub(crate) fn command(argv: &Argv, like: &Program) -> Program {
    let program = std::path::Path::new(&like.directory.0).join(argv.program());
    Program {
        program: program.into(),
        args: argv.args().iter().map(Into::into).collect(),
        keeps: false,
        ..like.clone()
    }
}

/// What runs the commands of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// The parent of all programs.
    pub(crate) launcher: Launcher,
    /// The control group of the instance: its limits are those of its commands.
    pub(crate) group: Option<Group>,
}

impl Runner {
    /// Runs a command of the instance to its end; its last words are part of a bad answer.
    pub(crate) async fn run(&self, program: &Program, timeout: Duration) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("cannot be run: {error}");
        let (output, input) = std::io::pipe().map_err(failed)?;
        let launch = LaunchId::from(uuid::Uuid::now_v7());
        let mut program = Program { launch: launch.to_string(), ..program.clone() };
        let input = OwnedFd::from(input);
        let mut descriptors = vec![input.try_clone().map_err(failed)?, input];
        if let Some(group) = self.group.clone() {
            // Opened for each run: a group that is gone is one whose program has ended.
            let entered = brief(move || group.descriptors()).await;
            let entries = entered.map_err(|error| format!("cannot be run: {error}"))?;
            enter(entries, &mut program, &mut descriptors);
        }
        // Beside whoever asks: who asks no more while it is being made would leave it running.
        let making = tokio::spawn({
            let launcher = self.launcher.clone();
            async move {
                let made = launcher.launch(launch, program, descriptors).await;
                made.map(|made| (made, Ending { launch, launcher, ended: false }))
            }
        });
        let made = making.await.map_err(|_| "cannot be run: the node manager ends".to_owned())?;
        let (made, mut ending) = made.map_err(|unmade| format!("cannot be run: {unmade}"))?;
        let mut output =
            tokio::net::unix::pipe::Receiver::from_owned_fd(output.into()).map_err(failed)?;
        // Read while it runs, so that it never waits for a reader; only its last words are kept.
        let mut words = Vec::new();
        let fate = {
            let mut reading = pin!(async {
                let mut piece = [0; 1024];
                while let Ok(count @ 1..) = output.read(&mut piece).await {
                    words.extend_from_slice(&piece[..count]);
                    let surplus = words.len().saturating_sub(LAST_WORDS);
                    words.drain(..surplus);
                }
            });
            let mut is_read = false;
            let fate = tokio::time::timeout(timeout, async {
                tokio::select! {
                    () = &mut reading => is_read = true,
                    _ = made.fate.known() => {}
                }
                made.fate.known().await
            });
            let fate = fate.await;
            // What it wrote is there; what it started may have the pipe open for ever.
            if !is_read && fate.is_ok() {
                let _ = tokio::time::timeout(DRAINED_WITHIN, reading).await;
            }
            fate
        };
        let words = String::from_utf8_lossy(&words).trim().replace(char::is_control, " ");
        let words = if words.is_empty() { words } else { format!(": {words}") };
        match fate {
            Ok(FateOf::Ended(ended)) => {
                ending.ended = true;
                match ended.end {
                    launcher::End::Code(0) => Ok(()),
                    launcher::End::Code(code) => Err(format!("ended with code {code}{words}")),
                    launcher::End::Signal(signal) => {
                        Err(format!("was ended by signal {signal}{words}"))
                    }
                }
            }
            Ok(FateOf::LauncherLost) => Err("was lost with the launcher".to_owned()),
            Err(_) => Err(format!("did not end within {timeout:?}{words}")),
        }
    }
}

/// Whatever becomes of a question, its process does not outlive it.
struct Ending {
    launch: LaunchId,
    launcher: Launcher,
    ended: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let (launch, launcher, ended) = (self.launch, self.launcher.clone(), self.ended);
        let end = move || {
            if !ended {
                launcher.signal(launch, rustix::process::Signal::KILL.as_raw());
            }
            launcher.acknowledge(launch);
        };
        // Saying something to the launcher may take a moment. Without a runtime the manager is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(end));
        }
    }
}

/// How long what a command wrote may take to be read after its end.
const DRAINED_WITHIN: Duration = Duration::from_millis(200);
/// Bytes of a command's output that are quoted.
const LAST_WORDS: usize = 512;
