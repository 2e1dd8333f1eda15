//! Locks by key, within this process: one holder for each key, or several that only look; others wait their
//! turn, and are told for whom. A key that nobody holds or waits for takes no memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Digest, InstallationId, InstanceId, OperationId};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

use crate::waiting::{Holder, Waiter, waiting_with};

/// The locks of one kind of key.
#[derive(Debug)]
pub(crate) struct Locks<K> {
    held: Mutex<HashMap<K, Arc<Slot>>>,
}

/// What can be locked.
pub(crate) trait Key: Hash + Eq + Clone {
    /// What it is, to somebody who waits for it.
    fn words(&self) -> String;
}

/// The store as a whole: for whoever collects, checks or mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WholeStore;

/// A key is held alone; it is given back when this value is dropped.
pub(crate) type Alone = Held<OwnedRwLockWriteGuard<()>>;
/// A key is held with others.
pub(crate) type Shared = Held<OwnedRwLockReadGuard<()>>;

/// A key is held.
#[derive(Debug)]
pub(crate) struct Held<G> {
    slot: Arc<Slot>,
    by: Holder,
    _guard: G,
}

#[derive(Debug, Default)]
struct Slot {
    lock: Arc<RwLock<()>>,
    holders: watch::Sender<Vec<Holder>>,
}

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Locks { held: Mutex::default() }
    }
}

impl<K: Key> Locks<K> {
    /// Waits until nobody else has this key.
    pub(crate) async fn lock(&self, key: &K, waiter: &dyn Waiter) -> Alone {
        let slot = self.of(key);
        let turn = slot.lock.clone().write_owned();
        let guard = waiting_with(waiter, slot.holders.subscribe(), told(key), turn).await;
        Held::new(slot, waiter, guard)
    }

    /// Waits until nobody has this key alone, nor has waited for that longer.
    pub(crate) async fn share(&self, key: &K, waiter: &dyn Waiter) -> Shared {
        let slot = self.of(key);
        let turn = slot.lock.clone().read_owned();
        let guard = waiting_with(waiter, slot.holders.subscribe(), told(key), turn).await;
        Held::new(slot, waiter, guard)
    }

    fn of(&self, key: &K) -> Arc<Slot> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, slot| Arc::strong_count(slot) > 1);
        held.entry(key.clone()).or_default().clone()
    }
}

/// What is waited for: the key, and whoever has it.
fn told<K: Key>(key: &K) -> impl Fn(&Vec<Holder>) -> String {
    let words = key.words();
    move |holders| match &holders[..] {
        // It is given on at this moment, or somebody waits longer.
        [] => format!("{words}, which others wait for too"),
        holders => format!("{}, which has {words}", holders.join(" and ")),
    }
}

impl<G> Held<G> {
    fn new(slot: Arc<Slot>, waiter: &dyn Waiter, guard: G) -> Held<G> {
        let by = waiter.holder();
        slot.holders.send_modify(|holders| holders.push(by.clone()));
        Held { slot, by, _guard: guard }
    }
}

impl<G> Drop for Held<G> {
    fn drop(&mut self) {
        self.slot.holders.send_modify(|holders| {
            if let Some(at) = holders.iter().position(|holder| *holder == self.by) {
                holders.remove(at);
            }
        });
    }
}

impl Key for InstallationId {
    fn words(&self) -> String {
        format!("the installation `{self}`")
    }
}

impl Key for InstanceId {
    fn words(&self) -> String {
        format!("the instance `{self}`")
    }
}

impl Key for Digest {
    fn words(&self) -> String {
        format!("the content {self}")
    }
}

impl Key for OperationId {
    fn words(&self) -> String {
        format!("the operation {self}")
    }
}

impl Key for WholeStore {
    fn words(&self) -> String {
        "the store".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waiting::Background;

    const TEST: Background = Background("a test");

    impl Key for i32 {
        fn words(&self) -> String {
            format!("number {self}")
        }
    }

    #[tokio::test]
    async fn who_waits_is_told_who_has_it_and_that_changes_with_the_holder() {
        let locks = Locks::default();
        let words = || told(&1)(&locks.of(&1).holders.borrow());
        let first = locks.share(&1, &Background("one")).await;
        let second = locks.share(&1, &Background("two")).await;
        assert_eq!(words(), "one and two, which has number 1");
        drop(first);
        assert_eq!(words(), "two, which has number 1");
        drop(second);
        assert_eq!(words(), "number 1, which others wait for too");
        let _alone = locks.lock(&1, &Background("three")).await;
        assert_eq!(words(), "three, which has number 1");
    }

    #[tokio::test]
    async fn one_key_has_one_holder_and_other_keys_do_not_wait() {
        let locks = Locks::default();
        let first = locks.lock(&1, &TEST).await;
        let _other = locks.lock(&2, &TEST).await;
        let mut second = std::pin::pin!(locks.lock(&1, &TEST));
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
        let first = locks.share(&1, &TEST).await;
        let second = locks.share(&1, &TEST).await;
        let mut alone = std::pin::pin!(locks.lock(&1, &TEST));
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
            drop(locks.lock(&key, &TEST).await);
        }
        assert!(locks.held.lock().unwrap().len() <= 1);
    }
}
