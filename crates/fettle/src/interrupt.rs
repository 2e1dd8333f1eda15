//! Ctrl-C, heard from one moment on: it ends the wait, not the work that is waited for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears Ctrl-C from when it is made; one that comes while nobody waits is not lost.
#[derive(Debug)]
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// Listens from now on; Ctrl-C does not end the process by itself any more.
    pub(crate) fn new() -> io::Result<Interrupt> {
        signal(SignalKind::interrupt()).map(Interrupt)
    }

    /// The answer of `work`, or nothing if Ctrl-C came first.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = work => Some(answer),
            _ = self.0.recv() => None,
        }
    }
}
