//! Locks by key, within this process: one holder for each key, or several that only look; others wait their
//! turn. A key that nobody holds or waits for takes no memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The locks of one kind of key.
#[derive(Debug)]
pub(crate) struct Locks<K> {
    held: Mutex<HashMap<K, Arc<RwLock<()>>>>,
}

/// A key is held alone; it is given back when this value is dropped.
pub(crate) type Alone = OwnedRwLockWriteGuard<()>;
/// A key is held with others.
pub(crate) type Shared = OwnedRwLockReadGuard<()>;

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Locks { held: Mutex::default() }
    }
}

impl<K: Hash + Eq + Clone> Locks<K> {
    /// Waits until nobody else has this key.
    pub(crate) async fn lock(&self, key: &K) -> Alone {
        self.of(key).write_owned().await
    }

    /// Waits until nobody has this key alone, nor has waited for that longer.
    pub(crate) async fn share(&self, key: &K) -> Shared {
        self.of(key).read_owned().await
    }

    fn of(&self, key: &K) -> Arc<RwLock<()>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, lock| Arc::strong_count(lock) > 1);
        held.entry(key.clone()).or_default().clone()
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
    async fn several_may_look_while_nobody_has_it_alone() {
        let locks = Locks::default();
        let first = locks.share(&1).await;
        let second = locks.share(&1).await;
        let mut alone = std::pin::pin!(locks.lock(&1));
        tokio::select! {
            biased;
            _ = alone.as_mut() => panic!("two look at it"),
            () = std::future::ready(()) => {}
        }
        drop((first, second));
        alone.await;
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
