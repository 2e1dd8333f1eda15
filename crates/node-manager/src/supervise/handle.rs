//! An instance as everybody but its owner sees it: a handle that shows what is true and passes commands on.

use std::time::Duration;

use model::lifecycle::InstanceState;
use model::{InstanceId, LaunchId, OperationId, Span};
use tokio::sync::{mpsc, oneshot, watch};
use wire::v1::InstanceBody;

use super::launch::LaunchError;
use crate::instance::{Copies, InstanceError};
use crate::layout::VersionName;
use crate::record::Unusable;

/// An instance, for everybody but its owner.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    /// Boxed: a channel has room for many of them from its beginning.
    pub(super) commands: mpsc::Sender<Box<Command>>,
    pub(super) view: watch::Receiver<View>,
}

/// What is true of an instance now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// As the contract shows it.
    pub(crate) body: InstanceBody,
    /// The launch that was asked for last.
    pub(crate) launch: Option<LaunchId>,
    /// Has the version that it is on still to show that it works, or failed and not left yet?
    pub(crate) on_probation: bool,
}

/// Why an instance was not moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not possible in the state that it is in.
    #[error("`{instance}` is {state}")]
    WrongState {
        /// Which.
        instance: InstanceId,
        /// What it is.
        state: InstanceState,
    },
    /// Its process cannot be made.
    #[error("cannot start `{instance}`")]
    Launch {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: LaunchError,
    },
    /// It cannot be changed on disk.
    #[error(transparent)]
    Disk(#[from] InstanceError),
    /// What is true of it cannot be recorded.
    #[error("cannot record the state of `{instance}`")]
    Observed {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: Unusable,
    },
    /// It is gone.
    #[error("there is no `{instance}` on this node")]
    Gone {
        /// Which.
        instance: InstanceId,
    },
    /// Its owner ended although it should not have.
    #[error("nobody looks after `{instance}` any more")]
    Abandoned {
        /// Which.
        instance: InstanceId,
    },
}

impl Refusal {
    /// Is it the version's own fault, and not this node's?
    pub(super) fn is_of_the_version(&self) -> bool {
        matches!(self, Refusal::Launch { source, .. } if source.is_of_the_version())
    }
}

/// Where the answer to a command goes.
pub(super) type Answer<T = ()> = oneshot::Sender<Result<T, Refusal>>;

/// What a version has to show that an instance is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trial {
    /// The version that comes back if it does not.
    pub(crate) before: VersionName,
    /// How long it has to run well.
    pub(crate) length: Span,
    /// Which operation wants to know.
    pub(crate) operation: OperationId,
}

/// A start that made a process, or that joined one on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started {
    /// What made it.
    pub(crate) launch: LaunchId,
    /// The address of the first byte that it prints on standard error; `None` if an earlier manager knew it.
    pub(crate) stderr_from: Option<u64>,
}

/// What an owner can be asked for.
#[derive(Debug)]
pub(super) enum Command {
    Start(Answer<Option<Started>>),
    Stop { grace: Option<Duration>, answer: Answer },
    Pause { paused: bool, answer: Answer },
    Switch { to: VersionName, copies: Copies, trial: Option<Trial>, answer: Answer },
    Delete(Answer),
}

impl Handle {
    /// What is true of it now.
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Is there a process of it?
    pub(crate) fn has_process(&self) -> bool {
        self.view.borrow().body.pid.is_some()
    }

    /// To wait for changes of it.
    pub(crate) fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Waits until it is gone, or nobody owns it any more.
    pub(crate) async fn gone(&self) {
        let mut watch = self.view.clone();
        let _ = watch.wait_for(|view| view.body.state == InstanceState::Deleted).await;
    }

    /// It shall run, from now on. Answers when its process is there: with the launch that made it, or
    /// `None` if it ran already.
    pub(crate) async fn start(&self) -> Result<Option<Started>, Refusal> {
        self.ask(Command::Start).await
    }

    /// It shall not run, from now on. Answers when its process has ended: asked as its envelope says, and
    /// after `grace`, or what the envelope says, SIGKILL to everything that it started. During another stop
    /// the shorter patience holds.
    pub(crate) async fn stop(&self, grace: Option<Duration>) -> Result<(), Refusal> {
        self.ask(|answer| Command::Stop { grace, answer }).await
    }

    /// It shall get no time any more, or time again; its process stays.
    pub(crate) async fn pause(&self, paused: bool) -> Result<(), Refusal> {
        self.ask(|answer| Command::Pause { paused, answer }).await
    }

    /// It shall be on this version, with these copies of its writable packages; it has no process. With a
    /// `trial` it has to show that it works there; without one whatever it had to show is over.
    pub(crate) async fn switch(
        &self,
        to: VersionName,
        copies: Copies,
        trial: Option<Trial>,
    ) -> Result<(), Refusal> {
        self.ask(|answer| Command::Switch { to, copies, trial, answer }).await
    }

    /// It shall go, with all that it has.
    pub(crate) async fn delete(&self) -> Result<(), Refusal> {
        self.ask(Command::Delete).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Refusal> {
        let gone = || {
            let InstanceBody { instance, state, .. } = self.view().body;
            match state {
                InstanceState::Deleted => Refusal::Gone { instance },
                _ => Refusal::Abandoned { instance },
            }
        };
        let (answer, answered) = oneshot::channel();
        self.commands.send(Box::new(command(answer))).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
