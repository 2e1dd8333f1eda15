//! Our side of sd_notify(3): a supervisor that wants to hear is told when a daemon is ready, ends, and is alive.
//! Owns the protocol, one datagram for each word, to the socket that `NOTIFY_SOCKET` names. Nobody waits for an
//! answer, and a word that cannot be delivered is logged and costs nothing: programs matter more than reports.
//!
//! The variables are for this process alone: whoever starts another one clears its environment, or at least
//! [`VARIABLES`].

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a supervisor puts into the environment.
pub(crate) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Tells the supervisor, if there is one that wants to hear.
#[derive(Debug)]
pub(crate) struct Notifier {
    supervisor: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that the environment of this process names.
    pub(crate) fn of_this_process() -> Notifier {
        let [socket, every, pid] = VARIABLES.map(std::env::var_os);
        let supervisor = match socket.as_deref().map(connect).transpose() {
            Ok(supervisor) => supervisor,
            Err(error) => {
                tracing::warn!("the supervisor cannot be told anything: NOTIFY_SOCKET: {error}");
                None
            }
        };
        let watchdog = watchdog(every.as_deref(), pid.as_deref(), std::process::id());
        Notifier { supervisor, watchdog }
    }

    /// Says one or more lines `NAME=value`.
    pub(crate) fn tell(&self, lines: &str) {
        let Some((socket, address)) = &self.supervisor else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!("the supervisor was not told `{}`: {error}", lines.escape_debug());
        }
    }

    /// Says that this process is alive, twice in the time that the supervisor gives; ends at once if it gives none.
    /// A timer of the runtime that also answers requests: when that hangs, this does.
    pub(crate) async fn keep_watchdog(self: Arc<Self>) {
        let Some(patience) = self.watchdog.filter(|_| self.supervisor.is_some()) else { return };
        let mut ticks = tokio::time::interval(patience / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = address(name)?;
    let socket = UnixDatagram::unbound()?;
    // A supervisor that hangs does not make us hang.
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok((socket, address))
}

/// `/path/to/socket`, or `@name` in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

/// sd_watchdog_enabled(3): microseconds, for the process of this number or for whoever reads it.
fn watchdog(every: Option<&OsStr>, pid: Option<&OsStr>, own: u32) -> Option<Duration> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    let is_ours = pid.is_none_or(|pid| number(pid) == Some(u64::from(own)));
    let every = number(every?).filter(|every| *every >= 2 && is_ours)?;
    Some(Duration::from_micros(every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_a_path_or_an_abstract_name() {
        let path = address(OsStr::new("/run/systemd/notify")).unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/systemd/notify")));
        let named = address(OsStr::new("@fettle/test")).unwrap();
        assert_eq!(named.as_abstract_name(), Some(&b"fettle/test"[..]));
        for none in ["", "notify", "vsock:2:1"] {
            assert!(address(OsStr::new(none)).is_err(), "{none}");
        }
    }

    #[test]
    fn a_watchdog_is_kept_only_if_it_is_asked_of_this_process() {
        let asked = |every: &str, pid: Option<&str>| {
            watchdog(Some(OsStr::new(every)), pid.map(OsStr::new), 7)
        };
        assert_eq!(asked("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(asked("3000000", Some("7")), Some(Duration::from_secs(3)));
        assert_eq!(asked("3000000", Some("8")), None);
        for wrong in ["", "0", "1", "-5", "soon"] {
            assert_eq!(asked(wrong, None), None, "{wrong}");
        }
        assert_eq!(watchdog(None, None, 7), None);
    }
}
