//! News for those who wait for more of a log: one inotify descriptor for all of them, whatever their number,
//! and none while nobody waits.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use durable::Disk;
use model::InstanceId;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::sync::watch;

use crate::event::Event;
use crate::layout;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Weak<Hub>>);

/// The one descriptor, and who waits for what.
#[derive(Debug)]
struct Hub {
    event: Event,
    waiting: Mutex<HashMap<i32, watch::Sender<()>>>,
}

/// Somebody who waits for news of one directory.
#[derive(Debug)]
pub(super) struct Follower {
    hub: Arc<Hub>,
    descriptor: i32,
    news: watch::Receiver<()>,
}

impl Followers {
    /// From now on nothing that is appended to a log of this instance is missed.
    pub(super) fn follow(&self, disk: &Disk, id: &InstanceId) -> io::Result<Follower> {
        let directory = disk.root().join(layout::logs(id));
        let hub = self.hub()?;
        let what =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DONT_FOLLOW | WatchFlags::ONLYDIR;
        let mut waiting = hub.waiting();
        let descriptor = inotify::add_watch(&hub.event, &directory, what)?;
        let news = waiting.entry(descriptor).or_insert_with(|| watch::channel(()).0).subscribe();
        drop(waiting);
        Ok(Follower { hub, descriptor, news })
    }

    fn hub(&self) -> io::Result<Arc<Hub>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = known.upgrade() {
            return Ok(hub);
        }
        let event = Event::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)?;
        let hub = Arc::new(Hub { event, waiting: Mutex::default() });
        *known = Arc::downgrade(&hub);
        Ok(hub)
    }
}

impl Follower {
    /// Waits for something that was appended since the last call, or since the beginning. Whoever waits hands
    /// on the news of all: there is no task for it.
    pub(super) async fn wait(&mut self) {
        loop {
            tokio::select! {
                changed = self.news.changed() => {
                    if changed.is_err() {
                        // The directory is gone; whoever owns the instance says so.
                        std::future::pending::<()>().await;
                    }
                    return;
                }
                taken = self.hub.event.taken(|handle| self.hub.hand_on(handle)) => {
                    if taken.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}

impl Hub {
    fn hand_on(&self, handle: std::os::fd::BorrowedFd<'_>) {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = inotify::Reader::new(handle, &mut buffer);
        let waiting = self.waiting();
        while let Ok(event) = events.next() {
            match waiting.get(&event.wd()) {
                Some(news) => news.send_replace(()),
                // Events were lost: everybody looks.
                None if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => {
                    waiting.values().for_each(|news| news.send_replace(()));
                }
                None => {}
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i32, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut waiting = self.hub.waiting();
        let others = waiting.get(&self.descriptor).map_or(0, watch::Sender::receiver_count);
        if others <= 1 {
            waiting.remove(&self.descriptor);
            // The directory may be gone, and the watch with it.
            let _ = inotify::remove_watch(&self.hub.event, self.descriptor);
        }
    }
}
