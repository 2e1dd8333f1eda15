//! The one place where file work leaves the async threads.

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
