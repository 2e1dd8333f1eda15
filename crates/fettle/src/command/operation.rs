//! `fettle operation …`: what the node was asked to do.

use futures_util::TryStreamExt as _;
use model::OperationId;
use wire::v1::OperationBody;

use super::several::{say_detached, say_notes};
use super::show;
use crate::args::OperationCommand;
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::names;
use crate::progress::Shown;
use crate::reach::Context;
use crate::wait;

/// `fettle operation …`
pub(crate) async fn operation(
    context: &Context,
    command: &OperationCommand,
) -> Result<Exit, Failure> {
    match command {
        OperationCommand::List => list(context).await,
        OperationCommand::Show { operation, follow: false } => {
            show_one(context, names::parse(operation)?).await
        }
        OperationCommand::Show { operation, follow: true } => {
            follow(context, names::parse(operation)?).await
        }
        OperationCommand::Wait { operation } => wait_for(context, names::parse(operation)?).await,
    }
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let node = context.node()?;
    let operations: Vec<OperationBody> = node.node().operations().await?.try_collect().await?;
    if operations.is_empty() {
        context.output.say("there are no operations");
    }
    context.output.listing(&operations, show::operations)?;
    Ok(Exit::Done)
}

async fn show_one(context: &Context, id: OperationId) -> Result<Exit, Failure> {
    let operation = context.node()?.node().operation(id).await?;
    context.output.value(&operation, show::operation)?;
    Ok(Exit::Done)
}

/// Prints each state that is news, and at last the verdict.
async fn follow(context: &Context, id: OperationId) -> Result<Exit, Failure> {
    let (node, output) = (context.node()?, context.output);
    let now = node.node().operation(id).await?;
    let mut told = None;
    let mut tell = |operation: &OperationBody| {
        // Half a minute without news is an answer too; the same line again says nothing.
        if told.replace(operation.revision) == Some(operation.revision) {
            return Ok(());
        }
        output.value(operation, show::operation_now)
    };
    let shown = Shown::nothing(output);
    let mut interrupt = Interrupt::new().map_err(Failure::Signals)?;
    let Some(operation) = interrupt.or(wait::follow_with(&node, now, &shown, &mut tell)).await
    else {
        say_detached(output, &[id]);
        return Ok(Exit::Detached);
    };
    let operation = operation?;
    tell(&operation)?;
    say_notes(output, &operation);
    wait::verdict(operation)?;
    Ok(Exit::Done)
}

async fn wait_for(context: &Context, id: OperationId) -> Result<Exit, Failure> {
    let (node, output) = (context.node()?, context.output);
    let shown = Shown::new(output);
    let now = node.node().operation(id).await?;
    let mut interrupt = Interrupt::new().map_err(Failure::Signals)?;
    let Some(operation) = interrupt.or(wait::follow(&node, now, &shown)).await else {
        drop(shown);
        say_detached(output, &[id]);
        return Ok(Exit::Detached);
    };
    let operation = operation?;
    drop(shown);
    wait::verdict(operation.clone())?;
    say_notes(output, &operation);
    output.value(&operation, show::operation)?;
    Ok(Exit::Done)
}
