//! A listing as it arrives: one JSON value per line, never more than one of them in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, Stream, StreamExt as _, TryStreamExt as _, try_unfold};
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;

use crate::connection::{Connection, JSON_BYTES, PATIENCE};
use crate::error::{ClientError, ProtocolFault};

/// The values of a listing, in the order of the server. An end that comes too early is an error, never
/// a shorter listing.
pub struct Lines<T>(BoxStream<'static, Result<T, ClientError>>);

/// How long a listing may pause between two lines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pause {
    /// As long as any answer.
    Usual,
    /// Forever: what is waited for may never happen.
    Endless,
}

impl<T> Lines<T> {
    /// The next value; `None` after the last.
    ///
    /// # Errors
    /// See [`ClientError`]; after an error there is nothing more.
    pub async fn next_line(&mut self) -> Result<Option<T>, ClientError> {
        self.0.try_next().await
    }
}

impl<T> Stream for Lines<T> {
    type Item = Result<T, ClientError>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl<T> std::fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

impl Connection {
    /// The listing that answers a request.
    pub(crate) async fn lines<T: DeserializeOwned + Send + 'static>(
        &self,
        request: RequestBuilder,
        pause: Pause,
    ) -> Result<Lines<T>, ClientError> {
        let response = self.send(request, PATIENCE).await?;
        let reader = Reader {
            connection: self.clone(),
            response,
            pause,
            buffer: Vec::new(),
            searched: 0,
            ended: false,
        };
        let lines = try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|value| (value, reader)))
        });
        Ok(Lines(lines.boxed()))
    }
}

struct Reader {
    connection: Connection,
    response: Response,
    pause: Pause,
    /// What came and was not handed out yet.
    buffer: Vec<u8>,
    /// So many bytes of it hold no line feed.
    searched: usize,
    ended: bool,
}

impl Reader {
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let feed = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            let line: Vec<u8> = match feed {
                Some(feed) => self.buffer.drain(..=self.searched + feed).collect(),
                None if self.ended => std::mem::take(&mut self.buffer),
                None => {
                    self.searched = self.buffer.len();
                    self.fill().await?;
                    continue;
                }
            };
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                let value = serde_json::from_slice(&line);
                let fault = |source| self.connection.fault(ProtocolFault::Json { source });
                return value.map(Some).map_err(fault);
            }
            if self.ended && self.buffer.is_empty() {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ClientError> {
        let piece = match self.pause {
            Pause::Usual => self.connection.piece(&mut self.response).await?,
            Pause::Endless => {
                let piece = self.response.chunk().await;
                piece.map_err(|error| ClientError::transport(self.connection.endpoint(), error))?
            }
        };
        let Some(piece) = piece else {
            self.ended = true;
            return Ok(());
        };
        self.buffer.extend_from_slice(&piece);
        if self.buffer.len() > JSON_BYTES + piece.len() {
            return Err(self.connection.fault(ProtocolFault::TooLarge { limit: JSON_BYTES }));
        }
        Ok(())
    }
}
