//! Operations on installations.

use std::path::Path;
use std::sync::Arc;

use client::Connection;
use model::{Envelope, InstallationId, Reference, Title};
use wire::serve::blocking;
use wire::v1::{EnvelopeBody, InstallRequest, InstalledBody, OperationResult};

use super::journal::Entry;
use super::{instances, store};
use crate::failure::Failure;
use crate::install::{
    Fetch, InstallError, NewInstallation, Reporter, VersionContent, bring_in, find_envelope,
    lay_out_installation, lay_out_version, pin_overrides, prepare,
};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::node::{Core, now};
use crate::record::{
    self, AppRecord, ConfigRecord, Memo, OriginRecord, PackagesRecord, StatusRecord,
};
use crate::waiting::waiting;

/// Installs an application, and makes and starts an instance where that was asked for.
pub(super) async fn install(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    request: &InstallRequest,
) -> Result<OperationResult, Failure> {
    let (server, connection) = core.connection(request.server.as_deref())?;
    let published = match entry.memo().envelope {
        Some(envelope) => *envelope,
        None => decide_envelope(core, entry, request, &connection).await?,
    };
    let packages = PackagesRecord { packages: entry.memo().packages.unwrap_or_default() };
    let content = VersionContent::new(published, &packages, None)?;
    fetch(core, entry, &connection, &content.effective).await?;
    entry.phase("laying out the installation");
    let id = match entry.memo().installation {
        Some(id) => id,
        None => count_installation(core, entry, &content.effective.title).await?,
    };
    let version = VersionName { number: 1, version: content.effective.version.clone() };
    let result = InstalledBody {
        operation: entry.id(),
        installation: id.clone(),
        title: id.title.clone(),
        version: version.version.clone(),
        instance: None,
    };
    let new = NewInstallation {
        origin: OriginRecord {
            server,
            reference: request.reference.clone(),
            profile: content.effective.profile.clone(),
            created: now(),
            created_by: entry.caller(),
        },
        config: ConfigRecord { env: request.env.clone(), args: request.args.clone() },
        packages,
    };
    let _installation = core.installation_locks.lock(&id, &**entry).await;
    let store = core.store.clone();
    let laid_out =
        blocking(move || lay_out_installation(&store, &id, &version, &new, &content)).await;
    let made = match laid_out {
        Err(error) => Err(error.into()),
        Ok(()) if request.start => {
            instances::create_locked(core, entry, &result.installation, true).await.map(Some)
        }
        Ok(()) => Ok(None),
    };
    match made {
        Ok(instance) => Ok(OperationResult::Installed(InstalledBody { instance, ..result })),
        Err(failure) => {
            take_back(core, &result.installation).await;
            Err(failure)
        }
    }
}

/// Removes an installation that could not be finished, unless it has an instance: that one was made and
/// could not be started, and is there to be looked at. What is said to have failed must not turn up later.
async fn take_back(core: &Arc<Core>, id: &InstallationId) {
    let (store, owned) = (core.store.clone(), id.clone());
    let taken_back = blocking(move || match inventory::instances(store.disk(), &owned) {
        Ok(instances) if instances.is_empty() => store.discard_installation(&owned),
        _ => Ok(()),
    });
    if let Err(error) = taken_back.await {
        tracing::error!(installation = %id, %error, "cannot be taken back");
    }
}

/// Removes an installation that has no instances.
pub(super) async fn uninstall(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstallationId,
) -> Result<OperationResult, Failure> {
    let _installation = core.installation_locks.lock(id, &**entry).await;
    let body = match core.installation_body(id).await {
        Ok(body) => body,
        // It went in an earlier attempt of this operation.
        Err(inventory::ReadError::NotFound { .. }) if entry.memo().begun => {
            return entry.result().ok_or_else(|| Failure::gone(id));
        }
        Err(error) => return Err(error.into()),
    };
    if !body.instances.is_empty() {
        return Err(Failure::HasInstances { installation: id.clone(), instances: body.instances });
    }
    let result = OperationResult::Installation(body);
    entry.foresee(result.clone()).await?;
    let (store, owned) = (core.store.clone(), id.clone());
    blocking(move || store.discard_installation(&owned)).await?;
    Ok(result)
}

/// Moves an installation to a newer version, or to the one that was asked for. Instances stay on theirs.
pub(super) async fn update(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstallationId,
    to: Option<&Reference>,
) -> Result<OperationResult, Failure> {
    let _installation = core.installation_locks.lock(id, &**entry).await;
    let installation = core.read({
        let id = id.clone();
        move |disk| inventory::installation(disk, &id)
    });
    let installation = installation.await?;
    let (_, connection) = core.connection(Some(&installation.origin.server))?;
    let published = match entry.memo().envelope {
        Some(envelope) => *envelope,
        None => {
            let reference = to.unwrap_or(&installation.origin.reference);
            entry.phase("asking the repository");
            let server = || format!("{} to answer", connection.endpoint());
            let find = find_envelope(&connection, reference, &core.config.profiles);
            let found = waiting(&**entry, server, find).await?;
            check_update(core, id, &installation.current, &found, reference, to.is_some()).await?;
            entry.consider(|memo| memo.envelope = Some(Box::new(found.clone())));
            found
        }
    };
    if entry.memo().packages.is_none() {
        // Overrides count as decided too: what is unpacked for them must not be collected on the way.
        let packages = installation.packages.packages.clone();
        entry.decide(|memo| memo.packages = Some(packages)).await?;
    }
    let version = match entry.memo().version {
        Some(version) => version,
        None => {
            let (number, counted) = count(core, id, |status| &mut status.next_version).await?;
            let version = VersionName { number, version: published.version.clone() };
            let decided = |memo: &mut Memo| memo.version = Some(version.clone());
            entry.decide_counted((layout::status(id), &counted), decided).await?;
            version
        }
    };
    if installation.current != version {
        let previous = Some(installation.current.clone());
        let content = VersionContent::new(published, &installation.packages, previous)?;
        fetch(core, entry, &connection, &content.effective).await?;
        entry.phase("laying out the version");
        let (store, owned, target) = (core.store.clone(), id.clone(), version.clone());
        blocking(move || lay_out_version(&store, &owned, &target, &content)).await?;
        point_current(core, id, &version).await?;
    }
    if let Some(reference) = to
        && installation.origin.reference != *reference
    {
        let origin = OriginRecord { reference: reference.clone(), ..installation.origin };
        let (disk, path) = (core.disk.clone(), layout::installation(id).join("origin"));
        blocking(move || record::write(&disk, &path, &origin)).await?;
    }
    Ok(OperationResult::Installation(core.installation_body(id).await?))
}

/// Moves an installation back to the version before. Needs no network.
pub(super) async fn revert(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    id: &InstallationId,
) -> Result<OperationResult, Failure> {
    let _installation = core.installation_locks.lock(id, &**entry).await;
    let owned = id.clone();
    let installation = core.read(move |disk| inventory::installation(disk, &owned)).await?;
    let version = match (entry.memo().version, installation.previous) {
        (Some(version), _) => version,
        (None, Some(previous)) => {
            entry.decide(|memo| memo.version = Some(previous.clone())).await?;
            previous
        }
        (None, None) => return Err(Failure::NoPrevious { name: id.to_string() }),
    };
    point_current(core, id, &version).await?;
    Ok(OperationResult::Installation(core.installation_body(id).await?))
}

/// Asks the repository. The answer is kept with the next thing that is: until then nothing is made of it.
async fn decide_envelope(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    request: &InstallRequest,
    connection: &Connection,
) -> Result<EnvelopeBody, Failure> {
    entry.phase("asking the repository");
    let server = || format!("{} to answer", connection.endpoint());
    let find = find_envelope(connection, &request.reference, &core.config.profiles);
    let envelope = waiting(&**entry, server, find).await?;
    check_install(&envelope)?;
    let pin = pin_overrides(connection, &request.packages, &envelope);
    let packages = waiting(&**entry, server, pin).await?;
    entry.consider(|memo| {
        memo.envelope = Some(Box::new(envelope.clone()));
        memo.packages = Some(packages);
    });
    Ok(envelope)
}

async fn fetch(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    connection: &Connection,
    envelope: &Envelope,
) -> Result<(), Failure> {
    let fetch = Fetch {
        store: core.store.clone(),
        connection: connection.clone(),
        ledger: core.ledger.clone(),
        reserve: core.config.reserve,
        digests: core.digest_locks.clone(),
        reporter: entry.clone(),
        waiter: entry.clone(),
    };
    let prepared = match prepare(&fetch, envelope).await {
        Err(InstallError::NoRoom(shortage)) => {
            let shortage = store::with_reclaimable(core, shortage).await;
            return Err(InstallError::NoRoom(shortage).into());
        }
        outcome => outcome?,
    };
    if !prepared.is_complete() {
        // What was received must be found wanted after a restart.
        entry.keep().await?;
    }
    Ok(bring_in(&fetch, prepared).await?)
}

/// Refuses what is no application like others: the manager itself.
pub(super) fn check_install(found: &EnvelopeBody) -> Result<(), Failure> {
    match found.title.as_str() {
        MANAGER => Err(Failure::Manager { version: found.version.clone() }),
        _ => Ok(()),
    }
}

/// Refuses what is no update, and says which: another application, or nothing newer.
pub(super) async fn check_update(
    core: &Arc<Core>,
    id: &InstallationId,
    current: &VersionName,
    found: &EnvelopeBody,
    reference: &Reference,
    asked_for: bool,
) -> Result<(), Failure> {
    if found.title != id.title {
        return Err(Failure::OtherTitle {
            installation: id.clone(),
            found: found.title.clone(),
            version: found.version.clone(),
        });
    }
    let (owned, version) = (id.clone(), current.clone());
    let have = core.read(move |disk| inventory::envelope(disk, &owned, &version)).await?.0;
    let same = match (have.to_model(), found.to_model()) {
        (Ok(have), Ok(found)) => {
            have.application == found.application
                && have.version == found.version
                && have.differences(&found).is_empty()
        }
        _ => false,
    };
    let newer = asked_for || found.version > have.version;
    if same || !newer {
        return Err(Failure::NothingNew {
            installation: id.clone(),
            version: have.version,
            reference: reference.clone(),
            found: found.version.clone(),
        });
    }
    Ok(())
}

/// Takes the next number of an installation of this title, which is then never used again.
async fn count_installation(
    core: &Arc<Core>,
    entry: &Arc<Entry>,
    title: &Title,
) -> Result<InstallationId, Failure> {
    let _titles = core.title_lock.lock().await;
    let (disk, path, owned) = (core.disk.clone(), layout::app_info(title), title.clone());
    let at = path.clone();
    let found = blocking(move || {
        let found: Option<AppRecord> = record::find(&disk, &at)?;
        disk.make_dir(&layout::app(&owned), 0o755)?;
        Ok::<_, Failure>(found)
    });
    let number = found.await?.map_or(1, |app| app.next_installation);
    let counted = AppRecord { title: title.clone(), next_installation: number + 1 };
    let id = InstallationId { title: title.clone(), number };
    let decided = |memo: &mut Memo| memo.installation = Some(id.clone());
    entry.decide_counted((path, &counted), decided).await?;
    Ok(id)
}

/// The next number of an installation's counters, and the counters without it: taken once they are recorded.
/// The caller holds the installation's lock until then.
pub(super) async fn count(
    core: &Arc<Core>,
    id: &InstallationId,
    next: fn(&mut StatusRecord) -> &mut u32,
) -> Result<(u32, StatusRecord), Failure> {
    let (disk, path) = (core.disk.clone(), layout::status(id));
    let mut status: StatusRecord = blocking(move || record::need(&disk, &path)).await?;
    let next = next(&mut status);
    let number = *next;
    *next += 1;
    Ok((number, status))
}

async fn point_current(
    core: &Arc<Core>,
    id: &InstallationId,
    to: &VersionName,
) -> Result<(), Failure> {
    let (disk, link, target) = (core.disk.clone(), layout::current(id), to.to_string());
    Ok(blocking(move || disk.point(&link, Path::new(&target))).await?)
}

/// The title under which the node manager itself is published.
const MANAGER: &str = "node-manager";
