//! Ending the process of an instance, with all that it started: asked first, killed when patience ends.

use std::path::Path;
use std::time::Duration;

use model::lifecycle::{Desired, InstanceEvent, InstanceState};
use rustix::process::Signal;
use tokio::time::Instant;
use wire::serve::blocking;

use super::super::handle::Answer;
use super::super::process::Process;
use super::Owner;

pub(super) struct Stop {
    /// When patience ends; `None` after SIGKILL.
    pub(super) deadline: Option<Instant>,
    /// Who waits for the end.
    pub(super) waiting: Vec<Answer>,
}

impl Owner {
    pub(super) async fn stop(&mut self, grace: Duration, answer: Answer) {
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

    pub(super) async fn begin_stop(&mut self, grace: Duration) {
        self.stop = Some(Stop { deadline: Some(Instant::now() + grace), waiting: Vec::new() });
        self.signal(Signal::TERM).await;
    }

    pub(super) async fn lose_patience(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.deadline = None;
        }
        self.signal(Signal::KILL).await;
    }

    pub(super) async fn signal(&self, signal: Signal) {
        let Some(process) = self.process.clone() else { return };
        let workspace = self.workspace.clone();
        blocking(move || process.signal(&workspace, signal)).await;
    }
}

/// The end of the process; while a stop has patience, of all that it started too.
pub(super) async fn ended(process: Option<&Process>, stop: Option<&Stop>, workspace: &Path) {
    let Some(process) = process else { return std::future::pending().await };
    process.ended().await;
    if stop.is_some_and(|stop| stop.deadline.is_some()) {
        process.followers_ended(workspace).await;
    }
}

/// Between SIGTERM and SIGKILL where nobody said how long.
pub(super) const DEFAULT_GRACE: Duration = Duration::from_secs(10);
