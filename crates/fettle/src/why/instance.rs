//! Why an instance is as it is: words for every state, what should be, and what was asked for last.

use model::ExitStatus;
use model::lifecycle::{Desired, InstanceState, OperationState};
use wire::v1::{InstallationBody, InstanceBody, OperationBody, OperationKind, ProbationBody};

use super::{Explanation, Found, or_unknown};

/// Explains an instance; `installation` is what it is one of, `operations` concern it, the newest first.
pub(crate) fn explain(
    body: &InstanceBody,
    installation: Option<&InstallationBody>,
    operations: &[OperationBody],
) -> Explanation {
    let name = &body.instance;
    let mut found = Found::default();
    found.operation(operations);
    state(&mut found, body, operations);
    if let Some(ProbationBody { version_before, remaining }) = &body.probation {
        found.cause(format!(
            "version {} is on probation: if it runs well for {remaining:.0} s more it stays, else \
             {version_before} comes back",
            body.version
        ));
    }
    for rejected in &body.rejected {
        let (version, reason) = (&rejected.version, &rejected.reason);
        found.cause(format!("version {version} failed here and is passed over: {reason}"));
    }
    if let Some(installation) = installation
        && installation.version != body.version
    {
        let (on, should) = (&body.version, &installation.version);
        found.cause(format!("it is on version {on}, and its installation on {should}"));
        if !body.rejected.iter().any(|rejected| rejected.version == *should) {
            found.next(format!("`fettle update {name}`"));
        }
    }
    if body.state == InstanceState::Running {
        found.next(format!("`fettle logs {name} -f`"));
    }
    found.explain(name.to_string(), format!("{}, should be {}", body.state, body.desired))
}

/// What is wrong with an instance, in a few words after its name; `None` if nothing is.
pub(crate) fn instance_concern(body: &InstanceBody) -> Option<String> {
    let reason = body.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let is_well = match (body.state, body.desired) {
        (InstanceState::Running, Desired::Running)
        | (InstanceState::NotRunning | InstanceState::Stopping, Desired::Stopped)
        | (InstanceState::Deleted, _) => true,
        (
            InstanceState::NotRunning
            | InstanceState::Launching
            | InstanceState::Running
            | InstanceState::Paused
            | InstanceState::Stopping
            | InstanceState::Backoff
            | InstanceState::Failed
            | InstanceState::Updating,
            _,
        ) => false,
    };
    (!is_well).then(|| format!("is {}, and should be {}{reason}", body.state, body.desired))
}

/// The state alone, with what led to it.
fn state(found: &mut Found, body: &InstanceBody, operations: &[OperationBody]) {
    let (name, since) = (&body.instance, body.since);
    let process = body.pid.map_or_else(|| "its process".to_owned(), |pid| format!("process {pid}"));
    match body.state {
        InstanceState::Running => {
            found.cause(match body.ready {
                Some(ready) => format!("{process} is ready since {ready}"),
                None => format!("{process} runs since {since}"),
            });
            says(found, body);
        }
        InstanceState::Launching => {
            found.cause(match body.pid {
                None => format!("its process is being made since {since}"),
                Some(_) => format!("{process} is there since {since} and is not ready yet"),
            });
            says(found, body);
            found.next(format!("`fettle logs {name} -f`"));
        }
        InstanceState::Paused => {
            found.cause(format!("{process} is there and gets no time since {since}"));
            found.next(format!("`fettle resume {name}`"));
        }
        InstanceState::Stopping => {
            found.cause(format!("{process} was told to end at {since} and has not ended"));
            reason(found, body);
            found.next(format!("`fettle stop {name} --timeout 1s` waits no longer than that"));
        }
        InstanceState::Backoff => {
            reason(found, body);
            ended(found, body);
            found.cause(match body.next {
                Some(at) => format!("after a pause it is started again, at {at}"),
                None => "after a pause it is started again".to_owned(),
            });
            restarts(found, body);
            found.next(format!("`fettle logs {name} --stderr`"));
        }
        InstanceState::Failed => {
            reason(found, body);
            ended(found, body);
            restarts(found, body);
            found.cause(
                "nothing starts it again before somebody does or the machine boots; its workspace and \
                 logs are kept"
                    .to_owned(),
            );
            found.next(format!(
                "`fettle logs {name} --stderr`, and when that is mended `fettle start {name}`"
            ));
        }
        InstanceState::NotRunning => {
            at_rest(found, body, operations);
            found.next(format!("`fettle start {name}`"));
        }
        InstanceState::Updating => {
            found.cause(format!("it is being moved to another version since {since}"));
            found.next("`fettle operation list`".to_owned());
        }
        InstanceState::Deleted => found.cause(format!("it was deleted at {since}")),
    }
}

/// No process, and none is due.
fn at_rest(found: &mut Found, body: &InstanceBody, operations: &[OperationBody]) {
    let done = operations.iter().find(|operation| operation.state == OperationState::Done);
    match (body.desired, done) {
        (Desired::Stopped, Some(last)) if last.kind == OperationKind::Stop => {
            let (id, by) = (last.operation, &last.created_by);
            let at = or_unknown(last.ended);
            found.cause(format!("operation {id} (stop, asked for by {by}) stopped it at {at}"));
        }
        (Desired::Stopped, _) if body.exit.is_none() => {
            found.cause("nobody has started it".to_owned());
        }
        (Desired::Stopped, _) => found.cause("it was asked to stop".to_owned()),
        (Desired::Running, _) if body.exit.is_some() => {
            found.cause("its restart policy wants no start after such an end".to_owned());
        }
        (Desired::Running, _) => found.cause("it should run, and was not started yet".to_owned()),
    }
    reason(found, body);
    ended(found, body);
}

fn says(found: &mut Found, body: &InstanceBody) {
    found.causes.extend(body.status.as_ref().map(|said| format!("it says of itself: {said}")));
}

fn reason(found: &mut Found, body: &InstanceBody) {
    found.causes.extend(body.reason.clone());
}

fn restarts(found: &mut Found, body: &InstanceBody) {
    if body.restarts > 0 {
        let times = model::counted(u64::from(body.restarts), "time");
        found.cause(format!("it was started again {times} since somebody last started it"));
    }
}

fn ended(found: &mut Found, body: &InstanceBody) {
    let Some(exit) = &body.exit else { return };
    let (status, at) = exit.to_model();
    found.cause(match status {
        ExitStatus::Code(code) => format!("its last process ended with exit code {code} at {at}"),
        ExitStatus::Signal(signal) => {
            format!("its last process was ended by signal {signal} at {at}")
        }
        ExitStatus::Unknown(why) => format!("how its last process ended is not known: {why}"),
    });
}
