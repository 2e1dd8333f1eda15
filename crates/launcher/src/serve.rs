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
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
use crate::files::limit_of_programs;
use crate::message::{End, Event, Limit, PROTOCOL, Refused, Request, Step, Welcome, Word};
use crate::replace::{RESUME, Resumed, replace, resume};
use crate::spawn::{Spawned, spawn};
use crate::starting::{Outcome, Starts};
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
    table: Table<Rc<OwnedFd>>,
    starts: Starts,
    /// What is to be executed in place of this program, once no start is under way.
    next: Option<(Word, Vec<Word>)>,
    /// The limit of open files that programs begin with.
    files: Limit,
    /// Given up to hear a manager when all numbers of descriptors are taken.
    spare: Option<OwnedFd>,
    /// Could the last one who called not be heard?
    is_deaf: bool,
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
        let (begun_with, arguments) = limit_of_programs(arguments);
        // What administrators see in a list of processes.
        set_name(c"fettle-launch")?;
        let _ = setsid(); // an error: it leads a session already, after it was replaced
        // What double-forks becomes our child, so that it can be found and is reaped.
        set_child_subreaper(Some(Pid::INIT))?;
        let ends = sys::ends_of_children()?;
        let Resumed { listener, files, table } = match arguments {
            [_, resumed, number] if resumed == RESUME => resume(&number.to_string_lossy())?,
            _ => {
                let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
                Resumed { listener, files: None, table: Table::default() }
            }
        };
        let files = files.unwrap_or(begun_with);
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
            starts: Starts::default(),
            next: None,
            files,
            spare: spare(),
            is_deaf: false,
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
            let Happened { ends, removed, asked, called, writable, reports } = self.wait()?;
            for outcome in self.starts.hear(&reports, Instant::now()) {
                self.answer(outcome);
            }
            if ends {
                drain(&self.ends);
                self.reap();
            }
            if self.starts.is_empty()
                && let Some((program, args)) = self.next.take()
            {
                self.replace(&program, &args);
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

    fn wait(&mut self) -> io::Result<Happened> {
        let readable = PollFlags::IN;
        // A start that is under way is told to nobody but who asked for it: a manager that comes hears of
        // it when it is known whether there is a program. Whoever asks for too much at a time waits.
        let listens = self.starts.is_empty() && !self.is_deaf;
        let obeys = !self.starts.is_full() && self.next.is_none();
        let mut polled =
            vec![PollFd::new(&self.ends, readable), PollFd::new(&self.removals, readable)];
        polled.extend(self.starts.reports().map(|report| PollFd::new(report, readable)));
        let reports = 2..polled.len();
        let listener = listens.then_some(polled.len());
        polled.extend(listens.then(|| PollFd::new(&self.listener, readable)));
        let socket = polled.len();
        if let Some(manager) = &self.manager {
            let writable =
                if manager.outbox.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let wanted = if obeys { readable | writable } else { writable };
            polled.extend((!wanted.is_empty()).then(|| PollFd::new(&manager.socket, wanted)));
        }
        let first = (!self.was_met).then_some(PATIENCE);
        let late = self.starts.first_deadline();
        let late = late.map(|at| at.saturating_duration_since(Instant::now()) + TICK);
        let again = self.is_deaf.then_some(DEAF);
        let timeout = [first, late, again].into_iter().flatten().min();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let count = match poll(&mut polled, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Happened::default()),
            count => count?,
        };
        self.is_deaf = false;
        if count == 0 {
            self.was_met |= again.is_none(); // else whoever started it is gone
            return Ok(Happened::default());
        }
        let happened = |index: usize, flags| {
            polled.get(index).is_some_and(|polled: &PollFd<'_>| polled.revents().intersects(flags))
        };
        let any = readable | PollFlags::HUP | PollFlags::ERR;
        Ok(Happened {
            ends: happened(0, any),
            removed: happened(1, any),
            asked: obeys && happened(socket, any),
            called: listener.is_some_and(|at| happened(at, any)),
            writable: happened(socket, PollFlags::OUT),
            reports: reports.map(|at| happened(at, any)).collect(),
        })
    }

    /// Takes the newest manager: there is one at a time, and an older one that is still connected has ended
    /// or lost the node.
    fn meet(&mut self) {
        let accept = || accept_with(&self.listener, SocketFlags::CLOEXEC);
        let accepted = match accept() {
            Err(rustix::io::Errno::MFILE) if self.spare.take().is_some() => accept(),
            accepted => accepted,
        };
        let Ok(socket) = accepted else {
            // It is called still, and to look at once would find the same.
            self.is_deaf = true;
            return;
        };
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
        self.spare = self.spare.take().or_else(spare);
        self.flush();
    }

    fn introduce(&self, outbox: &mut Outbox) -> Result<(), ChannelError> {
        let known = self.table.wanted();
        let welcome = Welcome {
            protocol: PROTOCOL,
            fettle: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            known: known.len(),
        };
        outbox.put(&Event::Welcome(welcome), None)?;
        for known in known {
            let kept = known.kept.cloned();
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
                if self.starts.has(&program.launch) {
                    return Ok(());
                }
                self.table.remember(&program.launch);
                if let Some(known) = self.table.find(&program.launch) {
                    let launched = Event::Launched(known.launched);
                    let ended = known.ended.map(Event::Ended);
                    self.say(&launched);
                    ended.iter().for_each(|ended| self.say(ended));
                    return Ok(());
                }
                match spawn(&program, came, self.files) {
                    Ok(Spawned { launched, report, kept }) => {
                        self.table.insert(&launched, None, kept.map(Rc::new));
                        self.starts.add(launched, report, Instant::now());
                    }
                    Err(refused) => self.say(&Event::Refused(refused)),
                }
            }
            Request::Signal { launch, signal, group } => self.signal(&launch, signal, group),
            Request::Acknowledge { launch } => self.table.acknowledge(&launch),
            Request::Replace { program, args } if self.starts.is_empty() => {
                self.replace(&program, &args);
            }
            Request::Replace { program, args } => self.next = Some((program, args)),
        }
        Ok(())
    }

    fn replace(&mut self, program: &Word, args: &[Word]) {
        let error = replace(program, args, &self.listener, self.files, &self.table);
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        self.say(&Event::Refused(Refused { launch: String::new(), step: Step::Execute, errno }));
    }

    /// Says how a start went.
    fn answer(&mut self, outcome: Outcome) {
        let refused = match outcome {
            Outcome::Executes(launched) => return self.say(&Event::Launched(launched)),
            Outcome::Failed(refused) => refused,
            Outcome::Late(launched, refused) => {
                // Not reaped, so the number is its own. What hangs in the kernel ends when it comes back.
                let process = Pid::from_raw(launched.pid.cast_signed());
                let _ = process.map(|process| kill_process(process, Signal::KILL));
                refused
            }
        };
        self.table.remove(&refused.launch);
        self.say(&Event::Refused(refused));
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
                    if let Some(outcome) = self.starts.reaped(pid) {
                        self.answer(outcome);
                    }
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

/// What came while the launcher waited; nothing, if that was in vain.
#[derive(Debug, Default)]
struct Happened {
    /// A child has ended.
    ends: bool,
    /// Something was removed beside the socket.
    removed: bool,
    /// The manager asks.
    asked: bool,
    /// A manager calls.
    called: bool,
    /// The manager can be written to.
    writable: bool,
    /// Which of the starts say something.
    reports: Vec<bool>,
}

/// A number of a descriptor that is kept free by being taken.
fn spare() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
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
/// Before a caller who could not be heard is heard again, if nothing else happens.
const DEAF: Duration = Duration::from_secs(1);
/// Added to a wait for a deadline, which is over then.
const TICK: Duration = Duration::from_millis(1);
/// How long it waits for the rest of a message.
const PATIENCE_WITHIN: Duration = Duration::from_secs(10);
