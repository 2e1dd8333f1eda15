//! The one place where file work leaves the async threads.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Runs plain, blocking code on a thread made for it. A panic in it goes on in the caller.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being dropped: nobody will look at the answer any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// As [`blocking`], for work that is over soon and never waits for other work of this kind. Only a few at a
/// time: a thousand tasks that each write a small file get no thread each, which would cost more than the files.
pub async fn brief<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static TURNS: LazyLock<Semaphore> = LazyLock::new(|| {
        // Some more than can run: a few wait for the disk.
        Semaphore::new(2 * available_parallelism().map_or(2, usize::from))
    });
    let turn = TURNS.acquire().await;
    blocking(move || {
        let _turn = turn; // also while nobody waits for the work any more
        work()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn of_a_thousand_brief_pieces_of_work_only_a_few_go_on_at_a_time() {
        let most = 2 * available_parallelism().map_or(2, usize::from);
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = (0..1000).map(|number| {
            let (now, peak) = (now.clone(), peak.clone());
            tokio::spawn(brief(move || {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_micros(100));
                now.fetch_sub(1, Ordering::SeqCst);
                number
            }))
        });
        let work: Vec<_> = work.collect();
        for (number, task) in work.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number);
        }
        assert!(peak.load(Ordering::SeqCst) <= most, "{peak:?} at a time");
    }

    #[tokio::test]
    async fn brief_work_that_panics_or_is_given_up_leaves_its_turn_to_others() {
        for _ in 0..100 {
            assert!(tokio::spawn(brief(|| panic!("on purpose"))).await.is_err());
            drop(brief(|| ()));
        }
        assert_eq!(brief(|| 7).await, 7);
    }
}
