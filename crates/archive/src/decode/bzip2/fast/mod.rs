//! Decodes a whole block, fast. It judges nothing: whatever is unusual, does not end where it
//! should or has another checksum is left to the reference decoder, which says what is wrong. So
//! this one need only be right where it answers, and accepts nothing that the other would not.
//!
//! The steps are those of the format, one file each: prefix codes and what is moved to the front,
//! the Burrows-Wheeler transform backwards, and runs.
//!
//! Memory: five bytes for each byte of a block (4.5 MB at level 9) and 100 KiB, kept from block to
//! block.

mod code;
mod front;
mod input;
mod runs;
mod symbols;
mod transform;

use crate::decode::bzip2::bits::Bits;
use crate::decode::bzip2::fast::input::Input;
use crate::decode::bzip2::fast::runs::Runs;
use crate::decode::bzip2::fast::symbols::Symbols;
use crate::decode::bzip2::fast::transform::Transform;
use crate::decode::bzip2::scan::MAGIC_BITS;

/// What decoding a block needs, for one after another.
#[derive(Default)]
pub(super) struct Decoder {
    symbols: Symbols,
    transform: Transform,
}

impl Decoder {
    /// The content of a block of a stream of this level, if it has at most `most` bytes.
    pub(super) fn decode(&mut self, bits: &Bits, level: u8, most: usize) -> Option<Vec<u8>> {
        let mut input = Input::new(bits.as_bytes());
        let (checksum, content) = self.block(&mut input, level, most)?;
        (input.position() == bits.len() && crc(&content) == checksum).then_some(content)
    }

    /// A block, wherever it ends, and the checksum that it should have.
    fn block(&mut self, input: &mut Input<'_>, level: u8, most: usize) -> Option<(u32, Vec<u8>)> {
        input.take(MAGIC_BITS as u32 / 2);
        input.take(MAGIC_BITS as u32 / 2);
        let checksum = input.take(32);
        // Randomized blocks have not been written since 1999.
        let randomized = input.take(1) == 1;
        let origin = input.take(24) as usize;
        if randomized {
            return None;
        }
        let length = self.symbols.read(input, usize::from(level) * 100_000)?;
        if origin >= length {
            return None;
        }
        let mut runs = Runs::new(length, most);
        self.transform.undo(&mut self.symbols, length, origin, &mut runs)?;
        Some((checksum, runs.finish()?))
    }
}

/// The CRC-32 of bzip2, which takes the highest bit first: that of reversed bytes, reversed.
fn crc(content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let mut reversed = [0; 4096];
    for part in content.chunks(reversed.len()) {
        for (to, from) in reversed.iter_mut().zip(part) {
            *to = from.reverse_bits();
        }
        crc.update(&reversed[..part.len()]);
    }
    crc.finalize().reverse_bits()
}

#[cfg(test)]
mod tests;
