//! Waiting for the kernel to say something through a descriptor: the end of a process (pidfd), a change of
//! a directory (inotify).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that becomes readable when something has happened.
#[derive(Debug)]
pub(crate) struct Event(AsyncFd<OwnedFd>);

impl Event {
    /// Takes the descriptor. Needs a Tokio runtime.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Event> {
        #[expect(
            deprecated,
            reason = "its sound successor is `unsafe` for types that answer with \
            another number each time; an `OwnedFd` always answers with the same"
        )]
        let registered = AsyncFd::with_interest(descriptor, Interest::READABLE);
        Ok(Event(registered?))
    }

    /// Waits until it is readable. What stays readable (a pidfd) answers again at once.
    pub(crate) async fn happened(&self) -> io::Result<()> {
        self.0.ready(Interest::READABLE).await.map(drop)
    }

    /// Waits until it is readable, and lets `drain` read it empty, so that the next wait is for news.
    pub(crate) async fn taken(&self, drain: impl FnOnce(BorrowedFd<'_>)) -> io::Result<()> {
        let mut guard = self.0.ready(Interest::READABLE).await?;
        drain(guard.get_inner().as_fd());
        guard.clear_ready();
        Ok(())
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
