//! Operations on instances that stay on their version, and the steps that moves share with them.

use std::sync::Arc;
use std::time::Duration;

use model::lifecycle::{Desired, InstallationEvent, InstanceState};
use model::{InstallationId, InstanceId, LaunchId, Span};
use wire::serve::blocking;
use wire::v1::{CreateRequest, InstanceBody, LogStream, OperationResult};

use super::installations::count;
use super::journal::Entry;
use super::store;
use crate::failure::Failure;
use crate::install::{Promise, PromiseError, Reporter};
use crate::instance::{self, Copies, Copying, InstanceError};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::locks;
use crate::node::{Core, now};
use crate::record::{InstanceRecord, Memo, ProbationRecord};
use crate::supervise::{Handle, Refusal, Started, View};
use crate::waiting::waiting_with;

/// Makes an instance, and starts it where that was asked for.
pub(super) async fn create(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    request: &CreateRequest,
) -> Result<OperationResult, Failure> {
    let _installation = core.installation_locks.lock(&request.installation, &**entry).await;
    let id = create_locked(core, entry, &request.installation, request.start).await?;
    result(&core.handle(&id)?)
}

/// Makes an instance; the caller holds the installation's lock.
pub(super) async fn create_locked(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    installation: &InstallationId,
    start: bool,
) -> Result<InstanceId, Failure> {
    let owned = installation.clone();
    let found = core.read(move |disk| inventory::installation(disk, &owned)).await?;
    found.status.state.next(InstallationEvent::CreateInstance)?;
    let id = match entry.memo().instance {
        Some(id) => id,
        None => {
            let (number, counted) =
                count(core, installation, |status| &mut status.next_instance).await?;
            let id = InstanceId { installation: installation.clone(), number };
            let decided = |memo: &mut Memo| memo.instance = Some(id.clone());
            entry.decide_counted((layout::status(installation), &counted), decided).await?;
            id
        }
    };
    entry.phase("making the instance");
    let record = InstanceRecord {
        desired: Desired::Stopped,
        probation: ProbationRecord::None,
        trial: None,
        rejected: Vec::new(),
        created: now(),
        created_by: entry.caller(),
    };
    let made = make(core, entry, &id, &found.current, record).await;
    let owned = match made {
        Ok(()) => core.take_charge(&id).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    if let Err(failure) = owned {
        // It may have its name already: what is said to have failed must not turn up later.
        let (disk, gone) = (core.disk.clone(), id.clone());
        if let Err(error) = blocking(move || instance::delete(&disk, &gone)).await {
            tracing::error!(instance = %id, %error, "cannot be taken back");
        }
        return Err(failure);
    }
    if start {
        entry.phase("starting");
        let (handle, _lock) = core.claim(&id, &**entry).await?;
        start_and_watch(core, entry, &handle).await?;
    }
    Ok(id)
}

/// Makes it on the disk.
async fn make(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    version: &VersionName,
    record: InstanceRecord,
) -> Result<(), Failure> {
    let (disk, owned, target) = (core.disk.clone(), id.clone(), version.clone());
    let copies = blocking(move || instance::plan_first(&disk, &owned, &target)).await?;
    let _ready = ready_to_copy(core, entry, (id, version), &copies, true).await?;
    let (disk, id, version) = (core.disk.clone(), id.clone(), version.clone());
    Ok(blocking(move || instance::create(&disk, &id, &version, &copies, &record)).await?)
}

/// Copies can be made: there is room for them, and nobody mends what they are made from, for as long as
/// this value lives.
pub(super) struct ReadyToCopy {
    _room: Option<Promise>,
    _content: Vec<locks::Shared>,
}

/// Claims room for the copies that are not there yet, before anything is written. Unless it `must_fit`, what
/// was decided is gone on with, also where the room is gone meanwhile.
pub(super) async fn ready_to_copy(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    (id, version): (&InstanceId, &VersionName),
    copies: &Copies,
    must_fit: bool,
) -> Result<ReadyToCopy, Failure> {
    let (owned, on_thread) = (core.clone(), (id.clone(), version.clone(), copies.clone()));
    let promised = blocking(move || {
        let (id, version, copies) = on_thread;
        let Copying { claims, digests } = instance::copying(&owned.disk, &id, &version, &copies)?;
        let promise = owned.ledger.promise(&owned.store, claims, owned.config.reserve);
        Ok::<_, InstanceError>((promise, digests))
    });
    let (promise, digests) = promised.await?;
    let room = match promise {
        Ok(promise) => Some(promise),
        Err(_) if !must_fit => None,
        Err(PromiseError::Disk(error)) => return Err(error.into()),
        Err(PromiseError::Shortage(shortage)) => {
            let source = store::with_reclaimable(core, shortage).await;
            return Err(InstanceError::NoRoom { instance: id.clone(), source }.into());
        }
    };
    // In their order: whoever takes several never waits for one that waits for it.
    let mut content = Vec::new();
    for digest in digests {
        content.push(core.digest_locks.share(&digest, &**entry).await);
    }
    Ok(ReadyToCopy { _room: room, _content: content })
}

/// Starts an instance. One that runs is left alone.
pub(super) async fn start(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
) -> Result<OperationResult, Failure> {
    let (handle, _lock) = core.claim(id, &**entry).await?;
    start_and_watch(core, entry, &handle).await?;
    result(&handle)
}

/// Stops an instance. It does not wait for other operations on it: a stop may be there to end one.
pub(super) async fn stop(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    timeout: Option<f64>,
) -> Result<OperationResult, Failure> {
    let handle = core.unless_updating(id)?;
    end(entry, &handle, grace(timeout)).await?;
    result(&handle)
}

/// Stops an instance and starts it again. Run again after it was cut off, it goes on where it was.
pub(super) async fn restart(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    timeout: Option<f64>,
) -> Result<OperationResult, Failure> {
    let (handle, _lock) = core.claim(id, &**entry).await?;
    if !entry.memo().begun {
        let launch = handle.view().launch;
        entry
            .decide(|memo| {
                memo.launch_before = launch;
                memo.begun = true;
            })
            .await?;
    }
    let View { body, launch, .. } = handle.view();
    let is_the_old_one = launch == entry.memo().launch_before;
    if is_the_old_one && body.state != InstanceState::NotRunning {
        end(entry, &handle, grace(timeout)).await?;
    }
    start_and_watch(core, entry, &handle).await?;
    result(&handle)
}

/// Gives an instance no time any more, or time again. What it has begun stays as it is.
pub(super) async fn pause(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    paused: bool,
) -> Result<OperationResult, Failure> {
    let (handle, _lock) = core.claim(id, &**entry).await?;
    handle.pause(paused).await?;
    result(&handle)
}

/// Removes an instance with all that it has.
pub(super) async fn delete(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstanceId,
    stop: bool,
) -> Result<OperationResult, Failure> {
    let (handle, _lock) = match core.claim(id, &**entry).await {
        Ok(claimed) => claimed,
        // It went in an earlier attempt of this operation.
        Err(Failure::NotFound { .. }) if entry.memo().begun => {
            return entry.result().ok_or_else(|| Failure::gone(id));
        }
        Err(failure) => return Err(failure),
    };
    let state = handle.view().body.state;
    if stop && !state.is_stopped() {
        end(entry, &handle, grace(None)).await?;
    } else if !state.is_stopped() {
        return Err(Refusal::WrongState { instance: id.clone(), state }.into());
    }
    let mut last = handle.view().body;
    last.state = InstanceState::Deleted;
    entry.foresee(OperationResult::Instance(last)).await?;
    handle.delete().await?;
    core.forget(id);
    result(&handle)
}

/// Starts an instance, and watches it a little: a program that ends at once has not been started in any
/// way that a user would call so.
pub(super) async fn start_and_watch(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    handle: &Handle,
) -> Result<(), Failure> {
    let instance = handle.view().body.instance;
    let started = waiting_with(&**entry, handle.watch(), until_started, handle.start());
    let Some(Started { launch, stderr_from }) = started.await? else { return Ok(()) };
    let ready = ready(handle, launch);
    let became_ready = waiting_with(&**entry, handle.watch(), until_started, ready).await;
    if became_ready && tokio::time::timeout(WATCHED, end_of(handle, launch)).await.is_err() {
        return Ok(());
    }
    let owned = instance.clone();
    let logs = core.logs.clone();
    let from = stderr_from.unwrap_or(0); // no more than the last lines in any case
    let stderr = blocking(move || logs.tail(&owned, LogStream::Stderr, from)).await;
    let InstanceBody { exit, reason, .. } = handle.view().body;
    Err(match reason {
        Some(reason) if !became_ready => Failure::NotReady { instance, reason, stderr },
        _ => Failure::EndedAtOnce { instance, exit, stderr },
    })
}

/// Waits until what this launch made is ready, or is not there any more. `false`: it is not.
async fn ready(handle: &Handle, launch: LaunchId) -> bool {
    let mut watch = handle.watch();
    let decided =
        |view: &View| view.launch != Some(launch) || view.body.state != InstanceState::Launching;
    // Until then it is also seen how it ended: a program that does not become ready is being ended.
    let _ = watch.wait_for(decided).await; // its owner is gone: then it has ended
    let ended = |view: &View| {
        view.launch != Some(launch) || !matches!(view.body.state, InstanceState::Stopping)
    };
    let _ = watch.wait_for(ended).await;
    let View { launch: last, body, .. } = handle.view();
    last == Some(launch) && body.state == InstanceState::Running
}

/// Stops it, whatever it takes.
pub(super) async fn end(
    entry: &Arc<Entry>,
    handle: &Handle,
    grace: Option<Duration>,
) -> Result<(), Refusal> {
    let kill = match grace {
        Some(grace) => format!("at {}", now().plus(grace)),
        None => "when the patience of its envelope ends".to_owned(),
    };
    let what = |view: &View| match (view.body.pid, &view.body.instance) {
        (Some(pid), id) => {
            format!("the end of process {pid} of `{id}`, which gets SIGKILL {kill}")
        }
        (None, id) => format!("the end of `{id}`"),
    };
    waiting_with(&**entry, handle.watch(), what, handle.stop(grace)).await
}

/// What a start waits for.
pub(super) fn until_started(view: &View) -> String {
    let InstanceBody { instance, pid, status, .. } = &view.body;
    match (pid, status) {
        (None, _) => format!("the process of `{instance}`"),
        (Some(pid), None) => format!("`{instance}` (process {pid}) to be ready"),
        (Some(pid), Some(said)) => {
            format!("`{instance}` (process {pid}) to be ready; it says `{said}`")
        }
    }
}

/// Waits for the end of what this launch made: also when the next launch came at once.
async fn end_of(handle: &Handle, launch: LaunchId) {
    let mut watch = handle.watch();
    let ended =
        |view: &View| view.launch != Some(launch) || view.body.state != InstanceState::Running;
    let _ = watch.wait_for(ended).await; // its owner is gone: then it has ended
}

pub(super) fn result(handle: &Handle) -> Result<OperationResult, Failure> {
    Ok(OperationResult::Instance(handle.view().body))
}

/// `None`: as long as the envelope says.
pub(super) fn grace(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(Span::from_secs_f64).map(Span::as_duration)
}

/// How long a start is watched after the process is there.
pub(super) const WATCHED: Duration = Duration::from_millis(200);
