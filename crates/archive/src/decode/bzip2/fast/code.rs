//! A canonical prefix code: looked up by the next ten bits, which most codes do not exceed.

use crate::decode::bzip2::fast::input::Input;

/// Bits of the longest code.
pub(super) const LONGEST: usize = 20;
/// Bits that are looked up at once.
const SHORT: usize = 10;

/// A symbol, unpacked into what is done with it:
/// bits 0 to 7 the length of its code, 8 to 15 the place in the list of bytes, 16 and 17 how much
/// of a run it stands for (0 for what is no run), bit 18 whether it ends the block.
#[derive(Clone, Copy, Default)]
pub(super) struct Entry(u32);

impl Entry {
    fn new(symbol: usize, last: usize, length: usize) -> Self {
        let what = match symbol {
            0 => 1 << 16,
            1 => 2 << 16,
            _ if symbol == last => 1 << 18,
            _ => (symbol as u32 - 1) << 8,
        };
        Self(what | length as u32)
    }

    #[inline(always)]
    fn length(self) -> u32 {
        self.0 & 0xff
    }

    /// The place of the byte, 0 in front.
    #[inline(always)]
    pub(super) fn place(self) -> usize {
        (self.0 >> 8 & 0xff) as usize
    }

    /// 1 or 2 if it is a digit of the length of a run, else 0.
    #[inline(always)]
    pub(super) fn digit(self) -> usize {
        (self.0 >> 16 & 3) as usize
    }

    /// Whether it ends the block.
    #[inline(always)]
    pub(super) fn is_last(self) -> bool {
        self.0 >> 18 != 0
    }
}

/// A code for the symbols of a block.
pub(super) struct Code {
    /// By the next bits; of length 0 where the code is longer, or none.
    short: [Entry; 1 << SHORT],
    /// By length: the first code behind it, aligned to the longest.
    ends: [u32; LONGEST + 1],
    /// By length: the place in `entries` of its first code, less that code.
    bases: [i32; LONGEST + 1],
    /// All, by code.
    entries: Vec<Entry>,
}

impl Code {
    /// The code whose symbols have these lengths, 1 to 20. `None` if it is not a prefix code,
    /// which no two decoders need read in the same way.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let mut entries = Vec::with_capacity(lengths.len());
        let (mut ends, mut bases) = ([0; LONGEST + 1], [0; LONGEST + 1]);
        let mut short = [Entry::default(); 1 << SHORT];
        let mut next = 0_usize; // aligned to the longest
        for length in 1..=LONGEST {
            let step = 1 << (LONGEST - length);
            bases[length] = entries.len() as i32 - (next / step) as i32;
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, is)| **is as usize == length)
            {
                let entry = Entry::new(symbol, lengths.len() - 1, length);
                entries.push(entry);
                if length <= SHORT {
                    let from = next >> (LONGEST - SHORT);
                    short.get_mut(from..from + (1 << (SHORT - length)))?.fill(entry);
                }
                next += step;
            }
            if next > 1 << LONGEST {
                return None;
            }
            ends[length] = next as u32;
        }
        Some(Self { short, ends, bases, entries })
    }

    /// Takes a symbol; `None` if there is none of that code. Its bits must be ready.
    #[inline(always)]
    pub(super) fn next(&self, input: &mut Input<'_>) -> Option<Entry> {
        let mut entry = self.short[input.peek(SHORT as u32) as usize];
        if entry.length() == 0 {
            entry = self.long(input.peek(LONGEST as u32))?;
        }
        input.skip(entry.length());
        Some(entry)
    }

    /// The symbol whose code these bits begin with.
    #[cold]
    #[inline(never)]
    fn long(&self, bits: u32) -> Option<Entry> {
        // Where the codes of a length end the longer ones begin, in `entries` too.
        let length = (SHORT + 1..=LONGEST).find(|length| bits < self.ends[*length])?;
        let code = (bits >> (LONGEST - length)) as i32;
        self.entries.get((code + self.bases[length]) as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_length_are_read() {
        // 0, 10, 110 and so on; the two of twenty bits fill it.
        let lengths: Vec<u8> = (1..=20).chain([20]).collect();
        let code = Code::new(&lengths).unwrap();
        let mut bits = String::new();
        for (symbol, length) in lengths.iter().enumerate() {
            bits += &"1".repeat(usize::from(*length) - 1);
            bits += if symbol == 20 { "1" } else { "0" };
        }
        let bytes: Vec<u8> = (0..bits.len().div_ceil(8))
            .map(|at| {
                u8::from_str_radix(&format!("{:0<8}", &bits[at * 8..bits.len().min(at * 8 + 8)]), 2)
                    .unwrap()
            })
            .collect();
        let mut input = Input::new(&bytes);
        for symbol in 0..=20 {
            input.fill();
            let entry = code.next(&mut input).unwrap();
            let expected = match symbol {
                0 | 1 => (0, symbol + 1, false),
                20 => (0, 0, true),
                _ => (symbol - 1, 0, false),
            };
            assert_eq!((entry.place(), entry.digit(), entry.is_last()), expected);
        }
        assert_eq!(input.position(), bits.len());
    }

    #[test]
    fn what_no_symbol_has_is_not_read() {
        for lengths in [&[1, 2][..], &[2, 2, 12]] {
            let code = Code::new(lengths).unwrap();
            let mut input = Input::new(&[0xff; 8]);
            input.fill();
            assert!(code.next(&mut input).is_none());
        }
    }

    #[test]
    fn more_symbols_than_bits_tell_apart_are_no_code() {
        for lengths in [&[1, 1, 20][..], &[1, 1, 1], &[2, 2, 2, 2, 10], &[1; 258]] {
            assert!(Code::new(lengths).is_none());
        }
        assert!(Code::new(&[2, 2, 2, 2]).is_some());
    }
}
