//! Moving an instance to another version and back: stop, switch, start, and what becomes of it there. Owns the
//! order of these steps; what a version has to show is judged by the instance's owner.
//!
//! After a crash an operation goes on where its memo and the instance's record say that it was.

use std::sync::Arc;

use model::lifecycle::{Desired, InstanceState};
use model::{InstanceId, OperationId, Span};
use wire::serve::blocking;
use wire::v1::{InstanceBody, OperationResult, RejectedBody};

use super::instances::{
    WATCHED, end, grace, ready_to_copy, result, start_and_watch, until_started,
};
use super::journal::Entry;
use crate::failure::Failure;
use crate::install::Reporter;
use crate::instance::{self, Move};
use crate::inventory;
use crate::layout::VersionName;
use crate::node::{Core, Updating};
use crate::record::ProbationRecord;
use crate::supervise::{Handle, Trial, View};
use crate::waiting::waiting_with;

/// Moves an instance to its installation's current version, and waits until it has shown that it works
/// there; with `fresh`, its writable packages begin anew. A version that was rejected is passed over, unless
/// it is wanted `again`.
pub(super) async fn update(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    fresh: bool,
    again: bool,
) -> Result<OperationResult, Failure> {
    if !entry.memo().waits {
        let (handle, _lock) = core.claim(id, &**entry).await?;
        let owned = id.clone();
        let (installation, on) = core
            .read(move |disk| {
                let installation = inventory::installation(disk, &owned.installation)?;
                Ok((installation, inventory::instance_version(disk, &owned)?))
            })
            .await?;
        let to = installation.current;
        if entry.memo().version.is_none() {
            if to == on {
                return Err(Failure::Current { instance: id.clone(), version: on.version });
            }
            let rejected = handle.view().body.rejected;
            let found = rejected.into_iter().find(|rejected| rejected.version == to.version);
            if let Some(RejectedBody { version, reason }) = found.filter(|_| !again) {
                return Err(Failure::Rejected { instance: id.clone(), version, reason });
            }
        }
        switch(core, entry, &handle, to, (fresh, true)).await?;
    }
    verdict(core, entry, id).await
}

/// Moves an instance back to the version before the one that it is on; with `fresh`, its writable packages
/// begin anew. Needs no network. A probation is over with it.
pub(super) async fn revert(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    fresh: bool,
) -> Result<OperationResult, Failure> {
    let (handle, _lock) = core.claim(id, &**entry).await?;
    let owned = id.clone();
    let previous = core
        .read(move |disk| {
            let on = inventory::instance_version(disk, &owned)?;
            // What has not shown that it works came from a version that had; they need not be neighbours.
            match inventory::instance(disk, &owned)?.probation {
                ProbationRecord::Serving { before, .. } => Ok(Some(before)),
                _ => inventory::previous_of(disk, &owned.installation, &on),
            }
        })
        .await?;
    let to = entry.memo().version.or(previous);
    let to = to.ok_or_else(|| Failure::NoPrevious { name: id.to_string() })?;
    switch(core, entry, &handle, to, (fresh, false)).await?;
    result(&handle)
}

/// Stops what runs, moves the links, starts what should run. What should run is in the memo, since a stop
/// is recorded too: a crash in between must not forget it. So are the copies of packages: which names are
/// free is not the same any more once they are made. `on_trial`, the version has to show that it works; how
/// that ends is not waited for here.
async fn switch(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    handle: &Handle,
    to: VersionName,
    (fresh, on_trial): (bool, bool),
) -> Result<(), Failure> {
    let body = handle.view().body;
    let _updating = Updating::mark(core, &body.instance, entry.id());
    let is_first = entry.memo().version.is_none();
    let mut ready = None;
    if is_first {
        let (disk, id, target) = (core.disk.clone(), body.instance.clone(), to.clone());
        let planned = blocking(move || {
            let on = inventory::instance_version(&disk, &id)?;
            let planned = instance::plan_move(&disk, &id, &on, &target, fresh)?;
            Ok::<_, Failure>((on, planned))
        });
        let (on, Move { copies, notes }) = planned.await?;
        ready = Some(ready_to_copy(core, entry, (&body.instance, &to), &copies, true).await?);
        notes.into_iter().for_each(|note| entry.note(note));
        entry
            .decide(|memo| {
                memo.copies = copies;
                memo.before = Some(on);
                memo.version = Some(to.clone());
                memo.begun = body.desired == Desired::Running;
            })
            .await?;
    }
    let memo = entry.memo();
    let to = memo.version.unwrap_or(to);
    if !is_first {
        let on_the_way = (&body.instance, &to);
        ready = Some(ready_to_copy(core, entry, on_the_way, &memo.copies, false).await?);
    }
    if !is_first && on_trial && has_begun_trial(core, &body.instance, entry.id()).await? {
        // The verdict may have been given since: then nothing is begun again.
        drop(ready);
        let is_open = handle.view().on_probation;
        if memo.begun && is_open && body.desired == Desired::Stopped {
            start_on_trial(entry, handle).await;
        }
        return Ok(entry.decide(|memo| memo.waits = true).await?);
    }
    if !is_first && is_begun_on(core, &body, &to).await? {
        // It came as far as that before the manager was cut off: what runs is not begun again.
        drop(ready);
        return match on_trial {
            true => Ok(entry.decide(|memo| memo.waits = true).await?),
            false => start_and_watch(core, entry, handle).await,
        };
    }
    if !body.state.is_stopped() {
        entry.phase("stopping");
        end(entry, handle, grace(None)).await?;
    }
    entry.phase("switching the version");
    let trial = match memo.before.filter(|_| on_trial) {
        Some(before) => trial(core, entry, &body.instance, &to, before).await?,
        None => None,
    };
    let switched = handle.switch(to, memo.copies, trial).await;
    drop(ready);
    if memo.begun {
        if on_trial && switched.is_ok() {
            start_on_trial(entry, handle).await;
        } else {
            entry.phase("starting");
            let started = start_and_watch(core, entry, handle).await;
            // What could not be moved runs on where it was; that it was not moved is what matters.
            switched?;
            return started;
        }
    }
    switched?;
    if on_trial {
        entry.decide(|memo| memo.waits = true).await?;
    }
    Ok(())
}

/// One that cannot be started is moved back by its owner, and the verdict says so.
async fn start_on_trial(entry: &Arc<Entry>, handle: &Handle) {
    entry.phase("starting");
    let _ = waiting_with(&**entry, handle.watch(), until_started, handle.start()).await;
}

/// Did this operation come as far as that before the manager was cut off?
async fn has_begun_trial(
    core: &Core,
    id: &InstanceId,
    operation: OperationId,
) -> Result<bool, Failure> {
    let id = id.clone();
    Ok(core.read(move |disk| inventory::instance(disk, &id)).await?.trial == Some(operation))
}

/// Does what runs of an instance run on this version? Whatever ran before was stopped before the instance was
/// moved, and what it has to show there was recorded before it was begun.
async fn is_begun_on(core: &Core, body: &InstanceBody, to: &VersionName) -> Result<bool, Failure> {
    if !matches!(body.state, InstanceState::Launching | InstanceState::Running) {
        return Ok(false);
    }
    let id = body.instance.clone();
    Ok(core.read(move |disk| inventory::instance_version(disk, &id)).await? == *to)
}

/// What a version has to show that an instance is moved to: as its envelope says, and at least as much as a
/// start has to. One that is not started now begins with its next start.
async fn trial(
    core: &Core,
    entry: &Entry,
    id: &InstanceId,
    to: &VersionName,
    before: VersionName,
) -> Result<Option<Trial>, Failure> {
    let (id, to) = (id.clone(), to.clone());
    let envelope = core.read(move |disk| inventory::envelope(disk, &id.installation, &to)).await?;
    let stated = envelope.0.to_model()?.policies.update.probation;
    let usual = entry.memo().begun.then(|| Span::from_millis(WATCHED.as_millis() as u64));
    let operation = entry.id();
    Ok(stated.max(usual).map(|length| Trial { before, length, operation }))
}

/// Waits for what becomes of the version that an instance was moved to. Holds no lock meanwhile: it can be
/// stopped, which begins its probation anew, started, and moved back.
async fn verdict(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
) -> Result<OperationResult, Failure> {
    let handle = core.handle(id)?;
    let memo = entry.memo();
    let (Some(to), true) = (memo.version, memo.begun) else { return result(&handle) };
    entry.phase("probation");
    let mut watch = handle.watch();
    let is_over = |view: &View| !view.on_probation || view.body.state == InstanceState::Deleted;
    let over = watch.wait_for(is_over);
    let _ = waiting_with(&**entry, handle.watch(), until_judged, over).await; // its owner is gone: it is over
    let InstanceBody { version, rejected, .. } = handle.view().body;
    if version == to.version {
        return result(&handle);
    }
    let instance = id.clone();
    match rejected.into_iter().find(|rejected| rejected.version == to.version) {
        Some(RejectedBody { version: new, reason }) => {
            // The version before is begun again.
            let begun = |view: &View| {
                let InstanceBody { state, desired, .. } = &view.body;
                let rests = matches!(state, InstanceState::NotRunning | InstanceState::Updating);
                *desired == Desired::Stopped
                    || !(rests || matches!(state, InstanceState::Launching))
            };
            let _ = watch.wait_for(begun).await;
            Err(Failure::BackAgain { instance, new, reason, version })
        }
        None => Err(Failure::MovedOn { instance, new: to.version, version }),
    }
}

/// What an update waits for once the new version runs.
fn until_judged(view: &View) -> String {
    let InstanceBody { instance, version, desired, state, .. } = &view.body;
    match (desired, state) {
        (Desired::Stopped, _) => {
            format!("a start of `{instance}`, with which the probation of {version} begins anew")
        }
        (_, InstanceState::Paused) => {
            format!("`{instance}` to be resumed: {version} has to run well for its probation")
        }
        _ => format!("{version} to run well as `{instance}` for all of its probation"),
    }
}
