//! Locks by key, within this process: one holder for each key, others wait their turn. A key that nobody
//! holds or waits for takes no memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// The locks of one kind of key.
#[derive(Debug)]
pub(crate) struct Locks<K> {
    held: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Locks { held: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone> Locks<K> {
    /// Waits for the lock of this key; it is given back when the guard is dropped.
    pub(crate) async fn lock(&self, key: &K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|_, lock| Arc::strong_count(lock) > 1);
            held.entry(key.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_has_one_holder_and_other_keys_do_not_wait() {
        let locks = Locks::default();
        let first = locks.lock(&1).await;
        let _other = locks.lock(&2).await;
        let mut second = std::pin::pin!(locks.lock(&1));
        tokio::select! {
            biased;
            _ = second.as_mut() => panic!("two hold it"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        second.await;
    }

    #[tokio::test]
    async fn keys_that_nobody_holds_are_forgotten() {
        let locks = Locks::default();
        for key in 0..100 {
            drop(locks.lock(&key).await);
        }
        assert!(locks.held.lock().unwrap().len() <= 1);
    }
}
