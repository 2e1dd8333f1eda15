//! The bytes of an object as they arrive, counted against what the head of the answer announced.

use bytes::Bytes;
use model::{Digest, MediaInfo};
use reqwest::Response;

use crate::connection::Connection;
use crate::error::{ClientError, ProtocolFault};

/// The bytes of an object, as they arrive.
#[derive(Debug)]
pub struct Incoming {
    /// What the bytes are.
    pub media: MediaInfo,
    /// The digest of the whole object, as the server states it.
    pub digest: Digest,
    /// Bytes of the whole object.
    pub size: u64,
    /// The first byte that comes.
    pub from: u64,
    connection: Connection,
    response: Response,
    /// The next byte that comes.
    position: u64,
}

impl Incoming {
    pub(crate) fn new(
        connection: Connection,
        response: Response,
        media: MediaInfo,
        digest: Digest,
        size: u64,
        from: u64,
    ) -> Incoming {
        Incoming { media, digest, size, from, connection, response, position: from }
    }

    /// The next bytes; `None` when all have come. An early end is an error, and so are 60 seconds
    /// without a byte.
    ///
    /// # Errors
    /// [`ClientError::Interrupted`], [`ClientError::Stalled`], [`ClientError::Protocol`].
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let (from, size) = (self.from, self.size);
        let Some(piece) = self.connection.piece(&mut self.response).await? else {
            let (received, announced) = (self.position - from, size - from);
            return match received == announced {
                true => Ok(None),
                false => Err(self.connection.fault(ProtocolFault::Short { received, announced })),
            };
        };
        self.position += piece.len() as u64;
        if self.position > size {
            return Err(self.connection.fault(ProtocolFault::Long { announced: size - from }));
        }
        Ok(Some(piece))
    }
}
