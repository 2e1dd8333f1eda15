//! Receiving one object: its bytes are kept, hashed and unpacked in one pass as they arrive, and have no
//! name before the digest is right.
//!
//! What arrives goes to `staging/receive-<sha256>`, which outlives an interruption: the next attempt reads
//! what is there again (for the digest and the unpacker need it) and asks the server for the rest. If the
//! digest is wrong after such a continuation, what was there may have been torn by a power cut, so it is
//! received once more from its beginning; if it is wrong then, the server has other bytes.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::{ClientError, Connection, Incoming};
use durable::{DiskError, StagedFile};
use model::{Digest, Hasher, Pin, counted};
use tokio::sync::{mpsc, oneshot};
use unpacker::{Outcome, UnpackError};
use wire::serve::blocking;

use super::execute::Reporter;
use super::unpack::{Unpacked, unpack_blob, unpack_stream};
use crate::layout;
use crate::store::{Store, TreeKey};

/// Why an object was not received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The server does not send it, or not to its end.
    #[error("cannot download `{object}`")]
    Transfer {
        /// The object.
        object: String,
        /// Why.
        source: ClientError,
    },
    /// The bytes are not those that the envelope pins.
    #[error("`{object}` has the digest {found} on the server, and the envelope pins {pinned}")]
    Digest {
        /// The object.
        object: String,
        /// What came.
        found: Digest,
        /// What should have come.
        pinned: Digest,
    },
    /// The server has another number of bytes under this name.
    #[error("`{object}` has {} on the server, and the envelope pins {pinned}", counted(*.found, "byte"))]
    Size {
        /// The object.
        object: String,
        /// What the server says.
        found: u64,
        /// What should be.
        pinned: u64,
    },
    /// The bytes are right, and cannot be unpacked.
    #[error("the bytes cannot be unpacked")]
    Unpack {
        /// Why.
        source: UnpackError,
    },
    /// The bytes ended early and nobody said why.
    #[error("`{object}` ended after {at} of {}", counted(*.size, "byte"))]
    Cut {
        /// The object.
        object: String,
        /// Bytes that came.
        at: u64,
        /// Bytes that should have come.
        size: u64,
    },
    /// The disk refuses.
    #[error("cannot keep `{object}`, which takes {}", counted(*.size, "byte"))]
    Disk {
        /// The object.
        object: String,
        /// Its bytes.
        size: u64,
        /// Why.
        source: DiskError,
    },
}

/// Receives an object once more, over bytes in the store that are not what they should be. Whoever has
/// those open keeps them.
pub(crate) async fn receive_again(
    store: &Store,
    connection: &Connection,
    pin: &Pin,
    reporter: Arc<dyn Reporter>,
) -> Result<(), ReceiveError> {
    let meter = Arc::new(Meter::new(reporter, &pin.object.to_string()));
    attempts(store, connection, pin, Goal::Place, &meter).await.map(drop)
}

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// A blob, unless it is there, and a tree where a key says which.
    Store(Option<TreeKey>),
    /// A blob in the place of what is there.
    Place,
}

/// Receives an object into the store, and its tree with it where `unpack` says so.
pub(super) async fn receive(
    store: &Store,
    connection: &Connection,
    pin: &Pin,
    unpack: Option<TreeKey>,
    meter: &Arc<Meter>,
) -> Result<Option<Outcome>, ReceiveError> {
    attempts(store, connection, pin, Goal::Store(unpack), meter).await
}

async fn attempts(
    store: &Store,
    connection: &Connection,
    pin: &Pin,
    goal: Goal,
    meter: &Arc<Meter>,
) -> Result<Option<Outcome>, ReceiveError> {
    let mut outcome = attempt(store, connection, pin, goal, meter).await;
    if matches!(outcome, Ok(Attempt::Again)) {
        outcome = attempt(store, connection, pin, goal, meter).await;
    }
    match outcome {
        Ok(Attempt::Done(unpacked)) => Ok(unpacked),
        Ok(Attempt::Again) => Err(mismatch(pin, pin.digest)), // an attempt from zero never says so
        Err(error) => {
            if error.is_the_disks() {
                // A disk that is full needs the room, and one that fails has to be trusted with less.
                let (disk, partial) = (store.disk().clone(), layout::partial_path(&pin.digest));
                if let Err(error) = blocking(move || disk.remove(&partial)).await {
                    tracing::warn!(%error, "what arrived stays on a disk that refuses");
                }
            }
            Err(error)
        }
    }
}

impl ReceiveError {
    fn is_the_disks(&self) -> bool {
        match self {
            ReceiveError::Disk { .. } => true,
            ReceiveError::Unpack { source } => {
                matches!(source, UnpackError::Write { .. } | UnpackError::Tree { .. })
            }
            _ => false,
        }
    }
}

/// How far one object is, over all attempts to receive it: what is there already when an attempt begins
/// was counted by the one before.
pub(super) struct Meter {
    reporter: Arc<dyn Reporter>,
    label: String,
    position: AtomicU64,
}

impl Meter {
    /// Nothing is there of what is called `label`.
    pub(super) fn new(reporter: Arc<dyn Reporter>, label: &str) -> Meter {
        Meter { reporter, label: label.to_owned(), position: AtomicU64::new(0) }
    }

    /// All bytes are there, and now this is done with them.
    fn goes_on(&self, doing: &str) {
        self.reporter.phase(&format!("{doing} {}", self.label));
    }

    /// Bytes that are there.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// So many bytes are there now; fewer than before, if some were wrong.
    fn reached(&self, position: u64) {
        let before = self.position.swap(position, Ordering::Relaxed);
        match position.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.reporter.advance(more),
            None => self.reporter.retreat(before - position),
        }
    }
}

enum Attempt {
    Done(Option<Outcome>),
    /// What was there before was wrong, and is gone now.
    Again,
}

async fn attempt(
    store: &Store,
    connection: &Connection,
    pin: &Pin,
    goal: Goal,
    meter: &Arc<Meter>,
) -> Result<Attempt, ReceiveError> {
    let object = pin.object.to_string();
    let disk_error = |source| ReceiveError::Disk { object: object.clone(), size: pin.size, source };
    let (disk, name, size) = (store.disk().clone(), layout::partial(&pin.digest), pin.size);
    let staged = blocking(move || {
        let staged = disk.resume_file(&name)?;
        staged.truncate(if staged.len() > size { 0 } else { size })?;
        Ok(staged)
    });
    let staged = staged.await.map_err(disk_error)?;
    let there = staged.len();
    meter.reached(there);
    let incoming = match there {
        0 if pin.size > 0 => Some(open(connection, pin, 0).await?),
        _ => None,
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    let (read_again, was_read_again) = oneshot::channel();
    let (worker_store, worker_pin, worker_meter) = (store.clone(), pin.clone(), meter.clone());
    let work = blocking(move || {
        let intake = Intake {
            staged,
            position: 0,
            there,
            hasher: Hasher::new(),
            pieces,
            read_again: Some(read_again),
            current: Bytes::new(),
            meter: worker_meter,
            failed: None,
        };
        take_in(&worker_store, &worker_pin, goal, intake)
    });
    let feed = async {
        let incoming = match incoming {
            Some(incoming) => incoming,
            None if there == pin.size || was_read_again.await.is_err() => return Ok(()),
            None => open(connection, pin, there).await?,
        };
        feed(incoming, sender).await.map_err(|source| transfer_error(&object, source))
    };
    match futures_util::future::join(work, feed).await {
        (Ok(outcome), _) => Ok(outcome),
        (Err(_), Err(why)) => Err(why),
        (Err(error), Ok(())) => Err(error),
    }
}

/// Asks for the bytes from `from` on. A server that sends is not kept waiting: what is there already is
/// read again before.
async fn open(connection: &Connection, pin: &Pin, from: u64) -> Result<Incoming, ReceiveError> {
    let opened = connection.objects().open(&pin.object, from, Some(&pin.digest)).await;
    let incoming = opened.map_err(|source| transfer_error(&pin.object.to_string(), source))?;
    if incoming.size != pin.size {
        let (object, found) = (pin.object.to_string(), incoming.size);
        return Err(ReceiveError::Size { object, found, pinned: pin.size });
    }
    Ok(incoming)
}

fn transfer_error(object: &str, source: ClientError) -> ReceiveError {
    ReceiveError::Transfer { object: object.to_owned(), source }
}

/// Hands the pieces over as they come. Ends early when the other side wants no more.
async fn feed(mut incoming: Incoming, sender: mpsc::Sender<Bytes>) -> Result<(), ClientError> {
    while let Some(piece) = incoming.next_piece().await? {
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Reads it all, judges, and gives names. Blocking.
fn take_in(
    store: &Store,
    pin: &Pin,
    goal: Goal,
    mut intake: Intake,
) -> Result<Attempt, ReceiveError> {
    let object = || pin.object.to_string();
    let disk_error = |source| ReceiveError::Disk { object: object(), size: pin.size, source };
    let unpack = match goal {
        Goal::Store(unpack) => unpack,
        Goal::Place => None,
    };
    let on_the_way = unpack.filter(|key| key.container() == archive::Container::Tar);
    let unpacked = on_the_way.map(|key| unpack_stream(store, key, pin.measured, &mut intake));
    // Also what lies behind the end of an archive belongs to the object, and to its digest. And where an
    // archive is broken, the digest tells damage on the way from an archive that was made so.
    let drained = io::copy(&mut intake, &mut io::sink());
    if let Some(source) = intake.failed.take() {
        return Err(disk_error(source));
    }
    if drained.is_err() || intake.position != pin.size {
        // The pieces ended early: the other side knows why. What is there stays for the next attempt.
        return Err(ReceiveError::Cut { object: object(), at: intake.position, size: pin.size });
    }
    let Intake { staged, hasher, there, meter, .. } = intake;
    let found = hasher.finish();
    if found != pin.digest {
        drop(unpacked);
        staged.discard().map_err(disk_error)?;
        return if there > 0 { Ok(Attempt::Again) } else { Err(mismatch(pin, found)) };
    }
    let unpack_error = |source| ReceiveError::Unpack { source };
    let unpacked: Option<Unpacked> = match unpacked.transpose() {
        Ok(unpacked) => unpacked,
        Err(error) => {
            if error.is_final() || error.is_no_space() {
                staged.discard().map_err(disk_error)?; // right, but of no use
            } else {
                // What failed is this machine: the next attempt has the bytes.
                store
                    .blobs()
                    .publish(staged, layout::key(&pin.digest), 0o444)
                    .map_err(disk_error)?;
            }
            return Err(unpack_error(error));
        }
    };
    let key = layout::key(&pin.digest);
    match goal {
        Goal::Store(_) => store.blobs().publish(staged, key, 0o444),
        Goal::Place => store.blobs().replace(staged, key, 0o444),
    }
    .map_err(disk_error)?;
    let unpacked = match (unpacked, unpack) {
        (Some(unpacked), _) => Some(unpacked),
        (None, Some(key)) => {
            meter.goes_on("unpacking");
            match unpack_blob(store, pin, key) {
                Err(error) if error.is_final() || error.is_no_space() => {
                    discard_unused(store, pin).map_err(disk_error)?;
                    return Err(unpack_error(error));
                }
                unpacked => Some(unpacked.map_err(unpack_error)?),
            }
        }
        (None, None) => None,
    };
    if unpacked.is_some() {
        meter.goes_on("forcing to the disk");
    }
    let outcome = unpacked.map(|unpacked| unpacked.publish(store)).transpose();
    Ok(Attempt::Done(outcome.map_err(disk_error)?))
}

/// Removes a blob that was right and is of no use, unless something else has it.
fn discard_unused(store: &Store, pin: &Pin) -> Result<(), DiskError> {
    let key = layout::key(&pin.digest);
    match store.disk().metadata(&store.blobs().path_of(key))? {
        Some(stat) if stat.nlink == 1 => store.blobs().remove(key),
        _ => Ok(()),
    }
}

fn mismatch(pin: &Pin, found: Digest) -> ReceiveError {
    ReceiveError::Digest { object: pin.object.to_string(), found, pinned: pin.digest }
}

/// The bytes on their way: read from what is there, then from the network, which is kept as it comes.
struct Intake {
    staged: StagedFile,
    position: u64,
    there: u64,
    hasher: Hasher,
    pieces: mpsc::Receiver<Bytes>,
    /// Told when what is there was read.
    read_again: Option<oneshot::Sender<()>>,
    current: Bytes,
    meter: Arc<Meter>,
    /// The disk's refusal, which an archive reader in between would wrap beyond recognition.
    failed: Option<DiskError>,
}

impl Read for Intake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = if self.position < self.there {
            let left = usize::try_from(self.there - self.position).unwrap_or(usize::MAX);
            let most = buffer.len().min(left);
            match self.staged.read_at(self.position, &mut buffer[..most]) {
                Ok(count) => count,
                Err(error) => return Err(self.refuse(error)),
            }
        } else {
            if let Some(read_again) = self.read_again.take() {
                let _ = read_again.send(()); // nobody waits for it where all came before
            }
            if self.current.is_empty() {
                let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
                if let Err(error) = self.staged.write_at(self.position, &piece) {
                    return Err(self.refuse(error));
                }
                self.meter.reached(self.position + piece.len() as u64);
                self.current = piece;
            }
            let count = buffer.len().min(self.current.len());
            buffer[..count].copy_from_slice(&self.current.split_to(count));
            count
        };
        self.hasher.update(&buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Intake {
    fn refuse(&mut self, error: DiskError) -> io::Error {
        self.failed = Some(error);
        io::ErrorKind::StorageFull.into()
    }
}

/// Pieces on their way from the network.
const PIECES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Reporter for Counted {
        fn phase(&self, _: &str) {}
        fn total(&self, _: u64) {}
        fn note(&self, _: String) {}
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn retreat(&self, bytes: u64) {
            self.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_an_earlier_attempt_received_counts_once_and_what_was_wrong_not_at_all() {
        let counted = Arc::new(Counted::default());
        let meter = Meter::new(counted.clone(), "it");
        // Half of it arrives and the connection is lost; it goes on; then it begins anew.
        for (position, done) in [(0, 0), (30, 30), (50, 50), (50, 50), (80, 80), (0, 0), (100, 100)]
        {
            meter.reached(position);
            assert_eq!(counted.0.load(Ordering::Relaxed), done);
        }
    }
}
