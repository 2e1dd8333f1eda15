//! Records that must last, written together: whoever comes while a write is under way joins the next one, so
//! that a thousand changes at once share their syncs. Owns the order (first come, first written); refuses to
//! know what the records say.
//!
//! Nobody hears that a record is written before it lasts. A crash leaves each record old or new.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::record::{MODE, Record, encode};
use durable::{Disk, DiskError, Replacement};
use tokio::sync::oneshot;
use wire::serve::blocking;

use crate::record::Unusable;

/// The way to the disk for records. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Commits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Pending>,
    is_served: bool,
}

#[derive(Debug)]
struct Pending {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Not without the one before it.
    after_previous: bool,
    answer: oneshot::Sender<Result<(), DiskError>>,
}

/// A record on its way to the disk.
#[derive(Debug)]
struct Writing {
    path: PathBuf,
    answered: oneshot::Receiver<Result<(), DiskError>>,
}

impl Commits {
    /// Writes to this disk.
    pub(crate) fn new(disk: Disk) -> Commits {
        Commits { shared: Arc::new(Shared { disk, queue: Mutex::default() }) }
    }

    /// Writes a record so that a power cut leaves the old or the new one; after `Ok` it lasts. The write is
    /// on its way when this returns, and whoever waits for it needs the record no longer. Whoever stops
    /// waiting does not stop the write.
    pub(crate) fn write<R: Record>(
        &self,
        path: PathBuf,
        record: &R,
    ) -> impl Future<Output = Result<(), Unusable>> + Send + use<R> {
        let writing = prepare(path, record, false).map(|(pending, writing)| {
            self.join([pending]);
            writing
        });
        async move { writing?.lasts().await }
    }

    /// [`Commits::write`] for two records, the second not without the first: a power cut may leave the first
    /// alone.
    pub(crate) fn write_both<A: Record, B: Record>(
        &self,
        (first, a): (PathBuf, &A),
        (second, b): (PathBuf, &B),
    ) -> impl Future<Output = Result<(), Unusable>> + Send + use<A, B> {
        let prepared = prepare(first, a, false)
            .and_then(|one| prepare(second, b, true).map(|other| (one, other)));
        let writing = prepared.map(|((one, first), (other, second))| {
            self.join([one, other]);
            (first, second)
        });
        async move {
            let (first, second) = writing?;
            first.lasts().await?;
            second.lasts().await
        }
    }

    fn join<const N: usize>(&self, pending: [Pending; N]) {
        if self.shared.join(pending) {
            tokio::spawn(self.shared.clone().serve());
        }
    }
}

fn prepare<R: Record>(
    path: PathBuf,
    record: &R,
    after_previous: bool,
) -> Result<(Pending, Writing), Unusable> {
    let bytes = match encode(record) {
        Ok(bytes) => bytes,
        Err(source) => return Err(Unusable::Disk { path, source }),
    };
    let (answer, answered) = oneshot::channel();
    let pending = Pending { path: path.clone(), bytes, after_previous, answer };
    Ok((pending, Writing { path, answered }))
}

impl Writing {
    /// Waits until it lasts.
    async fn lasts(self) -> Result<(), Unusable> {
        match self.answered.await {
            Ok(written) => {
                written.map_err(|error| Unusable::Disk { path: self.path, source: error.into() })
            }
            // Whoever wrote it panicked, and nobody knows how far it came.
            Err(lost) => std::panic::resume_unwind(Box::new(lost.to_string())),
        }
    }
}

impl Shared {
    /// `true`: nobody serves the queue.
    fn join(&self, pending: impl IntoIterator<Item = Pending>) -> bool {
        let mut queue = self.queue();
        queue.waiting.extend(pending);
        !std::mem::replace(&mut queue.is_served, true)
    }

    async fn serve(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            let shared = self.clone();
            if tokio::spawn(blocking(move || shared.write(batch))).await.is_err() {
                tracing::error!("the writing of records panicked"); // each of them hears of it
            }
        }
    }

    /// The next that are written together; `None`: there are none, and nobody serves from now on.
    fn next(&self) -> Option<Vec<Pending>> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.is_served = false;
            queue.waiting = Vec::new(); // a thousand at once are rare
            return None;
        }
        let is_free = |at: &usize| queue.waiting.get(*at).is_none_or(|one| !one.after_previous);
        let most = (TOGETHER..=queue.waiting.len()).find(is_free).unwrap_or(queue.waiting.len());
        Some(queue.waiting.drain(..most).collect())
    }

    fn write(&self, batch: Vec<Pending>) {
        let replacements = batch.iter().map(|pending| Replacement {
            path: &pending.path,
            bytes: &pending.bytes,
            mode: MODE,
            after_previous: pending.after_previous,
        });
        let written = self.disk.replace_all(&replacements.collect::<Vec<_>>());
        for (pending, written) in batch.into_iter().zip(written) {
            let _ = pending.answer.send(written); // whoever asked may have left
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records that are written together at most, and one more where two depend on each other: each has a
/// descriptor open meanwhile.
const TOGETHER: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, FormatRecord};
    use durable::faults::Recorder;
    use futures_util::future::join_all;
    use model::Timestamp;

    fn record(number: i64) -> FormatRecord {
        FormatRecord { created: Timestamp::from_millis(number) }
    }

    #[tokio::test]
    async fn a_thousand_at_once_share_their_syncs_and_each_hears_of_its_own() {
        let scratch = tempfile::tempdir().unwrap();
        let recorder = Recorder::new(scratch.path()).unwrap();
        let disk = Disk::create_recorded(&scratch.path().join("root"), &recorder).unwrap();
        let commits = Commits::new(disk.clone());
        // Every tenth lies in a directory that is not there.
        let path = |number: i64| match number % 10 {
            0 => PathBuf::from(format!("absent/{number}")),
            _ => PathBuf::from(number.to_string()),
        };
        let before = recorder.log().syncs().len();
        let records: Vec<_> = (0..1000).map(record).collect();
        let writes = (0..1000).zip(&records);
        let answers =
            join_all(writes.map(|(number, record)| commits.write(path(number), record))).await;
        for (number, answer) in (0..1000).zip(answers) {
            assert_eq!(answer.is_ok(), number % 10 != 0, "{number}: {answer:?}");
            if answer.is_ok() {
                assert_eq!(
                    record::need::<FormatRecord>(&disk, &path(number)).unwrap(),
                    record(number)
                );
            }
        }
        let syncs = recorder.log().syncs().len() - before;
        assert!(syncs <= 20, "{syncs} syncs");
        // Nobody serves an empty queue, and the next one who comes is served.
        commits.write("again".into(), &record(1)).await.unwrap();
        assert!(!commits.shared.queue().is_served || commits.shared.queue().waiting.is_empty());
    }

    #[tokio::test]
    async fn the_second_of_two_that_depend_is_not_there_without_the_first() {
        for is_logged in [false, true] {
            let scratch = tempfile::tempdir().unwrap();
            let disk = Disk::create(&scratch.path().join("root")).unwrap();
            if is_logged {
                disk.keep_log("redo".as_ref(), 1 << 20).unwrap();
            }
            let commits = Commits::new(disk.clone());
            // So many that pairs come to lie where one batch ends and the next begins.
            let names = (0..600).map(|number| {
                let dir = if number % 3 == 0 { "absent/" } else { "" };
                (number, format!("{dir}first-{number}"), format!("second-{number}"))
            });
            let names: Vec<_> = names.collect();
            let writes = names.iter().map(async |(number, first, second)| {
                let (first, second) = (PathBuf::from(first), PathBuf::from(second));
                commits.write_both((first, &record(*number)), (second, &record(*number))).await
            });
            let answers = join_all(writes).await;
            for ((number, first, second), answer) in names.iter().zip(answers) {
                let there = |path: &str| disk.metadata(path.as_ref()).unwrap().is_some();
                let should = number % 3 != 0;
                assert_eq!(answer.is_ok(), should, "{number}: {answer:?}");
                if should {
                    assert!(there(first));
                }
                assert_eq!(there(second), should, "{number}, logged: {is_logged}");
            }
        }
    }

    #[tokio::test]
    async fn of_two_writes_of_one_record_the_later_one_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let disk = Disk::create(&scratch.path().join("root")).unwrap();
        let commits = Commits::new(disk.clone());
        let records: Vec<_> = (0..100).map(record).collect();
        let answers =
            join_all(records.iter().map(|record| commits.write("one".into(), record))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(record::need::<FormatRecord>(&disk, "one".as_ref()).unwrap(), record(99));
    }
}
