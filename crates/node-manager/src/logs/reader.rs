//! Reading a stream by line from an address on, while the program appends and the beginning is released.
//!
//! A line is what a line feed ends, or the end of a run. What is gone is said with the next line that is
//! there (`dropped`); the rest of a line whose beginning is gone is counted as gone too, so that no line is
//! torn. Positions move only under a lock that reading shares.

use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use durable::DiskError;
use model::{InstanceId, Timestamp};
use tokio::sync::mpsc;
use wire::serve::{blocking, json_line};
use wire::v1::{LogLine, LogStream};

use super::Logs;
use super::index::{Streams, path};
use super::space::Place;
use super::start::From;
use crate::supervise::Handle;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The disk refuses.
    #[error("cannot read the log")]
    Disk(#[from] DiskError),
    /// The system refuses.
    #[error("cannot read the log")]
    Io(#[from] std::io::Error),
}

impl Logs {
    /// Sends a stream's lines; with `follow`, what is appended too, until nobody listens or the instance is
    /// gone.
    pub(crate) async fn send(
        self,
        handle: Handle,
        stream: LogStream,
        from: From,
        follow: bool,
        lines: mpsc::Sender<Result<Bytes, LogError>>,
    ) {
        if let Err(error) = self.send_lines(&handle, stream, from, follow, &lines).await {
            let _ = lines.send(Err(error)).await; // nobody may listen any more
        }
    }

    async fn send_lines(
        self,
        handle: &Handle,
        stream: LogStream,
        from: From,
        follow: bool,
        lines: &mpsc::Sender<Result<Bytes, LogError>>,
    ) -> Result<(), LogError> {
        let id = handle.view().body.instance;
        // The watch comes first: what is appended between reading and waiting is then an event.
        let mut news = match follow {
            true => Some(self.inner.followers.follow(&self.inner.disk, &id)?),
            false => None,
        };
        let (logs, owned) = (self.clone(), id.clone());
        let start = blocking(move || logs.start(&owned, stream, from)).await?;
        let mut since = start.since;
        let mut splitter = Splitter::new(start.address);
        loop {
            let (logs, owned, at) = (self.clone(), id.clone(), splitter.read_to);
            let piece = blocking(move || logs.piece(&owned, stream, at)).await?;
            let ended = piece.is_none();
            match piece {
                Some(piece) => splitter.take(piece.place, &piece.bytes),
                None if news.is_none() => splitter.end(),
                None => {}
            }
            for Line { offset, dropped, line } in splitter.lines.drain(..) {
                let since: Option<Timestamp> = since.take();
                let line = LogLine { instance: id.clone(), stream, offset, line, dropped, since };
                if lines.send(Ok(json_line(&line))).await.is_err() {
                    return Ok(());
                }
            }
            match (&mut news, ended) {
                (_, false) => {}
                (None, true) => return Ok(()),
                (Some(news), true) => tokio::select! {
                    () = news.wait() => {}
                    () = lines.closed() => return Ok(()),
                    () = handle.gone() => return Ok(()),
                },
            }
        }
    }

    /// The last lines of a stream from address `from` on, for an error to quote. What cannot be read is no
    /// line.
    pub(crate) fn tail(&self, id: &InstanceId, stream: LogStream, from: u64) -> Vec<String> {
        let from = from.max(self.end(id, stream).saturating_sub(TAIL_BYTES));
        let mut splitter = Splitter::new(from);
        let mut lines = Vec::new();
        // A program that prints all the time does not keep whoever quotes it.
        for _ in 0..TAIL_PIECES {
            match self.piece(id, stream, splitter.read_to) {
                Ok(Some(piece)) => splitter.take(piece.place, &piece.bytes),
                Ok(None) | Err(_) => break,
            }
        }
        splitter.end();
        lines.extend(splitter.lines.into_iter().map(|line| line.line));
        lines.split_off(lines.len().saturating_sub(TAIL_LINES))
    }

    /// The bytes at an address, or at the next one that is there; none at the end.
    pub(super) fn piece(
        &self,
        id: &InstanceId,
        stream: LogStream,
        at: u64,
    ) -> Result<Option<Piece>, LogError> {
        let _still = self.still(id);
        let streams = Streams::read(&self.inner.disk, id)?;
        let Some(place) = streams.of(stream).at(at) else { return Ok(None) };
        self.bytes(id, stream, place)
    }

    /// The bytes at a place, no more than a piece. With the lock shared.
    pub(super) fn bytes(
        &self,
        id: &InstanceId,
        stream: LogStream,
        place: Place,
    ) -> Result<Option<Piece>, LogError> {
        let Some(file) = self.inner.disk.open_file(&path(id, stream, place.base))? else {
            return Ok(None);
        };
        let most = place.bytes.min(PIECE_BYTES);
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(0)];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], place.position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(read);
        Ok((read > 0).then_some(Piece { place, bytes }))
    }
}

/// Some bytes of a stream.
pub(super) struct Piece {
    pub(super) place: Place,
    pub(super) bytes: Vec<u8>,
}

/// A line, and how many bytes between the one before and it are gone.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    offset: u64,
    dropped: Option<u64>,
    line: String,
}

/// Cuts what is read into lines. A line longer than a piece is cut where the piece ends, so that memory
/// stays bounded whatever a program prints.
#[derive(Debug)]
struct Splitter {
    /// The address of the next piece.
    read_to: u64,
    /// The address of `rest`.
    rest_at: u64,
    rest: Vec<u8>,
    /// The run that was read from last.
    base: Option<u64>,
    /// Bytes that are gone since the last line.
    dropped: u64,
    lines: Vec<Line>,
}

impl Splitter {
    fn new(address: u64) -> Splitter {
        Splitter {
            read_to: address,
            rest_at: address,
            rest: Vec::new(),
            base: None,
            dropped: 0,
            lines: Vec::new(),
        }
    }

    fn take(&mut self, place: Place, piece: &[u8]) {
        let mut piece = piece;
        if place.address > self.read_to {
            // What was read of a line goes with the rest of it.
            self.dropped += place.address - self.rest_at;
            self.rest.clear();
            self.rest_at = place.address;
            self.read_to = place.address;
            // One that has no end within a piece is shown in pieces anyway, and from here on.
            if place.cut
                && let Some(end) = piece.iter().position(|byte| *byte == b'\n')
            {
                piece = &piece[end + 1..];
                self.dropped += end as u64 + 1;
                self.rest_at += end as u64 + 1;
                self.read_to += end as u64 + 1;
            }
        } else if self.base.is_some_and(|base| base != place.base) {
            self.end();
        }
        self.base = Some(place.base);
        self.read_to += piece.len() as u64;
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&piece[..end]);
            self.cut(1);
            piece = &piece[end + 1..];
        }
        self.rest.extend_from_slice(piece);
        if self.rest.len() as u64 >= PIECE_BYTES {
            self.cut(0);
        }
    }

    /// What has no line feed is the last line.
    fn end(&mut self) {
        if !self.rest.is_empty() {
            self.cut(0);
        }
    }

    /// Makes a line of what is there; `separator` bytes follow it that belong to no line.
    fn cut(&mut self, separator: u64) {
        let line = String::from_utf8_lossy(&self.rest).into_owned();
        let dropped = (self.dropped > 0).then(|| std::mem::take(&mut self.dropped));
        self.lines.push(Line { offset: self.rest_at, dropped, line });
        self.rest_at += self.rest.len() as u64 + separator;
        self.rest.clear();
    }
}

pub(super) const PIECE_BYTES: u64 = 64 * 1024;
const TAIL_BYTES: u64 = 4 * 1024;
const TAIL_PIECES: usize = 64;
const TAIL_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(address: u64, base: u64, cut: bool) -> Place {
        Place { address, base, position: address - base, bytes: 1, cut }
    }

    fn offsets(splitter: &Splitter) -> Vec<(u64, Option<u64>, &str)> {
        let of = |line: &'_ Line| (line.offset, line.dropped);
        splitter.lines.iter().map(|line| (of(line).0, of(line).1, line.line.as_str())).collect()
    }

    #[test]
    fn a_line_longer_than_a_piece_is_cut_and_nothing_is_lost() {
        let mut splitter = Splitter::new(0);
        let long = vec![b'x'; PIECE_BYTES as usize];
        splitter.take(place(0, 0, false), &long);
        splitter.take(place(PIECE_BYTES, 0, false), b"y\nz");
        splitter.end();
        let offsets: Vec<u64> = splitter.lines.iter().map(|line| line.offset).collect();
        assert_eq!(offsets, [0, PIECE_BYTES, PIECE_BYTES + 2]);
    }

    #[test]
    fn the_end_of_a_run_ends_its_line() {
        let mut splitter = Splitter::new(0);
        splitter.take(place(0, 0, false), b"one\ntw");
        splitter.take(place(6, 6, false), b"three\n");
        assert_eq!(offsets(&splitter), [(0, None, "one"), (4, None, "tw"), (6, None, "three")]);
    }

    #[test]
    fn what_is_gone_is_counted_up_to_the_next_whole_line() {
        let mut splitter = Splitter::new(0);
        splitter.take(place(0, 0, false), b"one\nhal");
        splitter.take(place(100, 0, true), b"f a line\nwhole\n");
        assert_eq!(offsets(&splitter), [(0, None, "one"), (109, Some(105), "whole")]);
        // The first line of a run is whole, and so is a line without end.
        let mut splitter = Splitter::new(0);
        splitter.take(place(50, 50, false), b"first\n");
        assert_eq!(offsets(&splitter), [(50, Some(50), "first")]);
        let mut splitter = Splitter::new(3);
        splitter.take(place(50, 0, true), b"no end");
        splitter.end();
        assert_eq!(offsets(&splitter), [(50, Some(47), "no end")]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_arrive(text in "[a-z\n]{0,200}", cuts in prop::collection::vec(1usize..20, 0..40)) {
            let mut splitter = Splitter::new(7);
            let mut bytes = text.as_bytes();
            for cut in cuts {
                let (piece, rest) = bytes.split_at(cut.min(bytes.len()));
                splitter.take(place(splitter.read_to, 0, false), piece);
                bytes = rest;
            }
            splitter.take(place(splitter.read_to, 0, false), bytes);
            splitter.end();
            let lines: Vec<&str> = splitter.lines.iter().map(|line| line.line.as_str()).collect();
            prop_assert_eq!(&lines, &text.lines().collect::<Vec<_>>());
            for Line { offset, line, dropped } in &splitter.lines {
                let at = (*offset - 7) as usize;
                prop_assert_eq!(&text[at..at + line.len()], line);
                prop_assert_eq!(*dropped, None);
            }
        }
    }
}
