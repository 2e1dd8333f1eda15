//! What installs and updates would do, told beforehand: the same questions to the repository and the same
//! plan as the operations themselves have, and then nothing. Owns the words of the plan, which are a pure
//! function of what was found out; changes nothing, and promises nothing about what comes in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::lifecycle::Desired;
use model::{InstallationId, InstanceId, Reference, Version};
use wire::ErrorBody;
use wire::v1::{GarbageLine, InstallRequest, PlanAction, PlanLine, RejectedBody};

use super::installations::{check_install, check_update};
use super::store;
use crate::failure::Failure;
use crate::install::{Lacking, Need, VersionContent, find_envelope, lacking, pin_overrides};
use crate::inventory;
use crate::node::Core;
use crate::record::{PackagesRecord, Target};

/// What would become of one thing.
#[derive(Debug)]
struct Foreseen {
    name: String,
    from: Option<Version>,
    to: Result<Version, ErrorBody>,
    then: Then,
    needs: Vec<Need>,
}

/// What follows for processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Start,
    Restart,
}

/// What an install would do.
pub(crate) async fn of_install(
    core: &Arc<Core>,
    request: &InstallRequest,
) -> Result<Vec<PlanLine>, Failure> {
    let (_, connection) = core.connection(request.server.as_deref())?;
    let published = find_envelope(&connection, &request.reference, &core.config.profiles).await?;
    check_install(&published)?;
    let packages = pin_overrides(&connection, &request.packages, &published).await?;
    let content = VersionContent::new(published, &PackagesRecord { packages }, None)?;
    let foreseen = Foreseen {
        name: content.effective.title.to_string(),
        from: None,
        needs: Need::of(&content.effective).map_err(crate::install::InstallError::from)?,
        to: Ok(content.effective.version),
        then: if request.start { Then::Start } else { Then::Nothing },
    };
    told(core, vec![foreseen], PlanAction::Install).await
}

/// What updates would do, all of them together. An instance follows its installation to where that would
/// be by then.
pub(crate) async fn of_updates(
    core: &Arc<Core>,
    targets: Vec<Target>,
    to: Option<&Reference>,
    again: bool,
) -> Result<Vec<PlanLine>, Failure> {
    let (mut foreseen, mut moved) = (Vec::new(), BTreeMap::new());
    for target in &targets {
        if let Target::Installation(id) = target {
            let (from, outcome) = installation(core, id, to).await;
            let (to, needs) = match outcome {
                Ok((version, needs)) => {
                    moved.insert(id.clone(), version.clone());
                    (Ok(version), needs)
                }
                Err(failure) => (Err(failure.to_body()), Vec::new()),
            };
            foreseen.push(Foreseen { name: id.to_string(), from, to, then: Then::Nothing, needs });
        }
    }
    for target in targets {
        if let Target::Instance(id) = target {
            foreseen.push(instance(core, &id, moved.get(&id.installation), again).await);
        }
    }
    told(core, foreseen, PlanAction::Update).await
}

/// Where an installation would go, and what that needs.
async fn installation(
    core: &Arc<Core>,
    id: &InstallationId,
    to: Option<&Reference>,
) -> (Option<Version>, Result<(Version, Vec<Need>), Failure>) {
    let owned = id.clone();
    let found = match core.read(move |disk| inventory::installation(disk, &owned)).await {
        Ok(found) => found,
        Err(error) => return (None, Err(error.into())),
    };
    let from = Some(found.current.version.clone());
    let outcome = async {
        let (_, connection) = core.connection(Some(&found.origin.server))?;
        let reference = to.unwrap_or(&found.origin.reference);
        let published = find_envelope(&connection, reference, &core.config.profiles).await?;
        check_update(core, id, &found.current, &published, reference, to.is_some()).await?;
        let content = VersionContent::new(published, &found.packages, None)?;
        let needs = Need::of(&content.effective).map_err(crate::install::InstallError::from)?;
        Ok((content.effective.version, needs))
    };
    (from, outcome.await)
}

/// Where an instance would go; `moved` is where its installation would be by then, if that moves too.
async fn instance(
    core: &Arc<Core>,
    id: &InstanceId,
    moved: Option<&Version>,
    again: bool,
) -> Foreseen {
    let owned = id.clone();
    let found = core.read(move |disk| {
        let installation = inventory::installation(disk, &owned.installation)?;
        Ok((installation.current, inventory::instance_version(disk, &owned)?))
    });
    let found = match core.unless_updating(id) {
        Ok(handle) => found.await.map_err(Failure::from).map(|found| (handle, found)),
        Err(failure) => Err(failure),
    };
    let (from, to, then) = match found {
        Ok((handle, (current, on))) => {
            let to = match moved {
                Some(version) => Ok(version.clone()),
                None if current == on => {
                    let version = on.version.clone();
                    Err(Failure::Current { instance: id.clone(), version }.to_body())
                }
                None => Ok(current.version),
            };
            let rejected = handle.view().body.rejected;
            let to = to.and_then(|to| {
                match rejected.into_iter().find(|rejected| !again && rejected.version == to) {
                    None => Ok(to),
                    Some(RejectedBody { version, reason }) => {
                        Err(Failure::Rejected { instance: id.clone(), version, reason }.to_body())
                    }
                }
            });
            let runs = handle.view().body.desired == Desired::Running;
            (Some(on.version), to, if runs { Then::Restart } else { Then::Nothing })
        }
        Err(failure) => (None, Err(failure.to_body()), Then::Nothing),
    };
    Foreseen { name: id.to_string(), from, to, then, needs: Vec::new() }
}

/// Looks what the store lacks and what it has for nobody, and says it all.
async fn told(
    core: &Arc<Core>,
    mut foreseen: Vec<Foreseen>,
    action: PlanAction,
) -> Result<Vec<PlanLine>, Failure> {
    let needs: Vec<Need> = foreseen.iter_mut().flat_map(|one| one.needs.drain(..)).collect();
    let wanted: Vec<String> = needs.iter().map(|need| need.pin.digest.hex()).collect();
    let lacking = lacking(&core.store, needs).await?;
    let mut garbage = store::garbage(core).await?;
    garbage.retain(|line| !wanted.iter().any(|digest| line.name.starts_with(digest)));
    Ok(lines(foreseen, action, lacking, garbage))
}

/// The plan, a line for each thing: what moves, what is brought in for it, what is started anew, and what
/// nothing needs afterwards.
fn lines(
    foreseen: Vec<Foreseen>,
    action: PlanAction,
    lacking: Vec<Lacking>,
    garbage: Vec<GarbageLine>,
) -> Vec<PlanLine> {
    let line =
        |action, name| PlanLine { action, name, from: None, to: None, bytes: None, error: None };
    let (mut plan, mut processes) = (Vec::new(), Vec::new());
    for Foreseen { name, from, to, then, .. } in foreseen {
        let (to, error) = match to {
            Ok(to) => (Some(to), None),
            Err(error) => (None, Some(error)),
        };
        let action = if error.is_some() { PlanAction::Refuse } else { action };
        let then = match then {
            Then::Start => Some(PlanAction::Start),
            Then::Restart => Some(PlanAction::Restart),
            Then::Nothing => None,
        };
        if let (Some(then), None) = (then, &error) {
            processes.push(line(then, name.clone()));
        }
        plan.push(PlanLine { from, to, error, ..line(action, name) });
    }
    plan.extend(lacking.into_iter().map(|lacking| match lacking {
        Lacking::Object { object, bytes } => {
            PlanLine { bytes: Some(bytes), ..line(PlanAction::Download, object.to_string()) }
        }
        Lacking::Tree { object } => line(PlanAction::Unpack, object.to_string()),
    }));
    plan.extend(processes);
    let free = |GarbageLine { name, bytes, .. }| PlanLine {
        bytes: Some(bytes),
        ..line(PlanAction::Free, name)
    };
    plan.extend(garbage.into_iter().map(free));
    plan
}

#[cfg(test)]
mod tests {
    use wire::Code;
    use wire::v1::GarbageKind;

    use super::*;

    fn moves(name: &str, to: Result<&str, Code>, then: Then) -> Foreseen {
        let to = to.map(|to| to.parse().unwrap()).map_err(|code| ErrorBody::new(code, "no"));
        let from = Some("1.0.0".parse().unwrap());
        Foreseen { name: name.to_owned(), from, to, then, needs: Vec::new() }
    }

    #[test]
    fn a_plan_says_what_moves_then_what_is_fetched_then_what_restarts_then_what_is_free() {
        let object = || "demo/model.tar".parse().unwrap();
        let kind = GarbageKind::Blob;
        let plan = lines(
            vec![
                moves("a/1", Ok("2.0.0"), Then::Nothing),
                moves("a/1/1", Ok("2.0.0"), Then::Restart),
                moves("a/1/2", Ok("2.0.0"), Then::Nothing),
                moves("b/1/1", Err(Code::NothingNew), Then::Restart),
            ],
            PlanAction::Update,
            vec![
                Lacking::Object { object: object(), bytes: 7 },
                Lacking::Tree { object: object() },
            ],
            vec![GarbageLine { kind, name: "ff".to_owned(), bytes: 9 }],
        );
        let words: Vec<String> =
            plan.iter().map(|line| format!("{} {}", line.action, line.name)).collect();
        assert_eq!(
            words,
            [
                "update a/1",
                "update a/1/1",
                "update a/1/2",
                "refuse b/1/1",
                "download demo/model.tar",
                "unpack demo/model.tar",
                "restart a/1/1",
                "free ff",
            ]
        );
        assert_eq!((plan[4].bytes, plan[7].bytes), (Some(7), Some(9)));
        assert!(plan[3].error.is_some() && plan[3].to.is_none() && plan[0].error.is_none());
    }
}
