//! The Burrows-Wheeler transform backwards.
//!
//! The bytes of a block are a chain through a table larger than the near caches: each step waits
//! for the one before it. But the steps are a permutation, so the chain can be begun at many
//! places and each part followed up to where another begins; several at once, their waiting
//! overlaps. Every 256th place begins a part. When fewer parts are left than are followed at once,
//! what is left of them, like the way from the origin to the first part, is walked when its turn
//! comes. So a block of any bytes costs at most about what a single chain does.

use crate::decode::bzip2::fast::runs::Runs;
use crate::decode::bzip2::fast::symbols::Symbols;

/// Parts that are followed at once: more gain nothing.
const LANES: usize = 16;
/// Places from one beginning of a part to the next.
const STRIDE: usize = 256;

/// A byte of each lane.
type Row = [u8; LANES];

/// Room for the steps of a block.
#[derive(Default)]
pub(super) struct Transform {
    /// The byte of each place, and above its eight bits the place of the one behind it.
    links: Vec<u32>,
    parts: Vec<Part>,
}

/// From one beginning up to another, or up to where it was left.
#[derive(Clone, Copy, Default)]
struct Part {
    lane: usize,
    /// The first row.
    from: usize,
    /// How many rows; 0 if it was left where it begins.
    rows: usize,
    /// The place behind it.
    next: usize,
}

impl Transform {
    /// Hands the content of the block to `runs`. The bytes of `symbols` are used up.
    pub(super) fn undo(
        &mut self,
        symbols: &mut Symbols,
        length: usize,
        origin: usize,
        runs: &mut Runs,
    ) -> Option<()> {
        self.link(&symbols.bytes[..length], &symbols.counts.0);
        let (rows, _) = symbols.bytes[..length].as_chunks_mut();
        self.follow(rows);
        self.join(rows, origin, runs)
    }

    /// Sorts the bytes, which is what makes the permutation.
    fn link(&mut self, bytes: &[u8], counts: &[u32; 256]) {
        self.links.resize(bytes.len(), 0);
        let mut sum = 0;
        let mut places = counts.map(|count| {
            sum += count;
            sum - count
        });
        let links = &mut self.links[..];
        for (at, byte) in bytes.iter().enumerate() {
            let place = &mut places[usize::from(*byte)];
            links[*place as usize] = (at as u32) << 8 | u32::from(*byte);
            *place += 1;
        }
    }

    /// Follows the parts until there are too few. Each row takes a step of every lane, and no
    /// place twice, so there are enough rows.
    fn follow(&mut self, rows: &mut [Row]) {
        let count = self.links.len().div_ceil(STRIDE);
        self.parts.clear();
        self.parts.extend((0..count).map(|part| Part { next: part * STRIDE, ..Part::default() }));
        if count < LANES {
            return;
        }
        let mut parts: [usize; LANES] = std::array::from_fn(|lane| lane);
        let mut at = parts.map(|part| (part * STRIDE) as u32);
        let mut from = [0; LANES];
        let (mut row, mut begun) = (0, LANES);
        let mut enough = true;
        while enough && row < rows.len() {
            row += step(&self.links, &mut at, &mut rows[row..]);
            for lane in 0..LANES {
                let next = at[lane] as usize;
                if !begins(next) {
                    continue;
                }
                let rows = row - from[lane];
                self.parts[parts[lane]] = Part { lane, from: from[lane], rows, next };
                from[lane] = row;
                if begun < count {
                    (parts[lane], at[lane]) = (begun, (begun * STRIDE) as u32);
                    begun += 1;
                } else {
                    enough = false;
                }
            }
        }
        for lane in 0..LANES {
            let (from, next) = (from[lane], at[lane] as usize);
            if row > from {
                self.parts[parts[lane]] = Part { lane, from, rows: row - from, next };
            }
        }
    }

    /// Puts the parts behind one another, and walks what is missing.
    fn join(&self, rows: &[Row], origin: usize, runs: &mut Runs) -> Option<()> {
        let mut left = self.links.len();
        let (mut at, mut alone) = (origin, false);
        let mut buffer = [0; STRIDE];
        while left > 0 {
            if begins(at) && !alone {
                let part = self.parts[at / STRIDE];
                let rows = &rows[part.from..part.from + part.rows.min(left)];
                for rows in rows.chunks(buffer.len()) {
                    buffer.iter_mut().zip(rows).for_each(|(to, row)| *to = row[part.lane]);
                    runs.add(&buffer[..rows.len()])?;
                }
                left -= rows.len();
                at = part.next;
                alone = part.rows == 0;
                continue;
            }
            let mut filled = 0;
            for to in &mut buffer[..STRIDE.min(left)] {
                let link = self.links[at];
                *to = link as u8;
                at = (link >> 8) as usize;
                filled += 1;
                if begins(at) {
                    break;
                }
            }
            alone = false;
            runs.add(&buffer[..filled])?;
            left -= filled;
        }
        Some(())
    }
}

/// Takes steps of all lanes until one is where a part begins: how many.
#[inline(never)]
fn step(links: &[u32], at: &mut [u32; LANES], rows: &mut [Row]) -> usize {
    let mut places = *at;
    let mut taken = 0;
    for row in rows {
        let mut arrived = false;
        for (place, byte) in places.iter_mut().zip(row) {
            let link = links[*place as usize];
            *byte = link as u8;
            *place = link >> 8;
            arrived |= begins(*place as usize);
        }
        taken += 1;
        if arrived {
            break;
        }
    }
    *at = places;
    taken
}

/// Whether a part begins at this place.
#[inline(always)]
fn begins(place: usize) -> bool {
    place.is_multiple_of(STRIDE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::bzip2::fast::runs::tests::plain;
    use crate::decode::bzip2::fast::symbols::Counts;

    /// One step after another.
    fn chain(bytes: &[u8], origin: usize) -> Vec<u8> {
        let mut sorted: Vec<usize> = (0..bytes.len()).collect();
        sorted.sort_by_key(|at| bytes[*at]);
        let mut at = origin;
        let step = |_| {
            at = sorted[at];
            bytes[at]
        };
        bytes.iter().map(step).collect()
    }

    proptest! {
        // Any bytes are a permutation, of one cycle or of many; only that of a real block is one.
        #[test]
        fn parts_are_joined_to_what_a_single_chain_gives(
            length in 1..30_000_usize,
            letters in 1..5_usize,
            period in prop_oneof![Just(30_000), 1..300_usize],
            seed in any::<u64>(),
            origin in any::<prop::sample::Index>(),
        ) {
            let mut state = seed | 1;
            let mut bytes: Vec<u8> = Vec::new();
            for at in 0..length {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let letter = b"\x03ab\xff"[state as usize % letters.min(4)];
                bytes.push(if at < period { letter } else { bytes[at - period] });
            }
            let origin = origin.index(length);
            let mut counts = Counts::default();
            bytes.iter().for_each(|byte| counts.0[usize::from(*byte)] += 1);
            let expected = plain(&chain(&bytes, origin));
            let mut symbols = Symbols { bytes, counts };
            let mut runs = Runs::new(length, 1 << 24);
            Transform::default().undo(&mut symbols, length, origin, &mut runs).unwrap();
            prop_assert!(runs.finish() == expected);
        }
    }
}
