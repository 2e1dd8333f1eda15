//! Decodes one block, given as the bits from its magic on: by the fast decoder where that answers,
//! else as a stream of its own, which is what the `bzip2` crate understands. That one is the judge
//! of what is wrong, and decodes what is rare: randomized blocks, and such of very long runs.

use std::io;

use ::bzip2::{Decompress, Status};

use crate::decode::bzip2::bits::Bits;
use crate::decode::bzip2::fast;
use crate::decode::bzip2::scan::MAGIC_BITS;
use crate::decode::input::damaged;

/// What became of a block.
pub(super) enum Outcome {
    /// All of its content.
    Whole(Vec<u8>),
    /// The beginning of its content, and where the rest comes from: runs can make one block into
    /// 46 MB.
    Long(Vec<u8>, Box<Rest>),
    /// The bits end, and it does not.
    Short,
    /// It is not a block.
    Damaged,
}

/// Decodes a block of a stream of this level (1 to 9), with its checksum verified.
pub(super) fn decode(bits: &Bits, level: u8, decoder: &mut fast::Decoder) -> Outcome {
    let Some(checksum) = bits.word(MAGIC_BITS) else { return Outcome::Short };
    if let Some(content) = decoder.decode(bits, level, MOST) {
        return Outcome::Whole(content);
    }
    // Its memory makes room for that of the other decoder.
    *decoder = fast::Decoder::default();
    let mut stream = Bits::default();
    for part in [&[b'B', b'Z', b'h', b'0' + level][..], bits.as_bytes()] {
        stream.append(&Bits::cut(part, 0, part.len() * 8));
    }
    let length = 32 + bits.len();
    let mut stream = Bits::cut(stream.as_bytes(), 0, length);
    // Of a single block, the checksum of the stream is that of the block.
    for part in [&TRAILER[..], &checksum.to_be_bytes()] {
        stream.append(&Bits::cut(part, 0, part.len() * 8));
    }
    let mut rest = Rest { stream, decoder: Decompress::new(false), ended: false };
    let mut content = Vec::with_capacity(TYPICAL);
    while !rest.ended {
        let before = content.len();
        let failed = rest.fill(&mut content).is_err() || !rest.ended && content.len() == before;
        // All of a block is taken in before any of it comes out. What runs past its own bits has
        // taken the trailer for a part of it. The decoder reads up to a word ahead.
        let taken = rest.decoder.total_in() as usize;
        if failed && taken >= length / 8 || !rest.ended && taken > length.div_ceil(8) + AHEAD {
            return Outcome::Short;
        }
        if failed {
            return Outcome::Damaged;
        }
        if content.len() == MOST {
            return Outcome::Long(content, Box::new(rest));
        }
        if content.len() == content.capacity() {
            content.reserve_exact(MOST - content.len());
        }
    }
    Outcome::Whole(content)
}

/// Whether these bytes may be the beginning of a stream, whatever follows.
pub(super) fn may_begin(mut bytes: &[u8]) -> bool {
    let (mut decoder, mut content) = (Decompress::new(false), [0; 4096]);
    loop {
        let before = (decoder.total_in(), decoder.total_out());
        match decoder.decompress(bytes, &mut content) {
            Ok(Status::StreamEnd) => return true,
            Ok(_) if before == (decoder.total_in(), decoder.total_out()) => return true,
            Ok(_) => bytes = &bytes[(decoder.total_in() - before.0) as usize..],
            Err(_) => return false,
        }
    }
}

/// Whether a block of these bits, at the end of the input, is only cut off.
pub(super) fn may_go_on(bits: &Bits, level: u8) -> bool {
    may_begin(&[&[b'B', b'Z', b'h', b'0' + level], bits.as_bytes()].concat())
}

/// A block whose content is still being written out.
pub(super) struct Rest {
    stream: Bits,
    decoder: Decompress,
    ended: bool,
}

impl Rest {
    /// Some more content; 0 at its end, which is where its checksum was verified.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let before = self.decoder.total_out();
        let input = &self.stream.as_bytes()[self.decoder.total_in() as usize..];
        let status = self.decoder.decompress(input, buffer)?;
        self.ended = status == Status::StreamEnd;
        match (self.decoder.total_out() - before) as usize {
            0 if !self.ended => Err(damaged("a block does not end")),
            read => Ok(read),
        }
    }

    /// Fills what `content` has room for.
    fn fill(&mut self, content: &mut Vec<u8>) -> Result<(), ::bzip2::Error> {
        let input = &self.stream.as_bytes()[self.decoder.total_in() as usize..];
        self.ended = self.decoder.decompress_vec(input, content)? == Status::StreamEnd;
        Ok(())
    }
}

const TRAILER: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
/// Bytes that the decoder may take before it needs them.
const AHEAD: usize = 8;
/// Bytes of content that most blocks of level 9 do not exceed.
const TYPICAL: usize = 1 << 20;
/// Bytes of content that are kept in memory for one block.
const MOST: usize = 2 << 20;
