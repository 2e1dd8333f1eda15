//! Changes of a node: asked for under an id that is made here, followed to their end, or left to go on by
//! themselves (`--detach`, Ctrl-C). The node may be restarted meanwhile: the operation outlives that, and so
//! does the wait.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::{Change, ClientError, Connection, Progress as _};
use model::OperationId;
use model::lifecycle::OperationState;
use uuid::Uuid;
use wire::v1::{OperationBody, OperationResult};
use wire::{Code, ErrorBody};

use crate::output::Unwritten;
use crate::progress::Shown;

/// Why a change did not come about, as far as this command knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The node could not be asked, or refused at once.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The node stayed away while it was waited for; the operation may go on when it is back.
    #[error("operation {operation}: the node was lost while it was waited for")]
    Lost {
        /// The operation.
        operation: OperationId,
        /// The last attempt.
        source: ClientError,
    },
    /// Standard output is gone; the operation goes on.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The operation ended, and what was asked for is not so.
    #[error("{}", .0.message)]
    Failed(Box<ErrorBody>),
}

/// What an operation that ended well gave.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The operation as it last was.
    pub(crate) operation: OperationBody,
    /// What it gave; every change gives something.
    pub(crate) result: OperationResult,
}

/// A new id for a change.
pub(crate) fn new_operation() -> OperationId {
    OperationId::from(Uuid::now_v7())
}

/// Asks for a change. Where the answer was lost on its way, the same request is sent again: it is done once.
pub(crate) async fn submit(
    node: &Connection,
    id: OperationId,
    change: &Change,
) -> Result<OperationBody, ClientError> {
    let mut pauses = VecDeque::from(SUBMIT_PAUSES);
    loop {
        match node.node().submit(id, change).await {
            Err(ClientError::Interrupted { .. } | ClientError::Stalled { .. })
                if let Some(pause) = pauses.pop_front() =>
            {
                tokio::time::sleep(pause).await;
            }
            answer => return answer,
        }
    }
}

/// Waits for the end of an operation, whatever it is.
pub(crate) async fn follow(
    node: &Connection,
    operation: OperationBody,
    shown: &Shown,
) -> Result<OperationBody, ChangeError> {
    follow_to(node, operation, shown, !shown.is_silent(), |_| Ok(())).await
}

/// [`follow`], and tells each state on the way to its end.
pub(crate) async fn follow_with(
    node: &Connection,
    operation: OperationBody,
    shown: &Shown,
    tell: impl FnMut(&OperationBody) -> Result<(), Unwritten>,
) -> Result<OperationBody, ChangeError> {
    follow_to(node, operation, shown, true, tell).await
}

/// Who `hears_all` is told each state, others the end.
async fn follow_to(
    node: &Connection,
    mut operation: OperationBody,
    shown: &Shown,
    hears_all: bool,
    mut tell: impl FnMut(&OperationBody) -> Result<(), Unwritten>,
) -> Result<OperationBody, ChangeError> {
    let id = operation.operation;
    let mut lost_since: Option<Instant> = None;
    while !operation.state.has_ended() {
        shown.operation(&operation);
        tell(&operation)?;
        let after = if hears_all { operation.revision } else { u64::MAX };
        match node.node().wait(id, after).await {
            Ok(news) => {
                operation = news;
                lost_since = None;
            }
            Err(error) if error.is_transient() => {
                let since = *lost_since.get_or_insert_with(|| {
                    shown.note("the node does not answer; waiting for it to come back");
                    Instant::now()
                });
                if since.elapsed() > LOST {
                    shown.end();
                    return Err(ChangeError::Lost { operation: id, source: error });
                }
                tokio::time::sleep(LOST_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    shown.end();
    Ok(operation)
}

/// What an operation that has ended gave, or why it gave nothing.
pub(crate) fn verdict(mut operation: OperationBody) -> Result<Ended, ChangeError> {
    let id = operation.operation;
    let failed = |mut error: ErrorBody| {
        error.operation = Some(id);
        Err(ChangeError::Failed(Box::new(error)))
    };
    if let Some(error) = operation.error.take() {
        return failed(error);
    }
    match (operation.state, operation.result.clone()) {
        (OperationState::Done, Some(result)) => Ok(Ended { operation, result }),
        (OperationState::Cancelled, _) => {
            failed(ErrorBody::new(Code::WrongState, format!("operation {id} was cancelled")))
        }
        (state, _) => failed(ErrorBody::new(
            Code::Internal,
            format!("operation {id} is {state} and the node does not say what came of it"),
        )),
    }
}

/// Between two attempts to ask for a change whose answer was lost.
const SUBMIT_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];
/// How long the node may stay away while it is waited for: longer than a restart takes.
const LOST: Duration = Duration::from_secs(30);
const LOST_PAUSE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(text: &str) -> OperationBody {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_verdict_of_a_failed_operation_is_its_error_with_its_id() {
        let failed = golden(include_str!("../../wire/golden/v1/operation-failed.json"));
        let id = failed.operation;
        let Err(ChangeError::Failed(error)) = verdict(failed) else { panic!("no failure") };
        assert_eq!((error.code, error.operation), (Code::DigestMismatch, Some(id)));
    }

    #[test]
    fn an_operation_without_a_result_or_before_its_end_is_never_taken_for_done() {
        let done = golden(include_str!("../../wire/golden/v1/operation.json"));
        assert!(matches!(verdict(done.clone()).unwrap().result, OperationResult::Installed(_)));
        for state in [OperationState::Queued, OperationState::Running, OperationState::Cancelled] {
            assert!(verdict(OperationBody { state, ..done.clone() }).is_err(), "{state}");
        }
        assert!(verdict(OperationBody { result: None, ..done }).is_err());
    }
}
