//! The symbols of a block, read into the bytes that the transform made of it.

use crate::decode::bzip2::fast::code::{Code, LONGEST};
use crate::decode::bzip2::fast::front::Front;
use crate::decode::bzip2::fast::input::{Input, READY};

/// Symbols that share a code.
const GROUP: usize = 50;
/// Bytes that are written at once, whatever comes of them.
const AT_ONCE: usize = 8;

const _: () = assert!(2 * LONGEST <= READY as usize && GROUP.is_multiple_of(2));

/// The last column of the sorted rotations, as it is read.
#[derive(Default)]
pub(super) struct Symbols {
    /// The bytes of a block, and some more. Whoever has read them may use it for something else.
    pub(super) bytes: Vec<u8>,
    /// How often each byte occurs.
    pub(super) counts: Counts,
}

/// By byte.
pub(super) struct Counts(pub(super) [u32; 256]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Symbols {
    /// Reads all symbols, of at most `most` bytes: how many bytes they are.
    pub(super) fn read(&mut self, input: &mut Input<'_>, most: usize) -> Option<usize> {
        let (mut front, used) = used(input)?;
        let tables = input.take(3) as usize;
        if !(2..=6).contains(&tables) {
            return None;
        }
        let order = order(input, tables)?;
        let codes: Option<Vec<Code>> = (0..tables).map(|_| code(input, used + 2)).collect();
        let codes = codes?;
        self.bytes.resize(most + AT_ONCE, 0);
        self.counts = Counts::default();
        let (bytes, counts) = (&mut self.bytes[..most + AT_ONCE], &mut self.counts.0);
        let (mut at, mut weight) = (0, 1);
        for table in order {
            let code = &codes[usize::from(table)];
            for turn in 0..GROUP {
                if turn % 2 == 0 {
                    input.fill();
                }
                let entry = code.next(input)?;
                if entry.is_last() {
                    return Some(at);
                }
                // A digit of a run stands for bytes of its own: as many of the front one as its
                // weight says. So no run need be kept until it ends.
                let byte = front.take(entry.place());
                let digit = entry.digit();
                let count = if digit == 0 { 1 } else { weight * digit };
                weight = if digit == 0 { 1 } else { weight * 2 };
                let end = at + count;
                if end > most {
                    return None;
                }
                if count <= AT_ONCE {
                    bytes[at..at + AT_ONCE].copy_from_slice(&[byte; AT_ONCE]);
                } else {
                    bytes[at..end].fill(byte);
                }
                counts[usize::from(byte)] += count as u32;
                at = end;
            }
        }
        None
    }
}

/// The bytes that occur, in order, as the list is at first.
fn used(input: &mut Input<'_>) -> Option<(Front, usize)> {
    let (mut bytes, mut used) = ([0; 256], 0);
    let groups = input.take(16);
    for group in (0..16).filter(|group| groups >> (15 - group) & 1 == 1) {
        let members = input.take(16);
        for member in (0..16).filter(|member| members >> (15 - member) & 1 == 1) {
            bytes[used] = group * 16 + member;
            used += 1;
        }
    }
    // Without any, the code would have no end of a block: it was refused later.
    (used > 0).then(|| (Front::new(&bytes), used))
}

/// The code of each group, as its number: these are moved to the front too.
fn order(input: &mut Input<'_>, tables: usize) -> Option<Vec<u8>> {
    let mut recent = [0, 1, 2, 3, 4, 5];
    let count = input.take(15);
    (0..count)
        .map(|_| {
            let mut place = 0;
            while input.take(1) == 1 {
                place += 1;
                if place == tables {
                    return None;
                }
            }
            recent[..=place].rotate_right(1);
            Some(recent[0])
        })
        .collect()
}

/// A code of so many symbols: the length of each as a change to the one before it.
fn code(input: &mut Input<'_>, symbols: usize) -> Option<Code> {
    let mut lengths = [0; 258];
    let mut length = input.take(5);
    for slot in &mut lengths[..symbols] {
        loop {
            // Also in between.
            if !(1..=LONGEST as u32).contains(&length) {
                return None;
            }
            if input.take(1) == 0 {
                break;
            }
            length = if input.take(1) == 0 { length + 1 } else { length - 1 };
        }
        *slot = length as u8;
    }
    Code::new(&lengths[..symbols])
}
