//! Finds where the blocks of bzip2 begin: at a magic of 48 bits, at any bit.
//!
//! A magic can also stand in the data of a block by chance (once in 2^48 bits). So what is found
//! are segments that *may* be blocks; whoever decodes one sees whether it ends where it should.

use std::io::{self, Read};

use crate::decode::bzip2::bits::Bits;
use crate::decode::input::BUFFER;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The beginning of the input.
    Input,
    /// The magic of a block.
    Block,
    /// The magic behind the last block of a stream.
    Trailer,
}

/// What a segment ends at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The magic that begins the next one.
    Magic,
    /// The end of the input.
    Input,
    /// It is longer than any block can be; no more is read.
    TooLong,
}

/// From one magic to the next.
pub(super) struct Segment {
    pub(super) start: Start,
    /// With the magic that it begins with.
    pub(super) bits: Bits,
    /// The place of the first bit in its byte of the input.
    pub(super) phase: usize,
    pub(super) end: End,
}

/// Cuts an input into segments.
pub(super) struct Scanner {
    buffer: Vec<u8>,
    /// The first bit of the current segment, and what it is.
    from: usize,
    start: Start,
    /// The byte up to which there is no magic behind `from`.
    scanned: usize,
    done: bool,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), from: 0, start: Start::Input, scanned: 0, done: false }
    }

    /// The next segment; `None` behind the last one.
    pub(super) fn next(&mut self, input: &mut impl Read) -> io::Result<Option<Segment>> {
        while !self.done {
            let behind = match self.start {
                Start::Input => 0,
                Start::Block | Start::Trailer => self.from + MAGIC_BITS,
            };
            if let Some((at, start)) = find(&self.buffer, self.scanned, behind) {
                let segment = self.cut(at, End::Magic);
                (self.from, self.start, self.scanned) = (at, start, at / 8);
                return Ok(Some(segment));
            }
            self.scanned = self.buffer.len().saturating_sub(OVERLAP);
            if self.buffer.len() - self.from / 8 > LONGEST {
                self.done = true;
                return Ok(Some(self.cut(self.buffer.len() * 8, End::TooLong)));
            }
            if self.read(input)? == 0 {
                self.done = true;
                return Ok(Some(self.cut(self.buffer.len() * 8, End::Input)));
            }
        }
        Ok(None)
    }

    fn cut(&self, to: usize, end: End) -> Segment {
        let bits = Bits::cut(&self.buffer, self.from, to);
        Segment { start: self.start, bits, phase: self.from % 8, end }
    }

    fn read(&mut self, input: &mut impl Read) -> io::Result<usize> {
        let used = self.from / 8;
        if used > 0 {
            self.buffer.drain(..used);
            self.from %= 8;
            self.scanned = self.scanned.saturating_sub(used);
        }
        let length = self.buffer.len();
        self.buffer.resize(length + BUFFER, 0);
        let read = input.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// The first magic at or behind the bit `behind`, searched from the byte `from` on.
///
/// Wherever it begins, a magic covers the five bytes behind its first one whole, and one of any
/// four pairs of neighbours in them is met when every fourth place is looked at.
fn find(bytes: &[u8], from: usize, behind: usize) -> Option<(usize, Start)> {
    let mut at = from;
    while let Some([first, second]) = bytes.get(at..at + 2) {
        let pair = usize::from(u16::from_be_bytes([*first, *second]));
        if PAIRS[pair / 64] >> (pair % 64) & 1 == 1 {
            let lowest = (at.saturating_sub(4) * 8).max(behind);
            let found = (lowest..at * 8).find_map(|bit| Some((bit, magic(bytes, bit)?)));
            if found.is_some() {
                return found;
            }
        }
        at += 4;
    }
    None
}

/// The magic at this bit, if there is one.
fn magic(bytes: &[u8], bit: usize) -> Option<Start> {
    let mut window = [0; 8];
    let end = (bit + MAGIC_BITS).div_ceil(8);
    let covered = bytes.get(bit / 8..end)?;
    window[..covered.len()].copy_from_slice(covered);
    match u64::from_be_bytes(window) << (bit % 8) >> 16 {
        BLOCK => Some(Start::Block),
        TRAILER => Some(Start::Trailer),
        _ => None,
    }
}

/// The pairs of bytes that stand anywhere in a magic, at any shift: 64 of 65536, as a set of bits.
static PAIRS: [u64; 1024] = pairs();

const fn pairs() -> [u64; 1024] {
    let mut set = [0; 1024];
    // The pair begins at least one and at most 32 bits behind the magic's beginning.
    let mut shift = 1;
    while shift <= MAGIC_BITS - 16 {
        let block = (BLOCK >> (MAGIC_BITS - 16 - shift)) as usize & 0xffff;
        let trailer = (TRAILER >> (MAGIC_BITS - 16 - shift)) as usize & 0xffff;
        set[block / 64] |= 1 << (block % 64);
        set[trailer / 64] |= 1 << (trailer % 64);
        shift += 1;
    }
    set
}

/// The decimals of pi and of its root.
const BLOCK: u64 = 0x3141_5926_5359;
const TRAILER: u64 = 0x1772_4538_5090;
/// Bits of either.
pub(super) const MAGIC_BITS: usize = 48;
/// What must be looked at again when more bytes come: a magic and its first byte.
const OVERLAP: usize = 8;
/// Bytes that no block exceeds: 900,001 symbols of 20 bits, and its tables.
const LONGEST: usize = 3 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All bits of `segments` behind one another.
    fn joined(segments: &[Segment]) -> Bits {
        let mut all = Bits::default();
        segments.iter().for_each(|segment| all.append(&segment.bits));
        all
    }

    fn segments(mut input: impl Read) -> Vec<Segment> {
        let mut scanner = Scanner::new();
        std::iter::from_fn(|| scanner.next(&mut input).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn each_magic_begins_a_segment(
            gaps in prop::collection::vec((0..200_usize, any::<bool>(), any::<u8>()), 0..6),
            last in 0..100_usize,
            step in 1..300_usize,
        ) {
            let fill = |length: usize, byte: u8| Bits::cut(&vec![byte; length / 8 + 1], 0, length);
            let mut all = Bits::default();
            let mut expected = vec![(0, Start::Input)];
            for (length, block, byte) in &gaps {
                all.append(&fill(*length, *byte));
                let (magic, start) =
                    if *block { (BLOCK, Start::Block) } else { (TRAILER, Start::Trailer) };
                expected.push((all.len(), start));
                all.append(&Bits::cut(&magic.to_be_bytes(), 16, 64));
            }
            all.append(&fill(last, 0xff));
            let segments = segments(Slow(all.as_bytes(), step));
            let mut at = 0;
            let found: Vec<_> = segments.iter().map(|segment| {
                let place = at;
                assert_eq!(segment.phase, place % 8);
                at += segment.bits.len();
                (place, segment.start)
            }).collect();
            prop_assert_eq!(found, expected);
            let joined = joined(&segments);
            prop_assert_eq!(joined.as_bytes(), all.as_bytes());
        }
    }

    /// Few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn what_is_too_long_for_a_block_is_not_kept() {
        let found = segments(io::repeat(7).take(1 << 30));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].end, End::TooLong);
        assert!(found[0].bits.len() < (LONGEST + 2 * BUFFER) * 8);
    }
}
