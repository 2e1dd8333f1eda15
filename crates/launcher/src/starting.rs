//! Starts that are under way: processes that were made and have not executed their programs yet. Owns what
//! each says of itself and how long it may take; refuses to wait, so that a program on a disk that does not
//! answer keeps nobody else from starting.
//!
//! A process says nothing and executes its program, which closes its report; or it says what failed, and
//! ends. It is refused when it was reaped, so that nothing of it is left, but not later than in time: what
//! hangs in the kernel cannot even be killed.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::message::{Launched, Refused, Step};
use crate::sys::{self, Failed};

/// All starts that are under way.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    list: Vec<Start>,
}

#[derive(Debug)]
struct Start {
    launched: Launched,
    until: Instant,
    report: Report,
}

#[derive(Debug)]
enum Report {
    /// It has said nothing yet.
    Open(OwnedFd),
    /// This failed; it is about to end.
    Failed(Failed),
}

/// How a start went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It executes its program, or was ended by a signal before it could.
    Executes(Launched),
    /// It could not.
    Failed(Refused),
    /// It did not say in time: its process is to be killed.
    Late(Launched, Refused),
}

impl Starts {
    /// This process was made, and says there how it goes on.
    pub(crate) fn add(&mut self, launched: Launched, report: OwnedFd, now: Instant) {
        let until = now + WITHIN;
        self.list.push(Start { launched, until, report: Report::Open(report) });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Are there as many as there may be? Each takes a descriptor.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// Is this one under way? Then its answer follows.
    pub(crate) fn has(&self, launch: &str) -> bool {
        self.list.iter().any(|start| start.launched.launch == launch)
    }

    /// What becomes readable when one has something to say.
    pub(crate) fn reports(&self) -> impl Iterator<Item = &OwnedFd> {
        self.list.iter().filter_map(|start| match &start.report {
            Report::Open(report) => Some(report),
            Report::Failed(_) => None,
        })
    }

    /// When the first of them is late.
    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.list.iter().map(|start| start.until).min()
    }

    /// Hears those of [`Starts::reports`] that are readable, in the same order, and gives up the late ones.
    pub(crate) fn hear(&mut self, readable: &[bool], now: Instant) -> Vec<Outcome> {
        let (mut readable, mut outcomes) = (readable.iter(), Vec::new());
        self.list.retain_mut(|start| {
            if let Report::Open(report) = &start.report
                && readable.next().is_some_and(|is| *is)
            {
                match said(report) {
                    Said::Nothing => {}
                    Said::Closed => {
                        outcomes.push(Outcome::Executes(start.launched.clone()));
                        return false;
                    }
                    Said::Failed(failed) => start.report = Report::Failed(failed),
                }
            }
            if now < start.until {
                return true;
            }
            outcomes.push(start.late());
            false
        });
        outcomes
    }

    /// This process was reaped. `None`: it was under way no more.
    pub(crate) fn reaped(&mut self, pid: u32) -> Option<Outcome> {
        let found = self.list.iter().position(|start| start.launched.pid == pid)?;
        let Start { launched, report, .. } = self.list.swap_remove(found);
        let failed = match report {
            Report::Failed(failed) => Some(failed),
            Report::Open(report) => match said(&report) {
                Said::Failed(failed) => Some(failed),
                Said::Closed | Said::Nothing => None,
            },
        };
        Some(match failed {
            Some(failed) => Outcome::Failed(refused(&launched, failed)),
            None => Outcome::Executes(launched),
        })
    }
}

impl Start {
    fn late(&self) -> Outcome {
        let launched = self.launched.clone();
        match self.report {
            Report::Failed(failed) => Outcome::Failed(refused(&launched, failed)),
            Report::Open(_) => {
                let refused = refused(&launched, (Step::InTime, libc::ETIMEDOUT));
                Outcome::Late(launched, refused)
            }
        }
    }
}

fn refused(launched: &Launched, (step, errno): Failed) -> Refused {
    Refused { launch: launched.launch.clone(), step, errno }
}

enum Said {
    Nothing,
    /// By a successful execve, or by an end without a word.
    Closed,
    Failed(Failed),
}

/// The report is never waited for; what is said comes in one piece.
fn said(report: &OwnedFd) -> Said {
    let mut words = [0; 8];
    match rustix::io::read(report, &mut words) {
        Ok(count) if count == words.len() => Said::Failed(sys::failed(words)),
        Ok(_) => Said::Closed,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Said::Nothing,
        Err(_) => Said::Closed,
    }
}

/// How long a process may take to execute its program: less than a manager waits for a greeting.
const WITHIN: Duration = Duration::from_secs(8);
/// Starts that may be under way at a time.
const MOST: usize = 64;
