//! Making the process of an instance, and what follows its end: the envelope's policy, the pause before the
//! next start.

use std::sync::Arc;
use std::time::Duration;

use model::lifecycle::{
    Aftermath, Desired, Ending, InstanceEvent, InstanceState, Misfit, ProbationEvent,
};
use model::{Attempts, ExitStatus, LaunchId, Verdict, jittered, verdict};
use tokio::time::Instant;
use wire::serve::{blocking, brief};
use wire::v1::ExitBody;

use super::super::handle::Refusal;
use super::super::health::News;
use super::super::launch::{Launched, launch};
use super::super::prepare::restart_policy;
use super::super::process::End;
use super::stopping::Stop;
use super::{Owner, probation};
use crate::node::now;

impl Owner {
    /// In `launching`: makes the process. The launch is recorded first, so that after a crash in between
    /// the process is looked for and not made a second time.
    pub(super) async fn launch(&mut self) -> Result<LaunchId, Refusal> {
        let launch_id = LaunchId::from(uuid::Uuid::now_v7());
        self.observed.launch = Some(launch_id);
        self.observed.process = None;
        self.observed.started = Some(now());
        self.observed.watched = false;
        self.observed.ready = None;
        self.observed.status = None;
        match self.make_process(launch_id).await {
            Ok(Launched { process, watch, is_ready, stderr_from }) => {
                self.stderr_from = Some(stderr_from);
                self.observed.process = Some(process.record());
                self.observed.watched = watch.is_some();
                self.process = Some(Arc::new(process));
                self.watch = watch;
                let moved = self.advance(InstanceEvent::Launched);
                let moved = match (is_ready, moved) {
                    (true, Ok(())) => self.become_ready().await,
                    (_, moved) => moved,
                };
                self.observe_or_log().await;
                moved.map(|()| launch_id)
            }
            Err(refusal) => {
                let why = with_causes(&refusal);
                let status = ExitStatus::Unknown(why.clone());
                self.observed.exit = Some(ExitBody::from_model(&status, now()));
                self.observed.reason = Some(why.clone());
                let event = match refusal.is_of_the_version() {
                    true => ProbationEvent::Failed(Misfit::NotLaunched(why)),
                    false => ProbationEvent::Held(self.reading()),
                };
                if self.judge(event).await {
                    self.begin_again(InstanceEvent::LaunchFailed(Aftermath::Rest)).await;
                } else {
                    let verdict = self.verdict(model::End::Badly, Duration::ZERO).await;
                    let aftermath = self.heed(&verdict, None);
                    self.follow(InstanceEvent::LaunchFailed(aftermath)).await;
                }
                Err(refusal)
            }
        }
    }

    async fn make_process(&mut self, id: LaunchId) -> Result<Launched, Refusal> {
        self.show();
        let on = (&self.id, &self.version);
        let made = launch(&self.means, on, id, self.observed.clone()).await;
        self.means.logs.watch(&self.id);
        made
    }

    async fn become_ready(&mut self) -> Result<(), Refusal> {
        self.advance(InstanceEvent::Ready)?;
        self.observed.ready = Some(now());
        let reading = self.reading();
        self.judge(ProbationEvent::Ready(reading)).await;
        Ok(())
    }

    /// Its probation may be served.
    pub(super) async fn look_again(&mut self) {
        self.look = None;
        let reading = self.reading();
        self.judge(ProbationEvent::Look(reading)).await;
    }

    /// It has no process, and its version has failed: the version before begins.
    async fn begin_again(&mut self, event: InstanceEvent) {
        if let Err(refusal) = self.advance(event) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
        }
        self.observed.ending = None;
        self.go_back().await;
        if self.record.desired == Desired::Running {
            self.observed.restarts = 0;
            self.observed.attempts = 0;
            self.observed.attempts_ran = Duration::ZERO;
            self.retry = Some(Instant::now());
        }
    }

    /// News of the program.
    pub(super) async fn hear(&mut self, news: News) {
        match news {
            News::Ready if self.observed.state == InstanceState::Launching => {
                if let Err(refusal) = self.become_ready().await {
                    tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
                }
            }
            News::Status(text) => self.observed.status = Some(text),
            // It says so itself; what it does is seen when it has ended.
            News::Ready | News::Stopping => return,
            News::Unwell(how, why) => {
                // One that is paused or being ended cannot answer.
                let is_asked = matches!(
                    self.observed.state,
                    InstanceState::Launching | InstanceState::Running
                );
                if !is_asked || self.advance(InstanceEvent::Unwell(how)).is_err() {
                    return;
                }
                tracing::warn!(instance = %self.id, why, "it does not work, and is ended");
                self.observed.reason = Some(why);
                self.begin_stop(None, Ending::Unwell(how)).await;
            }
        }
        self.observe_or_log().await;
    }

    /// A launch that nobody waits for: its failure is the instance's state.
    pub(super) async fn launch_or_follow_policy(&mut self) {
        if let Err(refusal) = self.launch().await {
            tracing::warn!(instance = %self.id, error = %refusal, "cannot start");
        }
    }

    pub(super) async fn process_ended(&mut self) {
        let Some(process) = self.process.take() else { return };
        self.watch = None;
        let workspace = self.workspace.clone();
        let (end, memory_kills) = blocking(move || {
            let memory_kills = process.memory_kills();
            (process.bury(&workspace), memory_kills)
        })
        .await;
        tracing::info!(instance = %self.id, status = ?end.status, "ended");
        let launch = self.observed.launch;
        self.after_end(&end, memory_kills).await;
        if self.is_due() {
            self.retry_due().await;
        }
        // Only now: before the end is recorded nobody else may forget it.
        if let Some(launch) = launch {
            let launcher = self.means.launcher.clone();
            brief(move || launcher.acknowledge(launch)).await;
        }
    }

    /// Is its next start due now?
    fn is_due(&self) -> bool {
        self.retry.is_some_and(|due| due <= Instant::now())
    }

    pub(super) async fn after_end(&mut self, End { status, at }: &End, memory_kills: u64) {
        self.observed.process = None;
        self.observed.exit = Some(ExitBody::from_model(status, *at));
        let (ending, waiting) = match self.stop.take() {
            Some(Stop { ending, waiting, .. }) => (Some(ending), waiting),
            None => (None, Vec::new()),
        };
        let ran = self.observed.ready.take().map_or(Duration::ZERO, |ready| at.since(ready));
        let verdict = match ending {
            Some(Ending::Asked) => Verdict::Rest,
            _ => self.verdict(model::End::of(status, ending), ran).await,
        };
        if verdict == Verdict::Rest {
            self.observed.reason = None;
        } else if !matches!(ending, Some(Ending::Unwell(_))) {
            self.observed.reason = Some(reason(status, memory_kills));
        }
        let reading = self.reading();
        let failed = match (ending, &verdict) {
            (Some(Ending::Asked), _) => false, // it begins anew since it was asked
            (Some(Ending::Unwell(how)), _) => {
                self.judge(ProbationEvent::Failed(Misfit::Unwell(how))).await
            }
            // What nobody saw says nothing against a version.
            (None, _) if matches!(status, ExitStatus::Unknown(_)) => {
                self.judge(ProbationEvent::Held(reading)).await
            }
            (None, _) if !status.is_success() => self.judge(probation::ended(status)).await,
            (None, Verdict::Rest) => self.judge(ProbationEvent::Finished).await,
            (None, _) => self.judge(ProbationEvent::Held(reading)).await,
        };
        if failed {
            self.begin_again(InstanceEvent::Exited(Aftermath::Rest)).await;
        } else {
            let aftermath = self.heed(&verdict, ending);
            self.follow(InstanceEvent::Exited(aftermath)).await;
        }
        for answer in waiting {
            let _ = answer.send(Ok(())); // may have left
        }
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
        match self.is_due() {
            true => self.show(), // recorded with the launch that follows
            false => self.observe_or_log().await,
        }
    }

    /// What the envelope's policy says about an end after a run that was ready for `ran`.
    async fn verdict(&self, end: model::End, ran: Duration) -> Verdict {
        let (means, id, version) = (self.means.clone(), self.id.clone(), self.version.clone());
        let policy = match brief(move || restart_policy(&means, (&id, &version))).await {
            Ok(policy) => policy,
            Err(error) => {
                tracing::error!(instance = %self.id, %error, "cannot read the restart policy");
                return Verdict::GiveUp;
            }
        };
        let attempts = Attempts { count: self.observed.attempts, ran: self.observed.attempts_ran };
        verdict(policy, attempts, end, ran)
    }

    /// Sets the time of the next start, if there is to be one.
    fn heed(&mut self, verdict: &Verdict, ending: Option<Ending>) -> Aftermath {
        self.observed.ending = None;
        if let Verdict::Retry { pause, attempts } = verdict {
            self.observed.attempts = attempts.count;
            self.observed.attempts_ran = attempts.ran;
            let pause = jittered(*pause, dice());
            self.retry = Some(Instant::now() + pause);
        }
        Ending::aftermath(ending, verdict)
    }

    pub(super) async fn retry_due(&mut self) {
        self.retry = None;
        if self.record.desired != Desired::Running {
            return;
        }
        // After a move back it has not failed, and begins as if somebody had started it.
        let event = match self.observed.state {
            InstanceState::NotRunning => InstanceEvent::Start,
            _ => InstanceEvent::RetryDue,
        };
        if let Err(refusal) = self.advance(event) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
            return;
        }
        if event == InstanceEvent::RetryDue {
            self.observed.restarts = self.observed.restarts.saturating_add(1);
        }
        self.launch_or_follow_policy().await;
    }
}

/// Why a program is not there any more, for people.
fn reason(status: &ExitStatus, memory_kills: u64) -> String {
    let ended = match status {
        ExitStatus::Code(code) => format!("it ended with exit code {code}"),
        ExitStatus::Signal(signal) => format!("it was ended by signal {signal}"),
        ExitStatus::Unknown(why) => format!("how it ended is unknown: {why}"),
    };
    match memory_kills {
        0 => ended,
        _ => format!("{ended}: its memory was used up, and the kernel killed what it could find"),
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
