//! `fettle install` and `fettle uninstall`.

use std::collections::BTreeMap;

use client::Change;
use model::{InstallationId, ObjectName, PackageName};
use wire::v1::{InstallRequest, NameRequest};

use super::plan;
use super::several::change_one;
use crate::args::{InstallArgs, UninstallArgs};
use crate::error::{Exit, Failure};
use crate::names::{self, BadName};
use crate::reach::Context;

/// `fettle install`
pub(crate) async fn install(context: &Context, args: &InstallArgs) -> Result<Exit, Failure> {
    let request = request(context, args)?;
    if args.dry_run {
        return plan::install(context, &request).await;
    }
    let change = Change::Install(request);
    change_one(context, &context.node()?, &change, args.waiting).await
}

/// `fettle uninstall`
pub(crate) async fn uninstall(context: &Context, args: &UninstallArgs) -> Result<Exit, Failure> {
    let installation: InstallationId = names::parse(&args.installation)?;
    let change = Change::Uninstall(NameRequest { name: installation.to_string() });
    change_one(context, &context.node()?, &change, args.waiting).await
}

/// The node installs from its own repository unless the user names one.
fn request(context: &Context, args: &InstallArgs) -> Result<InstallRequest, Failure> {
    let mut env = BTreeMap::new();
    for text in &args.env {
        let (name, value) =
            names::parse_variable(text).ok_or_else(|| pair("--env", "K=V", text))??;
        env.insert(name, value);
    }
    let mut packages = BTreeMap::new();
    for text in &args.package {
        let (name, object) =
            parse_package(text).ok_or_else(|| pair("--package", "NAME=OBJECT", text))??;
        packages.insert(name, object);
    }
    Ok(InstallRequest {
        reference: names::parse(&args.reference)?,
        server: context.stated_server()?.map(|server| server.to_string()),
        env,
        args: args.arg.clone(),
        packages,
        start: args.start,
    })
}

fn parse_package(text: &str) -> Option<Result<(PackageName, ObjectName), BadName>> {
    let (name, object) = text.split_once('=')?;
    Some(names::parse(name).and_then(|name| Ok((name, names::parse(object)?))))
}

fn pair(flag: &'static str, wanted: &'static str, text: &str) -> Failure {
    Failure::Usage {
        message: format!("`{flag} {}` is not of the form {wanted}", text.escape_debug()),
        hint: format!("write `{flag} {wanted}`"),
    }
}
