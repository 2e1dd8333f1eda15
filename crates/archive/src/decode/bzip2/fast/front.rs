//! The list of bytes that each byte moves to the front of when it is met.
//!
//! Sixteen bytes are one number, so that moving up to sixteen of them is a few operations without
//! a branch; most places are below that.

/// The bytes by place, the front in the lowest bits of the first number.
pub(super) struct Front {
    near: u128,
    far: [u128; 15],
}

impl Front {
    pub(super) fn new(bytes: &[u8; 256]) -> Self {
        let mut rows = bytes.as_chunks::<16>().0.iter().map(|row| u128::from_le_bytes(*row));
        let mut row = || rows.next().unwrap_or_default();
        Self { near: row(), far: std::array::from_fn(|_| row()) }
    }

    /// The byte at this place (0 to 255), which moves to the front.
    #[inline(always)]
    pub(super) fn take(&mut self, place: usize) -> u8 {
        if place >= 16 {
            return self.take_far(place);
        }
        let byte = (self.near >> (8 * place)) as u8;
        self.near = moved(self.near, place, byte);
        byte
    }

    #[inline(always)]
    fn take_far(&mut self, place: usize) -> u8 {
        let (row, column) = (place / 16 - 1, place % 16);
        let byte = (self.far[row] >> (8 * column)) as u8;
        let mut carry = (self.near >> 120) as u8;
        self.near = self.near << 8 | u128::from(byte);
        for bytes in &mut self.far[..row] {
            let next = (*bytes >> 120) as u8;
            *bytes = *bytes << 8 | u128::from(carry);
            carry = next;
        }
        self.far[row] = moved(self.far[row], column, carry);
        byte
    }
}

/// `bytes`, with those before `place` moved up by one, over it, and `first` before them.
#[inline(always)]
fn moved(bytes: u128, place: usize, first: u8) -> u128 {
    let up = bytes << 8 | u128::from(first);
    bytes ^ (bytes ^ up) & UP_TO[place]
}

/// By place: the bits of the bytes up to it.
const UP_TO: [u128; 16] = {
    let (mut masks, mut place) = ([0; 16], 0);
    while place < 16 {
        masks[place] = u128::MAX >> (120 - 8 * place);
        place += 1;
    }
    masks
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_move_as_in_a_plain_list(
            bytes in any::<[u8; 32]>(),
            places in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut plain: [u8; 256] = std::array::from_fn(|at| bytes[at % 32].wrapping_add(at as u8));
            let mut front = Front::new(&plain);
            for place in places.into_iter().map(usize::from).chain(0..256) {
                prop_assert_eq!(front.take(place), plain[place]);
                plain[..=place].rotate_right(1);
            }
        }
    }
}
