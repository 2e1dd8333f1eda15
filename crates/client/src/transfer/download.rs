//! Downloads: the bytes are gathered under a hidden name beside their destination, hashed as they come,
//! and get their name when the whole is the object that was asked for, by one rename. What was gathered
//! before an interruption stays, is hashed again, and is not fetched a second time.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use durable::{Guest, IfExists, StagedFile};
use model::{Digest, Hasher, MediaInfo, ObjectName};
use tokio::sync::mpsc;
use wire::serve::blocking;
use wire::v1::ObjectBody;

use super::error::TransferError;
use super::fetch::{Stop, Wanted, fetch};
use super::info::info_path;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::progress::Progress;

/// What a download gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// The object.
    pub name: ObjectName,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What they are.
    pub media: MediaInfo,
}

/// Downloads an object to the file `to`, replacing what is there, with its media info in `to.__info`.
/// Readers of `to` see the old file or the whole new one.
///
/// # Errors
/// See [`TransferError`]. What came until then is kept for the next call, unless it is damaged.
pub async fn download(
    connection: &Connection,
    name: &ObjectName,
    to: &Path,
    progress: &Arc<dyn Progress>,
) -> Result<Downloaded, TransferError> {
    let object = connection.objects().stat(name).await?;
    if !object.complete {
        return Err(TransferError::Incomplete { name: name.clone() });
    }
    progress.begin(&format!("receiving {name}"), Some(object.size));
    let downloaded = gather(connection, &object, to, progress).await;
    progress.end();
    let (destination, partial) = downloaded?;
    let media = object.media();
    let info = media.to_info_file();
    blocking(move || destination.publish(partial, &info)).await?;
    Ok(Downloaded { name: object.name, digest: object.digest, size: object.size, media })
}

/// Gathers all bytes, verified, under the hidden name.
async fn gather(
    connection: &Connection,
    object: &ObjectBody,
    to: &Path,
    progress: &Arc<dyn Progress>,
) -> Result<(Destination, StagedFile), TransferError> {
    let (to, digest, size) = (to.to_owned(), object.digest, object.size);
    let listener = Arc::clone(progress);
    let (destination, partial) = blocking(move || {
        let destination = Destination::open(&to)?;
        let partial = destination.resume(&digest)?;
        let partial = Partial::check(partial, size, &*listener)?;
        Ok::<_, TransferError>((destination, partial))
    })
    .await?;
    let (pieces, incoming) = mpsc::channel(PIECES);
    let from = partial.len;
    let writer = tokio::task::spawn_blocking(move || partial.write_all(incoming));
    let wanted = Wanted { name: &object.name, digest: &object.digest, size: object.size };
    let fetched = fetch(connection, wanted, from, pieces, progress).await;
    let written = writer.await.unwrap_or_else(|failure| match failure.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(cancelled) => Err(TransferError::Spool { source: std::io::Error::other(cancelled) }),
    });
    // The writer's own failure is why nobody took what was fetched.
    let partial = written?;
    match fetched {
        Err(Stop::Call(error @ ClientError::OtherObject { .. })) => {
            blocking(move || partial.file.discard()).await?; // nothing will ever be added to it
            return Err(error.into());
        }
        Err(Stop::Call(error)) => return Err(error.into()),
        Err(Stop::Taker) | Ok(()) => {}
    }
    let received = partial.hasher.finish();
    if received != object.digest {
        blocking(move || partial.file.discard()).await?;
        let (name, expected) = (object.name.clone(), object.digest);
        return Err(TransferError::Mismatch { name, expected, received });
    }
    Ok((destination, partial.file))
}

/// Where the object goes.
struct Destination {
    dir: Guest,
    /// The file's name in it.
    name: std::path::PathBuf,
    /// The name as it was given.
    to: std::path::PathBuf,
}

impl Destination {
    fn open(to: &Path) -> Result<Destination, TransferError> {
        let refusal = || TransferError::Destination { path: to.to_owned() };
        let name = to.file_name().ok_or_else(refusal)?;
        if to.as_os_str().as_encoded_bytes().ends_with(b"/") || to.is_dir() {
            return Err(refusal());
        }
        let dir = match to.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        Ok(Destination { dir: Guest::enter(dir)?, name: name.into(), to: to.to_owned() })
    }

    /// What was gathered of this content for this file so far. The hidden name says both, so that
    /// neither another content nor another file of the directory is in the way.
    fn resume(&self, digest: &Digest) -> Result<StagedFile, TransferError> {
        let file = Digest::of(self.name.as_os_str().as_encoded_bytes());
        let partial = format!("{}-{}", &file.hex()[..12], &digest.hex()[..32]);
        let partial = self.dir.resume_file(&partial)?;
        partial.ok_or_else(|| TransferError::UnderWay { path: self.to.clone() })
    }

    /// The old media info goes first: a power cut between leaves a file without media info, never one
    /// with that of another.
    fn publish(&self, partial: StagedFile, info: &str) -> Result<(), TransferError> {
        let beside = info_path(&self.name);
        self.dir.remove(&beside)?;
        partial.publish(&self.name, FILE_MODE, IfExists::Replace)?;
        Ok(self.dir.replace(&beside, info.as_bytes(), FILE_MODE)?)
    }
}

/// The bytes so far, hashed.
struct Partial {
    file: StagedFile,
    hasher: Hasher,
    len: u64,
}

impl Partial {
    /// Hashes what is there. What is longer than the object cannot be a beginning of it.
    fn check(
        file: StagedFile,
        size: u64,
        progress: &dyn Progress,
    ) -> Result<Partial, TransferError> {
        if file.len() > size {
            file.set_len(0)?;
        }
        let (mut hasher, mut len) = (Hasher::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read_at(len, &mut buffer)? {
                0 => return Ok(Partial { file, hasher, len }),
                read => {
                    hasher.update(&buffer[..read]);
                    len += read as u64;
                    progress.advance(read as u64);
                }
            }
        }
    }

    /// Takes pieces until there are no more.
    fn write_all(mut self, mut pieces: mpsc::Receiver<Bytes>) -> Result<Partial, TransferError> {
        while let Some(piece) = pieces.blocking_recv() {
            self.file.write_at(self.len, &piece)?;
            self.hasher.update(&piece);
            self.len += piece.len() as u64;
        }
        Ok(self)
    }
}

/// Pieces that wait for the disk; each is what one read of the network gave, some 400 KiB at most.
const PIECES: usize = 16;
const BUFFER: usize = 256 * 1024;
const FILE_MODE: u32 = 0o644;
