//! Making the process of an instance, and what follows its end: the envelope's policy, the pause before the
//! next start.

use std::sync::Arc;

use model::lifecycle::{Aftermath, Desired, InstanceEvent};
use model::{Attempts, ExitStatus, LaunchId, Verdict, jittered, verdict};
use tokio::time::Instant;
use wire::serve::blocking;
use wire::v1::ExitBody;

use super::super::handle::Refusal;
use super::super::launch::{launch, restart_policy};
use super::super::process::{End, Process};
use super::Owner;
use crate::node::now;

impl Owner {
    /// In `launching`: makes the process. The launch is recorded first, so that after a crash in between
    /// the process is looked for and not made a second time.
    pub(super) async fn launch(&mut self) -> Result<LaunchId, Refusal> {
        let launch_id = LaunchId::from(uuid::Uuid::now_v7());
        self.observed.launch = Some(launch_id);
        self.observed.process = None;
        self.observed.started = Some(now());
        match self.make_process(launch_id).await {
            Ok(process) => {
                self.observed.process = Some(process.record());
                self.process = Some(Arc::new(process));
                // Nothing asks yet whether it is ready: it is, with its process.
                let moved = self
                    .advance(InstanceEvent::Launched)
                    .and_then(|()| self.advance(InstanceEvent::Ready));
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

    pub(super) async fn make_process(&mut self, id: LaunchId) -> Result<Process, Refusal> {
        self.observe().await?;
        let made = launch(&self.disk, &self.id, &self.launcher, id).await;
        made.map_err(|source| Refusal::Launch { instance: self.id.clone(), source })
    }

    /// A launch that nobody waits for: its failure is the instance's state.
    pub(super) async fn launch_or_follow_policy(&mut self) {
        if let Err(refusal) = self.launch().await {
            tracing::warn!(instance = %self.id, error = %refusal, "cannot start");
        }
    }

    pub(super) async fn process_ended(&mut self) {
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

    pub(super) async fn after_end(&mut self, End { status, at }: &End) {
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

    pub(super) async fn follow(&mut self, event: InstanceEvent) {
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
    pub(super) async fn aftermath(&mut self, status: &ExitStatus) -> Aftermath {
        let (disk, id) = (self.disk.clone(), self.id.clone());
        let policy = match blocking(move || restart_policy(&disk, &id)).await {
            Ok(policy) => policy,
            Err(error) => {
                tracing::error!(instance = %self.id, %error, "cannot read the restart policy");
                return Aftermath::GiveUp;
            }
        };
        let attempts = Attempts { count: self.observed.attempts, ran: self.observed.attempts_ran };
        let started = self.observed.started.unwrap_or(self.observed.since);
        match verdict(policy, attempts, model::End::of(status, None), now().since(started)) {
            Verdict::Rest => Aftermath::Rest,
            Verdict::GiveUp => Aftermath::GiveUp,
            Verdict::Retry { pause, attempts } => {
                self.observed.attempts = attempts.count;
                self.observed.attempts_ran = attempts.ran;
                self.retry = Some(Instant::now() + jittered(pause, dice()));
                Aftermath::Retry
            }
        }
    }

    pub(super) async fn retry_due(&mut self) {
        self.retry = None;
        if let Err(refusal) = self.advance(InstanceEvent::RetryDue) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
            return;
        }
        self.observed.restarts = self.observed.restarts.saturating_add(1);
        self.launch_or_follow_policy().await;
    }
}

/// An error and its causes on one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    words.join(": ")
}

/// Any number; the last bytes of a UUIDv7 are random.
fn dice() -> u32 {
    uuid::Uuid::now_v7().as_u128() as u32 // the last 32 bits
}
