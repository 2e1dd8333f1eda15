//! The socket that a program notifies its node through (sd_notify(3), Unix datagrams). The launcher keeps
//! a copy of its descriptor, so what a program says while no manager is there waits in it, as much as the
//! kernel keeps, and is heard by the next one.
//!
//! Whoever has the account of the program, or is root, may write to it, as with systemd's
//! `NotifyAccess=all`: also what the program started. Its name is of this boot and this launch.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, unlinkat};
use tokio::net::UnixDatagram;

use super::said::{Said, parse};

/// The manager's end.
#[derive(Debug)]
pub(crate) struct Notify(UnixDatagram);

/// Why a program cannot notify.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotifyError {
    /// No socket has so long a path (unix(7)).
    #[error(
        "the path of the socket has {bytes} bytes, {LONGEST} are possible: the root of the node has to be a shorter one"
    )]
    LongPath {
        /// How long it is.
        bytes: usize,
    },
    /// The system refuses.
    #[error("cannot make a socket")]
    Io(#[from] io::Error),
}

impl Notify {
    /// A new socket at this path, in place of one that was there, and a copy of its descriptor for the
    /// launcher. Needs a Tokio runtime.
    pub(crate) fn new(path: &Path) -> Result<(Notify, OwnedFd), NotifyError> {
        let bytes = path.as_os_str().len();
        if bytes > LONGEST {
            return Err(NotifyError::LongPath { bytes });
        }
        let _ = unlinkat(CWD, path, AtFlags::empty()); // if it stays, the next step says so
        let socket = std::os::unix::net::UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        let copy = socket.try_clone()?.into();
        Ok((Notify(UnixDatagram::from_std(socket)?), copy))
    }

    /// The socket that the launcher kept.
    pub(crate) fn kept(socket: OwnedFd) -> io::Result<Notify> {
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Notify(UnixDatagram::from_std(socket)?))
    }

    /// Waits for the next datagram.
    pub(super) async fn heard(&self) -> Vec<Said> {
        let mut datagram = vec![0; LONGEST_DATAGRAM];
        match self.0.recv(&mut datagram).await {
            Ok(length) => parse(&datagram[..length]),
            Err(error) => {
                tracing::error!(%error, "cannot listen to a program any more");
                std::future::pending().await
            }
        }
    }
}

/// What a socket's address takes without the NUL at its end.
const LONGEST: usize = 107;
/// As much as systemd reads of one.
const LONGEST_DATAGRAM: usize = 4096;
