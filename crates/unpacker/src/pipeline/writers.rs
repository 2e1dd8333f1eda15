//! The threads that make, fill and hash files, and what is on its way to them.
//!
//! They begin nothing by themselves and share nothing but two channels: jobs to them, words back. What
//! is on its way is bounded by the length of the channel of jobs and of the one of pieces.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use archive::{Entry, EntryKind, Packed};
use durable::{DiskError, NewFile};
use model::Digest;

use super::content::Filling;
use crate::error::UnpackError;

/// A file to be written.
pub(super) struct Job {
    /// Its number in the archive's order.
    pub(super) number: u64,
    pub(super) entry: Entry,
    pub(super) file: NewFile,
    pub(super) content: Content,
}

/// Where the content of a file comes from.
pub(super) enum Content {
    /// It is all there.
    Whole(Piece),
    /// It comes in pieces; an empty one says that all of it has come.
    Pieces(Receiver<Piece>),
    /// It lies in a zip.
    Packed(Packed, Arc<File>),
}

/// Some bytes in a buffer that is used again.
pub(super) struct Piece {
    buffer: Vec<u8>,
    len: usize,
}

/// What a thread has to say.
enum Word {
    /// A file is complete, or cannot be.
    Finished { number: u64, outcome: Result<Digest, UnpackError> },
    /// A buffer is free again.
    Free(Vec<u8>),
}

/// The threads, seen from the one that reads the archive.
pub(super) struct Writers {
    jobs: SyncSender<Job>,
    words: Receiver<Word>,
    on_the_way: usize,
    free: Vec<Vec<u8>>,
    /// What is finished and was not asked for yet.
    here: VecDeque<(u64, Result<Digest, UnpackError>)>,
}

impl Writers {
    /// Starts so many threads; they end when this value is dropped, or panic with the scope.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        count: usize,
    ) -> io::Result<Writers> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (sender, words) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let (queue, sender) = (queue.clone(), sender.clone());
            std::thread::Builder::new()
                .name(format!("writer-{number}"))
                .stack_size(STACK)
                .spawn_scoped(scope, move || write_files(&queue, &sender))?;
        }
        Ok(Writers { jobs, words, on_the_way: 0, free: Vec::new(), here: VecDeque::new() })
    }

    /// Hands a file over. While too many are on their way, one that is all here is written on this
    /// thread instead of waiting: then neither is idle.
    pub(super) fn submit(&mut self, job: Job) {
        self.on_the_way += 1;
        let job = match self.jobs.try_send(job) {
            Ok(()) => return,
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
        };
        if let Content::Whole(_) = job.content {
            let (number, free) = (job.number, &mut self.free);
            let mut give_back = |buffer| free.push(buffer);
            let outcome = write_file(job, &mut Vec::new(), &mut give_back);
            self.here.push_back((number, outcome));
            return;
        }
        // It fails only if every thread has panicked, and then the scope panics.
        let _ = self.jobs.send(job);
    }

    /// Something that a thread has finished, if there is any.
    pub(super) fn finished(&mut self) -> Option<(u64, Result<Digest, UnpackError>)> {
        if let Some(finished) = self.written_here() {
            return Some(finished);
        }
        loop {
            let word = self.words.try_recv().ok()?;
            if let Some(finished) = self.take(word) {
                return Some(finished);
            }
        }
    }

    /// The next thing that a thread finishes; `None` when nothing is on its way.
    pub(super) fn wait(&mut self) -> Option<(u64, Result<Digest, UnpackError>)> {
        if let Some(finished) = self.written_here() {
            return Some(finished);
        }
        while self.on_the_way > 0 {
            let word = self.words.recv().ok()?;
            if let Some(finished) = self.take(word) {
                return Some(finished);
            }
        }
        None
    }

    fn written_here(&mut self) -> Option<(u64, Result<Digest, UnpackError>)> {
        let finished = self.here.pop_front();
        self.on_the_way -= usize::from(finished.is_some());
        finished
    }

    /// An empty buffer of [`PIECE`] bytes: one that a thread has given back, where there is one. So there
    /// are no more of them than fit on the way, however large a file is.
    pub(super) fn piece(&mut self) -> Piece {
        while let Ok(word) = self.words.try_recv() {
            match word {
                Word::Free(buffer) => self.free.push(buffer),
                Word::Finished { number, outcome } => self.here.push_back((number, outcome)),
            }
        }
        let buffer = self.free.pop().unwrap_or_else(|| vec![0; PIECE]);
        Piece { buffer, len: 0 }
    }

    fn take(&mut self, word: Word) -> Option<(u64, Result<Digest, UnpackError>)> {
        match word {
            Word::Free(buffer) => {
                self.free.push(buffer);
                None
            }
            Word::Finished { number, outcome } => {
                self.on_the_way -= 1;
                Some((number, outcome))
            }
        }
    }
}

impl Piece {
    /// One that nothing fits into.
    pub(super) fn empty() -> Piece {
        Piece { buffer: Vec::new(), len: 0 }
    }

    /// Fills it as far as there is something to fill it with.
    pub(super) fn fill(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> Result<usize, archive::Error>,
    ) -> Result<(), archive::Error> {
        while self.len < self.buffer.len() {
            match read(&mut self.buffer[self.len..])? {
                0 => break,
                more => self.len += more,
            }
        }
        Ok(())
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Is nothing in it?
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// One thread.
fn write_files(queue: &Mutex<Receiver<Job>>, words: &Sender<Word>) {
    let mut buffer = Vec::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let number = job.number;
        let mut free = |buffer| drop(words.send(Word::Free(buffer)));
        // A thread that panics must not leave the others waiting for its word.
        let written = catch_unwind(AssertUnwindSafe(|| write_file(job, &mut buffer, &mut free)));
        let panicked = |_| Err(UnpackError::Died { how: "a thread panicked".to_owned() });
        let outcome = written.unwrap_or_else(panicked);
        if words.send(Word::Finished { number, outcome }).is_err() {
            return; // the reading thread has given up
        }
    }
}

fn write_file(
    job: Job,
    buffer: &mut Vec<u8>,
    free: &mut dyn FnMut(Vec<u8>),
) -> Result<Digest, UnpackError> {
    let Job { entry, file, content, .. } = job;
    let failed = |error: DiskError| UnpackError::write(&entry, &error);
    let mut filling = begin(file, &entry).map_err(failed)?;
    match content {
        Content::Whole(piece) => {
            filling.push(piece.bytes()).map_err(failed)?;
            free(piece.buffer);
        }
        Content::Pieces(pieces) => {
            let mut whole = false;
            for piece in pieces {
                whole = piece.is_empty();
                filling.push(piece.bytes()).map_err(failed)?;
                free(piece.buffer);
            }
            if !whole {
                // The reading thread has met an error, and tells it.
                return Err(UnpackError::Input { message: "it ended early".to_owned() });
            }
        }
        Content::Packed(packed, input) => {
            buffer.resize(PACKED, 0);
            let at = packed.offset();
            let mut content = packed.open(Positioned { file: input, at });
            fill(&mut filling, buffer, |buffer| content.read_content(buffer), &entry)?;
        }
    }
    filling.finish().map_err(failed)
}

/// Makes the file of an entry.
fn begin(file: NewFile, entry: &Entry) -> Result<Filling, DiskError> {
    match &entry.kind {
        EntryKind::File { size, sparse, .. } => Filling::begin(file, *size, sparse.clone()),
        _ => Filling::begin(file, 0, None),
    }
}

/// Writes a file on this thread, from wherever its content comes.
pub(super) fn write_here(
    file: NewFile,
    entry: &Entry,
    buffer: &mut Vec<u8>,
    read: impl FnMut(&mut [u8]) -> Result<usize, archive::Error>,
) -> Result<Digest, UnpackError> {
    let failed = |error: DiskError| UnpackError::write(entry, &error);
    let mut filling = begin(file, entry).map_err(failed)?;
    buffer.resize(PACKED, 0);
    fill(&mut filling, buffer, read, entry)?;
    filling.finish().map_err(failed)
}

fn fill(
    filling: &mut Filling,
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, archive::Error>,
    entry: &Entry,
) -> Result<(), UnpackError> {
    loop {
        match read(buffer)? {
            0 => return Ok(()),
            count => {
                filling
                    .push(&buffer[..count])
                    .map_err(|error| UnpackError::write(entry, &error))?;
            }
        }
    }
}

/// Reads a file from a position on, beside others that do.
pub(super) struct Positioned {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Files on their way to the threads: enough that none waits, and memory stays small.
const QUEUE: usize = 32;
/// Bytes of a buffer: a file that fits goes over in one.
pub(super) const PIECE: usize = 128 << 10;
/// Pieces of a large file on their way.
pub(super) const PIECES: usize = 8;
/// Bytes that are unpacked at a time where they are written: small, to stay in the processor's cache.
const PACKED: usize = 64 << 10;
/// Bytes of stack for each thread, generously.
const STACK: usize = 512 << 10;
