//! From what is on disk, and what the launcher and the kernel say, to an instance that is owned again: after
//! a start of the manager. Nothing that was observed is trusted over the kernel.

use std::path::Path;
use std::sync::Arc;

use durable::Disk;
use model::lifecycle::{Aftermath, Desired, InstanceEvent, InstanceState};
use model::{ExitStatus, InstanceId, Timestamp, Version};
use wire::v1::ExitBody;

use super::super::handle::Refusal;
use super::super::launcher::Launcher;
use super::super::process::{End, Process};
use super::Owner;
use super::stopping::DEFAULT_GRACE;
use crate::instance::{self, InstanceError};
use crate::inventory;
use crate::layout;
use crate::node::now;
use crate::record::{InstanceRecord, ObservedRecord};

pub(super) struct Facts {
    pub(super) record: InstanceRecord,
    pub(super) observed: ObservedRecord,
    pub(super) version: Version,
    pub(super) process: Option<Process>,
}

impl Facts {
    pub(super) fn read(
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
            attempts_ran: std::time::Duration::ZERO,
            exit: None,
        }
    }
}

impl Owner {
    /// After a start of the manager: from what was observed and what the kernel knows to an owned instance.
    /// A full disk is no reason to leave a process without an owner.
    pub(super) async fn resume(&mut self, process: Option<Process>) -> Result<(), Refusal> {
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

    fn unknown_exit(&mut self, why: &str) {
        self.observed.process = None;
        self.observed.exit = Some(ExitBody::Unknown { unknown: why.to_owned(), at: now() });
    }
}

/// Why an exit status is unknown.
const UNSEEN: &str = "it ended while neither a node manager nor its launcher was there";
