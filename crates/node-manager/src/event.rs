//! Waiting for the kernel to say something through a descriptor: the end of a process (pidfd), a change of
//! a directory (inotify). The one file of this crate with `unsafe` in it.

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
        #[expect(unsafe_code, reason = "Tokio's only constructor that is not deprecated")]
        // SAFETY: an `OwnedFd` is an open descriptor, always answers with the same number, and is closed
        // only by its drop, which `AsyncFd` owns.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
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
