//! A change of one thing or of several. One thing: its result, or the failure of the command. Several: a line for
//! each, failed ones with `error`, and an exit code that says whether all, some or none were done. The
//! node is asked for all of them first, so that they go on together.

use client::{Change, Connection};
use futures_util::StreamExt as _;
use futures_util::stream;
use model::OperationId;
use serde_json::{Map, Value, json};
use wire::ErrorBody;
use wire::v1::{InstallationBody, OperationBody, OperationKind, OperationResult};

use super::show;
use crate::args::Waiting;
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::names::{Takes, Target, expand};
use crate::output::Output;
use crate::progress::Shown;
use crate::reach::Context;
use crate::wait::{self, ChangeError};

/// Changes everything that the names mean.
pub(crate) async fn change_all(
    context: &Context,
    names: &[String],
    takes: Takes,
    waiting: Waiting,
    change: impl Fn(&Target) -> Change,
) -> Result<Exit, Failure> {
    let node = context.node()?;
    let targets = expand(names, takes, &node).await?;
    if let [target] = &targets[..] {
        return change_one(context, &node, &change(target), waiting).await;
    }
    let mut interrupt = Interrupt::new().map_err(Failure::Signals)?;
    let mut tally = Tally::default();
    // An instance moves to the version that its installation is on: that one comes first.
    let (first, then): (Vec<Target>, Vec<Target>) =
        targets.into_iter().partition(|target| matches!(target, Target::Installation(_)));
    for batch in [first, then] {
        let batch: Vec<(Target, OperationId)> =
            batch.into_iter().map(|target| (target, wait::new_operation())).collect();
        let Some(asked) = interrupt.or(ask(&node, &batch, &change)).await else {
            let ids: Vec<OperationId> = batch.iter().map(|(_, id)| *id).collect();
            say_unanswered(context.output, &ids);
            return Ok(Exit::Detached);
        };
        if waiting.detach {
            print_asked(context.output, &asked, &mut tally)?;
            continue;
        }
        let ended = print_ended(context.output, &node, asked, &mut interrupt, &mut tally).await?;
        if ended == Exit::Detached {
            return Ok(ended);
        }
    }
    Ok(tally.exit())
}

/// Carries out one change, or leaves it to itself.
pub(crate) async fn change_one(
    context: &Context,
    node: &Connection,
    change: &Change,
    waiting: Waiting,
) -> Result<Exit, Failure> {
    let (output, id) = (context.output, wait::new_operation());
    if waiting.detach {
        let accepted = wait::submit(node, id, change).await.map_err(ChangeError::from)?;
        let id = accepted.operation;
        output.value(&json!({ "operation": id }), |_| id.to_string())?;
        return Ok(Exit::Done);
    }
    let mut interrupt = Interrupt::new().map_err(Failure::Signals)?;
    let Some(accepted) = interrupt.or(wait::submit(node, id, change)).await else {
        say_unanswered(output, &[id]);
        return Ok(Exit::Detached);
    };
    let accepted = accepted.map_err(ChangeError::from)?;
    let shown = Shown::new(output);
    let Some(ended) = interrupt.or(wait::follow(node, accepted, &shown)).await else {
        drop(shown);
        say_detached(output, &[id]);
        return Ok(Exit::Detached);
    };
    let ended = ended.and_then(wait::verdict)?;
    drop(shown);
    say_notes(output, &ended.operation);
    say_next(output, &ended.operation, &ended.result);
    match &ended.result {
        OperationResult::Installed(body) => output.value(body, show::installed)?,
        OperationResult::Installation(body) => match ended.operation.kind {
            OperationKind::Uninstall => output.value(body, show::uninstalled)?,
            _ => output.value(body, show::installation_line)?,
        },
        OperationResult::Instance(body) => output.value(body, show::instance_line)?,
        OperationResult::Collected(body) => output.value(body, show::collected)?,
        OperationResult::Verified(body) => {
            output.value(body, show::verified)?;
            return Ok(Tally::of(0, usize::from(body.damaged > 0)).exit());
        }
        OperationResult::Repaired(body) => {
            output.value(body, show::repaired)?;
            let mended = body.blobs + body.names + body.entries > 0;
            return Ok(Tally::of(usize::from(mended), usize::from(body.damaged > 0)).exit());
        }
    }
    Ok(Exit::Done)
}

/// Says which operations go on without this command, and how to follow them.
pub(crate) fn say_detached(output: Output, operations: &[OperationId]) {
    for operation in operations {
        output.tell(&format!(
            "detached: operation {operation} goes on; follow it with `fettle operation wait \
             {operation}`"
        ));
    }
}

/// Says which operations the node may have heard of or not.
fn say_unanswered(output: Output, operations: &[OperationId]) {
    for operation in operations {
        output.tell(&format!(
            "detached before the node had answered; `fettle operation show {operation}` says \
             whether it goes on"
        ));
    }
}

/// What an operation left out or wants known.
pub(crate) fn say_notes(output: Output, operation: &OperationBody) {
    for note in &operation.notes {
        output.say(&format!("note: {note}"));
    }
}

/// An installation that moved has not moved its instances.
fn say_next(output: Output, operation: &OperationBody, result: &OperationResult) {
    if let OperationResult::Installation(InstallationBody { installation, instances, .. }) = result
        && operation.kind == OperationKind::Update
        && !instances.is_empty()
    {
        output.say(&format!("its instances follow with `fettle update '{installation}/*'`"));
    }
}

/// A thing, and what the node said when it was asked for the change.
type Asked = (Target, OperationId, Result<OperationBody, ChangeError>);

async fn ask(
    node: &Connection,
    batch: &[(Target, OperationId)],
    change: &impl Fn(&Target) -> Change,
) -> Vec<Asked> {
    let requests = batch.iter().map(|(target, id)| {
        let change = change(target);
        async move {
            let answer = wait::submit(node, *id, &change).await;
            (target.clone(), *id, answer.map_err(ChangeError::from))
        }
    });
    // What is done to installations shares locks, and is done in the order of the names. An instance has
    // a lock of its own.
    let installations = matches!(batch.first(), Some((Target::Installation(_), _)));
    stream::iter(requests).buffered(if installations { 1 } else { AT_A_TIME }).collect().await
}

fn print_asked(output: Output, asked: &[Asked], tally: &mut Tally) -> Result<(), Failure> {
    for (target, id, answer) in asked {
        tally.count(answer.is_ok());
        match answer {
            Ok(operation) => {
                let id = operation.operation;
                let line =
                    json!({ key(target): target.to_string(), "operation": id, "error": null });
                output.value(&line, |_| format!("{target}  {id}"))?;
            }
            Err(error) => {
                let error = Failure::body_of_change(error);
                let line =
                    json!({ key(target): target.to_string(), "operation": id, "error": error });
                output.value(&line, |_| format!("{target}  error: {}", error.message))?;
                say_failure(output, &error);
            }
        }
    }
    Ok(())
}

/// Waits for all and prints each as its turn comes.
async fn print_ended(
    output: Output,
    node: &Connection,
    asked: Vec<Asked>,
    interrupt: &mut Interrupt,
    tally: &mut Tally,
) -> Result<Exit, Failure> {
    let mut open: Vec<OperationId> =
        asked.iter().filter(|(.., answer)| answer.is_ok()).map(|(_, id, _)| *id).collect();
    let ends = asked.into_iter().map(|(target, id, answer)| async move {
        let shown = Shown::nothing(output);
        let ended = match answer {
            Ok(accepted) => wait::follow(node, accepted, &shown).await.and_then(wait::verdict),
            Err(error) => Err(error),
        };
        (target, id, ended)
    });
    let mut ends = std::pin::pin!(stream::iter(ends).buffered(AT_A_TIME));
    loop {
        let Some(next) = interrupt.or(ends.next()).await else {
            say_detached(output, &open);
            return Ok(Exit::Detached);
        };
        let Some((target, id, ended)) = next else { return Ok(Exit::Done) };
        open.retain(|other| *other != id);
        tally.count(ended.is_ok());
        match ended {
            Ok(ended) => {
                say_notes(output, &ended.operation);
                output.value(&done_line(&ended.result), |_| show::result_line(&ended.result))?;
            }
            Err(error) => {
                let error = Failure::body_of_change(&error);
                let human = |_: &Value| format!("{target}  error: {}", error.message);
                output.value(&failed_line(&target, &error), human)?;
                say_failure(output, &error);
            }
        }
    }
}

/// The result with `error: null`, so that every line has the same keys.
fn done_line(result: &OperationResult) -> Value {
    let body = match result {
        OperationResult::Installed(body) => json!(body),
        OperationResult::Installation(body) => json!(body),
        OperationResult::Instance(body) => json!(body),
        OperationResult::Collected(body) => json!(body),
        OperationResult::Verified(body) => json!(body),
        OperationResult::Repaired(body) => json!(body),
    };
    let mut line = body.as_object().cloned().unwrap_or_default();
    line.insert("error".into(), Value::Null);
    Value::Object(line)
}

/// The name, `error`, and `null` under every other key that the result would have had.
fn failed_line(target: &Target, error: &ErrorBody) -> Value {
    let keys = match target {
        Target::Installation(_) => INSTALLATION_KEYS,
        Target::Instance(_) => INSTANCE_KEYS,
    };
    let mut line: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    line.insert(key(target).into(), json!(target.to_string()));
    line.insert("error".into(), json!(error));
    Value::Object(line)
}

fn key(target: &Target) -> &'static str {
    match target {
        Target::Installation(_) => "installation",
        Target::Instance(_) => "instance",
    }
}

/// With `--json` the line on standard output has said it all.
pub(crate) fn say_failure(output: Output, error: &ErrorBody) {
    if !output.is_json() {
        output.failure(error);
    }
}

/// How many were done, and how many not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    done: usize,
    failed: usize,
}

impl Tally {
    /// So many were done and so many not.
    pub(crate) fn of(done: usize, failed: usize) -> Tally {
        Tally { done, failed }
    }

    /// One more.
    pub(crate) fn count(&mut self, done: bool) {
        match done {
            true => self.done += 1,
            false => self.failed += 1,
        }
    }

    /// All, some or none.
    pub(crate) fn exit(&self) -> Exit {
        match (self.done, self.failed) {
            (_, 0) => Exit::Done,
            (0, _) => Exit::Failed,
            _ => Exit::Partly,
        }
    }
}

/// Waits at the same time; each is one connection.
const AT_A_TIME: usize = 32;

const INSTANCE_KEYS: &[&str] = &[
    "instance",
    "installation",
    "title",
    "version",
    "state",
    "desired",
    "pid",
    "restarts",
    "exit",
    "since",
    "ready",
    "status",
    "probation",
    "rejected",
    "reason",
    "next",
    "created_by",
];

const INSTALLATION_KEYS: &[&str] = &[
    "installation",
    "title",
    "origin",
    "version",
    "previous",
    "overrides",
    "instances",
    "created_by",
];

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Code;

    fn keys_of(value: &Value) -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn a_failed_line_has_the_keys_of_the_body_that_it_stands_for() {
        let error = ErrorBody::new(Code::NotFound, "gone");
        for (target, golden) in [
            ("weather/1", include_str!("../../../wire/golden/v1/installation.json")),
            ("weather/1/1", include_str!("../../../wire/golden/v1/instance.json")),
        ] {
            let failed = failed_line(&crate::names::parse_target(target).unwrap(), &error);
            let mut done: Value = serde_json::from_str(golden).unwrap();
            done["error"] = Value::Null;
            assert_eq!(keys_of(&failed), keys_of(&done), "{target}");
            assert_eq!(failed["error"]["code"], "not-found");
        }
    }

    #[test]
    fn the_exit_code_tells_all_from_some_from_none() {
        let tally = |done, failed| Tally::of(done, failed).exit();
        assert_eq!(tally(2, 0), Exit::Done);
        assert_eq!(tally(1, 1), Exit::Partly);
        assert_eq!(tally(0, 2), Exit::Failed);
    }
}
