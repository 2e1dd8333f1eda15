//! The bytes of one object as they come, over as many connections as it takes: after an interruption the
//! next request begins where the last answer broke off. What counts against it is attempts in a row that
//! brought nothing. Touches no disk.

use std::sync::Arc;

use bytes::Bytes;
use model::{Digest, ObjectName};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use crate::connection::Connection;
use crate::error::{ClientError, ProtocolFault};
use crate::progress::Progress;

/// The object that is meant: nothing of another one with its name is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a ObjectName,
    pub(crate) digest: &'a Digest,
    /// Bytes of the whole.
    pub(crate) size: u64,
}

/// Why fetching ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server does not send it, or not to its end.
    Call(ClientError),
    /// Whoever takes the pieces wants no more of them, and knows why.
    Taker,
}

/// Fetches the bytes from `position` on.
pub(crate) async fn fetch(
    connection: &Connection,
    wanted: Wanted<'_>,
    mut position: u64,
    pieces: mpsc::Sender<Bytes>,
    progress: &Arc<dyn Progress>,
) -> Result<(), Stop> {
    let mut backoff = Backoff::default();
    while position < wanted.size {
        let before = position;
        let error = match fetch_once(connection, wanted, &mut position, &pieces, progress).await {
            Ok(()) => continue,
            Err(Stop::Taker) => return Err(Stop::Taker),
            Err(Stop::Call(error)) => error,
        };
        if position > before {
            backoff.reset();
        }
        let pause = if error.is_transient() { backoff.pause() } else { None };
        let Some(pause) = pause else { return Err(Stop::Call(error)) };
        progress.note(&format!("{error}; trying again"));
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn fetch_once(
    connection: &Connection,
    wanted: Wanted<'_>,
    position: &mut u64,
    pieces: &mpsc::Sender<Bytes>,
    progress: &Arc<dyn Progress>,
) -> Result<(), Stop> {
    let objects = connection.objects();
    let incoming = objects.open(wanted.name, *position, Some(wanted.digest)).await;
    let mut incoming = incoming.map_err(Stop::Call)?;
    if incoming.size != wanted.size {
        let fault = ProtocolFault::Header { field: "content-length" };
        return Err(Stop::Call(connection.fault(fault)));
    }
    while let Some(piece) = incoming.next_piece().await.map_err(Stop::Call)? {
        let bytes = piece.len() as u64;
        pieces.send(piece).await.map_err(|_| Stop::Taker)?;
        *position += bytes;
        progress.advance(bytes);
    }
    Ok(())
}
