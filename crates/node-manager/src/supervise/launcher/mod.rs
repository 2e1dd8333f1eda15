//! The manager's way to its launcher, the process that is parent of all programs: asks it to make them,
//! hears how they end, finds it again after a restart. Owns who waits for which launch; decides nothing.
//!
//! There is one thread that listens to the launcher. If the launcher is lost, everybody who waits hears
//! that, and the next launch starts another one; programs are not lost with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use launcher::{
    ChannelError, Connection, Ended, Event, Known, Launched, Program, ReachError, Refused, Request,
    Step, Way,
};
use model::LaunchId;
use tokio::sync::oneshot;
use wire::serve::brief;

use super::launches::{Fate, Launch, State};

/// The way to the launcher of this node.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    way: Way,
    state: Mutex<State>,
    /// Held by whoever looks for a launcher or starts one.
    reaching: Mutex<()>,
}

/// A program that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) launched: Launched,
    /// What the launcher kept for its owner; once.
    pub(super) kept: Option<OwnedFd>,
    pub(super) fate: Arc<Fate>,
}

/// A launch that the launcher was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    answer: oneshot::Receiver<Result<Launched, Unmade>>,
    fate: Arc<Fate>,
}

/// Why a program was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmade {
    /// There is no launcher.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// It was lost before it answered: nobody knows whether the program was made.
    #[error("the launcher was lost")]
    Lost(#[source] ChannelError),
    /// It refused.
    #[error("the launcher cannot {}", .0.step)]
    Refused(Refused),
}

impl Unmade {
    /// May the same be possible in a moment? A program that was just installed may be "busy": a child that
    /// somebody forked while the file was still open for writing has it open too until it executes its own.
    pub(super) fn is_of_the_moment(&self) -> bool {
        let busy = rustix::io::Errno::TXTBSY.raw_os_error();
        match self {
            Unmade::Refused(refused) => refused.step == Step::Execute && refused.errno == busy,
            Unmade::Lost(_) => true,
            Unmade::Reach(_) => false,
        }
    }
}

impl Asked {
    /// Waits until it is made, or refused.
    pub(super) async fn made(self) -> Result<Made, Unmade> {
        let Asked { answer, fate } = self;
        // Whoever ends without an answer was the listener.
        let answered = answer.await.unwrap_or(Err(Unmade::Lost(ChannelError::Closed)));
        answered.map(|launched| Made { launched, kept: None, fate })
    }
}

impl Launcher {
    /// The way to the launcher that an earlier manager of this node left running, if there is one; else to
    /// none yet. One that is another program than `way` says is replaced by it. Blocking.
    ///
    /// # Errors
    /// There is one, and it cannot be talked to.
    pub(crate) fn find(way: Way) -> Result<Launcher, ReachError> {
        let shared = Arc::new(Shared { way, state: Mutex::default(), reaching: Mutex::default() });
        if let Some((connection, known)) = Connection::find(&shared.way)? {
            let (connection, known) = shared.renew(connection, known)?;
            shared.take(connection, known);
        }
        Ok(Launcher { shared })
    }

    /// A launch that the launcher knows.
    pub(super) fn known(&self, launch: LaunchId) -> Option<Made> {
        let mut state = self.shared.state();
        let found = state.launches.get_mut(&launch)?;
        let launched = found.made.clone()?;
        Some(Made { launched, kept: found.kept.take(), fate: found.fate.clone() })
    }

    /// Makes a program, once for each launch. Starts a launcher if there is none.
    pub(super) async fn launch(
        &self,
        launch: LaunchId,
        program: Program,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Made, Unmade> {
        let this = self.clone();
        brief(move || this.ask(launch, program, &descriptors)).await?.made().await
    }

    /// The first half of [`Launcher::launch`], for whoever is on a thread for that already. Blocking.
    pub(super) fn ask(
        &self,
        launch: LaunchId,
        program: Program,
        descriptors: &[OwnedFd],
    ) -> Result<Asked, ReachError> {
        let request = Request::Launch(Box::new(program));
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        for _ in 0..ATTEMPTS {
            let connection = self.shared.reach()?;
            if let Some(asked) = self.ask_by(&connection, launch, &request, &descriptors) {
                return Ok(asked);
            }
        }
        Err(ReachError::Silent(ChannelError::Closed))
    }

    /// `None`: this connection is lost already, and whoever would tell of that has done so.
    fn ask_by(
        &self,
        connection: &Arc<Connection>,
        launch: LaunchId,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Option<Asked> {
        let (asked, answer) = oneshot::channel();
        let fate = Arc::<Fate>::default();
        let new = Launch { asked: Some(asked), made: None, kept: None, fate: fate.clone() };
        {
            let mut state = self.shared.state();
            if !state.is_over(connection) {
                return None;
            }
            state.launches.insert(launch, new);
        }
        if connection.send(request, descriptors).is_err() {
            connection.close();
            // Half a request makes no program. Without its entry it is answered: lost.
            self.shared.state().launches.remove(&launch);
        }
        Some(Asked { answer, fate })
    }

    /// Sends a signal to a program that has not ended, and to its process group. Blocking.
    pub(super) fn signal(&self, launch: LaunchId, signal: i32) {
        let request = Request::Signal { launch: launch.to_string(), signal, group: true };
        self.shared.say(&request);
    }

    /// The end of this launch is recorded, or of no use to anybody. Blocking.
    pub(super) fn acknowledge(&self, launch: LaunchId) {
        self.shared.state().launches.remove(&launch);
        self.shared.say(&Request::Acknowledge { launch: launch.to_string() });
    }

    /// Forgets ends that concern none of these launches. Blocking.
    pub(crate) fn forget_all_but(&self, wanted: impl Fn(LaunchId) -> bool) {
        let ended: Vec<LaunchId> = {
            let state = self.shared.state();
            let ended = state.launches.iter().filter(|(_, launch)| launch.fate.now().is_some());
            ended.map(|(launch, _)| *launch).filter(|launch| !wanted(*launch)).collect()
        };
        ended.into_iter().for_each(|launch| self.acknowledge(launch));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, request: &Request) {
        let connection = self.state().connection.clone();
        if let Some(connection) = connection
            && connection.send(request, &[]).is_err()
        {
            connection.close();
        }
    }

    /// The connection, made if there is none. Blocking.
    fn reach(self: &Arc<Self>) -> Result<Arc<Connection>, ReachError> {
        let _one = self.reaching.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = self.state().connection.clone();
        if let Some(connection) = connection {
            return Ok(connection);
        }
        let (connection, known) = Connection::reach(&self.way)?;
        Ok(self.take(connection, known))
    }

    /// Asks a launcher that runs another program (that of an older fettle) to become this one, and finds it
    /// again. One that cannot is used as it is.
    fn renew(
        &self,
        connection: Connection,
        known: Vec<Known>,
    ) -> Result<(Connection, Vec<Known>), ReachError> {
        let identity = |path: &std::path::Path| {
            std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
        };
        let pid = connection.welcome().pid;
        let runs = identity(format!("/proc/{pid}/exe").as_ref());
        let wanted = identity(&self.way.program);
        if runs.is_none() || wanted.is_none() || runs == wanted {
            return Ok((connection, known));
        }
        // Our own program by our own number: the name may lead to a newer file, or to none.
        let program = match self.way.program.starts_with("/proc/self") {
            true => format!("/proc/{}/exe", std::process::id()).into(),
            false => self.way.program.clone(),
        };
        let args = self.way.args.iter().map(Into::into);
        let args = args.chain([self.way.directory.as_path().into()]).collect();
        let request = Request::Replace { program: program.as_path().into(), args };
        match connection.send(&request, &[]).and_then(|()| wait_for_refusal(&connection)) {
            Err(ChannelError::Closed) => {
                tracing::info!(pid, "the launcher runs the program of this manager now");
            }
            Err(error) => return Err(ReachError::Silent(error)),
            Ok(refused) => {
                tracing::warn!(?refused, pid, "the launcher goes on with its old program");
            }
        }
        // Also if it refused: ends that were told meanwhile are told again.
        Connection::find(&self.way)?.ok_or(ReachError::Silent(ChannelError::Closed))
    }

    /// Begins to listen.
    fn take(self: &Arc<Self>, connection: Connection, known: Vec<Known>) -> Arc<Connection> {
        let connection = Arc::new(connection);
        let mut state = self.state();
        state.connection = Some(connection.clone());
        state.learn(known);
        drop(state);
        let (shared, listening) = (Arc::downgrade(self), connection.clone());
        let listener = std::thread::Builder::new().name("launcher".into());
        if let Err(error) = listener.spawn(move || listen(&shared, &listening)) {
            tracing::error!(%error, "nobody can listen to the launcher");
            connection.close();
        }
        connection
    }

    /// The connection has ended: the launcher was replaced, or it is gone, or it is busy. Is that dealt with?
    /// One that is busy is to be looked for again, for it knows how programs ended.
    fn look_again(self: &Arc<Self>, connection: &Arc<Connection>) -> bool {
        let _one = self.reaching.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.state();
            if state.is_over(connection) {
                state.connection = None;
            }
            if state.connection.is_some() {
                return true; // somebody else has found it
            }
        }
        match Connection::find(&self.way) {
            Ok(Some((connection, known))) => {
                self.take(connection, known);
                true
            }
            Ok(None) => {
                tracing::error!("the launcher is gone; its programs run on");
                self.state().learn(Vec::new());
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the launcher does not answer; it is looked for again");
                false
            }
        }
    }
}

/// The last way to the launcher is gone, and with it the listener. The programs run on.
impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(connection) = self.state().connection.take() {
            connection.close();
        }
    }
}

fn listen(shared: &Weak<Shared>, connection: &Arc<Connection>) {
    loop {
        let heard = connection.receive();
        let Some(shared) = shared.upgrade() else { return };
        match heard {
            Ok(event) => {
                let unwanted = shared.state().hear(event);
                if let Some(Ended { launch, .. }) = unwanted {
                    shared.say(&Request::Acknowledge { launch });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the connection to the launcher has ended");
                break;
            }
        }
    }
    let mut pause = FIRST_PAUSE;
    // Not held during a pause: the manager may end.
    while let Some(shared) = shared.upgrade() {
        if shared.look_again(connection) {
            return;
        }
        drop(shared);
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn wait_for_refusal(connection: &Connection) -> Result<Refused, ChannelError> {
    loop {
        if let Event::Refused(refused) = connection.receive()? {
            return Ok(refused);
        }
    }
}

/// How often a connection may be lost between its making and its use.
const ATTEMPTS: usize = 5;
/// Before a launcher that does not answer is looked for the second time; twice as long before each other.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
