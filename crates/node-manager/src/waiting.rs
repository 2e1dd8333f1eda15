//! What somebody waits for, told once it takes long. Owns when that is said and when it is taken back;
//! refuses to know what is waited for, and changes nothing: who waits, waits as long without it.
//!
//! It is told by events: one timer, armed for the moment at which the silence is long enough, and the
//! changes of whatever the words are made from. A crash forgets it with the wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// What whoever holds something is called where others wait for it.
pub(crate) type Holder = Arc<str>;

/// Somebody who may have to wait, and whom others may have to wait for.
pub(crate) trait Waiter: Send + Sync {
    /// What it is called where others wait for it.
    fn holder(&self) -> Holder;
    /// It has come no further since then.
    fn idle_since(&self) -> Instant;
    /// What it waits for; `None`: for nothing any more. Not a step forward in itself.
    fn waits_for(&self, what: Option<String>);
    /// Waits until it came further, or nothing is said of it any more.
    fn moved(&self) -> BoxFuture<'_, ()>;
}

/// Work that nobody asked for and nobody follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Background(pub(crate) &'static str);

impl Waiter for Background {
    fn holder(&self) -> Holder {
        self.0.into()
    }

    fn idle_since(&self) -> Instant {
        Instant::now()
    }

    fn waits_for(&self, _: Option<String>) {}

    fn moved(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Awaits, and says what for if that takes long.
pub(crate) async fn waiting<T>(
    waiter: &dyn Waiter,
    what: impl Fn() -> String,
    future: impl Future<Output = T>,
) -> T {
    waiting_with(waiter, watch::channel(()).1, |()| what(), future).await
}

/// [`waiting`] in words that follow from `facts`, and change with them.
pub(crate) async fn waiting_with<T, F>(
    waiter: &dyn Waiter,
    mut facts: watch::Receiver<F>,
    what: impl Fn(&F) -> String,
    future: impl Future<Output = T>,
) -> T {
    let mut future = pin!(future);
    let mut said = Said { waiter, something: false };
    loop {
        let due = waiter.idle_since() + SILENCE;
        if Instant::now() < due {
            tokio::select! {
                biased;
                done = &mut future => return done,
                () = tokio::time::sleep_until(due) => continue,
            }
        }
        let words = what(&facts.borrow_and_update());
        said.say(words);
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = change_of(&mut facts) => {}
            () = waiter.moved() => {}
        }
    }
}

/// Facts that nobody states any more do not change.
async fn change_of<F>(facts: &mut watch::Receiver<F>) {
    if facts.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What was said is taken back, also where the wait is given up.
struct Said<'a> {
    waiter: &'a dyn Waiter,
    something: bool,
}

impl Said<'_> {
    fn say(&mut self, what: String) {
        self.something = true;
        self.waiter.waits_for(Some(what));
    }
}

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if self.something {
            self.waiter.waits_for(None);
        }
    }
}

/// Without a step forward for so long, it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Whoever waits, and all that was said.
    struct Waiting {
        stepped: Mutex<Instant>,
        steps: watch::Sender<u32>,
        said: Mutex<Vec<Option<String>>>,
    }

    impl Waiting {
        fn new() -> Waiting {
            let (stepped, said) = (Mutex::new(Instant::now()), Mutex::default());
            Waiting { stepped, steps: watch::Sender::new(0), said }
        }

        fn step(&self) {
            *self.stepped.lock().unwrap() = Instant::now();
            self.steps.send_modify(|steps| *steps += 1);
        }

        fn said(&self) -> Vec<Option<String>> {
            self.said.lock().unwrap().clone()
        }
    }

    impl Waiter for Waiting {
        fn holder(&self) -> Holder {
            "a test".into()
        }
        fn idle_since(&self) -> Instant {
            *self.stepped.lock().unwrap()
        }
        fn waits_for(&self, what: Option<String>) {
            self.said.lock().unwrap().push(what);
        }
        fn moved(&self) -> BoxFuture<'_, ()> {
            let mut steps = self.steps.subscribe();
            Box::pin(async move { drop(steps.changed().await) })
        }
    }

    fn some(words: &str) -> Option<String> {
        Some(words.to_owned())
    }

    async fn seconds(seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_not_spoken_of() {
        let waiter = Waiting::new();
        waiting(&waiter, || "the moon".to_owned(), seconds(9.9)).await;
        assert_eq!(waiter.said(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_told_once_and_taken_back_at_its_end_or_when_it_is_given_up() {
        let waiter = Waiting::new();
        waiting(&waiter, || "the moon".to_owned(), seconds(100.0)).await;
        assert_eq!(waiter.said(), [some("the moon"), None]);
        waiter.step();
        let given_up = waiting(&waiter, || "the sun".to_owned(), std::future::pending::<()>());
        tokio::time::timeout(Duration::from_secs(11), given_up).await.unwrap_err();
        assert_eq!(waiter.said()[2..], [some("the sun"), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_silence_counts_from_the_last_step_and_after_another_step_anew() {
        let waiter = Waiting::new();
        let steps = async {
            seconds(9.0).await;
            waiter.step();
            seconds(9.0).await;
            assert_eq!(waiter.said(), []);
            seconds(2.0).await;
            assert_eq!(waiter.said().len(), 1);
            waiter.step();
            seconds(9.0).await;
            assert_eq!(waiter.said().len(), 1);
            seconds(2.0).await;
        };
        waiting(&waiter, || "bytes".to_owned(), steps).await;
        assert_eq!(waiter.said(), [some("bytes"), some("bytes"), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_words_follow_the_facts() {
        let waiter = Waiting::new();
        let (facts, seen) = watch::channel(1);
        let work = async {
            seconds(11.0).await;
            facts.send_replace(2);
            seconds(1.0).await;
        };
        waiting_with(&waiter, seen, |number| format!("number {number}"), work).await;
        assert_eq!(waiter.said(), [some("number 1"), some("number 2"), None]);
    }
}
