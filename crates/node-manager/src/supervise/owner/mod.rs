//! The owner of one instance: a task that alone moves it from what is to what is desired. Everything that
//! happens to the instance (a command, the end of its process, the end of a pause) comes to this task one
//! after the other, and every move asks the state machine of `model` first. Its files are parts of the same
//! owner: `facts` finds an instance again, `launching` and `stopping` make and end its process, `show`
//! records and shows.
//!
//! What should be (`info`) is synced before it is acted on. What is (`run/<boot>/…`) is replaced without a
//! sync, and before a process is made the launch is recorded: whoever comes after a crash looks for it.

mod facts;
mod launching;
mod probation;
mod show;
mod stopping;

use std::path::PathBuf;
use std::sync::Arc;

use model::lifecycle::ProbationEvent;
use model::lifecycle::{Desired, InstanceEvent, InstanceState};
use model::{InstanceId, LaunchId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wire::serve::{blocking, brief};

use self::facts::Facts;
use self::show::body;
use self::stopping::{Stop, command_failed, ended};
use super::handle::{Command, Handle, Refusal, Started, Trial, View};
use super::health::{News, Watch};
use super::means::{LeftGroups, Means};
use super::process::Process;
use crate::instance::{self, Copies, InstanceError};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::record::{InstanceRecord, ObservedRecord};

/// Reads what is known of an instance, finds its process if there is one, and begins to own it. Starts it
/// if it should run and does not.
pub(crate) async fn take_charge(means: Arc<Means>, id: InstanceId) -> Result<Handle, Refusal> {
    let reader = means.clone();
    let found = brief(move || Found::read(&reader, id, &LeftGroups::Unknown)).await;
    take_charge_of(means, found).await
}

/// An instance on disk, with what is known of it. Whoever finds many reads them on one thread.
pub(crate) struct Found {
    /// Which.
    pub(crate) id: InstanceId,
    facts: Result<Facts, Refusal>,
}

impl Found {
    /// Blocking; needs a Tokio runtime.
    pub(crate) fn read(means: &Means, id: InstanceId, left: &LeftGroups) -> Found {
        let workspace = means.disk.root().join(layout::workspace(&id));
        let facts = Facts::read(means, &id, &workspace, left);
        Found { id, facts }
    }
}

/// [`take_charge`] of what was found just now.
pub(crate) async fn take_charge_of(means: Arc<Means>, found: Found) -> Result<Handle, Refusal> {
    let Found { id, facts } = found;
    let Facts { record, observed, version, process, remains, notify, plan } = facts?;
    let workspace = means.disk.root().join(layout::workspace(&id));
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let view = View {
        body: body(&id, &version, &record, &observed),
        launch: observed.launch,
        on_probation: record.probation.is_open(),
    };
    let (publish, view) = watch::channel(view);
    let mut owner = Box::new(Owner {
        means,
        id,
        workspace,
        version,
        record,
        observed,
        process: None,
        stderr_from: None,
        watch: None,
        retry: None,
        look: None,
        stop: None,
        commands: receiver,
        publish,
    });
    owner.resume(process, remains, plan, notify).await?;
    tokio::spawn(owner.run());
    Ok(Handle { commands, view })
}

struct Owner {
    means: Arc<Means>,
    id: InstanceId,
    /// Its absolute path.
    workspace: PathBuf,
    version: VersionName,
    record: InstanceRecord,
    observed: ObservedRecord,
    process: Option<Arc<Process>>,
    /// Where its process began to print on standard error.
    stderr_from: Option<u64>,
    /// Who asks whether it works; `None` where nothing is to be asked.
    watch: Option<Watch>,
    /// When the next start is due.
    retry: Option<Instant>,
    /// When its probation is looked at again.
    look: Option<Instant>,
    /// The stop that is under way.
    stop: Option<Stop>,
    commands: mpsc::Receiver<Box<Command>>,
    publish: watch::Sender<View>,
}

impl Owner {
    /// What it does is boxed while it does it, and so is the owner: there are a thousand of these tasks, and
    /// most wait.
    async fn run(mut self: Box<Self>) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => if !Box::pin(self.obey(*command)).await { return },
                    None => return, // the manager ends; the process does not
                },
                () = ended(self.process.as_ref(), self.stop.as_ref(), &self.workspace) => {
                    Box::pin(self.process_ended()).await;
                }
                () = command_failed(self.stop.as_ref()) => {
                    Box::pin(self.stop_command_failed()).await;
                }
                news = news(self.watch.as_mut()) => Box::pin(self.hear(news)).await,
                () = at(self.retry) => Box::pin(self.retry_due()).await,
                () = at(self.look) => Box::pin(self.look_again()).await,
                () = at(self.stop.as_ref().and_then(|stop| stop.deadline)) => {
                    Box::pin(self.lose_patience()).await;
                }
            }
        }
    }

    /// `false` when the instance is gone, and the task with it.
    async fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Start(answer) => {
                let outcome = self.start().await;
                let _ = answer.send(outcome); // whoever asked may have left
            }
            Command::Stop { grace, answer } => self.stop(grace, answer).await,
            Command::Pause { paused, answer } => {
                let outcome = self.pause(paused).await;
                let _ = answer.send(outcome);
            }
            Command::Switch { to, copies, trial, answer } => {
                let outcome = self.switch(to, copies, trial).await;
                let _ = answer.send(outcome);
            }
            Command::Delete(answer) => {
                let outcome = self.delete().await;
                let gone = outcome.is_ok();
                let _ = answer.send(outcome);
                return !gone;
            }
        }
        true
    }

    async fn start(&mut self) -> Result<Option<Started>, Refusal> {
        let state = self.observed.state;
        if matches!(state, InstanceState::Running | InstanceState::Launching) {
            self.desire(Desired::Running).await?;
            // Who asks for a start waits until it is ready, also if somebody else began it.
            let launch = self.observed.launch.filter(|_| state == InstanceState::Launching);
            return Ok(launch.map(|launch| self.started(launch)));
        }
        state.next(InstanceEvent::Start).map_err(|illegal| self.refuse(&illegal))?;
        self.desire(Desired::Running).await?;
        self.advance(InstanceEvent::Start)?;
        self.retry = None;
        self.observed.restarts = 0;
        self.observed.attempts = 0;
        self.observed.attempts_ran = std::time::Duration::ZERO;
        self.observed.reason = None;
        self.launch().await.map(|launch| Some(self.started(launch)))
    }

    fn started(&self, launch: LaunchId) -> Started {
        Started { launch, stderr_from: self.stderr_from }
    }

    async fn switch(
        &mut self,
        to: VersionName,
        copies: Copies,
        trial: Option<Trial>,
    ) -> Result<(), Refusal> {
        self.advance(InstanceEvent::BeginUpdate)?;
        self.retry = None;
        self.observe_or_log().await;
        let (disk, id, target) = (self.means.disk.clone(), self.id.clone(), to.clone());
        let (outcome, on) = blocking(move || {
            let outcome = instance::switch(&disk, &id, &target, &copies);
            (outcome, inventory::instance_version(&disk, &id))
        })
        .await;
        self.advance(InstanceEvent::EndUpdate)?;
        if let (Err(_), Ok(on)) = (&outcome, on) {
            self.version = on; // it may have come as far as that
        }
        if outcome.is_ok() {
            self.version = to.clone();
            let (event, operation) = match trial {
                Some(Trial { before, length, operation }) => {
                    (ProbationEvent::Begin { before, to, length }, Some(operation))
                }
                None => (ProbationEvent::Reverted, None),
            };
            self.judge_for(event, operation).await;
        }
        self.observe_or_log().await;
        Ok(outcome?)
    }

    async fn delete(&mut self) -> Result<(), Refusal> {
        let illegal = self.observed.state.next(InstanceEvent::Delete);
        illegal.map_err(|illegal| self.refuse(&illegal))?;
        let (disk, id, observed) = (
            self.means.disk.clone(),
            self.id.clone(),
            layout::observed(self.means.boot.as_str(), &self.id),
        );
        blocking(move || {
            instance::delete(&disk, &id)?;
            if let Err(error) = disk.remove(&observed) {
                tracing::warn!(instance = %id, %error, "what was true of it stays until the next boot");
            }
            Ok::<_, InstanceError>(())
        })
        .await?;
        self.advance(InstanceEvent::Delete)?;
        self.means.logs.forget(&self.id);
        self.show();
        Ok(())
    }
}

async fn news(watch: Option<&mut Watch>) -> News {
    match watch {
        Some(watch) => watch.news().await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        // A timer would wait for the next whole millisecond.
        Some(time) if time <= Instant::now() => {}
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Commands that wait for the owner.
const COMMANDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_waits_takes_little_room() {
        fn room<A, F: Future>(_: impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        assert!(room(Owner::run) < 1536, "{} bytes", room(Owner::run));
    }
}
