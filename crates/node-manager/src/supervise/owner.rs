//! The owner of one instance: a task that alone moves it from what is to what is desired. Everything that
//! happens to the instance (a command, the end of its process, the end of a pause) comes to this task one
//! after the other, and every move asks the state machine of `model` first.
//!
//! What should be (`info`) is synced before it is acted on. What is (`run/<boot>/…`) is replaced without a
//! sync, and before a process is made the launch is recorded: whoever comes after a crash looks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable::{Disk, Lock};
use model::lifecycle::{Aftermath, Desired, Illegal, InstanceEvent, InstanceState};
use model::{Attempts, ExitStatus, InstanceId, LaunchId, Timestamp, Verdict, Version, verdict};
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wire::serve::blocking;
use wire::v1::{ExitBody, InstanceBody};

use super::handle::{Answer, Command, Handle, Refusal, View};
use super::launch::{launch, restart_policy};
use super::launcher::Launcher;
use super::process::{End, Process};
use crate::instance::{self, Copies, InstanceError};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::node::now;
use crate::record::{InstanceRecord, ObservedRecord, Unusable};

/// Reads what is known of an instance, finds its process if there is one, and begins to own it. Starts it
/// if it should run and does not. The owner holds `tenure`, the lock of the tree, for as long as it may
/// change something.
pub(crate) async fn take_charge(
    disk: Disk,
    boot: String,
    tenure: Arc<Lock>,
    launcher: Launcher,
    id: InstanceId,
) -> Result<Handle, Refusal> {
    let workspace = disk.root().join(layout::workspace(&id));
    let (disk, boot, launcher, id, workspace, facts) = blocking(move || {
        let facts = Facts::read(&disk, &boot, &launcher, &id, &workspace);
        (disk, boot, launcher, id, workspace, facts)
    })
    .await;
    let Facts { record, observed, version, process } = facts?;
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let view = View { body: body(&id, &version, &record, &observed), launch: observed.launch };
    let (publish, view) = watch::channel(view);
    let mut owner = Owner {
        disk,
        boot,
        _tenure: tenure,
        launcher,
        id,
        workspace,
        version,
        record,
        observed,
        process: None,
        retry: None,
        stop: None,
        commands: receiver,
        publish,
    };
    owner.resume(process).await?;
    tokio::spawn(owner.run());
    Ok(Handle { commands, view })
}

struct Facts {
    record: InstanceRecord,
    observed: ObservedRecord,
    version: Version,
    process: Option<Process>,
}

impl Facts {
    fn read(
        disk: &Disk,
        boot: &str,
        launcher: &Launcher,
        id: &InstanceId,
        workspace: &Path,
    ) -> Result<Facts, Refusal> {
        // The workspace is the program's own: what it put in the way of the link must not keep its process
        // from being owned.
        if let Err(error) = instance::repair(disk, id) {
            tracing::warn!(instance = %id, %error, "its link to the packages cannot be made sure of");
        }
        let record = inventory::instance(disk, id).map_err(InstanceError::Read)?;
        let version = inventory::instance_version(disk, id).map_err(InstanceError::Read)?.version;
        // What was observed may be lost or torn, and says nothing that the kernel does not know better.
        let path = layout::observed(boot, id);
        let observed = match durable::record::read(disk, &path) {
            Ok(durable::record::Read::Present(observed)) => observed,
            _ => ObservedRecord::nothing(record.created),
        };
        let known = observed.launch.and_then(|launch| Some((launch, launcher.known(launch)?)));
        let process = match (known, observed.process) {
            (Some((launch, made)), _) => Some(Process::of_launch(launcher, launch, made)),
            (None, Some(recorded)) => Process::adopt(recorded),
            (None, None) if observed.state.has_process() => Process::find(workspace),
            (None, None) => None,
        };
        Ok(Facts { record, observed, version, process })
    }
}

impl ObservedRecord {
    fn nothing(since: Timestamp) -> ObservedRecord {
        ObservedRecord {
            state: InstanceState::NotRunning,
            since,
            launch: None,
            process: None,
            started: None,
            restarts: 0,
            attempts: 0,
            attempts_since: None,
            exit: None,
        }
    }
}

struct Owner {
    disk: Disk,
    boot: String,
    _tenure: Arc<Lock>,
    launcher: Launcher,
    id: InstanceId,
    /// Its absolute path.
    workspace: PathBuf,
    version: Version,
    record: InstanceRecord,
    observed: ObservedRecord,
    process: Option<Arc<Process>>,
    /// When the next start is due.
    retry: Option<Instant>,
    /// The stop that is under way.
    stop: Option<Stop>,
    commands: mpsc::Receiver<Command>,
    publish: watch::Sender<View>,
}

struct Stop {
    /// When patience ends; `None` after SIGKILL.
    deadline: Option<Instant>,
    /// Who waits for the end.
    waiting: Vec<Answer>,
}

impl Owner {
    async fn run(mut self) {
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => if !self.obey(command).await { return },
                    None => return, // the manager ends; the process does not
                },
                () = ended(self.process.as_deref(), self.stop.as_ref(), &self.workspace) => {
                    self.process_ended().await;
                }
                () = at(self.retry) => self.retry_due().await,
                () = at(self.stop.as_ref().and_then(|stop| stop.deadline)) => {
                    self.lose_patience().await;
                }
            }
        }
    }

    /// After a start of the manager: from what was observed and what the kernel knows to an owned instance.
    /// A full disk is no reason to leave a process without an owner.
    async fn resume(&mut self, process: Option<Process>) -> Result<(), Refusal> {
        let state = self.observed.state;
        match process {
            Some(process) => {
                tracing::info!(instance = %self.id, pid = process.record().pid, "found running");
                self.observed.process = Some(process.record());
                self.process = Some(Arc::new(process));
                match state {
                    InstanceState::Running | InstanceState::Paused => {}
                    InstanceState::Stopping => self.begin_stop(DEFAULT_GRACE).await,
                    _ => self.observed.state = InstanceState::Running,
                }
                self.observe_or_log().await;
                if self.process.as_ref().is_some_and(|process| process.has_ended()) {
                    self.process_ended().await;
                    return Ok(());
                }
                // The manager may have been cut off between recording "stopped" and asking the process.
                if self.record.desired == Desired::Stopped && self.stop.is_none() {
                    self.begin_stop(DEFAULT_GRACE).await;
                    self.advance(InstanceEvent::Stop)?;
                    self.observe_or_log().await;
                }
            }
            None if state == InstanceState::Stopping => {
                self.advance(InstanceEvent::Exited(Aftermath::Rest))?;
                self.unknown_exit(UNSEEN);
                self.observe_or_log().await;
            }
            None if state.has_process() && self.observed.process.is_some() => {
                let status = ExitStatus::Unknown(UNSEEN.into());
                self.after_end(&End { status, at: now() }).await;
            }
            None => {
                let rests = state == InstanceState::Failed;
                if !rests {
                    self.observed.state = InstanceState::NotRunning;
                }
                self.observe_or_log().await;
                if !rests && self.record.desired == Desired::Running {
                    self.advance(InstanceEvent::Start)?;
                    self.launch_or_follow_policy().await;
                }
            }
        }
        Ok(())
    }

    /// `false` when the instance is gone, and the task with it.
    async fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Start(answer) => {
                let outcome = self.start().await;
                let _ = answer.send(outcome); // whoever asked may have left
            }
            Command::Stop { grace, answer } => self.stop(grace, answer).await,
            Command::Switch { to, copies, answer } => {
                let outcome = self.switch(to, copies).await;
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

    async fn start(&mut self) -> Result<Option<LaunchId>, Refusal> {
        let state = self.observed.state;
        if matches!(state, InstanceState::Running | InstanceState::Launching) {
            self.desire(Desired::Running).await?;
            return Ok(None);
        }
        state.next(InstanceEvent::Start).map_err(|illegal| self.refuse(&illegal))?;
        self.desire(Desired::Running).await?;
        self.advance(InstanceEvent::Start)?;
        self.retry = None;
        self.observed.restarts = 0;
        self.observed.attempts = 0;
        self.observed.attempts_since = None;
        self.launch().await.map(Some)
    }

    async fn stop(&mut self, grace: Duration, answer: Answer) {
        if let Err(refusal) = self.desire(Desired::Stopped).await {
            let _ = answer.send(Err(refusal));
            return;
        }
        if let Some(stop) = &mut self.stop {
            let shorter = Instant::now() + grace;
            stop.deadline = stop.deadline.map(|deadline| deadline.min(shorter));
            stop.waiting.push(answer);
            return;
        }
        if self.observed.state == InstanceState::NotRunning {
            let _ = answer.send(Ok(()));
            return;
        }
        let moved = self.advance(InstanceEvent::Stop);
        self.retry = None;
        if moved.is_ok() && self.process.is_some() {
            self.begin_stop(grace).await;
            if let Some(stop) = &mut self.stop {
                stop.waiting.push(answer);
            }
            self.observe_or_log().await;
        } else {
            self.observe_or_log().await;
            let _ = answer.send(moved);
        }
    }

    async fn begin_stop(&mut self, grace: Duration) {
        self.stop = Some(Stop { deadline: Some(Instant::now() + grace), waiting: Vec::new() });
        self.signal(Signal::TERM).await;
    }

    async fn lose_patience(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = None;
        }
        self.signal(Signal::KILL).await;
    }

    async fn signal(&self, signal: Signal) {
        let Some(process) = self.process.clone() else { return };
        let workspace = self.workspace.clone();
        blocking(move || process.signal(&workspace, signal)).await;
    }

    async fn switch(&mut self, to: VersionName, copies: Copies) -> Result<(), Refusal> {
        self.advance(InstanceEvent::BeginUpdate)?;
        self.retry = None;
        self.observe_or_log().await;
        let (disk, id, target) = (self.disk.clone(), self.id.clone(), to.clone());
        let outcome = blocking(move || instance::switch(&disk, &id, &target, &copies)).await;
        self.advance(InstanceEvent::EndUpdate)?;
        if outcome.is_ok() {
            self.version = to.version;
        }
        self.observe_or_log().await;
        Ok(outcome?)
    }

    async fn delete(&mut self) -> Result<(), Refusal> {
        let illegal = self.observed.state.next(InstanceEvent::Delete);
        illegal.map_err(|illegal| self.refuse(&illegal))?;
        let (disk, id, observed) =
            (self.disk.clone(), self.id.clone(), layout::observed(&self.boot, &self.id));
        blocking(move || {
            instance::delete(&disk, &id)?;
            if let Err(error) = disk.remove(&observed) {
                tracing::warn!(instance = %id, %error, "what was true of it stays until the next boot");
            }
            Ok::<_, InstanceError>(())
        })
        .await?;
        self.advance(InstanceEvent::Delete)?;
        self.show();
        Ok(())
    }

    /// In `launching`: makes the process. The launch is recorded first, so that after a crash in between
    /// the process is looked for and not made a second time.
    async fn launch(&mut self) -> Result<LaunchId, Refusal> {
        let launch_id = LaunchId::from(uuid::Uuid::now_v7());
        self.observed.launch = Some(launch_id);
        self.observed.process = None;
        self.observed.started = Some(now());
        match self.make_process(launch_id).await {
            Ok(process) => {
                self.observed.process = Some(process.record());
                self.process = Some(Arc::new(process));
                let moved = self.advance(InstanceEvent::Launched);
                self.observe_or_log().await;
                moved.map(|()| launch_id)
            }
            Err(refusal) => {
                let status = ExitStatus::Unknown(with_causes(&refusal));
                self.observed.exit = Some(ExitBody::from_model(&status, now()));
                let aftermath = self.aftermath(&status).await;
                self.follow(InstanceEvent::LaunchFailed(aftermath)).await;
                Err(refusal)
            }
        }
    }

    async fn make_process(&mut self, id: LaunchId) -> Result<Process, Refusal> {
        self.observe().await?;
        let made = launch(&self.disk, &self.id, &self.launcher, id).await;
        made.map_err(|source| Refusal::Launch { instance: self.id.clone(), source })
    }

    /// A launch that nobody waits for: its failure is the instance's state.
    async fn launch_or_follow_policy(&mut self) {
        if let Err(refusal) = self.launch().await {
            tracing::warn!(instance = %self.id, error = %refusal, "cannot start");
        }
    }

    async fn process_ended(&mut self) {
        let Some(process) = self.process.take() else { return };
        let workspace = self.workspace.clone();
        let end = blocking(move || process.bury(&workspace)).await;
        tracing::info!(instance = %self.id, status = ?end.status, "ended");
        let launch = self.observed.launch;
        self.after_end(&end).await;
        // Only now: before the end is recorded nobody else may forget it.
        if let Some(launch) = launch {
            let launcher = self.launcher.clone();
            blocking(move || launcher.acknowledge(launch)).await;
        }
    }

    async fn after_end(&mut self, End { status, at }: &End) {
        self.observed.process = None;
        self.observed.exit = Some(ExitBody::from_model(status, *at));
        if let Some(stop) = self.stop.take() {
            let moved = self.advance(InstanceEvent::Exited(Aftermath::Rest));
            self.observe_or_log().await;
            debug_assert!(moved.is_ok());
            for answer in stop.waiting {
                let _ = answer.send(Ok(()));
            }
            return;
        }
        let aftermath = self.aftermath(status).await;
        self.follow(InstanceEvent::Exited(aftermath)).await;
    }

    async fn follow(&mut self, event: InstanceEvent) {
        if let Err(refusal) = self.advance(event) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
        }
        let rests = matches!(
            event,
            InstanceEvent::Exited(Aftermath::Rest) | InstanceEvent::LaunchFailed(Aftermath::Rest)
        );
        if rests && let Err(refusal) = self.desire(Desired::Stopped).await {
            tracing::error!(instance = %self.id, error = %refusal, "cannot record that it rests");
        }
        self.observe_or_log().await;
    }

    /// What follows an end, by the envelope's policy; sets the time of the next start.
    async fn aftermath(&mut self, status: &ExitStatus) -> Aftermath {
        let (disk, id) = (self.disk.clone(), self.id.clone());
        let policy = match blocking(move || restart_policy(&disk, &id)).await {
            Ok(policy) => policy,
            Err(error) => {
                tracing::error!(instance = %self.id, %error, "cannot read the restart policy");
                return Aftermath::GiveUp;
            }
        };
        let attempts =
            Attempts { count: self.observed.attempts, since: self.observed.attempts_since };
        let started = self.observed.started.unwrap_or(self.observed.since);
        match verdict(policy, attempts, status, started, now()) {
            Verdict::Rest => Aftermath::Rest,
            Verdict::GiveUp => Aftermath::GiveUp,
            Verdict::Retry { pause, attempts } => {
                self.observed.attempts = attempts.count;
                self.observed.attempts_since = attempts.since;
                self.retry = Some(Instant::now() + jittered(pause));
                Aftermath::Retry
            }
        }
    }

    async fn retry_due(&mut self) {
        self.retry = None;
        if let Err(refusal) = self.advance(InstanceEvent::RetryDue) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
            return;
        }
        self.observed.restarts = self.observed.restarts.saturating_add(1);
        self.launch_or_follow_policy().await;
    }

    fn unknown_exit(&mut self, why: &str) {
        self.observed.process = None;
        self.observed.exit = Some(ExitBody::Unknown { unknown: why.to_owned(), at: now() });
    }

    /// Records what should be, synced.
    async fn desire(&mut self, desired: Desired) -> Result<(), Refusal> {
        if self.record.desired == desired {
            return Ok(());
        }
        let record = InstanceRecord { desired, ..self.record.clone() };
        let (disk, id, written) = (self.disk.clone(), self.id.clone(), record.clone());
        blocking(move || instance::write_record(&disk, &id, &written)).await?;
        self.record = record;
        self.show();
        Ok(())
    }

    /// Moves in memory, if the machine allows it.
    fn advance(&mut self, event: InstanceEvent) -> Result<(), Refusal> {
        let next = self.observed.state.next(event).map_err(|illegal| self.refuse(&illegal))?;
        if next != self.observed.state {
            self.observed.state = next;
            self.observed.since = now();
        }
        Ok(())
    }

    /// Records what is, and shows it.
    async fn observe(&mut self) -> Result<(), Refusal> {
        let (disk, path, observed) =
            (self.disk.clone(), layout::observed(&self.boot, &self.id), self.observed.clone());
        let written = blocking(move || {
            durable::record::write_unsynced(&disk, &path, &observed)
                .map_err(|source| Unusable::Disk { path, source })
        })
        .await;
        self.show();
        written.map_err(|source| Refusal::Observed { instance: self.id.clone(), source })
    }

    async fn observe_or_log(&mut self) {
        if let Err(error) = self.observe().await {
            tracing::error!(instance = %self.id, %error, "what is true of it is known to memory alone");
        }
    }

    fn show(&self) {
        let body = body(&self.id, &self.version, &self.record, &self.observed);
        let launch = self.observed.launch;
        self.publish.send_replace(View { body, launch });
    }

    fn refuse(&self, illegal: &Illegal<InstanceState, InstanceEvent>) -> Refusal {
        Refusal::WrongState { instance: self.id.clone(), state: illegal.state }
    }
}

fn body(
    id: &InstanceId,
    version: &Version,
    record: &InstanceRecord,
    observed: &ObservedRecord,
) -> InstanceBody {
    InstanceBody {
        instance: id.clone(),
        installation: id.installation.clone(),
        title: id.installation.title.clone(),
        version: version.clone(),
        state: observed.state,
        desired: record.desired,
        pid: observed.process.map(|process| process.pid),
        restarts: observed.restarts,
        exit: observed.exit.clone(),
        since: observed.since,
        created_by: record.created_by.clone(),
    }
}

/// The end of the process; while a stop has patience, of all that it started too.
async fn ended(process: Option<&Process>, stop: Option<&Stop>, workspace: &Path) {
    let Some(process) = process else { return std::future::pending().await };
    process.ended().await;
    if stop.is_some_and(|stop| stop.deadline.is_some()) {
        process.followers_ended(workspace).await;
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// An error and its causes on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    words.join(": ")
}

/// Between half of the pause and all of it, so that what failed together does not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = uuid::Uuid::now_v7().as_bytes()[15]; // its last bytes are random
    pause / 2 + pause.mul_f64(f64::from(random) / 510.0)
}

/// Why an exit status is unknown.
const UNSEEN: &str = "it ended while neither a node manager nor its launcher was there";
/// Commands that wait for the owner.
const COMMANDS: usize = 16;
/// Between SIGTERM and SIGKILL where nobody said how long.
pub(super) const DEFAULT_GRACE: Duration = Duration::from_secs(10);
