//! From what is on disk, and what the launcher and the kernel say, to an instance that is owned again: after
//! a start of the manager. Nothing that was observed is trusted over the kernel.

use std::path::Path;
use std::sync::Arc;

use model::lifecycle::{Desired, Ending, InstanceEvent, InstanceState, ProbationEvent};
use model::{ExitStatus, InstanceId, LaunchId, Timestamp};
use wire::serve::blocking;

use super::super::handle::Refusal;
use super::super::health::{Notify, Plan, Watch};
use super::super::means::{LeftGroups, Means};
use super::super::prepare::{Prepared, prepare};
use super::super::process::{End, Process, Remains};
use super::Owner;
use super::stopping::Stop;
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
    /// Without one: what it left behind, if it may have left anything.
    pub(super) remains: Option<Remains>,
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
            (None, None) => observed
                .launch
                .filter(|_| observed.state.has_process())
                .and_then(|launch| Process::find(workspace, launch, group())),
        };
        // Its end was not seen, or what was to be done at its end was not done.
        let remains = match &process {
            Some(_) => None,
            None => Remains::find(group(), observed.state.has_process()),
        };
        // Most programs are not watched, and their envelopes need not be read.
        let plan = match observed.launch.filter(|_| process.is_some() && observed.watched) {
            Some(launch) => plan_of(means, (id, &version), launch),
            None => None,
        };
        let notify = kept.and_then(|socket| Notify::kept(socket).ok());
        Ok(Facts { record, observed, version, process, remains, plan, notify })
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
        remains: Option<Remains>,
        plan: Option<Plan>,
        notify: Option<Notify>,
    ) -> Result<(), Refusal> {
        if let Some(remains) = remains {
            let workspace = self.workspace.clone();
            blocking(move || remains.end(&workspace)).await;
        }
        let state = self.observed.state;
        let recorded = self.observed.clone();
        let under_way = stop_under_way(self.record.desired, state, recorded.ending);
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
                    self.stop = under_way.map(Stop::over);
                    self.process_ended().await;
                    return Ok(());
                }
                let reading = self.reading();
                self.judge(ProbationEvent::Look(reading)).await;
                if let Some(ending) = under_way {
                    // The manager was cut off on the way, or before it asked the process: it is asked
                    // (again). Whether it gets time is not known.
                    if self.observed.state != InstanceState::Stopping {
                        self.advance(InstanceEvent::Stop)?;
                    }
                    self.thaw().await;
                    self.begin_stop(None, ending).await;
                    self.observe_or_log().await;
                } else if let Some(plan) = plan {
                    let state = self.observed.state;
                    let ready = state != InstanceState::Launching;
                    self.watch = self.process.as_ref().and_then(|process| {
                        Watch::begin(plan, notify, process.runner(&self.means.launcher), ready)
                    });
                    if let Some(watch) = &self.watch {
                        watch.suspend(state == InstanceState::Paused);
                    }
                }
            }
            None if state == InstanceState::Stopping
                || state.has_process() && self.observed.process.is_some() =>
            {
                self.stop = under_way.map(Stop::over);
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
}

/// Why a process that there is, or was until nobody was there to see it end, is being ended. The user's word
/// is in `desired` before anything else is done about it.
fn stop_under_way(
    desired: Desired,
    state: InstanceState,
    ending: Option<Ending>,
) -> Option<Ending> {
    match (desired, state) {
        (Desired::Stopped, _) => Some(Ending::Asked),
        (Desired::Running, InstanceState::Stopping) => Some(ending.unwrap_or(Ending::Asked)),
        (Desired::Running, _) => None,
    }
}

/// Why an exit status is unknown.
const UNSEEN: &str = "it ended while neither a node manager nor its launcher was there";

#[cfg(test)]
mod tests {
    use model::lifecycle::Unwell;

    use super::*;

    #[test]
    fn a_stop_that_was_under_way_is_known_again_and_the_users_word_is_the_last() {
        use InstanceState as S;
        let unwell = Some(Ending::Unwell(Unwell::Watchdog));
        for (desired, state, ending, expected) in [
            (Desired::Running, S::Running, None, None),
            (Desired::Running, S::Paused, None, None),
            (Desired::Running, S::Stopping, unwell, unwell),
            (Desired::Running, S::Stopping, None, Some(Ending::Asked)),
            (Desired::Stopped, S::Stopping, unwell, Some(Ending::Asked)),
            (Desired::Stopped, S::Running, None, Some(Ending::Asked)),
            (Desired::Stopped, S::Paused, None, Some(Ending::Asked)),
            // Its end was recorded, and the launcher had not heard that yet; or its beginning was not.
            (Desired::Stopped, S::NotRunning, None, Some(Ending::Asked)),
        ] {
            assert_eq!(stop_under_way(desired, state, ending), expected, "{desired} {state}");
        }
    }
}
