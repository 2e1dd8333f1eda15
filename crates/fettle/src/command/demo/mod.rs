//! `fettle demo`: the whole of fettle on one machine in seconds. It starts a real server and a real node
//! from this binary, in a temporary directory on free addresses, and types real commands, so that what is
//! shown is what happens.
//!
//! However it ends (done, failed, Ctrl-C), the programs that it started are ended and the directory is
//! removed, unless it is to be kept. Only a SIGKILL leaves something: the directory and the two servers.

mod script;
mod stage;
mod tree;
mod weather;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durable::DiskError;
use tokio::signal::unix::{SignalKind, signal};
use wire::serve::blocking;

use self::stage::Stage;
use crate::args::DemoArgs;
use crate::error::{Exit, Failure};
use crate::reach::Context;

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// This program cannot find itself.
    #[error("the demo cannot find its own program")]
    Program(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("the demo cannot listen to signals")]
    Signals(#[source] io::Error),
    /// The directory to be kept holds something.
    #[error("{} is not empty", .path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be made, written or removed.
    #[error("the demo cannot use its directory")]
    Directory(#[from] DiskError),
    /// Something in the directory cannot be read.
    #[error("the demo cannot read {}", .path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("the demo cannot start `{command}`")]
    Start {
        /// Its command line.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// A server ended, or printed something else, instead of being ready.
    #[error("`{command}` did not become ready: {said}")]
    NotReady {
        /// Its command line.
        command: String,
        /// What it said.
        said: String,
    },
    /// A command did not end as the demo wants to show.
    #[error("`{command}` ended with code {code}: {said}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit code; -1 for a signal.
        code: i32,
        /// What it said.
        said: String,
    },
    /// What should be seen was not seen in time.
    #[error("`{command}` did not show {wanted}")]
    NotSeen {
        /// The command line.
        command: String,
        /// What should be seen.
        wanted: &'static str,
    },
    /// Ctrl-C or SIGTERM.
    #[error("the demo was interrupted")]
    Interrupted,
    /// Standard output is gone.
    #[error(transparent)]
    Unwritten(#[from] crate::output::Unwritten),
}

/// `fettle demo`
pub(crate) async fn demo(context: &Context, args: &DemoArgs) -> Result<Exit, Failure> {
    let listen = |kind| signal(kind).map_err(DemoError::Signals);
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let interrupted = Arc::new(AtomicBool::new(false));
    let (output, keep, seen) = (context.output, args.keep.clone(), interrupted.clone());
    let mut play = std::pin::pin!(blocking(move || {
        let mut stage = Stage::set(output, keep, seen)?;
        let played = script::play(&mut stage);
        // What went wrong on the stage says more than what goes wrong while it is cleared.
        let cleared = stage.clear();
        played.and(cleared)
    }));
    let ended = tokio::select! {
        ended = &mut play => ended,
        _ = interrupt.recv() => tell(&interrupted, play).await,
        _ = terminate.recv() => tell(&interrupted, play).await,
    };
    match ended {
        Err(DemoError::Interrupted) => {
            output.tell("interrupted; everything that the demo started was ended");
            Ok(Exit::Detached)
        }
        ended => ended.map(|()| Exit::Done).map_err(Failure::Demo),
    }
}

async fn tell<T>(interrupted: &AtomicBool, play: impl Future<Output = T>) -> T {
    interrupted.store(true, Ordering::Relaxed);
    play.await
}
