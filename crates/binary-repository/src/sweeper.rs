//! The task that removes bytes which nothing wants. It works at start, when the bell rings (something was
//! removed or begun), and when the next lease ends; else it sleeps.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use wire::serve::blocking;

use crate::store::BinaryRepository;

impl BinaryRepository {
    /// Sweeps until `shutdown` is there. A sweep that fails is told to the log, and tried again at the next
    /// occasion.
    pub async fn run_sweeper(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let repository = self.clone();
            let next = blocking(move || repository.sweep()).await.unwrap_or_else(|error| {
                let error = wire::ErrorBody::from_error(wire::Code::Internal, &error);
                tracing::error!(causes = error.causes.join(": "), "{}", error.message);
                None
            });
            tokio::select! {
                () = &mut shutdown => return,
                () = self.bell.notified() => {}
                () = until(next, self.now()) => {}
            }
        }
    }
}

/// Sleeps until the time has come; for ever if there is none.
async fn until(next: Option<Timestamp>, now: Timestamp) {
    match next {
        Some(next) => tokio::time::sleep(next.since(now).max(SHORTEST)).await,
        None => std::future::pending().await,
    }
}

/// A clock that was put back must not make it spin.
const SHORTEST: Duration = Duration::from_millis(100);
