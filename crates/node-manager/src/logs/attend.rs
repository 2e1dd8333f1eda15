//! Looks whether streams are within their budgets when they are written to: one inotify descriptor and one
//! task for all instances; nothing polls, and a stream that nobody writes to costs its watch alone.
//!
//! A watch fires once. Then the stream is looked at after a pause that `budget` gives, and armed again before
//! it is looked at, so that no write is missed. What a program prints within that pause may pass the bound.
//! Where the system gives no more watches, streams are looked at when a program is started, and that is said.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::InstanceId;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::serve::{blocking, brief};
use wire::v1::LogStream;

use super::index::path;
use super::{Inner, Logs, STREAMS, budget};
use crate::event::Event;

/// What the task is asked for, and what it could not do.
#[derive(Debug, Default)]
pub(super) struct Attention {
    asked: Mutex<Vec<InstanceId>>,
    /// Also rings when the last one leaves who could ask.
    bell: Arc<Notify>,
    short: AtomicBool,
}

impl Attention {
    pub(super) fn ask_for(&self, id: &InstanceId) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        self.bell.notify_one();
    }

    pub(super) fn is_short_of_watches(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

/// Attends to these logs until nobody has them any more.
pub(super) fn spawn(logs: &Logs) {
    let bell = logs.inner.attention.bell.clone();
    let created = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
    let event = match created.map_err(io::Error::from).and_then(Event::new) {
        Ok(event) => Some(Arc::new(event)),
        Err(error) => {
            tracing::warn!(%error, "logs are looked at when programs start, and not meanwhile");
            logs.inner.attention.short.store(true, Ordering::Relaxed);
            None
        }
    };
    let attendant = Attendant {
        logs: Arc::downgrade(&logs.inner),
        event,
        armed: HashMap::new(),
        growing: HashMap::new(),
        due: Vec::new(),
    };
    tokio::spawn(attendant.run(bell));
}

type Stream = (Arc<InstanceId>, LogStream);

struct Attendant {
    logs: Weak<Inner>,
    event: Option<Arc<Event>>,
    /// By watch descriptor.
    armed: HashMap<i32, Stream>,
    /// Streams that were written to between the last two looks.
    growing: HashMap<Stream, Look>,
    due: Vec<(Instant, Stream)>,
}

/// What a look found.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    base: u64,
    /// The address of position 0 in the file.
    shift: u64,
    length: u64,
    /// The length at which it is over its budget.
    limit: u64,
    pause: Duration,
}

/// A look and the watch that was armed for it.
struct Looked {
    stream: Stream,
    base: u64,
    look: Option<Look>,
    watch: Option<i32>,
}

impl Attendant {
    async fn run(mut self, bell: Arc<Notify>) {
        loop {
            let next = self.due.iter().map(|(at, _)| *at).min();
            tokio::select! {
                () = bell.notified() => {
                    let Some(inner) = self.logs.upgrade() else { return };
                    let asked = std::mem::take(
                        &mut *inner.attention.asked.lock().unwrap_or_else(PoisonError::into_inner),
                    );
                    self.begin(&Logs { inner }, asked).await;
                }
                fired = fired(self.event.as_deref()) => {
                    self.fired(fired);
                    // Many that fire one after the other wake the manager together.
                    tokio::time::sleep(GATHERED).await;
                }
                () = until(next) => self.look_at_due().await,
            }
        }
    }

    /// A run has begun, or the manager has.
    async fn begin(&mut self, logs: &Logs, asked: Vec<InstanceId>) {
        let (logs, event) = (logs.clone(), self.event.clone());
        let looked = brief(move || {
            let both = |id| logs.look_at_both(event.as_deref(), &Arc::new(id));
            asked.into_iter().flat_map(both).collect::<Vec<_>>()
        });
        let looked = looked.await;
        self.arm(&looked);
        for looked in looked {
            self.growing.remove(&looked.stream);
            if let Some(look) = looked.look {
                self.look_again_if_over(&looked.stream, look);
            }
            // The file of the run before is not written to any more.
            if looked.base > 0 {
                self.disarm(&looked.stream, looked.watch);
            }
        }
    }

    fn disarm(&mut self, stream: &Stream, but: Option<i32>) {
        self.armed.retain(|descriptor, other| {
            let goes = other == stream && Some(*descriptor) != but;
            if goes && let Some(event) = &self.event {
                // It may have gone with its file.
                let _ = inotify::remove_watch(event.as_ref(), *descriptor);
            }
            !goes
        });
    }

    fn fired(&mut self, descriptors: Fired) {
        let all = match descriptors {
            Fired::These(descriptors) => descriptors
                .into_iter()
                .filter_map(|descriptor| self.armed.remove(&descriptor))
                .collect(),
            // Each stream that is not armed any more is looked at, and those that are do not mind.
            Fired::Lost => std::mem::take(&mut self.armed).into_values().collect::<Vec<_>>(),
        };
        let now = Instant::now();
        for stream in all {
            let pause = self.growing.get(&stream).map_or(FIRST, |look| look.pause);
            if self.due.iter().all(|(_, other)| *other != stream) {
                self.due.push((now + pause, stream));
            }
        }
    }

    async fn look_at_due(&mut self) {
        let Some(inner) = self.logs.upgrade() else { return };
        let now = Instant::now();
        let due = self.due.extract_if(.., |(at, _)| *at <= now);
        let due: Vec<Stream> = due.map(|(_, stream)| stream).collect();
        let due = due.into_iter().map(|stream| {
            let last = self.growing.remove(&stream);
            (stream, last)
        });
        let due: Vec<(Stream, Option<Look>)> = due.collect();
        for Looked { stream, look, .. } in self.look(&Logs { inner }, due).await {
            if let Some(look) = look {
                self.look_again_if_over(&stream, look);
                self.growing.insert(stream, look);
            }
        }
    }

    /// What was printed while the rest was released may be too much again, and may have been the last.
    fn look_again_if_over(&mut self, stream: &Stream, look: Look) {
        if look.length >= look.limit {
            self.due.push((Instant::now() + look.pause, stream.clone()));
        }
    }

    /// Arms and looks at streams, on a thread for that.
    async fn look(&mut self, logs: &Logs, streams: Vec<(Stream, Option<Look>)>) -> Vec<Looked> {
        let (logs, event) = (logs.clone(), self.event.clone());
        let looked: Vec<Looked> = blocking(move || {
            let look = |(stream, last)| logs.look(event.as_deref(), stream, last);
            streams.into_iter().map(look).collect()
        })
        .await;
        self.arm(&looked);
        looked
    }

    fn arm(&mut self, looked: &[Looked]) {
        for looked in looked {
            if let Some(descriptor) = looked.watch {
                self.armed.insert(descriptor, looked.stream.clone());
            }
        }
    }
}

impl Logs {
    /// Arms the file that a stream is written to, then looks how long it is, and has released what is over its
    /// budget. No look comes back of one that has not grown since the last one.
    fn look(&self, event: Option<&Event>, stream: Stream, last: Option<Look>) -> Looked {
        let known = last.or_else(|| self.checked_one(&stream.0, stream.1));
        self.look_from(event, stream, last, known)
    }

    /// The first look at both streams of an instance.
    fn look_at_both(&self, event: Option<&Event>, id: &Arc<InstanceId>) -> Vec<Looked> {
        let both = STREAMS.into_iter().zip(self.checked(id));
        both.map(|(stream, known)| self.look_from(event, (id.clone(), stream), None, known))
            .collect()
    }

    fn look_from(
        &self,
        event: Option<&Event>,
        stream: Stream,
        last: Option<Look>,
        known: Option<Look>,
    ) -> Looked {
        let (id, which) = (&stream.0, stream.1);
        let watch = known.and_then(|known| self.arm(event?, id, which, known.base));
        let now = known.and_then(|known| {
            let stat = self.inner.disk.metadata(&path(id, which, known.base)).ok()??;
            match stat.size < known.limit {
                true => Some(Look { length: stat.size, at: Instant::now(), ..known }),
                false => self.checked_one(id, which),
            }
        });
        if let Some(now) = now.filter(|now| now.length > 0) {
            self.mark(id, which, now.shift + now.length);
        }
        let look = now.and_then(|now| match last {
            None => Some(now),
            Some(last) => {
                let grown = (now.shift + now.length).saturating_sub(last.shift + last.length);
                let room = now.limit.saturating_sub(now.length);
                let pause = budget::pause(room, grown, now.at.duration_since(last.at));
                (grown > 0).then_some(Look { pause, ..now })
            }
        });
        let base = now.map_or(0, |now| now.base);
        Looked { stream, base, look, watch }
    }

    fn checked_one(&self, id: &InstanceId, stream: LogStream) -> Option<Look> {
        let [stdout, stderr] = self.checked(id);
        if stream == LogStream::Stdout { stdout } else { stderr }
    }

    /// Brings an instance's streams within their budget, and says what the newest file of each is like then.
    fn checked(&self, id: &InstanceId) -> [Option<Look>; 2] {
        let (streams, failed) = match self.check(id) {
            Ok(streams) => (streams, false),
            Err(error) => {
                self.trouble(id, &error);
                match super::Streams::read(&self.inner.disk, id) {
                    Ok(streams) => (streams, true),
                    Err(_) => return [None, None],
                }
            }
        };
        STREAMS.map(|stream| self.newest(id, &streams, stream, failed))
    }

    fn newest(
        &self,
        id: &InstanceId,
        streams: &super::Streams,
        stream: LogStream,
        failed: bool,
    ) -> Option<Look> {
        let space = streams.of(stream);
        let newest = space.newest()?;
        let limit = match failed {
            // It is tried again when more is printed.
            true => newest.length,
            false => (newest.length.saturating_add(self.budget(id, streams)))
                .saturating_sub(space.held()),
        };
        Some(Look {
            at: Instant::now(),
            base: newest.base,
            shift: newest.shift(),
            length: newest.length,
            limit: limit.saturating_add(1),
            pause: FIRST,
        })
    }

    fn arm(&self, event: &Event, id: &InstanceId, stream: LogStream, base: u64) -> Option<i32> {
        let file = self.inner.disk.root().join(path(id, stream, base));
        // What a program puts in the way is looked at, not followed.
        let what = WatchFlags::MODIFY | WatchFlags::ONESHOT | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(event, &file, what) {
            Ok(descriptor) => Some(descriptor),
            Err(Errno::NOENT) => None,
            Err(errno) => {
                if !self.inner.attention.short.swap(true, Ordering::Relaxed) {
                    let error = io::Error::from(errno);
                    tracing::warn!(instance = %id, %error, "its logs are looked at when it is started only");
                }
                None
            }
        }
    }
}

enum Fired {
    These(Vec<i32>),
    /// The kernel had more to say than it keeps.
    Lost,
}

async fn fired(event: Option<&Event>) -> Fired {
    let Some(event) = event else { return std::future::pending().await };
    let (mut descriptors, mut lost) = (Vec::new(), false);
    let taken = event.taken(|handle| {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = inotify::Reader::new(handle, &mut buffer);
        while let Ok(event) = events.next() {
            lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            descriptors.push(event.wd());
        }
    });
    match taken.await {
        Ok(()) if lost => Fired::Lost,
        Ok(()) => Fired::These(descriptors),
        // Only an end of the runtime has this answer.
        Err(_) => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Before the first look at a stream that was quiet.
const FIRST: Duration = Duration::from_millis(20);
const GATHERED: Duration = Duration::from_millis(5);
