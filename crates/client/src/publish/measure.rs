//! The figures of the archives that a version needs: refuses what no node would unpack, before it is
//! uploaded, and fetches once what is in the repository without figures.
//!
//! What is fetched goes through a spool without a name; a crash leaves a hidden file in the directory for
//! temporary files.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use archive::Limits;
use bytes::Bytes;
use model::{Measured, MediaInfo, Pin};
use tokio::sync::mpsc;
use wire::serve::blocking;

use super::error::{PublishError, Use};
use crate::connection::Connection;
use crate::progress::{NoProgress, Progress};
use crate::transfer::{
    Measuring, Prepared, Source, Stop, TransferError, Wanted, fetch, note_figures, prepare,
};

/// The figures of what is to be a package, if it is an archive. `called` is what the user calls it.
///
/// # Errors
/// [`PublishError::Archive`].
pub(super) fn figures(
    prepared: Prepared,
    of: &Use,
    called: &str,
) -> Result<(Prepared, Option<Measured>), PublishError> {
    match prepared.measuring {
        Measuring::Refused(source) => {
            let (of, called, media) = (of.clone(), called.to_owned(), prepared.media);
            Err(PublishError::Archive { of, called, media, source })
        }
        Measuring::NoArchive => Ok((prepared, None)),
        Measuring::Measured(measured) => Ok((prepared, Some(measured))),
    }
}

/// Fetches an archive that nobody has measured, and lets the repository know the figures: the next
/// publication finds them there.
///
/// # Errors
/// What a download may fail with; [`PublishError::Archive`].
pub(super) async fn fetched(
    connection: &Connection,
    pin: &Pin,
    of: &Use,
    limits: Limits,
    progress: &Arc<dyn Progress>,
) -> Result<Option<Measured>, PublishError> {
    let name = &pin.object;
    progress.begin(&format!("measuring {name}"), Some(pin.size));
    let measured = receive(connection, pin, limits, progress).await;
    progress.end();
    let prepared = measured?;
    if prepared.digest != pin.digest {
        let (expected, received) = (pin.digest, prepared.digest);
        return Err(TransferError::Mismatch { name: name.clone(), expected, received }.into());
    }
    let (prepared, measured) = figures(prepared, of, name.as_str())?;
    note_figures(connection, name, &Arc::new(prepared)).await?;
    Ok(measured)
}

async fn receive(
    connection: &Connection,
    pin: &Pin,
    limits: Limits,
    progress: &Arc<dyn Progress>,
) -> Result<Prepared, PublishError> {
    let (sender, pieces) = mpsc::channel(PIECES);
    let reader = Pieces { pieces, current: Bytes::new() };
    let source = Source::Reader(PathBuf::from(pin.object.as_str()), Box::new(reader));
    let media: MediaInfo = pin.media.clone();
    // The bytes are counted as they come; hashing what came is quick beside that.
    let work = blocking(move || prepare(source, media, limits, &NoProgress));
    let wanted = Wanted { name: &pin.object, digest: &pin.digest, size: pin.size };
    let feed = fetch(connection, wanted, 0, sender, progress);
    match futures_util::future::join(work, feed).await {
        (_, Err(Stop::Call(error))) => Err(error.into()),
        (prepared, Ok(()) | Err(Stop::Taker)) => Ok(prepared?),
    }
}

/// Pieces from the network, as a reader on a blocking thread sees them.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Pieces on their way.
const PIECES: usize = 8;
