//! What `fettle server` and `fettle node` have in common: where they listen, the line that says that they are
//! ready (and the word to whoever supervises), and the end in good order on SIGTERM or Ctrl-C.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wire::serve::{Address, InvalidAddress, Listener, Service, serve};

use crate::notify::Notifier;
use crate::output::{Output, Unwritten};

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The address is none, or one that other machines reach.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The path of the socket is longer than a socket's may be.
    #[error("the path of the socket has {} bytes, {LONGEST} are possible: {}", .path.as_os_str().len(), .path.display())]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    /// Nobody can be told that it is ready.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
}

/// The signals that end a server. Made before anything is opened, so that none is missed.
#[derive(Debug)]
pub(crate) struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Listens from now on.
    pub(crate) fn new() -> Result<Ending, ListenError> {
        let listen = |kind| signal(kind).map_err(ListenError::Signals);
        Ok(Ending {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: ending"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: ending"),
        }
    }
}

/// An address that can be listened on.
pub(crate) fn address(text: &str) -> Result<Address, ListenError> {
    let address: Address = text.parse()?;
    match &address {
        Address::Unix(path) if path.as_os_str().len() > LONGEST => {
            Err(ListenError::LongPath { path: path.clone() })
        }
        _ => Ok(address),
    }
}

/// Listens. Whoever calls holds the lock of the data that is served.
pub(crate) async fn bind(address: &Address) -> Result<Listener, ListenError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|source| ListenError::Bind { address: address.clone(), source })
}

/// Says that it is ready and serves until a signal comes.
pub(crate) async fn run(
    output: Output,
    listener: Listener,
    service: Service<()>,
    mut ending: Ending,
) -> Result<(), ListenError> {
    let url = listener.url();
    let notifier = Arc::new(Notifier::of_this_process());
    output.value(&json!({ "ready": url }), |_| format!("ready {url}"))?;
    notifier.tell(&format!("READY=1\nSTATUS=listening on {url}\nMAINPID={}", std::process::id()));
    let watched = tokio::spawn(notifier.clone().keep_watchdog());
    let ended = async {
        ending.wait().await;
        notifier.tell("STOPPING=1\nSTATUS=ending");
    };
    serve(listener, service, ended).await;
    watched.abort();
    Ok(())
}

/// What a socket's address takes (unix(7)) without the NUL at its end is 107; the name that a socket is
/// made under at first ends in `.new`.
const LONGEST: usize = 107 - ".new".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_socket_can_have_is_refused_before_the_system_does() {
        let path = |bytes: usize| format!("unix:/{}", "s".repeat(bytes - 1));
        assert!(address(&path(103)).is_ok());
        assert!(matches!(address(&path(104)), Err(ListenError::LongPath { .. })));
        assert!(matches!(address("10.0.0.1:1"), Err(ListenError::Address(_))));
    }
}
