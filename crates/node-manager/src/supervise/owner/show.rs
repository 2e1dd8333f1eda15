//! What should be and what is, recorded and shown. What should be is synced before it is acted on; what is
//! is replaced without a sync.

use model::InstanceId;
use model::lifecycle::{Desired, Illegal, InstanceEvent, InstanceState};
use tokio::time::Instant;
use wire::serve::brief;
use wire::v1::InstanceBody;

use super::super::handle::{Refusal, View};
use super::Owner;
use crate::instance::InstanceError;
use crate::layout::{self, VersionName};
use crate::node::now;
use crate::record::{InstanceRecord, ObservedRecord};

impl Owner {
    /// Records what should be, synced.
    pub(super) async fn desire(&mut self, desired: Desired) -> Result<(), Refusal> {
        if self.record.desired == desired {
            return Ok(());
        }
        let record = InstanceRecord { desired, ..self.record.clone() };
        let path = layout::instance_info(&self.id);
        let written = self.means.commits.write(path, &record).await;
        written.map_err(|source| InstanceError::Record { instance: self.id.clone(), source })?;
        self.record = record;
        self.show();
        Ok(())
    }

    /// Moves in memory, if the machine allows it.
    pub(super) fn advance(&mut self, event: InstanceEvent) -> Result<(), Refusal> {
        let next = self.observed.state.next(event).map_err(|illegal| self.refuse(&illegal))?;
        if next != self.observed.state {
            self.observed.state = next;
            self.observed.since = now();
        }
        Ok(())
    }

    /// Records what is, and shows it.
    pub(super) async fn observe(&mut self) -> Result<(), Refusal> {
        let (means, id, observed) = (self.means.clone(), self.id.clone(), self.observed.clone());
        let written = brief(move || means.observe(&id, &observed)).await;
        self.show();
        written
    }

    pub(super) async fn observe_or_log(&mut self) {
        if let Err(error) = self.observe().await {
            tracing::error!(instance = %self.id, %error, "what is true of it is known to memory alone");
        }
    }

    pub(super) fn show(&self) {
        let mut body = body(&self.id, &self.version, &self.record, &self.observed);
        body.probation = self.probation_body();
        body.rejected = self.rejected_bodies();
        let due = self.retry.filter(|_| self.observed.state == InstanceState::Backoff);
        body.next = due.map(|due| now().plus(due.saturating_duration_since(Instant::now())));
        let launch = self.observed.launch;
        self.publish.send_replace(View {
            body,
            launch,
            on_probation: self.record.probation.is_open(),
        });
    }

    pub(super) fn refuse(&self, illegal: &Illegal<InstanceState, InstanceEvent>) -> Refusal {
        Refusal::WrongState { instance: self.id.clone(), state: illegal.state }
    }
}

pub(super) fn body(
    id: &InstanceId,
    version: &VersionName,
    record: &InstanceRecord,
    observed: &ObservedRecord,
) -> InstanceBody {
    InstanceBody {
        instance: id.clone(),
        installation: id.installation.clone(),
        title: id.installation.title.clone(),
        version: version.version.clone(),
        state: observed.state,
        desired: record.desired,
        pid: observed.process.map(|process| process.pid),
        restarts: observed.restarts,
        exit: observed.exit.clone(),
        since: observed.since,
        ready: observed.ready,
        status: observed.status.clone(),
        probation: None,
        rejected: Vec::new(),
        reason: observed.reason.clone(),
        next: None,
        created_by: record.created_by.clone(),
    }
}
