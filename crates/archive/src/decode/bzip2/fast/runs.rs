//! Runs: four equal bytes are followed by how many more come.
//!
//! Eight bytes are looked at at once, and copied as they are where none of them is the fourth
//! equal one.

/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;
const LAST_TWO: u64 = 0x8080 << 48;

/// Expands a block into its content.
pub(super) struct Runs {
    content: Vec<u8>,
    /// Bytes of content that are too many.
    most: usize,
    /// The byte before, in the lowest bits.
    last: u64,
    /// In the highest bits of the two highest bytes, whether the last byte and the one before it
    /// were equal to theirs before.
    equal: u64,
    /// What of the next bytes may be equal to the ones before: not the first after a run.
    open: u64,
    /// The next byte is a count.
    counting: bool,
}

impl Runs {
    /// For a block of so many bytes, and at most `most` bytes of content.
    pub(super) fn new(length: usize, most: usize) -> Self {
        let content = Vec::with_capacity((length + length / 8).min(most) + 8);
        Self { content, most, last: 0, equal: 0, open: HIGH << 8, counting: false }
    }

    /// Adds the next bytes of the block; `None` if the content is too long.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Option<()> {
        while let Some(first) = bytes.first() {
            if self.counting {
                let length = self.content.len() + usize::from(*first);
                self.content.resize(length, self.last as u8);
                (self.counting, self.equal, self.open) = (false, 0, HIGH << 8);
                bytes = &bytes[1..];
                continue;
            }
            let taken = match bytes.first_chunk() {
                Some(eight) => self.eight(*eight),
                None => self.one(*first),
            };
            bytes = &bytes[taken..];
        }
        (self.content.len() <= self.most).then_some(())
    }

    /// Takes eight bytes, or up to the fourth equal one: how many.
    #[inline(always)]
    fn eight(&mut self, eight: [u8; 8]) -> usize {
        let bytes = u64::from_le_bytes(eight);
        let different = bytes ^ (bytes << 8 | self.last);
        // The highest bit of each byte that is zero here, without a carry between bytes.
        let equal = !(((different & !HIGH) + !HIGH) | different) & HIGH & self.open;
        let fourth = equal & (equal << 8 | self.equal >> 56) & (equal << 16 | self.equal >> 48);
        if fourth != 0 {
            let taken = fourth.trailing_zeros() as usize / 8 + 1;
            self.content.extend_from_slice(&eight[..taken]);
            self.last = u64::from(eight[taken - 1]);
            self.counting = true;
            return taken;
        }
        self.content.extend_from_slice(&eight);
        (self.last, self.equal, self.open) = (bytes >> 56, equal, HIGH);
        8
    }

    fn one(&mut self, byte: u8) -> usize {
        let is_equal = self.last == u64::from(byte) && self.open == HIGH;
        self.content.push(byte);
        self.counting = is_equal && self.equal & LAST_TWO == LAST_TWO;
        self.equal = self.equal >> 8 & LAST_TWO | u64::from(is_equal) << 63;
        (self.last, self.open) = (u64::from(byte), HIGH);
        1
    }

    /// All content; `None` if a count is missing.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.counting).then_some(self.content)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the format has it, byte by byte.
    pub(in super::super) fn plain(bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut content, mut equal) = (Vec::new(), 0);
        for (at, byte) in bytes.iter().enumerate() {
            if equal == 4 {
                content.extend(std::iter::repeat_n(bytes[at - 1], usize::from(*byte)));
                equal = 0;
                continue;
            }
            equal = if equal > 0 && bytes[at - 1] == *byte { equal + 1 } else { 1 };
            content.push(*byte);
        }
        (equal < 4).then_some(content)
    }

    proptest! {
        #[test]
        fn runs_are_expanded_wherever_they_are_cut(
            bytes in prop::collection::vec(prop_oneof![4 => 0..2_u8, 1 => any::<u8>()], 0..300),
            parts in prop::collection::vec(1..40_usize, 1..9),
        ) {
            let expected = plain(&bytes);
            let most = expected.as_ref().map_or(1 << 20, Vec::len);
            let expand = |most| {
                let (mut runs, mut left) = (Runs::new(bytes.len(), most), &bytes[..]);
                for part in parts.iter().cycle() {
                    if left.is_empty() {
                        break;
                    }
                    let (now, later) = left.split_at(left.len().min(*part));
                    runs.add(now)?;
                    left = later;
                }
                runs.finish()
            };
            prop_assert_eq!(expand(most), expected);
            if let Some(less) = most.checked_sub(1) {
                prop_assert_eq!(expand(less).filter(|_| !bytes.is_empty()), None);
            }
        }
    }
}
