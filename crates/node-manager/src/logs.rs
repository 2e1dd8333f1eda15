//! What programs printed: reading their logs by line, from any byte, and waiting for more. Owns reading;
//! the programs write the files themselves, so nothing is lost with the manager. Waiting is an event of
//! the kernel (inotify), never a poll.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use durable::{Disk, DiskError};
use model::InstanceId;
use rustix::fs::inotify;
use tokio::sync::mpsc;
use wire::serve::{blocking, json_line};
use wire::v1::{LogLine, LogStream};

use crate::event::Event;
use crate::layout;
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

/// Sends a log's lines from `offset` on; with `follow`, what is appended too, until nobody listens or the
/// instance is gone.
pub(crate) async fn send(
    disk: Disk,
    handle: Handle,
    stream: LogStream,
    offset: u64,
    follow: bool,
    lines: mpsc::Sender<Result<Bytes, LogError>>,
) {
    if let Err(error) = send_lines(disk, &handle, stream, offset, follow, &lines).await {
        let _ = lines.send(Err(error)).await; // nobody may listen any more
    }
}

/// Bytes that a log has. What cannot be read has none.
pub(crate) fn length(disk: &Disk, id: &InstanceId, stream: LogStream) -> u64 {
    let found = disk.metadata(&layout::log(id, stream));
    found.ok().flatten().map_or(0, |found| found.size)
}

/// The last lines of a log from byte `from` on, for an error to quote. What cannot be read is no line.
pub(crate) fn tail(disk: &Disk, id: &InstanceId, stream: LogStream, from: u64) -> Vec<String> {
    let read = || {
        let mut file = disk.open_file(&layout::log(id, stream)).ok()??;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES).max(from))).ok()?;
        let mut end = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut end).ok()?;
        let text = String::from_utf8_lossy(&end).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Some(lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec())
    };
    read().unwrap_or_default()
}

async fn send_lines(
    disk: Disk,
    handle: &Handle,
    stream: LogStream,
    offset: u64,
    follow: bool,
    lines: &mpsc::Sender<Result<Bytes, LogError>>,
) -> Result<(), LogError> {
    let id = handle.view().body.instance;
    // The watch comes first: what is appended between reading and waiting is then an event.
    let watch = match follow {
        true => Some(Watch::new(disk.root().join(layout::logs(&id)))?),
        false => None,
    };
    let mut splitter = Splitter::new(offset);
    loop {
        let (disk, path, at) = (disk.clone(), layout::log(&id, stream), splitter.read_to);
        let piece = blocking(move || read_piece(&disk, &path, at)).await?;
        let ended = piece.is_empty();
        splitter.take(&piece);
        if ended && watch.is_none() {
            splitter.end();
        }
        for (offset, line) in splitter.lines.drain(..) {
            let line = LogLine { instance: id.clone(), stream, offset, line };
            if lines.send(Ok(json_line(&line))).await.is_err() {
                return Ok(());
            }
        }
        match (&watch, ended) {
            (_, false) => {}
            (None, true) => return Ok(()),
            (Some(watch), true) => tokio::select! {
                changed = watch.changed() => changed?,
                () = lines.closed() => return Ok(()),
                () = handle.gone() => return Ok(()),
            },
        }
    }
}

fn read_piece(disk: &Disk, path: &Path, at: u64) -> Result<Vec<u8>, LogError> {
    let Some(mut file) = disk.open_file(path)? else { return Ok(Vec::new()) };
    file.seek(SeekFrom::Start(at))?;
    let mut piece = Vec::new();
    file.take(PIECE_BYTES).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Cuts what is read into lines. A line longer than a piece is cut where the piece ends, so that memory
/// stays bounded whatever a program prints.
#[derive(Debug)]
struct Splitter {
    /// Where the next piece begins.
    read_to: u64,
    /// Where `rest` begins.
    rest_at: u64,
    rest: Vec<u8>,
    lines: Vec<(u64, String)>,
}

impl Splitter {
    fn new(offset: u64) -> Splitter {
        Splitter { read_to: offset, rest_at: offset, rest: Vec::new(), lines: Vec::new() }
    }

    fn take(&mut self, piece: &[u8]) {
        self.read_to += piece.len() as u64;
        let mut piece = piece;
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
        self.lines.push((self.rest_at, line));
        self.rest_at += self.rest.len() as u64 + separator;
        self.rest.clear();
    }
}

/// Says when something in a directory was written to.
struct Watch(Event);

impl Watch {
    fn new(directory: PathBuf) -> std::io::Result<Watch> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let handle = inotify::init(flags)?;
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&handle, directory, events)?;
        Ok(Watch(Event::new(handle)?))
    }

    async fn changed(&self) -> std::io::Result<()> {
        // What the events say does not matter: the log is read again in any case.
        let mut buffer = [0u8; 4096];
        self.0
            .taken(
                |handle| {
                    while rustix::io::read(handle, &mut buffer).is_ok_and(|count| count > 0) {}
                },
            )
            .await
    }
}

const PIECE_BYTES: u64 = 64 * 1024;
const TAIL_BYTES: u64 = 4 * 1024;
const TAIL_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_longer_than_a_piece_is_cut_and_nothing_is_lost() {
        let mut splitter = Splitter::new(0);
        let long = vec![b'x'; PIECE_BYTES as usize];
        splitter.take(&long);
        splitter.take(b"y\nz");
        splitter.end();
        let offsets: Vec<u64> = splitter.lines.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, PIECE_BYTES, PIECE_BYTES + 2]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_arrive(text in "[a-z\n]{0,200}", cuts in prop::collection::vec(1usize..20, 0..40)) {
            let mut splitter = Splitter::new(7);
            let mut bytes = text.as_bytes();
            for cut in cuts {
                let (piece, rest) = bytes.split_at(cut.min(bytes.len()));
                splitter.take(piece);
                bytes = rest;
            }
            splitter.take(bytes);
            splitter.end();
            let lines: Vec<&str> = splitter.lines.iter().map(|(_, line)| line.as_str()).collect();
            prop_assert_eq!(&lines, &text.lines().collect::<Vec<_>>());
            for (offset, line) in &splitter.lines {
                let at = (*offset - 7) as usize;
                prop_assert_eq!(&text[at..at + line.len()], line);
            }
        }
    }
}
