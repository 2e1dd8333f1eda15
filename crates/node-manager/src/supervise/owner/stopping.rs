//! Ending the process of an instance, with all that it started: asked first, killed when patience ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::lifecycle::{Desired, Ending, InstanceEvent, InstanceState, ProbationEvent};
use model::policy::StopPolicy;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use wire::serve::{blocking, brief};

use super::super::handle::{Answer, Refusal};
use super::super::health::Watch;
use super::super::prepare::{StopWay, stop_way};
use super::super::process::Process;
use super::Owner;

pub(super) struct Stop {
    /// Who wanted it.
    pub(super) ending: Ending,
    /// When patience ends; `None` after SIGKILL.
    pub(super) deadline: Option<Instant>,
    /// Who waits for the end.
    pub(super) waiting: Vec<Answer>,
    /// The command that ends it, if that is its way; with what it gets if that fails.
    command: Option<StopCommand>,
}

/// A command that ends a program. The stop that it is for is not over before it, as long as there is
/// patience: it may have to clear up. It runs no longer than that.
struct StopCommand {
    signal: Signal,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Runs,
    Done,
    Failed,
}

impl Drop for StopCommand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StopCommand {
    /// Waits until it is so. Without anybody who could tell, for ever.
    async fn reached(&self, wanted: impl Fn(Progress) -> bool) {
        let mut progress = self.progress.clone();
        if progress.wait_for(|progress| wanted(*progress)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Stop {
    /// A stop of which nothing is left to be done: its process has ended.
    pub(super) fn over(ending: Ending) -> Stop {
        Stop { ending, deadline: None, waiting: Vec::new(), command: None }
    }
}

impl Owner {
    pub(super) async fn stop(&mut self, grace: Option<Duration>, answer: Answer) {
        if let Err(refusal) = self.desire(Desired::Stopped).await {
            let _ = answer.send(Err(refusal));
            return;
        }
        // Whatever was due: now nothing is.
        self.retry = None;
        self.judge(ProbationEvent::Stopped).await;
        if let Some(stop) = &mut self.stop {
            // Whatever was to follow: now somebody asks for the end.
            stop.ending = Ending::Asked;
            if let Some(grace) = grace {
                let shorter = Instant::now() + grace;
                stop.deadline = stop.deadline.map(|deadline| deadline.min(shorter));
            }
            stop.waiting.push(answer);
            self.observed.ending = Some(Ending::Asked);
            self.observe_or_log().await;
            return;
        }
        if self.observed.state == InstanceState::NotRunning {
            let _ = answer.send(Ok(()));
            return;
        }
        let was_paused = self.observed.state == InstanceState::Paused;
        let moved = self.advance(InstanceEvent::Stop);
        if moved.is_ok() && self.process.is_some() {
            if was_paused {
                self.thaw().await;
            }
            self.begin_stop(grace, Ending::Asked).await;
            if let Some(stop) = &mut self.stop {
                stop.waiting.push(answer);
            }
            self.observe_or_log().await;
        } else {
            self.observe_or_log().await;
            let _ = answer.send(moved);
        }
    }

    /// Asks the program to end, as its envelope says, within `grace` or what the envelope says. The state
    /// is `stopping` already.
    pub(super) async fn begin_stop(&mut self, grace: Option<Duration>, ending: Ending) {
        self.observed.ending = Some(ending);
        // What it says from now on is not asked for.
        self.watch = None;
        let (means, id, version) = (self.means.clone(), self.id.clone(), self.version.clone());
        let StopWay { policy, command } =
            brief(move || stop_way(&means, (&id, &version))).await.unwrap_or_else(|error| {
                tracing::error!(instance = %self.id, %error, "it is asked to end in the usual way");
                StopWay { policy: StopPolicy::default(), command: None }
            });
        let grace = grace.unwrap_or_else(|| policy.within.as_duration());
        let deadline = Some(Instant::now() + grace);
        self.stop = Some(Stop { ending, deadline, waiting: Vec::new(), command: None });
        let signal = Signal::from_named_raw(policy.signal.number()).unwrap_or(Signal::TERM);
        let Some(command) = command else { return self.signal(signal).await };
        let Some(process) = &self.process else { return };
        let (runner, id) = (process.runner(&self.means.launcher), self.id.clone());
        let (told, progress) = watch::channel(Progress::Runs);
        // Beside the owner: it hears of the end, of impatience and of other commands meanwhile. The owner
        // alone sends signals, so that none comes too late and hits the next process.
        let task = tokio::spawn(async move {
            if let Err(answer) = runner.run(&command, grace).await {
                tracing::warn!(instance = %id, answer, "the command that ends it failed: it gets the signal");
                told.send_replace(Progress::Failed);
            } else {
                told.send_replace(Progress::Done);
            }
        })
        .abort_handle();
        if let Some(stop) = &mut self.stop {
            stop.command = Some(StopCommand { signal, progress, task });
        }
    }

    /// The command that was to end it did not.
    pub(super) async fn stop_command_failed(&mut self) {
        if let Some(command) = self.stop.as_mut().and_then(|stop| stop.command.take()) {
            self.signal(command.signal).await;
        }
    }

    /// What gets no time does not hear that it shall end.
    pub(super) async fn thaw(&self) {
        let Some(process) = self.process.clone() else { return };
        let workspace = self.workspace.clone();
        blocking(move || process.freeze(&workspace, false)).await;
    }

    pub(super) async fn lose_patience(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = None;
        }
        self.signal(Signal::KILL).await;
    }

    /// It gets no time any more, or time again.
    pub(super) async fn pause(&mut self, paused: bool) -> Result<(), Refusal> {
        let (event, reached) = match paused {
            true => (InstanceEvent::Pause, InstanceState::Paused),
            false => (InstanceEvent::Resume, InstanceState::Running),
        };
        if self.observed.state == reached {
            return Ok(());
        }
        let legal = self.observed.state.next(event);
        legal.map_err(|illegal| self.refuse(&illegal))?;
        let suspend = |watch: &Option<Watch>| {
            if let Some(watch) = watch {
                watch.suspend(paused);
            }
        };
        // One that gets no time is asked nothing.
        if paused {
            suspend(&self.watch);
        }
        if let Some(process) = self.process.clone() {
            let workspace = self.workspace.clone();
            blocking(move || process.freeze(&workspace, paused)).await;
        }
        if !paused {
            suspend(&self.watch);
        }
        self.advance(event)?;
        let reading = self.reading();
        self.judge(match paused {
            true => ProbationEvent::Held(reading),
            false => ProbationEvent::Ready(reading),
        })
        .await;
        self.observe().await
    }

    pub(super) async fn signal(&self, signal: Signal) {
        let Some(process) = self.process.clone() else { return };
        let workspace = self.workspace.clone();
        blocking(move || process.signal(&workspace, signal)).await;
    }
}

/// The failure of the command that was to end it.
pub(super) async fn command_failed(stop: Option<&Stop>) {
    match stop.and_then(|stop| stop.command.as_ref()) {
        Some(command) => command.reached(|progress| progress == Progress::Failed).await,
        None => std::future::pending().await,
    }
}

/// The end of the process; while a stop has patience, of all that it started and of the command that ends it
/// too.
pub(super) async fn ended(process: Option<&Arc<Process>>, stop: Option<&Stop>, workspace: &Path) {
    let Some(process) = process else { return std::future::pending().await };
    process.ended().await;
    let Some(stop) = stop.filter(|stop| stop.deadline.is_some()) else { return };
    let rest = async {
        process.followers_ended(workspace).await;
        if let Some(command) = &stop.command {
            command.reached(|progress| progress != Progress::Runs).await;
        }
    };
    Box::pin(rest).await; // seldom, and the owner waits here all the time
}
