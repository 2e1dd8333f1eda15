//! `fettle store …`: what the node keeps, and what may go.

use client::Change;
use futures_util::TryStreamExt as _;
use wire::v1::{GarbageLine, StoreRequest};

use super::several::change_one;
use super::show;
use crate::args::StoreCommand;
use crate::error::{Exit, Failure};
use crate::reach::Context;

/// `fettle store …`
pub(crate) async fn store(context: &Context, command: &StoreCommand) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Gc { dry_run: true, .. } => list_garbage(context).await,
        StoreCommand::Gc { waiting, .. } => {
            let change = Change::StoreGc(StoreRequest {});
            change_one(context, &context.node()?, &change, *waiting).await
        }
        StoreCommand::Verify { waiting } => {
            let change = Change::StoreVerify(StoreRequest {});
            change_one(context, &context.node()?, &change, *waiting).await
        }
        StoreCommand::Repair { waiting } => {
            let change = Change::StoreRepair(StoreRequest {});
            change_one(context, &context.node()?, &change, *waiting).await
        }
    }
}

async fn list_garbage(context: &Context) -> Result<Exit, Failure> {
    let node = context.node()?;
    let lines: Vec<GarbageLine> = node.node().garbage().await?.try_collect().await?;
    if lines.is_empty() {
        context.output.say("there is nothing to collect");
    }
    context.output.listing(&lines, show::garbage)?;
    Ok(Exit::Done)
}
