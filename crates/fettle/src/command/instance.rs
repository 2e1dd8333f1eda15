//! Commands on instances, and on names that may be either an instance or its installation.

use client::{Change, Connection};
use futures_util::TryStreamExt as _;
use model::InstallationId;
use model::lifecycle::InstanceState;
use serde::Serialize;
use wire::v1::{
    CreateRequest, DeleteRequest, InstallationBody, InstanceBody, NameRequest, OverridesBody,
    RevertRequest, StopRequest, UpdateRequest,
};

use super::plan;
use super::several::{change_all, change_one};
use super::show;
use crate::args::{
    DeleteArgs, InstanceCommand, InstancesArgs, PsArgs, RevertArgs, StatusArgs, StopArgs,
    UpdateArgs,
};
use crate::error::{Exit, Failure};
use crate::names::{self, Takes, Target};
use crate::reach::Context;

/// `fettle instance …`
pub(crate) async fn instance(
    context: &Context,
    command: &InstanceCommand,
) -> Result<Exit, Failure> {
    match command {
        InstanceCommand::Create { installation, start, waiting } => {
            let installation: InstallationId = names::parse(installation)?;
            let change = Change::Create(CreateRequest { installation, start: *start });
            change_one(context, &context.node()?, &change, *waiting).await
        }
    }
}

/// `fettle start`
pub(crate) async fn start(context: &Context, args: &InstancesArgs) -> Result<Exit, Failure> {
    let change = |target: &Target| Change::Start(NameRequest { name: target.to_string() });
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle stop`
pub(crate) async fn stop(context: &Context, args: &StopArgs) -> Result<Exit, Failure> {
    let timeout = args.timeout.map(model::Span::as_secs_f64);
    let change = |target: &Target| Change::Stop(StopRequest { name: target.to_string(), timeout });
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle restart`
pub(crate) async fn restart(context: &Context, args: &InstancesArgs) -> Result<Exit, Failure> {
    let change =
        |target: &Target| Change::Restart(StopRequest { name: target.to_string(), timeout: None });
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle pause`
pub(crate) async fn pause(context: &Context, args: &InstancesArgs) -> Result<Exit, Failure> {
    let change = |target: &Target| Change::Pause(NameRequest { name: target.to_string() });
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle resume`
pub(crate) async fn resume(context: &Context, args: &InstancesArgs) -> Result<Exit, Failure> {
    let change = |target: &Target| Change::Resume(NameRequest { name: target.to_string() });
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle update`
pub(crate) async fn update(context: &Context, args: &UpdateArgs) -> Result<Exit, Failure> {
    let to = args.to.as_deref().map(names::parse).transpose()?;
    let takes = takes(&args.names, args.fresh_packages)?;
    if args.dry_run {
        return plan::update(context, &args.names, takes, to, args.again).await;
    }
    let change = |target: &Target| {
        Change::Update(UpdateRequest {
            name: target.to_string(),
            to: to.clone(),
            fresh_packages: args.fresh_packages,
            again: args.again,
        })
    };
    change_all(context, &args.names, takes, args.waiting, change).await
}

/// `fettle revert`
pub(crate) async fn revert(context: &Context, args: &RevertArgs) -> Result<Exit, Failure> {
    let takes = takes(&args.names, args.fresh_packages)?;
    let change = |target: &Target| {
        Change::Revert(RevertRequest {
            name: target.to_string(),
            fresh_packages: args.fresh_packages,
        })
    };
    change_all(context, &args.names, takes, args.waiting, change).await
}

/// With `--fresh-packages` globs mean instances alone: installations have no copies of packages.
fn takes(names: &[String], fresh_packages: bool) -> Result<Takes, Failure> {
    if !fresh_packages {
        return Ok(Takes::Both);
    }
    let installation =
        |name: &&String| matches!(names::parse_target(name), Ok(Target::Installation(_)));
    match names.iter().find(installation) {
        None => Ok(Takes::Instances),
        Some(name) => Err(Failure::Usage {
            message: format!(
                "`{name}` is an installation, and only instances have copies of packages"
            ),
            hint:
                "move the installation without `--fresh-packages` first, then the instance with it"
                    .to_owned(),
        }),
    }
}

/// `fettle delete`
pub(crate) async fn delete(context: &Context, args: &DeleteArgs) -> Result<Exit, Failure> {
    let change = |target: &Target| {
        Change::Delete(DeleteRequest { name: target.to_string(), stop: args.stop })
    };
    change_all(context, &args.names, Takes::Instances, args.waiting, change).await
}

/// `fettle ps`
pub(crate) async fn ps(context: &Context, args: &PsArgs) -> Result<Exit, Failure> {
    let glob = names::parse_glob(args.glob.as_deref())?;
    let node = context.node()?;
    if args.installations {
        let lines = node.node().installations(glob.as_ref()).await?;
        let installations: Vec<InstallationBody> = lines.try_collect().await?;
        if installations.is_empty() {
            context.output.say("there are no such installations");
        }
        context.output.listing(&installations, show::installations)?;
        return Ok(Exit::Done);
    }
    let lines = node.node().instances(glob.as_ref()).await?;
    let mut instances: Vec<InstanceBody> = lines.try_collect().await?;
    instances.retain(|instance| instance.state != InstanceState::Deleted);
    if instances.is_empty() {
        context.output.say("there are no such instances");
    }
    context.output.listing(&instances, show::instances)?;
    Ok(Exit::Done)
}

/// An instance with what its installation was given beyond the envelope.
#[derive(Debug, Serialize)]
struct InstanceStatus {
    #[serde(flatten)]
    instance: InstanceBody,
    overrides: Option<OverridesBody>,
}

/// `fettle status`
pub(crate) async fn status(context: &Context, args: &StatusArgs) -> Result<Exit, Failure> {
    let target = args.name.as_deref().map(names::parse_target).transpose()?;
    let connection: Connection = context.node()?;
    let (node, output) = (connection.node(), context.output);
    match target {
        None => output.value(&connection.status().await?, show::status)?,
        Some(Target::Installation(id)) => {
            output.value(&node.installation(&id).await?, show::installation)?;
        }
        Some(Target::Instance(id)) => {
            let instance = node.instance(&id).await?;
            // One whose installation cannot be read is shown without.
            let installation = node.installation(&id.installation).await.ok();
            let overrides = installation.map(|installation| installation.overrides);
            output.value(&InstanceStatus { instance, overrides }, |status| {
                show::instance(&status.instance, status.overrides.as_ref())
            })?;
        }
    }
    Ok(Exit::Done)
}
