//! Many cases at once: each is a machine of its own, and most of its time is waiting.
//!
//! Usually every k-th is taken, another residue for each change; `FETTLE_SWEEP=all` takes them all, and
//! says from time to time how far it is.
#![allow(clippy::print_stdout, reason = "whoever runs a sweep waits for it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Every how manieth case is taken.
pub fn stride(usual: usize) -> usize {
    if is_whole() { 1 } else { usual }
}

fn is_whole() -> bool {
    std::env::var("FETTLE_SWEEP").as_deref() == Ok("all")
}

/// Runs the numbers `offset`, `offset + stride` and so on, until one says that it was the last. A few
/// beyond that one may be run too. How many were.
pub async fn until_the_last<F>(
    name: &str,
    offset: usize,
    stride: usize,
    run: impl Fn(usize) -> F + Send + Sync + 'static,
) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let stop = over.clone();
    let numbers = (offset..).step_by(stride).take_while(move |_| !stop.load(Ordering::SeqCst));
    at_once(name, stream::iter(numbers), move |at| {
        let (last, over) = (run(at), over.clone());
        async move {
            if last.await {
                over.store(true, Ordering::SeqCst);
            }
        }
    })
    .await
}

/// Runs all that come out of `cases`. How many there were. Nobody who waits for the next one keeps a thread
/// from the servers that the others talk to.
pub async fn at_once<T, F>(
    name: &str,
    cases: impl Stream<Item = T> + Send + Unpin + 'static,
    run: impl Fn(T) -> F + Send + Sync + 'static,
) -> usize
where
    T: Send,
    F: Future<Output = ()> + Send + 'static,
{
    let cases = Arc::new(Mutex::new(cases));
    let (run, count) = (Arc::new(run), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..std::thread::available_parallelism().map_or(2, usize::from) * 2 {
        let (cases, run, count) = (cases.clone(), run.clone(), count.clone());
        let name = name.to_owned();
        workers.spawn(async move {
            let mut told = Instant::now();
            loop {
                let case = cases.lock().await.next().await;
                let Some(case) = case else { return };
                run(case).await;
                let count = count.fetch_add(1, Ordering::SeqCst) + 1;
                if worker == 0 && is_whole() && told.elapsed() > PROGRESS {
                    println!("{name}: {count} so far, {} s", began.elapsed().as_secs());
                    told = Instant::now();
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(failed) = ended {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
    let count = count.load(Ordering::SeqCst);
    println!("{name}: {count} in {} s", began.elapsed().as_secs());
    count
}

/// How often somebody who waits is told.
const PROGRESS: Duration = Duration::from_secs(20);
