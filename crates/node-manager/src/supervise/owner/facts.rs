//! From what is on disk, and what the launcher and the kernel say, to an instance that is owned again: after
//! a start of the manager. Nothing that was observed is trusted over the kernel.

use std::path::Path;
use std::sync::Arc;

use model::lifecycle::{Aftermath, Desired, Ending, InstanceEvent, InstanceState, ProbationEvent};
use model::{ExitStatus, InstanceId, LaunchId, Timestamp};
use wire::v1::ExitBody;

use super::super::handle::Refusal;
use super::super::health::{Notify, Plan, Watch};
use super::super::means::{LeftGroups, Means};
use super::super::prepare::{Prepared, prepare};
use super::super::process::{End, Process};
use super::Owner;
use crate::instance::{self, InstanceError};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::node::now;
use crate::record::{InstanceRecord, ObservedRecord, ProbationRecord};

pub(super) struct Facts {
    pub(super) record: InstanceRecord,
    pub(super) observed: ObservedRecord,
    pub(super) version: VersionName,
    pub(super) process: Option<Process>,
    /// What its process is watched by, if it has one and that is anything.
    pub(super) plan: Option<Plan>,
    /// The socket that it says it through.
    pub(super) notify: Option<Notify>,
}

impl Facts {
    /// Blocking; needs a Tokio runtime.
    pub(super) fn read(
        means: &Means,
        id: &InstanceId,
        workspace: &Path,
        left: &LeftGroups,
    ) -> Result<Facts, Refusal> {
        let disk = &means.disk;
        let record = inventory::instance(disk, id).map_err(InstanceError::Read)?;
        let version = inventory::instance_version(disk, id).map_err(InstanceError::Read)?;
        // The workspace is the program's own: what it put in the way of the link must not keep its process
        // from being owned.
        if let Err(error) = instance::repair(disk, id, &version) {
            tracing::warn!(instance = %id, %error, "its link to the packages cannot be made sure of");
        }
        // What was observed may be lost or torn, and says nothing that the kernel does not know better.
        let path = layout::observed(means.boot.as_str(), id);
        let observed = match durable::record::read(disk, &path) {
            Ok(durable::record::Read::Present(observed)) => observed,
            _ => ObservedRecord::nothing(record.created),
        };
        let group = || left.of(&means.groups, id);
        let mut kept = None;
        let known =
            observed.launch.and_then(|launch| Some((launch, means.launcher.known(launch)?)));
        let process = match (known, observed.process) {
            (Some((launch, mut made)), _) => {
                kept = made.kept.take();
                Some(Process::of_launch(&means.launcher, launch, made, group()))
            }
            (None, Some(recorded)) => Process::adopt(recorded, group()),
            (None, None) if observed.state.has_process() => Process::find(workspace, group()),
            (None, None) => None,
        };
        // Most programs are not watched, and their envelopes need not be read.
        let plan = match observed.launch.filter(|_| process.is_some() && observed.watched) {
            Some(launch) => plan_of(means, (id, &version), launch),
            None => None,
        };
        let notify = kept.and_then(|socket| Notify::kept(socket).ok());
        Ok(Facts { record, observed, version, process, plan, notify })
    }
}

fn plan_of(
    means: &Means,
    (id, version): (&InstanceId, &VersionName),
    launch: LaunchId,
) -> Option<Plan> {
    match prepare(means, (id, version), launch) {
        Ok(Prepared { plan, .. }) => Some(plan),
        Err(error) => {
            tracing::error!(instance = %id, %error, "it runs, and is not asked whether it works");
            None
        }
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
            watched: false,
            ready: None,
            status: None,
            reason: None,
            ending: None,
            restarts: 0,
            attempts: 0,
            attempts_ran: std::time::Duration::ZERO,
            exit: None,
        }
    }
}

impl Owner {
    /// After a start of the manager: from what was observed and what the kernel knows to an owned instance.
    /// A full disk is no reason to leave a process without an owner.
    pub(super) async fn resume(
        &mut self,
        process: Option<Process>,
        plan: Option<Plan>,
        notify: Option<Notify>,
    ) -> Result<(), Refusal> {
        let state = self.observed.state;
        let recorded = self.observed.clone();
        match process {
            Some(process) => {
                tracing::debug!(instance = %self.id, pid = process.record().pid, "found running");
                self.observed.process = Some(process.record());
                self.process = Some(Arc::new(process));
                match state {
                    InstanceState::Running | InstanceState::Paused | InstanceState::Stopping => {}
                    // One that was not ready before still has to become so.
                    InstanceState::Launching
                        if plan.as_ref().is_some_and(|plan| !plan.is_ready_at_once()) => {}
                    _ => {
                        self.observed.state = InstanceState::Running;
                        self.observed.ready.get_or_insert_with(now);
                    }
                }
                self.observe_unless(&recorded).await;
                if self.process.as_ref().is_some_and(|process| process.has_ended()) {
                    self.process_ended().await;
                    return Ok(());
                }
                let reading = self.reading();
                self.judge(ProbationEvent::Look(reading)).await;
                if self.observed.state == InstanceState::Stopping {
                    // The manager was cut off on the way: it is asked again.
                    let ending = self.observed.ending.unwrap_or(Ending::Asked);
                    self.begin_stop(None, ending).await;
                } else if self.record.desired == Desired::Stopped {
                    // It was cut off between recording "stopped" and asking the process.
                    self.advance(InstanceEvent::Stop)?;
                    self.begin_stop(None, Ending::Asked).await;
                    self.observe_or_log().await;
                } else if let Some(plan) = plan {
                    let ready = self.observed.state != InstanceState::Launching;
                    self.watch = Watch::begin(plan, notify, self.means.launcher.clone(), ready);
                }
            }
            None if state == InstanceState::Stopping => {
                self.advance(InstanceEvent::Exited(Aftermath::Rest))?;
                self.unknown_exit(UNSEEN);
                self.observe_or_log().await;
            }
            None if state.has_process() && self.observed.process.is_some() => {
                let status = ExitStatus::Unknown(UNSEEN.into());
                self.after_end(&End { status, at: now() }, 0).await;
            }
            None => {
                let rests = state == InstanceState::Failed;
                if !rests {
                    self.observed.state = InstanceState::NotRunning;
                }
                self.observe_unless(&recorded).await;
                if matches!(self.record.probation, ProbationRecord::Failed { .. }) {
                    // A move back was cut off on the way.
                    self.go_back().await;
                } else {
                    let reading = self.reading();
                    self.judge(ProbationEvent::Look(reading)).await;
                }
                if !rests && self.record.desired == Desired::Running {
                    self.advance(InstanceEvent::Start)?;
                    self.launch_or_follow_policy().await;
                }
            }
        }
        Ok(())
    }

    /// A thousand that go on as they were have nothing new to record.
    async fn observe_unless(&mut self, recorded: &ObservedRecord) {
        match self.observed == *recorded {
            true => self.show(),
            false => self.observe_or_log().await,
        }
    }

    fn unknown_exit(&mut self, why: &str) {
        self.observed.process = None;
        self.observed.exit = Some(ExitBody::Unknown { unknown: why.to_owned(), at: now() });
    }
}

/// Why an exit status is unknown.
const UNSEEN: &str = "it ended while neither a node manager nor its launcher was there";
