//! bzip2, one stream or several, decoded by several threads.
//!
//! A block of bzip2 depends on no other, and begins with a magic that can be searched for. The
//! pulling thread reads the input and cuts it at each magic; the threads of a pool decode what may
//! be a block; the pulling thread takes the results in order, and verifies that blocks and trailers
//! follow one another as the format has it and that the checksum of each stream is right. Where a
//! block turns out not to end at a magic, it stood there by chance, and the next segment is added.
//!
//! Memory: for each thread five bytes for each byte of a block (900 kB at level 9); for each block
//! in flight (two more than threads) its bits, and at most 2 MiB of content, or that and four bytes
//! for each byte of a block whose content is longer. With two threads that is below 32 MiB, and
//! below 26 MiB with usual data.

mod bits;
mod block;
mod fast;
mod pool;
mod scan;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::decode::bzip2::bits::Bits;
use crate::decode::bzip2::block::{Outcome, Rest};
use crate::decode::bzip2::pool::Pool;
use crate::decode::bzip2::scan::{End, MAGIC_BITS, Scanner, Segment, Start};
use crate::decode::input::{Fate, Tap, cut_off, damaged};

/// All streams of an input as one.
pub(super) struct Streams<R> {
    input: Tap<R>,
    scanner: Scanner,
    /// What the input failed with, to be told when all that came before it has been.
    failure: Option<io::Error>,
    fate: Fate,
    /// The level of the stream that is being cut.
    level: u8,
    pool: Pool,
    pending: VecDeque<Pending>,
    /// The checksum of the current stream so far.
    checksum: u32,
    content: Content,
    done: bool,
}

/// A segment that waits for its turn.
struct Pending {
    start: Start,
    bits: Arc<Bits>,
    phase: usize,
    end: End,
    level: u8,
    /// For what may be a whole block.
    outcome: Option<Receiver<Outcome>>,
}

/// What is handed out.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    position: usize,
    rest: Option<Box<Rest>>,
}

impl<R> Streams<R> {
    pub(super) fn new(input: Tap<R>) -> Self {
        Self {
            input,
            scanner: Scanner::new(),
            failure: None,
            fate: Fate::default(),
            level: 9,
            pool: Pool::new(),
            pending: VecDeque::new(),
            checksum: 0,
            content: Content::default(),
            done: false,
        }
    }

    /// What the input did as far as it has been told: it is read ahead of that.
    pub(super) fn fate(&self) -> Fate {
        self.fate
    }
}

impl<R: Read> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.content.read(buffer)? {
                0 if self.done => return Ok(0),
                0 => self.advance()?,
                read => return Ok(read),
            }
        }
    }
}

impl<R: Read> Streams<R> {
    /// Takes the next segment as what it must be.
    fn advance(&mut self) -> io::Result<()> {
        // The content that was handed out makes room for the next one.
        self.content = Content::default();
        let segment = self.take()?;
        match segment.start {
            Start::Input => self.follow(&segment, 0),
            Start::Block => self.block(segment),
            Start::Trailer => self.trailer(&segment),
        }
    }

    fn block(&mut self, segment: Pending) -> io::Result<()> {
        let broken = || damaged("a block is damaged");
        let Pending { bits, mut end, level, outcome, .. } = segment;
        let mut outcome = match outcome {
            Some(outcome) => outcome.recv().unwrap_or(Outcome::Damaged),
            None => Outcome::Short,
        };
        let mut bits = Arc::unwrap_or_clone(bits);
        let mut joined = 0;
        while let Outcome::Short = outcome {
            match end {
                End::Input if block::may_go_on(&bits, level) => return Err(self.cut_off()),
                End::Magic if joined < MOST_JOINED => {}
                _ => return Err(broken()),
            }
            let next = self.take()?;
            bits.append(&next.bits);
            (end, joined) = (next.end, joined + 1);
            if end == End::Magic {
                outcome = block::decode(&bits, level, &mut fast::Decoder::default());
            }
        }
        let (bytes, rest) = match outcome {
            Outcome::Whole(bytes) => (bytes, None),
            Outcome::Long(bytes, rest) => (bytes, Some(rest)),
            Outcome::Short | Outcome::Damaged => return Err(broken()),
        };
        self.content = Content { bytes, position: 0, rest };
        let checksum = bits.word(MAGIC_BITS).ok_or_else(broken)?;
        self.checksum = self.checksum.rotate_left(1) ^ checksum;
        Ok(())
    }

    /// What is behind the last block of a stream: its checksum, and bits up to a whole byte.
    fn trailer(&mut self, segment: &Pending) -> io::Result<()> {
        match segment.bits.word(MAGIC_BITS) {
            Some(checksum) if checksum == self.checksum => {
                let length = MAGIC_BITS + 32;
                let whole = (segment.phase + length).next_multiple_of(8) - segment.phase;
                if segment.end == End::Input && segment.bits.len() <= whole {
                    self.done = true;
                    return Ok(());
                }
                self.follow(segment, whole)
            }
            None if segment.end == End::Input => Err(self.cut_off()),
            _ => Err(damaged("the checksum of a stream is wrong")),
        }
    }

    /// What follows in a segment must be the header of the next stream.
    fn follow(&mut self, segment: &Pending, behind: usize) -> io::Result<()> {
        let rest = segment.bits.behind(behind);
        if segment.end == End::Magic && level(&rest).is_some() {
            self.checksum = 0;
            return Ok(());
        }
        if segment.end == End::Input && block::may_begin(rest.as_bytes()) {
            return Err(self.cut_off());
        }
        Err(damaged("this is not a bzip2 stream"))
    }

    /// The next segment, with as many behind it as may be in flight.
    fn take(&mut self) -> io::Result<Pending> {
        while self.pending.len() < self.pool.depth() && self.failure.is_none() {
            match self.scanner.next(&mut self.input) {
                Ok(Some(segment)) => self.submit(segment),
                Ok(None) => break,
                Err(error) => self.failure = Some(error),
            }
        }
        match (self.pending.pop_front(), self.failure.take()) {
            (Some(segment), failure) => {
                self.failure = failure;
                Ok(segment)
            }
            (None, Some(error)) => {
                self.fate = self.input.fate;
                Err(error)
            }
            (None, None) => Err(self.cut_off()),
        }
    }

    fn submit(&mut self, segment: Segment) {
        let Segment { start, bits, phase, end } = segment;
        let bits = Arc::new(bits);
        let outcome = match start {
            // Nothing is whole that no magic follows.
            Start::Block if end != End::Magic => None,
            Start::Block => Some(self.pool.submit(Arc::clone(&bits), self.level)),
            Start::Input | Start::Trailer => {
                let header = bits.behind(bits.len().saturating_sub(HEADER_BITS));
                self.level = level(&header).unwrap_or(self.level);
                None
            }
        };
        self.pending.push_back(Pending { start, bits, phase, end, level: self.level, outcome });
    }

    fn cut_off(&mut self) -> io::Error {
        self.fate = self.input.fate;
        cut_off()
    }
}

impl Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = &self.bytes[self.position..];
        if ready.is_empty() {
            return self.rest.as_mut().map_or(Ok(0), |rest| rest.read(buffer));
        }
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.position += length;
        Ok(length)
    }
}

/// The level that a stream header states, if these bits are one.
fn level(header: &Bits) -> Option<u8> {
    match header.as_bytes() {
        [b'B', b'Z', b'h', digit @ b'1'..=b'9'] if header.len() == HEADER_BITS => {
            Some(digit - b'0')
        }
        _ => None,
    }
}

const HEADER_BITS: usize = 32;
/// So many chance magics in one block that no more are believed.
const MOST_JOINED: u32 = 8;

#[cfg(test)]
mod tests;
