//! Why something is as it is: from what a node says of it to causes in words and the next step. Pure: owns
//! the words for every state; asks nobody, and prints nothing.

mod instance;

use model::lifecycle::OperationState;
use model::{InstanceId, OperationId};
use serde::Serialize;
use wire::v1::{InstallationBody, InstanceBody, OperationBody, OperationKind, OperationResult};

use crate::table::{fields, size};

pub(crate) use instance::{explain as of_instance, instance_concern};

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// What was asked about.
    pub(crate) name: String,
    /// What is true of it, in the words of the contract.
    pub(crate) state: String,
    /// What led there, what comes of it, each a sentence; the nearest first.
    pub(crate) causes: Vec<String>,
    /// What to type next; `null` if there is nothing to do.
    pub(crate) next: Option<String>,
}

impl Explanation {
    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let mut rows = vec![(self.name.as_str(), self.state.clone())];
        rows.extend(self.causes.iter().map(|cause| ("because", cause.clone())));
        rows.extend(self.next.iter().map(|next| ("next", next.clone())));
        fields(&rows)
    }
}

/// Why an installation is as it is.
pub(crate) fn of_installation(
    body: &InstallationBody,
    instances: &[InstanceBody],
    operations: &[OperationBody],
) -> Explanation {
    let id = &body.installation;
    let mut found = Found::default();
    found.operation(operations);
    for instance in instances {
        if let Some(concern) = instance_concern(instance) {
            found.cause(format!("instance `{}` {concern}", instance.instance));
            found.next(format!("`fettle why {}`", instance.instance));
        }
    }
    let behind: Vec<&InstanceId> = instances
        .iter()
        .filter(|instance| instance.version != body.version)
        .map(|instance| &instance.instance)
        .collect();
    if !behind.is_empty() {
        let names: Vec<String> = behind.iter().map(|id| format!("`{id}`")).collect();
        found.cause(format!("still on another version than it: {}", names.join(", ")));
        found.next(format!("`fettle update '{id}/*'`"));
    }
    if instances.is_empty() {
        found.cause("it has no instance: nothing of it runs".to_owned());
        found.next(format!("`fettle instance create {id} --start`"));
    }
    let (origin, version) = (&body.origin, &body.version);
    found.cause(format!("it follows `{}` at {}", origin.reference, origin.server));
    if let Some(previous) = &body.previous {
        found
            .cause(format!("before it was on version {previous}: `fettle revert {id}` leads back"));
    }
    found.explain(id.to_string(), format!("installed, on version {version}"))
}

/// Why an operation is as it is.
pub(crate) fn of_operation(body: &OperationBody) -> Explanation {
    let (id, target) = (body.operation, &body.target);
    let mut found = Found::default();
    match body.state {
        OperationState::Queued | OperationState::Running => {
            under_way(&mut found, body);
            found.next(follow(id));
        }
        OperationState::Failed => {
            failure(&mut found, body);
            found.next(format!("`fettle operation show {id}`"));
        }
        OperationState::Cancelled => found.cause("it was cancelled before it began".to_owned()),
        OperationState::Done => {
            found.cause(format!("it ended well at {}", or_unknown(body.ended)));
            found.causes.extend(body.notes.clone());
            let gone = matches!(body.kind, OperationKind::Uninstall | OperationKind::Delete);
            let name = match &body.result {
                Some(OperationResult::Installed(installed)) => match &installed.instance {
                    Some(instance) => Some(instance.to_string()),
                    None => Some(installed.installation.to_string()),
                },
                _ => (target.contains('/') && !gone).then(|| target.clone()),
            };
            if let Some(name) = name {
                found.next(format!("`fettle why {name}`"));
            }
        }
    }
    found.cause(format!("{} asked for it at {}", body.created_by, body.started));
    found.explain(id.to_string(), format!("{} of `{target}`, {}", body.kind, body.state))
}

/// Why there is nothing of this name any more, if an operation removed it.
pub(crate) fn of_nothing(name: &str, operations: &[OperationBody]) -> Option<Explanation> {
    let removed = |body: &&OperationBody| {
        body.state == OperationState::Done
            && matches!(body.kind, OperationKind::Uninstall | OperationKind::Delete)
    };
    let body = operations.iter().find(removed)?;
    let mut found = Found::default();
    let (id, kind) = (body.operation, body.kind);
    let (ended, by) = (or_unknown(body.ended), &body.created_by);
    found.cause(format!("operation {id} ({kind}, asked for by {by}) removed it at {ended}"));
    Some(found.explain(name.to_owned(), "deleted".to_owned()))
}

/// The operations that concern this name, the newest first.
pub(crate) fn concerning(name: &str, operations: Vec<OperationBody>) -> Vec<OperationBody> {
    let gave = |result: &OperationResult| match result {
        OperationResult::Installed(body) => {
            body.installation.to_string() == name
                || body.instance.as_ref().is_some_and(|instance| instance.to_string() == name)
        }
        OperationResult::Instance(body) => body.instance.to_string() == name,
        OperationResult::Installation(body) => body.installation.to_string() == name,
        OperationResult::Collected(_)
        | OperationResult::Verified(_)
        | OperationResult::Repaired(_) => false,
    };
    let concerns =
        |body: &OperationBody| body.target == name || body.result.as_ref().is_some_and(gave);
    let mut found: Vec<OperationBody> = operations.into_iter().filter(concerns).collect();
    found.sort_by_key(|body| std::cmp::Reverse(body.started));
    found
}

/// What is found out, in the order in which it counts.
#[derive(Debug, Default)]
struct Found {
    causes: Vec<String>,
    next: Option<String>,
}

impl Found {
    fn cause(&mut self, cause: String) {
        self.causes.push(cause);
    }

    /// What to do; the first that is said counts.
    fn next(&mut self, next: String) {
        self.next.get_or_insert(next);
    }

    /// What is under way on it; else why the last operation failed, if it did.
    fn operation(&mut self, operations: &[OperationBody]) {
        for body in operations.iter().filter(|body| !body.state.has_ended()) {
            let (id, kind, by) = (body.operation, body.kind, &body.created_by);
            self.cause(format!("operation {id} ({kind}, asked for by {by}) is under way"));
            under_way(self, body);
            self.next(follow(id));
        }
        if let Some(body) = operations.iter().find(|body| body.state.has_ended())
            && body.state == OperationState::Failed
        {
            let (id, kind, ended) = (body.operation, body.kind, or_unknown(body.ended));
            self.cause(format!("the last operation on it, {id} ({kind}), failed at {ended}"));
            failure(self, body);
        }
    }

    fn explain(self, name: String, state: String) -> Explanation {
        Explanation { name, state, causes: self.causes, next: self.next }
    }
}

fn under_way(found: &mut Found, body: &OperationBody) {
    let bytes = match (body.bytes_done, body.bytes_total) {
        (done, Some(total)) => format!(", {} of {}", size(done), size(total)),
        (0, None) => String::new(),
        (done, None) => format!(", {}", size(done)),
    };
    found.cause(match body.state {
        OperationState::Queued => "its turn has not come".to_owned(),
        _ => format!(
            "it is at `{}`{bytes}, and last came further at {}",
            body.phase, body.progressed
        ),
    });
    found.causes.extend(body.waits_for.as_ref().map(|what| format!("it waits for {what}")));
}

fn failure(found: &mut Found, body: &OperationBody) {
    let Some(error) = &body.error else {
        return found.cause("the node does not say why".to_owned());
    };
    found.cause(error.message.clone());
    found.causes.extend(error.causes.clone());
    if let Some(hint) = &error.hint {
        found.next(hint.clone());
    }
}

fn follow(id: OperationId) -> String {
    format!("`fettle operation show {id} --follow`")
}

fn or_unknown(at: Option<model::Timestamp>) -> String {
    at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
