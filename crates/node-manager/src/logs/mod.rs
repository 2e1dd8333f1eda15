//! What programs print. One file for each stream and run, which the program itself appends to, so that nothing
//! is lost with the manager; the manager names the files, keeps each stream within its budget and reads.
//!
//! - `space`: which byte has which address (pure); `index`: from the files and the record to that.
//! - `budget`: what has to go, and when to look again (pure); `release`: does it; `attend`: looks, driven by
//!   events of the kernel, one descriptor for all instances.
//! - `reader`: lines from an address on; `start`: where `--tail` and `--since` begin; `marks`: when a stream
//!   had come how far (pure); `follow`: news for those who wait for more.
//!
//! A crash leaves a file with a hole at its beginning, or a record that names one: both are understood by
//! whoever reads next. Memory is bounded whatever a program prints or puts into the directory.

mod attend;
mod budget;
#[cfg(test)]
mod crash_tests;
mod follow;
mod index;
mod marks;
mod reader;
mod release;
mod space;
mod start;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durable::{Disk, DiskError, Lock};
use model::{ByteSize, InstanceId, Timestamp};
use wire::v1::LogStream;

use self::attend::Attention;
use self::follow::Followers;
pub(crate) use self::index::LogIndexRecord;
use self::index::{Streams, path};
use self::marks::{Mark, Marks};
use self::release::{Release, ReleaseError};
pub(crate) use self::start::From;
use crate::inventory;

/// The logs of all instances of a node. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    /// The tree is ours for as long as something here may change it.
    _tenure: Arc<Lock>,
    /// Bytes of one stream, over all runs, where the envelope does not say.
    usual: u64,
    /// Held to move positions in files, shared to read them; an instance has one of them.
    moving: [RwLock<()>; STRIPES],
    marks: Mutex<HashMap<(InstanceId, LogStream), Marks>>,
    attention: Attention,
    followers: Followers,
    /// There is a file system that releases nothing.
    unable: AtomicBool,
}

/// What a run prints to.
#[derive(Debug)]
pub(crate) struct Run {
    /// Standard output first.
    pub(crate) files: [File; 2],
    /// The address that the first byte on standard error gets.
    pub(crate) stderr_from: u64,
}

impl Logs {
    /// The logs in this tree, each stream within this many bytes where the envelope does not say. Needs a Tokio runtime, in which it attends
    /// to them until the last clone is gone.
    pub(crate) fn attend(disk: Disk, tenure: Arc<Lock>, usual: u64) -> Logs {
        let logs = Logs::new(disk, tenure, usual);
        attend::spawn(&logs);
        logs
    }

    fn new(disk: Disk, tenure: Arc<Lock>, usual: u64) -> Logs {
        let inner = Inner {
            disk,
            _tenure: tenure,
            usual: usual.max(budget::LEAST),
            moving: Default::default(),
            marks: Mutex::default(),
            attention: Attention::default(),
            followers: Followers::default(),
            unable: AtomicBool::default(),
        };
        Logs { inner: Arc::new(inner) }
    }

    /// Where the next run of an instance prints to, after what the runs before have too much is gone.
    pub(crate) fn begin_run(&self, id: &InstanceId) -> Result<Run, DiskError> {
        let streams = match self.check(id) {
            Ok(streams) => streams,
            Err(error) => {
                // A program is worth more than the bound of its logs.
                self.trouble(id, &error);
                Streams::read(&self.inner.disk, id)?
            }
        };
        let open = |stream| {
            let base = streams.of(stream).next_run();
            self.inner.disk.append_file(&path(id, stream, base), 0o600)
        };
        let files = [open(LogStream::Stdout)?, open(LogStream::Stderr)?];
        Ok(Run { files, stderr_from: streams.stderr.end() })
    }

    /// From now on (again) what an instance prints is attended to. Comes back at once.
    pub(crate) fn watch(&self, id: &InstanceId) {
        self.inner.attention.ask_for(id);
    }

    /// An instance is gone.
    pub(crate) fn forget(&self, id: &InstanceId) {
        for stream in STREAMS {
            self.marks().remove(&(id.clone(), stream));
        }
    }

    /// What cannot be kept, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.inner.attention.is_short_of_watches() {
            warnings.push(
                "the system gives no more inotify watches (sysctl fs.inotify.max_user_watches): some logs are kept \
                 within their budget at the start of a program only"
                    .to_owned(),
            );
        }
        if self.inner.unable.load(Ordering::Relaxed) {
            warnings.push(
                "the file system cannot release the beginning of a file: logs are not kept within their budget"
                    .to_owned(),
            );
        }
        warnings
    }

    /// The address that the next byte of a stream gets. What cannot be read has none.
    pub(crate) fn end(&self, id: &InstanceId, stream: LogStream) -> u64 {
        Streams::read(&self.inner.disk, id).map_or(0, |streams| streams.of(stream).end())
    }

    /// Ends what a crash cut off, and releases what is over the budget.
    fn check(&self, id: &InstanceId) -> Result<Streams, ReleaseError> {
        let streams = Streams::read(&self.inner.disk, id)?;
        let budget = self.budget(id, &streams);
        if STREAMS.iter().all(|stream| !has_work(&streams, *stream, budget)) {
            return Ok(streams);
        }
        let _moving = self.moving(id);
        for stream in STREAMS {
            let now = Streams::read(&self.inner.disk, id)?;
            if has_work(&now, stream, budget) {
                self.bring_within(id, stream, &now, budget)?;
            }
        }
        Ok(Streams::read(&self.inner.disk, id)?)
    }

    /// What each of these streams may take. The envelope is read only where the least budget is passed.
    fn budget(&self, id: &InstanceId, streams: &Streams) -> u64 {
        if STREAMS.iter().all(|stream| streams.of(*stream).held() <= budget::LEAST) {
            return budget::LEAST;
        }
        let disk = &self.inner.disk;
        let said = inventory::instance_version(disk, id)
            .and_then(|version| inventory::envelope(disk, &id.installation, &version));
        let envelope = said.ok().and_then(|said| said.0.to_model().ok());
        let budget = envelope.and_then(|envelope| envelope.policies.logs.budget);
        budget.map_or(self.inner.usual, ByteSize::bytes)
    }

    /// With the lock held exclusively.
    fn bring_within(
        &self,
        id: &InstanceId,
        stream: LogStream,
        streams: &Streams,
        budget: u64,
    ) -> Result<(), ReleaseError> {
        let disk = &self.inner.disk;
        let mut release = Release { disk, id, stream, index: streams.index };
        let Some(oldest) = streams.of(stream).runs().first() else { return Ok(()) };
        release.settle(oldest.base)?;
        let settled = Streams::read(disk, id)?;
        let Some(newest) = settled.of(stream).newest() else { return Ok(()) };
        let Some(file) = disk.open_appended(&path(id, stream, newest.base))? else { return Ok(()) };
        for step in budget::plan(settled.of(stream), budget, file.block()) {
            release.take(step)?;
        }
        Ok(())
    }

    fn trouble(&self, id: &InstanceId, error: &ReleaseError) {
        if matches!(error, ReleaseError::Unable) && self.inner.unable.swap(true, Ordering::Relaxed)
        {
            return; // said once
        }
        let cause: &(dyn std::error::Error + 'static) = error;
        tracing::warn!(instance = %id, error = cause, "its logs are not brought within their budget");
    }

    /// Notes how far a stream has come by now.
    fn mark(&self, id: &InstanceId, stream: LogStream, address: u64) {
        let at = millis(crate::node::now());
        self.marks().entry((id.clone(), stream)).or_default().note(Mark { at, address });
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<(InstanceId, LogStream), Marks>> {
        self.inner.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it lives no position in a file of this instance moves.
    fn still(&self, id: &InstanceId) -> RwLockReadGuard<'_, ()> {
        self.inner.moving[stripe(id)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn moving(&self, id: &InstanceId) -> RwLockWriteGuard<'_, ()> {
        self.inner.moving[stripe(id)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_work(streams: &Streams, stream: LogStream, budget: u64) -> bool {
    let space = streams.of(stream);
    let oldest = space.runs().first();
    let cut_off =
        oldest.is_some_and(|run| streams.index.moved(stream, run.base).collapsing.is_some());
    cut_off || !budget::plan(space, budget, 1).is_empty()
}

fn stripe(id: &InstanceId) -> usize {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0)
}

fn millis(time: Timestamp) -> i64 {
    time.as_millis()
}

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];
/// Instances that share a lock wait for one another now and then, which costs less than a lock for each.
const STRIPES: usize = 16;
