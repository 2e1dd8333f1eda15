//! What the manager knows of the launches that it has not acknowledged: who waits for which, and how each
//! ended. Pure but for telling those who wait; lost with the manager, which hears all of it again.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use launcher::{ChannelError, Connection, Ended, Event, Known, Launched};
use model::LaunchId;
use tokio::sync::{Notify, oneshot};

use super::launcher::Unmade;

/// The connection, and all launches.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) launches: HashMap<LaunchId, Launch>,
}

/// A launch that has not been acknowledged.
#[derive(Debug)]
pub(super) struct Launch {
    /// Who waits for it to be made.
    pub(super) asked: Option<oneshot::Sender<Result<Launched, Unmade>>>,
    pub(super) made: Option<Launched>,
    /// What the launcher kept for its owner.
    pub(super) kept: Option<OwnedFd>,
    pub(super) fate: Arc<Fate>,
}

/// How a launch ends; empty until that is known.
#[derive(Debug, Default)]
pub(super) struct Fate {
    end: OnceLock<FateOf>,
    told: Notify,
}

/// What became of a program.
#[derive(Debug, Clone)]
pub(super) enum FateOf {
    /// It has ended.
    Ended(Ended),
    /// The launcher is gone, and with it what it would have said. The program may still run.
    LauncherLost,
}

impl Fate {
    /// Waits until it is known.
    pub(super) async fn known(&self) -> &FateOf {
        loop {
            let told = self.told.notified();
            if let Some(end) = self.end.get() {
                return end;
            }
            told.await;
        }
    }

    /// What is known now.
    pub(super) fn now(&self) -> Option<&FateOf> {
        self.end.get()
    }

    fn tell(&self, end: FateOf) {
        let _ = self.end.set(end); // the first word holds
        self.told.notify_waiters();
    }
}

impl State {
    /// Is this the connection that is used?
    pub(super) fn is_over(&self, connection: &Arc<Connection>) -> bool {
        self.connection.as_ref().is_some_and(|now| Arc::ptr_eq(now, connection))
    }

    /// This is all that the launcher knows: what else was asked for, it has never heard of or forgotten.
    pub(super) fn learn(&mut self, known: Vec<Known>) {
        let mut before = std::mem::take(&mut self.launches);
        for Known { launched, ended, kept } in known {
            let Ok(id) = launched.launch.parse() else { continue };
            let mut launch = before.remove(&id).unwrap_or_else(Launch::unasked);
            launch.made(launched);
            launch.kept = kept;
            if let Some(ended) = ended {
                launch.fate.tell(FateOf::Ended(ended));
            }
            self.launches.insert(id, launch);
        }
        for launch in before.into_values() {
            launch.fate.tell(FateOf::LauncherLost);
            if let Some(asked) = launch.asked {
                let _ = asked.send(Err(Unmade::Lost(ChannelError::Closed))); // may have left
            }
        }
    }

    /// Gives an end that nobody wants to hear of: of a launch that was acknowledged while it ran, which a
    /// launcher of before remembers until it is told again.
    pub(super) fn hear(&mut self, event: Event) -> Option<Ended> {
        match event {
            Event::Launched(launched) => {
                if let Some(launch) = self.find(&launched.launch) {
                    launch.made(launched);
                }
            }
            Event::Refused(refused) => {
                let found = refused.launch.parse().ok().and_then(|id| self.launches.remove(&id));
                if let Some(asked) = found.and_then(|launch| launch.asked) {
                    let _ = asked.send(Err(Unmade::Refused(refused)));
                }
            }
            Event::Ended(ended) => {
                let Some(launch) = self.find(&ended.launch) else { return Some(ended) };
                launch.fate.tell(FateOf::Ended(ended));
            }
            Event::Welcome(_) | Event::Known { .. } => {} // heard where the connection is made
        }
        None
    }

    fn find(&mut self, launch: &str) -> Option<&mut Launch> {
        self.launches.get_mut(&launch.parse().ok()?)
    }
}

impl Launch {
    fn unasked() -> Launch {
        Launch { asked: None, made: None, kept: None, fate: Arc::default() }
    }

    fn made(&mut self, launched: Launched) {
        if let Some(asked) = self.asked.take() {
            let _ = asked.send(Ok(launched.clone())); // may have left
        }
        self.made = Some(launched);
    }
}
