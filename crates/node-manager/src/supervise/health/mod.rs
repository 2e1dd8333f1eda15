//! Whether a program does its work: ready after a start, alive after that. Listens to what it says and asks
//! it what the envelope wants asked; whoever owns the instance decides what follows.
//!
//! There is a task only for programs of whose readiness or liveness the envelope says something. Nothing
//! of it is on disk but the socket that programs notify through: after a restart of the manager a program
//! that was ready is ready, and one that was not has the time that was left to it, counted anew.

mod command;
mod notify;
mod probe;
mod said;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::pin::pin;
use std::time::Duration;

use launcher::Program;
use model::lifecycle::Unwell;
use model::policy::{Liveness, LivenessBy, Readiness, ReadyBy};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::said::Said;

pub(crate) use command::{Runner, command};
pub(crate) use notify::{Notify, NotifyError};
pub(crate) use probe::{NoPort, Question};

/// What is to be watched of one program.
#[derive(Debug)]
pub(crate) struct Plan {
    ready: Option<Ready>,
    alive: Option<Alive>,
}

#[derive(Debug)]
struct Ready {
    within: Duration,
    /// `None`: the program says so.
    asked: Option<(Question, Duration)>,
}

#[derive(Debug)]
enum Alive {
    /// The program says so at least this often.
    Watchdog(Duration),
    Asked {
        question: Question,
        every: Duration,
        timeout: Duration,
        failures: u32,
    },
}

/// News of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It is ready.
    Ready,
    /// What it says of itself.
    Status(String),
    /// It says that it is about to end.
    Stopping,
    /// It does not do its work: in which way, and why that is so.
    Unwell(Unwell, String),
}

/// Watches one program for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    news: mpsc::Receiver<News>,
    suspended: watch::Sender<bool>,
    task: AbortHandle,
}

impl Plan {
    /// What the envelope wants watched. `like` is the program, `env` its environment.
    pub(crate) fn new(
        ready: Option<&Readiness>,
        alive: Option<&Liveness>,
        env: &BTreeMap<String, OsString>,
        like: &Program,
    ) -> Result<Plan, NoPort> {
        let ready = ready.map(|Readiness { by, within }| {
            let asked = match by {
                ReadyBy::Notify => None,
                ReadyBy::Probe { probe, every } => {
                    Some((Question::new(probe, env, like)?, every.as_duration()))
                }
            };
            Ok(Ready { within: within.as_duration(), asked })
        });
        let alive = alive.map(|Liveness { by }| {
            Ok(match by {
                LivenessBy::Watchdog(span) => Alive::Watchdog(span.as_duration()),
                LivenessBy::Probe { probe, every, timeout, failures } => Alive::Asked {
                    question: Question::new(probe, env, like)?,
                    every: every.as_duration(),
                    timeout: timeout.as_duration(),
                    failures: *failures,
                },
            })
        });
        Ok(Plan { ready: ready.transpose()?, alive: alive.transpose()? })
    }

    /// Is a program ready as soon as it is there?
    pub(super) fn is_ready_at_once(&self) -> bool {
        self.ready.is_none()
    }

    /// Does a program of this plan speak for itself?
    pub(super) fn listens(&self) -> bool {
        let by_notify = self.ready.as_ref().is_some_and(|ready| ready.asked.is_none());
        by_notify || matches!(self.alive, Some(Alive::Watchdog(_)))
    }

    /// How often the program has to say that it works, for its `WATCHDOG_USEC`.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        match self.alive {
            Some(Alive::Watchdog(every)) => Some(every),
            _ => None,
        }
    }

    fn is_nothing(&self) -> bool {
        self.ready.is_none() && self.alive.is_none()
    }
}

impl Watch {
    /// Begins to watch a program that was made just now, or is found again and was `ready` before. `None`:
    /// there is nothing to be watched.
    pub(super) fn begin(
        plan: Plan,
        notify: Option<Notify>,
        runner: Runner,
        ready: bool,
    ) -> Option<Watch> {
        if plan.is_nothing() {
            return None;
        }
        let (sender, news) = mpsc::channel(NEWS);
        let (suspended, is_suspended) = watch::channel(false);
        let watcher = Watcher { plan, notify, runner, news: sender };
        let task = tokio::spawn(watcher.watch(ready, is_suspended)).abort_handle();
        Some(Watch { news, suspended, task })
    }

    /// A program that gets no time cannot say that it works: it is not asked, and what it has to say in
    /// time is counted anew when it gets time again.
    pub(super) fn suspend(&self, suspended: bool) {
        self.suspended.send_replace(suspended);
    }

    /// Waits for news. When nothing is watched any more, for ever.
    pub(super) async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    plan: Plan,
    notify: Option<Notify>,
    runner: Runner,
    news: mpsc::Sender<News>,
}

impl Watcher {
    async fn watch(self, ready: bool, mut suspended: watch::Receiver<bool>) {
        if !ready {
            match self.becomes_ready().await {
                Ok(()) => self.tell(News::Ready).await,
                Err(why) => return self.tell(News::Unwell(Unwell::NotReady, why)).await,
            }
        }
        while suspended.wait_for(|suspended| !suspended).await.is_ok() {
            let unwell = tokio::select! {
                biased;
                _ = suspended.wait_for(|suspended| *suspended) => None,
                unwell = self.fails() => Some(unwell),
            };
            if let Some((how, why)) = unwell {
                self.tell(News::Unwell(how, why)).await;
                // Its end, unless it was paused just then: that is no time to hear it.
                let _ = suspended.wait_for(|suspended| *suspended).await;
            }
        }
    }

    /// Waits until it is ready. `Err`: it is not, and there is no more time.
    async fn becomes_ready(&self) -> Result<(), String> {
        let Some(Ready { within, asked }) = &self.plan.ready else { return Ok(()) };
        let mut deadline = Instant::now() + *within;
        let mut last = "it has not said `READY=1`".to_owned();
        let ask = |at| {
            let question = asked.as_ref().map(|(question, _)| question);
            ask_at(at, question, &self.runner, LONGEST_QUESTION)
        };
        let mut asking = pin!(ask(Instant::now()));
        loop {
            tokio::select! {
                said = self.heard() => {
                    let mut is_ready = false;
                    for said in said {
                        match said {
                            Said::Ready => is_ready = asked.is_none(),
                            Said::Longer(micros) => {
                                deadline = deadline.max(Instant::now() + bounded(micros));
                            }
                            other => self.pass_on(other).await,
                        }
                    }
                    if is_ready {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    return Err(format!("it was not ready within {within:?}: {last}"));
                }
                answer = &mut asking => {
                    match answer {
                        Ok(()) => return Ok(()),
                        Err(answer) => last = answer,
                    }
                    let every = asked.as_ref().map_or(*within, |(_, every)| *every);
                    asking.set(ask(Instant::now() + every));
                }
            }
        }
    }

    /// Waits until it does not work any more, and says why.
    async fn fails(&self) -> (Unwell, String) {
        let watchdog = self.plan.watchdog();
        let again = |every| Instant::now() + every;
        let mut due = watchdog.map(again);
        let (question, every, timeout, failures) = match &self.plan.alive {
            Some(Alive::Asked { question, every, timeout, failures }) => {
                (Some(question), *every, *timeout, *failures)
            }
            _ => (None, Duration::MAX, Duration::MAX, 0),
        };
        let ask = |at| ask_at(at, question, &self.runner, timeout);
        let mut asking = pin!(ask(question.map_or_else(Instant::now, |_| again(every))));
        let mut bad = 0;
        loop {
            tokio::select! {
                said = self.heard() => for said in said {
                    match said {
                        Said::Alive => due = watchdog.map(again),
                        Said::NotAlive => {
                            return (Unwell::Watchdog, "it said `WATCHDOG=trigger`".to_owned());
                        }
                        other => self.pass_on(other).await,
                    }
                },
                () = at(due) => {
                    let every = watchdog.unwrap_or_default();
                    return (Unwell::Watchdog, format!("it has not said `WATCHDOG=1` for {every:?}"));
                }
                answer = &mut asking => {
                    match answer {
                        Ok(()) => bad = 0,
                        Err(answer) => {
                            bad += 1;
                            if bad >= failures {
                                return (Unwell::NotAlive, format!("{answer}, {bad} times in a row"));
                            }
                        }
                    }
                    asking.set(ask(again(every)));
                }
            }
        }
    }

    async fn heard(&self) -> Vec<Said> {
        match &self.notify {
            Some(notify) => notify.heard().await,
            None => std::future::pending().await,
        }
    }

    async fn pass_on(&self, said: Said) {
        match said {
            Said::Status(text) => self.tell(News::Status(text)).await,
            Said::Stopping => self.tell(News::Stopping).await,
            Said::Ready | Said::Alive | Said::NotAlive | Said::Longer(_) => {}
        }
    }

    async fn tell(&self, news: News) {
        let _ = self.news.send(news).await; // its owner may have gone
    }
}

/// Asks when it is time.
async fn ask_at(
    when: Instant,
    question: Option<&Question>,
    runner: &Runner,
    timeout: Duration,
) -> Result<(), String> {
    let Some(question) = question else { return std::future::pending().await };
    tokio::time::sleep_until(when).await;
    question.ask(runner, timeout).await
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A program cannot ask for more time than anybody would wait.
fn bounded(micros: u64) -> Duration {
    Duration::from_micros(micros).min(Duration::from_secs(24 * 3600))
}

/// News that wait for the owner.
const NEWS: usize = 8;
/// Of a question during a start: one that hangs is asked again.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
