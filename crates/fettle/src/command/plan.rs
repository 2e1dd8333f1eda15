//! `--dry-run`: what an install or an update would do, a line for each thing.

use client::{ClientError, Lines};
use futures_util::TryStreamExt as _;
use model::{Reference, counted};
use wire::v1::{InstallRequest, PlanAction, PlanLine, UpdatePlanRequest};

use super::several::{Tally, say_failure};
use crate::error::{Exit, Failure};
use crate::names::{Takes, expand};
use crate::reach::Context;
use crate::table::{Table, or_dash, size};

/// `fettle install --dry-run`
pub(crate) async fn install(context: &Context, request: &InstallRequest) -> Result<Exit, Failure> {
    let node = context.node()?;
    print(context, node.node().plan_install(request).await).await
}

/// `fettle update --dry-run`
pub(crate) async fn update(
    context: &Context,
    names: &[String],
    takes: Takes,
    to: Option<Reference>,
    again: bool,
) -> Result<Exit, Failure> {
    let node = context.node()?;
    let targets = expand(names, takes, &node).await?;
    let names = targets.iter().map(ToString::to_string).collect();
    print(context, node.node().plan_update(&UpdatePlanRequest { names, to, again }).await).await
}

/// The exit code is the one that the change would have.
async fn print(
    context: &Context,
    lines: Result<Lines<PlanLine>, ClientError>,
) -> Result<Exit, Failure> {
    let (plan, output): (Vec<PlanLine>, _) = (lines?.try_collect().await?, context.output);
    output.listing(&plan, table)?;
    let mut tally = Tally::default();
    for line in &plan {
        match line.action {
            PlanAction::Install | PlanAction::Update => tally.count(true),
            PlanAction::Refuse => tally.count(false),
            _ => {}
        }
        line.error.iter().for_each(|error| say_failure(output, error));
    }
    output.say(&summary(&plan));
    Ok(tally.exit())
}

fn summary(plan: &[PlanLine]) -> String {
    let of = |action| plan.iter().filter(move |line| line.action == action);
    let count = |action, what| counted(of(action).count() as u64, what);
    let bytes = |action| size(of(action).filter_map(|line| line.bytes).sum());
    let starts = of(PlanAction::Start).count() + of(PlanAction::Restart).count();
    format!(
        "nothing was changed: {} in {} to download, {} to start, {} for nobody afterwards",
        bytes(PlanAction::Download),
        count(PlanAction::Download, "object"),
        counted(starts as u64, "instance"),
        bytes(PlanAction::Free),
    )
}

/// The table of a plan.
fn table(lines: &[PlanLine]) -> Table {
    let mut table = Table::new(&["ACTION", "NAME", "FROM", "TO", "SIZE"]);
    for line in lines {
        table.row(vec![
            line.action.to_string(),
            line.name.clone(),
            or_dash(line.from.as_ref()),
            or_dash(line.to.as_ref()),
            or_dash(line.bytes.map(size)),
        ]);
    }
    table
}
