//! `fettle app …`: publishing applications, and the application repository from outside.

use std::path::Path;
use std::sync::Arc;

use archive::Limits;
use client::Progress;
use client::publish::Manifest;
use futures_util::TryStreamExt as _;
use model::{Profile, Reference, Version};
use serde_json::json;
use wire::v1::ApplicationLine;

use super::show;
use crate::args::AppCommand;
use crate::error::{Exit, Failure};
use crate::names;
use crate::progress::Shown;
use crate::reach::Context;

/// `fettle app …`
pub(crate) async fn app(context: &Context, command: &AppCommand) -> Result<Exit, Failure> {
    match command {
        AppCommand::Publish { manifest, unmeasured } => {
            publish(context, manifest, unmeasured.limits()).await
        }
        AppCommand::Show { reference, profile } => {
            let profile: Option<Profile> = profile.as_deref().map(names::parse).transpose()?;
            show(context, &names::parse(reference)?, profile.as_ref()).await
        }
        AppCommand::List { glob } => list(context, glob.as_deref()).await,
        AppCommand::Match { reference, profiles } => {
            let profiles: Vec<Profile> =
                profiles.iter().map(|name| names::parse(name)).collect::<Result<_, _>>()?;
            find(context, &names::parse(reference)?, &profiles).await
        }
        AppCommand::Remove { version } => remove(context, version).await,
    }
}

async fn publish(context: &Context, manifest: &Path, limits: Limits) -> Result<Exit, Failure> {
    let manifest = Manifest::read(manifest)?;
    let server = context.server()?;
    let progress: Arc<dyn Progress> = Arc::new(Shown::new(context.output));
    let published = client::publish::publish(&server, &manifest, limits, &progress).await?;
    context.output.value(&published, show::published)?;
    Ok(Exit::Done)
}

/// One envelope: a version that is there for several profiles has no other one answer.
async fn show(
    context: &Context,
    reference: &Reference,
    profile: Option<&Profile>,
) -> Result<Exit, Failure> {
    let body = context.server()?.applications().show(reference, profile).await?;
    let [envelope] = &body.envelopes[..] else {
        return Err(Failure::SeveralProfiles {
            reference: reference.to_string(),
            profiles: body.envelopes.iter().map(|one| one.profile.to_string()).collect(),
        });
    };
    context.output.value(envelope, show::envelope)?;
    Ok(Exit::Done)
}

async fn list(context: &Context, glob: Option<&str>) -> Result<Exit, Failure> {
    let glob = names::parse_glob(glob)?;
    let lines = context.server()?.applications().list(glob.as_ref()).await?;
    let lines: Vec<ApplicationLine> = lines.try_collect().await?;
    if lines.is_empty() {
        context.output.say("there are no such applications");
    }
    context.output.listing(&lines, show::applications)?;
    Ok(Exit::Done)
}

async fn find(
    context: &Context,
    reference: &Reference,
    profiles: &[Profile],
) -> Result<Exit, Failure> {
    let envelope = context.server()?.applications().find(reference, profiles).await?;
    context.output.value(&envelope, show::envelope)?;
    Ok(Exit::Done)
}

/// Removing takes one exact version: a range would remove what nobody looked at.
async fn remove(context: &Context, text: &str) -> Result<Exit, Failure> {
    let wanted = || Failure::Usage {
        message: format!("`{}` is not of the form NAME@VERSION", text.escape_debug()),
        hint: "name one version, for instance `demo/weather@1.4.2`".to_owned(),
    };
    let (name, version) = text.split_once('@').ok_or_else(wanted)?;
    let (application, version): (_, Version) = (names::parse(name)?, names::parse(version)?);
    context.server()?.applications().remove(&application, &version).await?;
    let value = json!({ "application": application, "version": version });
    context.output.value(&value, |_| format!("{application}@{version}  removed"))?;
    Ok(Exit::Done)
}
