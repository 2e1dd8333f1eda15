//! The journal: every operation that was asked for, as a record on disk, and how far it is, in memory.
//! Owns "sent twice, done once"; refuses to do any of it.
//!
//! A record is synced before the first step and again with the verdict, which nobody sees before it is
//! synced; a memo is synced before it is acted on. Progress is memory's alone: after a restart the
//! operation runs again and counts anew. A record that cannot be used stays where it is, and its id taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use durable::record::Record;
use durable::{Disk, DiskError};
use futures_util::future::BoxFuture;
use model::lifecycle::{OperationEvent, OperationState};
use model::{Caller, Digest, OperationId, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::ErrorBody;
use wire::serve::blocking;
use wire::v1::{OperationBody, OperationResult};

use crate::commit::Commits;
use crate::install::Reporter;
use crate::layout;
use crate::locks::Locks;
use crate::node::now;
use crate::record::{self, Memo, OperationRecord, Request, Unusable};
use crate::store::{self, RootsError};
use crate::waiting::{Background, Holder, Waiter};

/// Why an operation was not taken on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The id stands for something else.
    #[error("the operation {id} was asked for something else: {kind} of `{target}`")]
    OtherRequest {
        /// The id.
        id: OperationId,
        /// What it stands for.
        kind: wire::v1::OperationKind,
        /// On which thing.
        target: String,
    },
    /// It cannot be recorded.
    #[error("cannot record the operation")]
    Record(#[from] Unusable),
    /// The journal cannot be read.
    #[error("cannot read the journal of operations")]
    Disk(#[from] DiskError),
}

/// All operations of a node.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Disk,
    commits: Commits,
    entries: Mutex<BTreeMap<OperationId, Arc<Entry>>>,
    /// Those whose records could not be used when the journal was opened.
    unusable: Vec<OperationId>,
    /// One submission of an id at a time, so that it is taken once.
    doors: Locks<OperationId>,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Entry {
    commits: Commits,
    live: watch::Sender<Live>,
}

/// An operation as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    record: OperationRecord,
    phase: String,
    bytes_done: u64,
    bytes_total: Option<u64>,
    progressed: Timestamp,
    /// When it last came further, on a clock that nobody sets.
    moved: Instant,
    waits_for: Option<String>,
    revision: u64,
    /// When bytes were last worth a revision of their own.
    told: Option<Instant>,
}

impl Journal {
    /// Reads the journal. What had not ended is queued again; a record that cannot be used is logged and
    /// left as it is: it stops neither the others nor the node.
    pub(crate) fn open(disk: Disk, commits: Commits) -> Result<Journal, JournalError> {
        let (mut entries, mut unusable) = (BTreeMap::new(), Vec::new());
        for found in disk.list(&layout::operations())? {
            let Some(id) = found.name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let mut record: OperationRecord = match record::need(&disk, &layout::operation(id)) {
                Ok(record) => record,
                Err(Unusable::Disk { path, source }) => {
                    return Err(Unusable::Disk { path, source }.into());
                }
                Err(error) => {
                    tracing::error!(operation = %id, %error, "cannot be used, and is left as it is");
                    unusable.push(id);
                    continue;
                }
            };
            if let Ok(state) = record.state.next(OperationEvent::Interrupt) {
                record.state = state;
            }
            entries.insert(id, Arc::new(Entry::new(commits.clone(), record)));
        }
        let (entries, doors) = (Mutex::new(entries), Locks::default());
        Ok(Journal { disk, commits, entries, unusable, doors })
    }

    /// Takes an operation on, or finds the one that was. `true`: it is new, and is to be run.
    pub(crate) async fn submit(
        &self,
        id: OperationId,
        request: Request,
        caller: Caller,
    ) -> Result<(Arc<Entry>, bool), JournalError> {
        let _door =
            self.doors.lock(&id, &Background("another request for the same operation")).await;
        if let Some(entry) = self.find(id) {
            let known = entry.live.borrow().record.request.clone();
            return match known == request {
                true => Ok((entry, false)),
                false => Err(JournalError::OtherRequest {
                    id,
                    kind: known.kind(),
                    target: known.target(),
                }),
            };
        }
        // One that cannot be used is on disk and not in memory: nobody knows whether it was done.
        if self.unusable.contains(&id) {
            let (disk, path) = (self.disk.clone(), layout::operation(id));
            blocking(move || record::find::<OperationRecord>(&disk, &path)).await?;
        }
        let record = OperationRecord {
            operation: id,
            request,
            state: OperationState::Queued,
            started: now(),
            ended: None,
            created_by: caller,
            memo: Memo::default(),
            error: None,
            result: None,
            notes: Vec::new(),
        };
        let entry = Arc::new(Entry::new(self.commits.clone(), record));
        entry.write().await?;
        self.lock().insert(id, entry.clone());
        self.forget_the_oldest().await;
        Ok((entry, true))
    }

    /// One operation.
    pub(crate) fn find(&self, id: OperationId) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    /// All operations, the newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().rev().cloned().collect()
    }

    /// Those whose verdict is not there.
    pub(crate) fn unfinished(&self) -> Vec<Arc<Entry>> {
        self.lock().values().filter(|entry| !entry.has_ended()).cloned().collect()
    }

    /// What unfinished operations have decided to use. Blocking.
    ///
    /// # Errors
    /// A record cannot be used, and is still there: nobody knows what it was about to do.
    pub(crate) fn wanted(&self) -> Result<BTreeSet<Digest>, RootsError> {
        for id in &self.unusable {
            let path = layout::operation(*id);
            if self.disk.metadata(&path)?.is_some() {
                return Err(RootsError::Operation { path });
            }
        }
        Ok(self
            .unfinished()
            .iter()
            .flat_map(|entry| store::wanted(&entry.memo()).collect::<Vec<_>>())
            .collect())
    }

    /// The journal keeps the last thousand verdicts, and some more until there are enough to go together.
    /// Their ids say nothing about that: clients make them.
    async fn forget_the_oldest(&self) {
        let old: Vec<PathBuf> = {
            let mut entries = self.lock();
            if entries.len() < KEPT + TOGETHER {
                return;
            }
            let ended = entries.iter().filter_map(|(id, entry)| Some((entry.ended()?, *id)));
            let mut ended: Vec<(Timestamp, OperationId)> = ended.collect();
            ended.sort_unstable();
            let surplus = ended.len().saturating_sub(KEPT);
            if surplus < TOGETHER {
                return;
            }
            ended.truncate(surplus);
            ended.iter().for_each(|(_, id)| drop(entries.remove(id)));
            ended.into_iter().map(|(_, id)| layout::operation(id)).collect()
        };
        let disk = self.disk.clone();
        let forget =
            move || disk.throw_away(&old)?.into_iter().try_for_each(durable::Thrown::delete);
        if let Err(error) = blocking(forget).await {
            tracing::warn!(%error, "cannot forget old operations");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OperationId, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(commits: Commits, record: OperationRecord) -> Entry {
        let progressed = record.ended.unwrap_or(record.started);
        let phase = record.state.to_string();
        let live = Live {
            record,
            phase,
            bytes_done: 0,
            bytes_total: None,
            progressed,
            moved: Instant::now(),
            waits_for: None,
            revision: 1,
            told: None,
        };
        Entry { commits, live: watch::Sender::new(live) }
    }

    /// Its id.
    pub(crate) fn id(&self) -> OperationId {
        self.live.borrow().record.operation
    }

    /// What was asked for.
    pub(crate) fn request(&self) -> Request {
        self.live.borrow().record.request.clone()
    }

    /// When it was asked for.
    pub(crate) fn started(&self) -> Timestamp {
        self.live.borrow().record.started
    }

    /// Who asked.
    pub(crate) fn caller(&self) -> Caller {
        self.live.borrow().record.created_by.clone()
    }

    /// What was decided so far.
    pub(crate) fn memo(&self) -> Memo {
        self.live.borrow().record.memo.clone()
    }

    /// What it gave so far.
    pub(crate) fn result(&self) -> Option<OperationResult> {
        self.live.borrow().record.result.clone()
    }

    /// Is the verdict there?
    pub(crate) fn has_ended(&self) -> bool {
        self.live.borrow().record.state.has_ended()
    }

    /// When the verdict was given.
    fn ended(&self) -> Option<Timestamp> {
        let live = self.live.borrow();
        live.record.ended.filter(|_| live.record.state.has_ended())
    }

    /// As it is now.
    pub(crate) fn body(&self) -> OperationBody {
        self.live.borrow().body()
    }

    /// As it is when its revision is higher than `after`, or when it has ended; waits for that, and a moment
    /// longer: what goes through all its phases at once is told of once.
    pub(crate) async fn news(&self, after: u64) -> OperationBody {
        let mut watch = self.live.subscribe();
        let has_ended = |live: &Live| live.record.state.has_ended();
        // The sender is in `self`.
        let _ = watch.wait_for(|live| live.revision > after || has_ended(live)).await;
        let _ = tokio::time::timeout(MOMENT, watch.wait_for(has_ended)).await;
        self.body()
    }

    /// Waits until it changes nothing any more: it has ended, or only the verdict on a new version is
    /// waited for.
    pub(crate) async fn is_out_of_the_way(&self) {
        let done = |live: &Live| live.record.memo.waits || live.record.state.has_ended();
        let _ = self.live.subscribe().wait_for(done).await; // the sender is in `self`
    }

    /// Records what was decided, synced, before it is acted on.
    pub(crate) async fn decide(&self, change: impl FnOnce(&mut Memo)) -> Result<(), Unusable> {
        self.consider(change);
        self.write().await
    }

    /// [`Entry::decide`] with a counter that the decision takes from: never without the counter, which may
    /// have counted in vain after a crash.
    pub(crate) fn decide_counted<R: Record>(
        &self,
        counted: (PathBuf, &R),
        change: impl FnOnce(&mut Memo),
    ) -> impl Future<Output = Result<(), Unusable>> + Send {
        self.consider(change);
        let live = self.live.borrow();
        let own = (layout::operation(live.record.operation), &live.record);
        self.commits.write_both(counted, own)
    }

    /// Decides something that nothing was made of yet, and that may be decided anew after a crash. It is
    /// recorded with the next thing that is; a collection respects it at once.
    pub(crate) fn consider(&self, change: impl FnOnce(&mut Memo)) {
        self.change(|live| change(&mut live.record.memo));
    }

    /// Records what was decided. Synced.
    pub(crate) async fn keep(&self) -> Result<(), Unusable> {
        self.write().await
    }

    /// Records what it gives while it still can be read. Synced.
    pub(crate) async fn foresee(&self, result: OperationResult) -> Result<(), Unusable> {
        self.change(|live| {
            live.record.result = Some(result);
            live.record.memo.begun = true;
        });
        self.write().await
    }

    /// Its turn has come.
    pub(crate) fn begin(&self) {
        self.change(|live| live.record.advance(OperationEvent::Begin));
    }

    /// Records the verdict, synced, and then shows it.
    pub(crate) async fn end(&self, verdict: Result<OperationResult, ErrorBody>) {
        let record = Box::new(self.live.borrow().record.clone().ended(verdict));
        let (id, path) = (record.operation, layout::operation(record.operation));
        // If the verdict cannot be recorded, the operation runs again after a restart, which is harmless.
        if let Err(error) = self.commits.write(path, &*record).await {
            tracing::error!(operation = %id, %error, "the verdict is known to memory alone");
        }
        self.change(|live| {
            live.phase = record.state.to_string();
            live.record = *record;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(|live| {
            change(live);
            live.step();
            live.revision += 1;
        });
    }

    fn write(&self) -> impl Future<Output = Result<(), Unusable>> + Send + use<> {
        let live = self.live.borrow();
        self.commits.write(layout::operation(live.record.operation), &live.record)
    }
}

impl Reporter for Entry {
    fn phase(&self, phase: &str) {
        self.change(|live| phase.clone_into(&mut live.phase));
    }

    fn total(&self, bytes: u64) {
        self.change(|live| live.bytes_total = Some(bytes));
    }

    /// Bytes come in small pieces, and a client that waits for news asks again at once: only so often are
    /// they news.
    fn advance(&self, bytes: u64) {
        self.live.send_if_modified(|live| {
            live.bytes_done = live.bytes_done.saturating_add(bytes);
            let waited = live.waits_for.is_some();
            live.step();
            let is_news = waited || live.told.is_none_or(|told| told.elapsed() >= BETWEEN_NEWS);
            if is_news {
                live.told = Some(Instant::now());
                live.revision += 1;
            }
            is_news
        });
    }

    fn retreat(&self, bytes: u64) {
        self.change(|live| live.bytes_done = live.bytes_done.saturating_sub(bytes));
    }

    fn note(&self, note: String) {
        self.change(|live| live.record.notes.push(note));
    }
}

impl Waiter for Entry {
    fn holder(&self) -> Holder {
        let live = self.live.borrow();
        let OperationRecord { operation, request, .. } = &live.record;
        format!("operation {operation} ({} of `{}`)", request.kind(), request.target()).into()
    }

    fn idle_since(&self) -> Instant {
        self.live.borrow().moved
    }

    fn waits_for(&self, what: Option<String>) {
        self.live.send_if_modified(|live| {
            let is_news = live.waits_for != what;
            live.waits_for = what;
            live.revision += u64::from(is_news);
            is_news
        });
    }

    fn moved(&self) -> BoxFuture<'_, ()> {
        let mut watch = self.live.subscribe();
        Box::pin(async move { drop(watch.wait_for(|live| live.waits_for.is_none()).await) })
    }
}

impl OperationRecord {
    /// With its verdict. What was decided on the way is of no use any more.
    fn ended(self, verdict: Result<OperationResult, ErrorBody>) -> OperationRecord {
        let mut record = OperationRecord { memo: Memo::default(), ended: Some(now()), ..self };
        match verdict {
            Ok(result) => {
                record.advance(OperationEvent::Succeed);
                record.result = Some(result);
            }
            Err(mut error) => {
                record.advance(OperationEvent::Fail);
                error.operation = Some(record.operation);
                record.error = Some(error);
                record.result = None;
            }
        }
        record
    }

    fn advance(&mut self, event: OperationEvent) {
        match self.state.next(event) {
            Ok(state) => self.state = state,
            Err(illegal) => tracing::error!(operation = %self.operation, "{illegal}"),
        }
    }
}

impl Live {
    /// It came further, and so waits for nothing.
    fn step(&mut self) {
        // Nothing comes further after the end.
        self.progressed = self.record.ended.unwrap_or_else(now);
        self.moved = Instant::now();
        self.waits_for = None;
    }

    fn body(&self) -> OperationBody {
        let record = &self.record;
        OperationBody {
            operation: record.operation,
            kind: record.request.kind(),
            target: record.request.target(),
            state: record.state,
            phase: self.phase.clone(),
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            started: record.started,
            progressed: self.progressed,
            ended: record.ended,
            error: record.error.clone(),
            result: record.result.clone().filter(|_| record.state.has_ended()),
            notes: record.notes.clone(),
            waits_for: self.waits_for.clone(),
            revision: self.revision,
            created_by: record.created_by.clone(),
        }
    }
}

/// Verdicts that are kept.
const KEPT: usize = 1000;
/// Verdicts that are forgotten at the same time, with one sync.
const TOGETHER: usize = 100;
/// How long news may wait for more.
const MOMENT: Duration = Duration::from_millis(20);
/// Between two revisions that differ in nothing but bytes.
const BETWEEN_NEWS: Duration = Duration::from_millis(100);
