//! Uploads: what is missing is sent, several parts at a time, each with its digest, and each checked
//! against it while it is read, so that a file which changes meanwhile is noticed here and not by
//! whoever downloads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::CONTENT_LENGTH;
use model::{Digest, Hasher, MediaInfo, ObjectName, UploadId};
use serde::Serialize;
use wire::serve::blocking;
use wire::v1::{MeasuredBody, StatedPart, UploadRequest};
use wire::{CONTENT_DIGEST, Code, format_digest, route};

use super::backoff::Backoff;
use super::error::TransferError;
use super::plan::{Piece, plan};
use super::source::{Measuring, Prepared, Reading, Source, prepare};
use crate::address::fill;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::progress::Progress;

/// What is uploaded.
#[derive(Debug)]
pub struct Upload {
    /// The name that the object gets.
    pub name: ObjectName,
    /// Its bytes.
    pub source: Source,
    /// What they are.
    pub media: MediaInfo,
}

/// What an upload gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Uploaded {
    /// The object.
    pub name: ObjectName,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Bytes that were handed to the network by this call, repeats included.
    pub sent: u64,
}

/// Uploads an object. What the server has already is not sent; a part that fails on the way is sent
/// again a few times.
///
/// # Errors
/// `name-taken` if the name holds other content; see [`TransferError`] for the rest.
pub async fn upload(
    connection: &Connection,
    request: Upload,
    progress: &Arc<dyn Progress>,
) -> Result<Uploaded, TransferError> {
    let Upload { name, source, media } = request;
    let total = match &source {
        Source::File(path) => std::fs::metadata(path).ok().map(|facts| facts.len()),
        Source::Directory(_) | Source::Reader(..) => None,
    };
    progress.begin(&format!("reading {}", source.path().display()), total);
    let listener = Arc::clone(progress);
    let limits = archive::Limits::default();
    let prepared = blocking(move || prepare(source, media, limits, &*listener)).await;
    progress.end();
    let prepared = Arc::new(prepared?);
    if let Measuring::Refused(error) = &prepared.measuring {
        // An object is any bytes; what cannot be unpacked is refused where it is to be a package.
        progress.note(&format!("`{}` cannot be unpacked: {error}", prepared.path.display()));
    }
    progress.begin(&format!("sending {name}"), Some(prepared.size));
    let sent = send(connection, &name, &prepared, progress).await;
    progress.end();
    Ok(Uploaded { name, digest: prepared.digest, size: prepared.size, sent: sent? })
}

/// Makes sure that the server has the object under this name; answers how many bytes that took.
pub(crate) async fn send(
    connection: &Connection,
    name: &ObjectName,
    prepared: &Arc<Prepared>,
    progress: &Arc<dyn Progress>,
) -> Result<u64, TransferError> {
    let sender = Sender {
        connection,
        name,
        prepared,
        meter: Arc::new(Meter::new(Arc::clone(progress), prepared.parts.count())),
    };
    let mut backoff = Backoff::default();
    loop {
        let before = sender.meter.told();
        match sender.round().await {
            Ok(()) => return Ok(sender.meter.sent()),
            Err(Failure::Again(error)) => {
                // Not what was sent: a server that forgets everything would be served for ever.
                if sender.meter.told() > before {
                    backoff.reset();
                }
                let Some(pause) = backoff.pause() else { return Err(error) };
                progress.note(&format!("{error}; trying again"));
                tokio::time::sleep(pause).await;
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

/// Lets the server know the figures of an object that it has without any; nothing is sent. A server that
/// does not have it any more is left alone.
pub(crate) async fn note_figures(
    connection: &Connection,
    name: &ObjectName,
    prepared: &Arc<Prepared>,
) -> Result<(), ClientError> {
    connection.objects().begin_upload(&request(name, prepared)).await.map(drop)
}

struct Sender<'a> {
    connection: &'a Connection,
    name: &'a ObjectName,
    prepared: &'a Arc<Prepared>,
    meter: Arc<Meter>,
}

/// Whether asking the server anew what is missing may help.
enum Failure {
    Again(TransferError),
    Final(TransferError),
}

impl Sender<'_> {
    /// Asks what is missing, sends it, and has the whole verified.
    async fn round(&self) -> Result<(), Failure> {
        let objects = self.connection.objects();
        let begun =
            objects.begin_upload(&request(self.name, self.prepared)).await.map_err(Failure::of)?;
        if begun.complete {
            self.meter.all_there(self.prepared);
            return Ok(());
        }
        let senseless = |_| TransferError::Parts { name: self.name.clone() };
        let plan = plan(&self.prepared.parts, &begun.missing)
            .map_err(|refusal| Failure::Final(senseless(refusal)))?;
        self.meter.present(self.prepared, &plan.send);
        if !plan.send.is_empty() {
            let prepared = Arc::clone(self.prepared);
            let reading = blocking(move || prepared.open()).await.map_err(Failure::Final)?;
            let reading = Arc::new(reading);
            stream::iter(plan.send)
                .map(|piece| self.part(begun.upload, piece, &reading))
                .buffer_unordered(PARALLEL)
                .try_collect::<()>()
                .await?;
        }
        let stored = objects.complete_upload(begun.upload, self.prepared.size).await;
        stored.map(drop).map_err(Failure::of)
    }

    /// Sends one part, again if it fails on the way.
    async fn part(
        &self,
        upload: UploadId,
        piece: Piece,
        reading: &Arc<Reading>,
    ) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.attempt(upload, &piece, reading).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // Bytes that were damaged on the way: ours were checked while they were read.
            let damaged =
                matches!(&error, TransferError::Call(call) if call.code() == Code::DigestMismatch);
            let transient = matches!(&error, TransferError::Call(call) if call.is_transient());
            let pause = if damaged || transient { backoff.pause() } else { None };
            let Some(pause) = pause else { return Err(Failure::judge(error)) };
            self.meter
                .progress
                .note(&format!("part {} failed: {error}; trying again", piece.number));
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        upload: UploadId,
        piece: &Piece,
        reading: &Arc<Reading>,
    ) -> Result<(), TransferError> {
        let (upload, number) = (upload.to_string(), piece.number.to_string());
        let address = fill(&route::UPLOAD_PART, &[&upload, &number]);
        let fault = Arc::new(Mutex::new(None));
        let moved = Arc::new(AtomicU64::new(0));
        let body = Body {
            reading: Arc::clone(reading),
            piece: piece.clone(),
            at: piece.range.start,
            hasher: Hasher::new(),
            meter: Arc::clone(&self.meter),
            moved: Arc::clone(&moved),
            fault: Arc::clone(&fault),
            path: self.prepared.path.clone(),
        };
        let request = self
            .connection
            .request(&route::UPLOAD_PART, &address)
            .header(CONTENT_DIGEST, format_digest(&piece.digest))
            .header(CONTENT_LENGTH, piece.range.end - piece.range.start)
            .body(reqwest::Body::wrap_stream(body.into_stream()));
        let answer = self.connection.done_while(request, &moved).await;
        // What stopped the body is nearer to the truth than what the network made of it.
        let local = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match local {
            Some(local) => Err(local),
            None => answer.map_err(TransferError::from),
        }
    }
}

fn request(name: &ObjectName, prepared: &Prepared) -> UploadRequest {
    let Prepared { media, size, digest, parts, .. } = prepared;
    let parts = parts.as_slice().iter();
    UploadRequest {
        name: name.clone(),
        media_type: media.media_type.clone(),
        encoding: media.encoding,
        size: *size,
        digest: *digest,
        parts: parts.map(|part| StatedPart { size: part.size, digest: part.digest }).collect(),
        measured: prepared.measured().map(MeasuredBody::from),
    }
}

impl Failure {
    fn of(error: ClientError) -> Failure {
        Failure::judge(error.into())
    }

    /// Asking anew helps against what the network did, where the server has forgotten the upload or a
    /// part of it, and where another client is sending the same part.
    fn judge(error: TransferError) -> Failure {
        let again = match &error {
            TransferError::Call(call) => {
                let passing = matches!(call.code(), Code::NotFound | Code::Incomplete | Code::Busy);
                call.is_transient() || passing
            }
            _ => false,
        };
        if again { Failure::Again(error) } else { Failure::Final(error) }
    }
}

/// The bytes of one part on their way to the network.
struct Body {
    reading: Arc<Reading>,
    piece: Piece,
    at: u64,
    hasher: Hasher,
    meter: Arc<Meter>,
    /// Bytes of this attempt that the network has taken.
    moved: Arc<AtomicU64>,
    /// What stopped the body, if it was not the network.
    fault: Arc<Mutex<Option<TransferError>>>,
    path: std::path::PathBuf,
}

/// The body ends early; the reason is kept aside.
#[derive(Debug, thiserror::Error)]
#[error("the bytes to be sent cannot be read")]
struct Unreadable;

impl Body {
    fn into_stream(self) -> impl stream::Stream<Item = Result<Bytes, Unreadable>> + Send + 'static {
        stream::try_unfold(self, |body| async {
            if body.at == body.piece.range.end {
                return Ok(None);
            }
            blocking(move || body.step()).await.map(Some)
        })
    }

    /// Reads the next bytes. The last ones are handed out only if the whole part has the digest that it
    /// had when it was hashed.
    fn step(mut self) -> Result<(Bytes, Body), Unreadable> {
        let left = self.piece.range.end - self.at;
        let mut bytes = vec![0; usize::try_from(left).map_or(STEP, |left| left.min(STEP))];
        if let Err(error) = self.reading.read_exact_at(self.at, &mut bytes) {
            return Err(self.fail(error));
        }
        self.hasher.update(&bytes);
        self.at += bytes.len() as u64;
        if self.at == self.piece.range.end
            && std::mem::take(&mut self.hasher).finish() != self.piece.digest
        {
            let path = self.path.clone();
            return Err(self.fail(TransferError::Changed { path }));
        }
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let done = self.at - self.piece.range.start;
        self.meter.advance(self.piece.number, done, bytes.len() as u64);
        Ok((Bytes::from(bytes), self))
    }

    fn fail(&self, error: TransferError) -> Unreadable {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Unreadable
    }
}

/// Counts what is sent, and tells the listener of every byte once however often it is sent.
struct Meter {
    progress: Arc<dyn Progress>,
    sent: AtomicU64,
    /// For each part, how far the listener was told that it is.
    told: Mutex<Vec<u64>>,
}

impl Meter {
    fn new(progress: Arc<dyn Progress>, parts: u32) -> Meter {
        let told = Mutex::new(vec![0; parts as usize]);
        Meter { progress, sent: AtomicU64::new(0), told }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How much of the object the listener was told of.
    fn told(&self) -> u64 {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).iter().sum()
    }

    /// `bytes` more were sent, and part `number` is `done` bytes far now.
    fn advance(&self, number: u32, done: u64, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.tell(number, done);
    }

    /// All parts but those that are to be sent are at the server.
    fn present(&self, prepared: &Prepared, send: &[Piece]) {
        let mut send = send.iter().map(|piece| piece.number).peekable();
        for (number, part) in (1..).zip(prepared.parts.as_slice()) {
            match send.next_if_eq(&number) {
                Some(_) => {}
                None => self.tell(number, part.size),
            }
        }
    }

    fn all_there(&self, prepared: &Prepared) {
        self.present(prepared, &[]);
    }

    fn tell(&self, number: u32, done: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = told.get_mut(number as usize - 1).filter(|told| **told < done) else {
            return;
        };
        self.progress.advance(done - *told);
        *told = done;
    }
}

/// Parts on their way at the same time.
const PARALLEL: usize = 4;
/// Bytes read and handed over at a time.
const STEP: usize = 256 * 1024;
