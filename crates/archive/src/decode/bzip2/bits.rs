//! Strings of bits: the blocks of bzip2 begin and end anywhere in a byte.

/// Bits, the highest of each byte first. What fills the last byte is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    length: usize,
}

impl Bits {
    /// The bits `from..to` of `bytes`, which has them.
    pub(super) fn cut(bytes: &[u8], from: usize, to: usize) -> Self {
        let (bytes, up) = (&bytes[from / 8..to.div_ceil(8)], from % 8);
        let pairs = bytes.iter().zip(bytes.iter().skip(1).chain([&0]));
        let aligned =
            pairs.map(|(high, low)| (u16::from_be_bytes([*high, *low]) >> (8 - up)) as u8);
        let mut bits = Self { bytes: aligned.collect(), length: to - from };
        bits.tidy();
        bits
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// All of them, in whole bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds `other` behind the last bit.
    pub(super) fn append(&mut self, other: &Bits) {
        let down = self.length % 8;
        self.length += other.length;
        if down == 0 {
            self.bytes.extend(&other.bytes);
        } else {
            for byte in &other.bytes {
                if let Some(last) = self.bytes.last_mut() {
                    *last |= byte >> down;
                }
                self.bytes.push(byte << (8 - down));
            }
            self.tidy();
        }
    }

    /// The bits from this one on.
    pub(super) fn behind(&self, from: usize) -> Self {
        Self::cut(&self.bytes, from.min(self.length), self.length)
    }

    /// 32 bits as a number; `None` where there are not so many.
    pub(super) fn word(&self, at: usize) -> Option<u32> {
        let four = (at + 32 <= self.length).then(|| Self::cut(&self.bytes, at, at + 32))?;
        four.bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Removes what is behind the last bit.
    fn tidy(&mut self) {
        self.bytes.truncate(self.length.div_ceil(8));
        if let (used @ 1.., Some(last)) = (self.length % 8, self.bytes.last_mut()) {
            *last &= !(0xff >> used);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digits(bits: &Bits) -> String {
        let all: String = bits.bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        assert!(all[bits.length..].chars().all(|digit| digit == '0'));
        all[..bits.length].to_owned()
    }

    proptest! {
        #[test]
        fn bits_are_cut_and_joined_as_written(
            bytes in prop::collection::vec(any::<u8>(), 1..20),
            ends in any::<[prop::sample::Index; 3]>(),
        ) {
            let mut ends = ends.map(|end| end.index(bytes.len() * 8 + 1));
            ends.sort_unstable();
            let all: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
            let mut first = Bits::cut(&bytes, ends[0], ends[1]);
            prop_assert_eq!(digits(&first), &all[ends[0]..ends[1]]);
            first.append(&Bits::cut(&bytes, ends[1], ends[2]));
            prop_assert_eq!(digits(&first), &all[ends[0]..ends[2]]);
            prop_assert_eq!(first.len(), ends[2] - ends[0]);
            prop_assert_eq!(digits(&first.behind(5)), all[ends[0]..ends[2]].get(5..).unwrap_or(""));
            let word = (first.len() >= 37)
                .then(|| u32::from_str_radix(&all[ends[0] + 5..ends[0] + 37], 2).unwrap());
            prop_assert_eq!(first.word(5), word);
        }
    }
}
