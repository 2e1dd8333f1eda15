//! An instance that was moved to another version has to show that it works: the steps of `model`'s machine,
//! recorded and carried out. The phase is in the instance's `info`, synced at each change, so that it goes
//! on after a restart of the manager and over a reboot; a move back that was begun is finished by whoever
//! comes next.

use std::time::Duration;

use model::lifecycle::{
    InstanceEvent, Misfit, Probation, ProbationEvent, ProbationStep, Reading, Rejection, Rejections,
};
use model::{ExitStatus, OperationId};
use tokio::time::Instant;
use wire::serve::blocking;
use wire::v1::{ProbationBody, RejectedBody};

use super::super::handle::Refusal;
use super::Owner;
use crate::instance::{self, InstanceError, Move};
use crate::layout::{self, VersionName};
use crate::record::{InstanceRecord, ProbationRecord, RejectedRecord};

impl Owner {
    /// Something happened that matters to a version on probation. `true`: it failed, and the instance is to
    /// be moved back with [`Owner::go_back`] as soon as it has no process.
    pub(super) async fn judge(&mut self, event: ProbationEvent<VersionName>) -> bool {
        self.judge_for(event, self.record.trial).await
    }

    /// [`Owner::judge`], recorded as of the trial that this operation began.
    pub(super) async fn judge_for(
        &mut self,
        event: ProbationEvent<VersionName>,
        trial: Option<OperationId>,
    ) -> bool {
        let before = self.record.probation.to_model();
        if matches!(before, Probation::None | Probation::Passed)
            && !matches!(event, ProbationEvent::Begin { .. } | ProbationEvent::Reverted)
        {
            return false;
        }
        let (after, step) = match before.next(event) {
            Ok(moved) => moved,
            Err(illegal) => {
                tracing::error!(instance = %self.id, %illegal, "an impossible move of a probation");
                return false;
            }
        };
        self.look = None;
        let mut record = self.record.clone();
        if step == ProbationStep::Passed {
            let passed = &self.version;
            record.rejected.retain(|rejected| rejected.version != *passed);
        }
        (record.probation, record.trial) = (ProbationRecord::from_model(after), trial);
        // Not recorded it may be served again, and nothing worse.
        if let Err(error) = self.record_as(record).await {
            tracing::error!(instance = %self.id, %error, "its probation is known to memory alone");
        }
        match step {
            ProbationStep::Nothing => false,
            ProbationStep::LookAfter(time) => {
                self.look = Some(Instant::now() + time.min(LOOKED_EVERY));
                false
            }
            ProbationStep::Passed => {
                tracing::info!(instance = %self.id, version = %self.version, "probation passed");
                false
            }
            ProbationStep::GoBack { to, reason } => {
                tracing::warn!(instance = %self.id, version = %self.version, %to, reason, "probation failed");
                true
            }
        }
    }

    /// What it should be and where it stands, synced.
    pub(super) async fn record_as(&mut self, record: InstanceRecord) -> Result<(), Refusal> {
        if record == self.record {
            return Ok(());
        }
        let path = layout::instance_info(&self.id);
        let written = self.means.commits.write(path, &record).await;
        // What happened has happened, also if the disk refuses.
        self.record = record;
        self.show();
        Ok(written.map_err(|source| InstanceError::Record { instance: self.id.clone(), source })?)
    }

    /// Moves the instance back to the version before its probation, and rejects the one that it is on. It
    /// has no process. The workspace stays as it is.
    pub(super) async fn go_back(&mut self) {
        let ProbationRecord::Failed { before, reason } = self.record.probation.clone() else {
            return;
        };
        if let Err(refusal) = self.advance(InstanceEvent::BeginUpdate) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
            return;
        }
        self.observe_or_log().await;
        let (disk, id, to) = (self.means.disk.clone(), self.id.clone(), before.clone());
        let moved = blocking(move || {
            let on = crate::inventory::instance_version(&disk, &id).map_err(InstanceError::Read)?;
            if on == to {
                return Ok(on); // a crash came before it was recorded
            }
            let Move { copies, .. } = instance::plan_move(&disk, &id, &on, &to, false)?;
            instance::switch(&disk, &id, &to, &copies)?;
            Ok::<_, InstanceError>(on)
        })
        .await;
        if let Err(refusal) = self.advance(InstanceEvent::EndUpdate) {
            tracing::error!(instance = %self.id, error = %refusal, "an impossible move");
        }
        match moved {
            Ok(on) => {
                let rejected = if on == before { self.version.clone() } else { on };
                self.version = before;
                let mut record = self.record.clone();
                let mut rejections = Rejections::default();
                for RejectedRecord { version, reason } in record.rejected {
                    rejections.add(version, reason);
                }
                rejections.add(rejected, reason);
                let kept = rejections.as_slice().iter().cloned();
                let kept =
                    kept.map(|Rejection { version, reason }| RejectedRecord { version, reason });
                record.rejected = kept.collect();
                record.probation = ProbationRecord::None;
                if let Err(error) = self.record_as(record).await {
                    tracing::error!(instance = %self.id, %error, "what was rejected is known to memory alone");
                }
            }
            Err(error) => {
                // It stays where it is; the next start of the manager tries again.
                tracing::error!(instance = %self.id, %error, "cannot be moved back");
                self.observed.reason = Some(format!("it cannot be moved back: {error}"));
            }
        }
        self.observe_or_log().await;
    }

    /// What the clock says.
    pub(super) fn reading(&self) -> Reading {
        let boot = self.means.boot.clone();
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let at = Duration::new(
            u64::try_from(since.tv_sec).unwrap_or(0),
            u32::try_from(since.tv_nsec).unwrap_or(0),
        );
        Reading { boot, at }
    }

    pub(super) fn probation_body(&self) -> Option<ProbationBody> {
        let probation = self.record.probation.to_model();
        let Probation::Serving(serving) = &probation else { return None };
        let remaining = probation.remaining(&self.reading())?;
        let version_before = serving.before.version.clone();
        Some(ProbationBody { version_before, remaining: remaining.as_secs_f64() })
    }

    pub(super) fn rejected_bodies(&self) -> Vec<RejectedBody> {
        let body = |rejected: &RejectedRecord| RejectedBody {
            version: rejected.version.version.clone(),
            reason: rejected.reason.clone(),
        };
        self.record.rejected.iter().map(body).collect()
    }
}

/// An end that was not asked for, as a version on probation is judged by it.
pub(super) fn ended(status: &ExitStatus) -> ProbationEvent<VersionName> {
    ProbationEvent::Failed(Misfit::Ended(status.clone()))
}

/// What is served is recorded at least so often: a power cut takes no more of it.
const LOOKED_EVERY: Duration = Duration::from_secs(5);
