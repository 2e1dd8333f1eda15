//! The launcher's loop: waits for requests, for ends of processes and for the end of its own use. One
//! thread; nothing in it decides what should run.
//!
//! It ends when no manager is there and it knows of nothing: the next manager starts another. Killed, it
//! takes its memory with it, and no program.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{SocketFlags, accept_with, listen};
use rustix::process::{
    Pid, Signal, WaitOptions, geteuid, kill_process, kill_process_group, set_child_subreaper,
    setsid, wait,
};
use rustix::thread::set_name;

use crate::channel::{ChannelError, Outbox, receive};
use crate::connection::{BACKLOG, SOCKET};
use crate::message::{End, Event, PROTOCOL, Refused, Request, Step, Welcome};
use crate::replace::{RESUME, replace, resume};
use crate::spawn::spawn;
use crate::sys;
use crate::table::Table;

/// Is the launcher: `arguments` are the directory that its socket lies in, and what an older program adds
/// when it is replaced. Standard input is the listening socket. Comes back when it is of no use any more.
pub fn run(arguments: &[OsString]) -> ExitCode {
    // There is nobody to tell: the manager sees the connection end, and says so.
    match Launcher::new(arguments).and_then(Launcher::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

struct Launcher {
    listener: OwnedFd,
    ends: OwnedFd,
    /// Where the socket has its name.
    socket: PathBuf,
    /// Says that something was removed beside it.
    removals: OwnedFd,
    table: Table<OwnedFd>,
    manager: Option<Manager>,
    /// Has a manager been there since the start?
    was_met: bool,
    is_abandoned: bool,
}

struct Manager {
    socket: OwnedFd,
    outbox: Outbox,
}

impl Launcher {
    fn new(arguments: &[OsString]) -> io::Result<Launcher> {
        // What administrators see in a list of processes.
        set_name(c"fettle-launch")?;
        let _ = setsid(); // an error: it leads a session already, after it was replaced
        // What double-forks becomes our child, so that it can be found and is reaped.
        set_child_subreaper(Some(Pid::INIT))?;
        let ends = sys::ends_of_children()?;
        let (listener, table) = match arguments {
            [_, resumed, number] if resumed == RESUME => resume(&number.to_string_lossy())?,
            _ => (rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?, Table::default()),
        };
        // Whoever connects is told by the kernel who listened last: this process, not who bound the socket.
        listen(&listener, BACKLOG)?;
        let directory = arguments.first().ok_or(io::ErrorKind::InvalidInput)?;
        let removals = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        // Not the end of the directory itself: the name of a socket that is in use outlives it.
        let gone = inotify::WatchFlags::DELETE | inotify::WatchFlags::MOVE_SELF;
        inotify::add_watch(&removals, Path::new(directory), gone)?;
        let mut launcher = Launcher {
            listener,
            ends,
            socket: Path::new(directory).join(SOCKET),
            removals,
            table,
            manager: None,
            was_met: false,
            is_abandoned: false,
        };
        // Signals that came while nobody waited for them are lost; the dead are not.
        launcher.reap();
        Ok(launcher)
    }

    fn serve(mut self) -> io::Result<()> {
        while self.is_of_use() {
            let [ends, removed, asked, called, writable] = self.wait()?;
            if ends {
                drain(&self.ends);
                self.reap();
            }
            if removed {
                drain(&self.removals);
                self.is_abandoned = !self.socket.exists();
            }
            if asked && let Err(error) = self.obey() {
                self.part(&error);
            }
            if called {
                self.meet();
            }
            if writable {
                self.flush();
            }
        }
        Ok(())
    }

    fn is_of_use(&self) -> bool {
        let waits = !self.was_met && !self.is_abandoned;
        let remembers = !self.table.is_empty() && !self.is_abandoned;
        waits || remembers || self.manager.is_some() || self.table.any_runs()
    }

    /// Which of these happened: a child ended, something was removed, a manager asks, one calls, it can be
    /// written to. None of them: nobody came in time.
    fn wait(&mut self) -> io::Result<[bool; 5]> {
        let readable = PollFlags::IN;
        let mut polled = vec![
            PollFd::new(&self.ends, readable),
            PollFd::new(&self.removals, readable),
            PollFd::new(&self.listener, readable),
        ];
        if let Some(manager) = &self.manager {
            let wanted =
                if manager.outbox.is_empty() { readable } else { readable | PollFlags::OUT };
            polled.push(PollFd::new(&manager.socket, wanted));
        }
        let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        let timeout = if self.was_met { None } else { Some(&patience) };
        match poll(&mut polled, timeout) {
            Ok(0) => {
                self.was_met = true; // whoever started it is gone
                return Ok([false; 5]);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened = |index: usize, flags| {
            polled.get(index).is_some_and(|polled: &PollFd<'_>| polled.revents().intersects(flags))
        };
        let any = readable | PollFlags::HUP | PollFlags::ERR;
        Ok([
            happened(0, any),
            happened(1, any),
            happened(3, any),
            happened(2, any),
            happened(3, PollFlags::OUT),
        ])
    }

    /// Takes the newest manager: there is one at a time, and an older one that is still connected has ended
    /// or lost the node.
    fn meet(&mut self) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        let ours = |uid: rustix::process::Uid| uid == geteuid() || uid.is_root();
        if !sockopt::socket_peercred(&socket).is_ok_and(|peer| ours(peer.uid)) {
            return;
        }
        // A manager that is stopped in the middle of a message must not stop the reaping.
        let _ = sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE_WITHIN));
        let mut outbox = Outbox::default();
        if self.introduce(&mut outbox).is_err() {
            return;
        }
        self.was_met = true;
        self.manager = Some(Manager { socket, outbox });
        self.flush();
    }

    fn introduce(&self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        let known = self.table.all();
        let welcome = Welcome {
            protocol: PROTOCOL,
            fettle: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            known: known.len(),
        };
        outbox.put(&Event::Welcome(welcome), None)?;
        for known in known {
            let kept = known.kept.map(OwnedFd::try_clone).transpose()?;
            let known = Event::Known { launched: known.launched, ended: known.ended };
            outbox.put(&known, kept)?;
        }
        Ok(())
    }

    /// Takes one request.
    fn obey(&mut self) -> Result<(), ChannelError> {
        let Some(manager) = &self.manager else { return Ok(()) };
        let (request, came): (Request, _) = receive(&manager.socket)?;
        match request {
            Request::Launch(program) => {
                if let Some(known) = self.table.find(&program.launch) {
                    let launched = Event::Launched(known.launched);
                    let ended = known.ended.map(Event::Ended);
                    self.say(&launched);
                    ended.iter().for_each(|ended| self.say(ended));
                    return Ok(());
                }
                match spawn(&program, came) {
                    Ok((launched, kept)) => {
                        self.table.insert(&launched, None, kept);
                        self.say(&Event::Launched(launched));
                    }
                    Err(refused) => self.say(&Event::Refused(refused)),
                }
            }
            Request::Signal { launch, signal, group } => self.signal(&launch, signal, group),
            Request::Acknowledge { launch } => self.table.acknowledge(&launch),
            Request::Replace { program, args } => {
                let error = replace(&program, &args, &self.listener, &self.table);
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                self.say(&Event::Refused(Refused {
                    launch: String::new(),
                    step: Step::Execute,
                    errno,
                }));
            }
        }
        Ok(())
    }

    fn signal(&self, launch: &str, signal: i32, group: bool) {
        let process = self.table.running(launch).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let (Some(process), Some(signal)) = (process, Signal::from_named_raw(signal)) else {
            return;
        };
        // Not reaped, so the number is its own; it leads its group unless it has just left it.
        if !group || kill_process_group(process, signal).is_err() {
            let _ = kill_process(process, signal);
        }
    }

    /// Asks every child that has ended how. What is no program of ours was left behind by one.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let end = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => End::Code(code),
                        (None, Some(signal)) => End::Signal(signal),
                        (None, None) => continue, // stopped or continued
                    };
                    let pid = pid.as_raw_nonzero().get().unsigned_abs();
                    if let Some(ended) = self.table.ended(pid, end, now()) {
                        self.say(&Event::Ended(ended));
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return, // none, or no children at all
            }
        }
    }

    fn say(&mut self, event: &Event) {
        let Some(manager) = &mut self.manager else { return };
        match manager.outbox.put(event, None) {
            Ok(()) => self.flush(),
            Err(error) => self.part(&error),
        }
    }

    fn flush(&mut self) {
        let Some(manager) = &mut self.manager else { return };
        if let Err(error) = manager.outbox.flush(manager.socket.as_fd()) {
            self.part(&error);
        }
    }

    /// What was not heard is told to the next one.
    fn part(&mut self, _why: &ChannelError) {
        self.manager = None;
    }
}

/// What it says does not matter: what is so is looked at.
fn drain(descriptor: &OwnedFd) {
    let mut buffer = [0; 4096];
    let _ = rustix::io::read(descriptor, &mut buffer); // it was readable
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long it waits for the first manager.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits for the rest of a message.
const PATIENCE_WITHIN: Duration = Duration::from_secs(10);
