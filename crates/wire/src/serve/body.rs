//! Bodies that are streams: from the network to a blocking reader through a channel that holds a few
//! pieces, so that memory stays bounded whatever comes in.

use std::io::{self, Read};
use std::pin::pin;

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use super::blocking;

/// A request body as plain, blocking code reads it. An aborted connection is an error of `read`, never an
/// early end.
#[derive(Debug)]
pub struct BodyReader {
    pieces: mpsc::Receiver<Result<Piece, axum::Error>>,
    current: Bytes,
    ended: bool,
}

/// What the network side hands over. Only a body that was read to its end says `End`: a channel that is
/// closed without it is an abort.
#[derive(Debug)]
enum Piece {
    Some(Bytes),
    End,
}

/// Reads a body in order on a blocking thread: `work` gets a reader, and its answer comes back.
pub async fn read_in_order<T: Send + 'static>(
    body: Body,
    work: impl FnOnce(BodyReader) -> T + Send + 'static,
) -> T {
    let (sender, pieces) = mpsc::channel(PIECES);
    let feed = async move {
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let failed = piece.is_err();
            if sender.send(piece.map(Piece::Some)).await.is_err() || failed {
                return; // the reader has had enough, or the client is gone
            }
        }
        let _ = sender.send(Ok(Piece::End)).await; // a reader that has had enough does not listen
    };
    let reader = BodyReader { pieces, current: Bytes::new(), ended: false };
    // A refusal does not wait for bytes that it does not want: the client may be waiting for it.
    let (work, feed) = (pin!(blocking(move || work(reader))), pin!(feed));
    match select(work, feed).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), work)) => work.await,
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Piece::Some(bytes))) => self.current = bytes,
                Some(Ok(Piece::End)) => self.ended = true,
                Some(Err(cause)) => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, cause));
                }
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Pieces on their way from the network to the reader; hyper's are of 8 to 400 KiB.
const PIECES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_needs_no_bytes_does_not_wait_for_them() {
        let silent = futures_util::stream::pending::<Result<Bytes, io::Error>>();
        assert_eq!(read_in_order(Body::from_stream(silent), |_| "refused").await, "refused");
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end() {
        let pieces = ["one ", "", "two"].map(|piece| Ok::<_, io::Error>(Bytes::from(piece)));
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let text = read_in_order(body, |reader| io::read_to_string(reader).unwrap()).await;
        assert_eq!(text, "one two");
    }
}
