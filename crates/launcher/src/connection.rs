//! The manager's side: finds the launcher of its node, or starts one, and talks to it. Blocking.
//!
//! Who connects first starts it: the socket is bound by the manager, which holds the lock of the node's
//! tree, so there is never a second launcher that listens. A socket without a launcher (it was killed) is
//! bound anew.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, chmodat, open, unlinkat};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::channel::{Came, ChannelError, receive, send};
use crate::message::{Ended, Event, Launched, PROTOCOL, Request, Welcome};

/// Where a launcher is found, and how one is started.
#[derive(Debug, Clone)]
pub struct Way {
    /// The directory that its socket lies in: there is one for each boot, and it is the manager's alone.
    pub directory: PathBuf,
    /// The program that is a launcher, if it is called so.
    pub program: PathBuf,
    /// What it is called with, before the directory.
    pub args: Vec<OsString>,
}

/// Talks to a launcher. Sends from any thread; one thread listens.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// One message at a time.
    sender: Mutex<()>,
    /// The process, if this manager started it.
    child: Mutex<Option<Child>>,
    welcome: Welcome,
}

/// A launch that the launcher knows from before.
#[derive(Debug)]
pub struct Known {
    /// Its process.
    pub launched: Launched,
    /// Its end, if it has ended.
    pub ended: Option<Ended>,
    /// What was kept for the manager.
    pub kept: Option<OwnedFd>,
}

/// Why there is no launcher.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// Its directory cannot be used.
    #[error("cannot use the launcher's directory `{}`", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// None can be started.
    #[error("cannot start a launcher with `{}`", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not answer as a launcher does.
    #[error("the launcher does not answer")]
    Silent(#[source] ChannelError),
    /// It is of a time to come.
    #[error(
        "the launcher (process {pid}, fettle {fettle}) speaks version {found}; this fettle knows up to {PROTOCOL}"
    )]
    TooNew {
        /// Its process.
        pid: u32,
        /// Its version.
        fettle: String,
        /// What it speaks.
        found: u32,
    },
}

impl Connection {
    /// Finds the launcher, or starts one, and hears what it knows.
    ///
    /// # Errors
    /// See [`ReachError`].
    pub fn reach(way: &Way) -> Result<(Connection, Vec<Known>), ReachError> {
        let found = Connection::find_or(way, |directory| start(way, directory).map(Some))?;
        found.ok_or(ReachError::Silent(ChannelError::Closed))
    }

    /// Finds the launcher, and hears what it knows. `None`: there is none, so nothing runs that one knew.
    ///
    /// # Errors
    /// See [`ReachError`].
    pub fn find(way: &Way) -> Result<Option<(Connection, Vec<Known>)>, ReachError> {
        Connection::find_or(way, |_| Ok(None))
    }

    fn find_or(
        way: &Way,
        otherwise: impl Fn(BorrowedFd<'_>) -> Result<Option<Called>, ReachError>,
    ) -> Result<Option<(Connection, Vec<Known>)>, ReachError> {
        let of_directory =
            |source: io::Error| ReachError::Directory { directory: way.directory.clone(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&way.directory, flags, Mode::empty());
        let directory = directory.map_err(|error| of_directory(error.into()))?;
        for _ in 0..ATTEMPTS {
            let called = match call(directory.as_fd()).map_err(of_directory)? {
                Some(socket) => Some((socket, None)),
                None => otherwise(directory.as_fd())?,
            };
            let Some((socket, child)) = called else { return Ok(None) };
            match greet(&socket) {
                Ok((welcome, known)) if welcome.protocol <= PROTOCOL => {
                    let sender = Mutex::default();
                    let child = Mutex::new(child);
                    return Ok(Some((Connection { socket, sender, child, welcome }, known)));
                }
                Ok((Welcome { pid, fettle, protocol: found, .. }, _)) => {
                    return Err(ReachError::TooNew { pid, fettle, found });
                }
                // It was about to end when it was called: the next one will not be.
                Err(ChannelError::Closed) => drop(child.map(|mut child| child.wait())),
                Err(error) => return Err(ReachError::Silent(error)),
            }
        }
        Err(ReachError::Silent(ChannelError::Closed))
    }

    /// Who answers.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Says something. Blocking while the launcher is busy.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn send(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let _one = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        send(&self.socket, request, descriptors)
    }

    /// Waits for the next event. Blocking.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] when the launcher has ended or was replaced; see [`ChannelError`].
    pub fn receive(&self) -> Result<Event, ChannelError> {
        let heard = receive(&self.socket).map(|(event, _)| event);
        if heard.is_err() {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            // Replaced it still runs, and is reaped by whoever becomes its parent.
            child.take().map(|mut child| child.try_wait());
        }
        heard
    }

    /// Ends the connection for whoever listens.
    pub fn close(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

/// A connection, and the process if it was started for it.
type Called = (OwnedFd, Option<Child>);

/// `None`: nobody listens.
fn call(directory: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let socket = new_socket()?;
    // One that is stopped takes only so many calls: the next would wait for ever.
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    match connect(&socket, &address(directory)?) {
        Ok(()) => {
            sockopt::set_socket_timeout(&socket, Timeout::Send, None)?;
            Ok(Some(socket))
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "the launcher is what starts all others")]
fn start(way: &Way, directory: BorrowedFd<'_>) -> Result<Called, ReachError> {
    let failed = |source: io::Error| ReachError::Start { program: way.program.clone(), source };
    let listen_and_call = || {
        match unlinkat(directory, SOCKET, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = new_socket()?;
        bind(&listener, &address(directory)?)?;
        // Nobody listens yet, so nobody was let in before.
        chmodat(directory, SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        listen(&listener, BACKLOG)?;
        let ours = call(directory)?.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok::<_, io::Error>((listener, ours))
    };
    let (listener, ours) = listen_and_call().map_err(failed)?;
    let child = Command::new(&way.program)
        .args(&way.args)
        .arg(&way.directory)
        .env_clear()
        .current_dir("/")
        .stdin(listener)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    Ok((ours, Some(child)))
}

fn greet(socket: &OwnedFd) -> Result<(Welcome, Vec<Known>), ChannelError> {
    sockopt::set_socket_timeout(socket, Timeout::Recv, Some(PATIENCE)).map_err(io::Error::from)?;
    let unexpected = || ChannelError::Io(io::ErrorKind::InvalidData.into());
    let Event::Welcome(welcome) = receive(socket)?.0 else { return Err(unexpected()) };
    let mut known = Vec::new();
    for _ in 0..welcome.known {
        let (event, mut came): (Event, Came) = receive(socket)?;
        if came.is_cut {
            return Err(ChannelError::Descriptors);
        }
        let Event::Known { launched, ended } = event else { return Err(unexpected()) };
        known.push(Known { launched, ended, kept: came.descriptors.pop_front() });
    }
    sockopt::set_socket_timeout(socket, Timeout::Recv, None).map_err(io::Error::from)?;
    Ok((welcome, known))
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// By way of the directory's handle, for the path itself may be longer than a socket's may be.
fn address(directory: BorrowedFd<'_>) -> io::Result<SocketAddrUnix> {
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(SOCKET);
    Ok(SocketAddrUnix::new(path)?)
}

/// Name of the socket in its directory.
pub(crate) const SOCKET: &str = "launcher.sock";
/// Managers that may wait to be met.
pub(crate) const BACKLOG: i32 = 8;
/// A launcher may end just when it is called.
const ATTEMPTS: usize = 5;
/// How long a launcher may be busy before it says something.
const PATIENCE: Duration = Duration::from_secs(10);
