//! What this decoder answers is what the reference decoder does, and it answers for what is usual.

use std::io::Read;

use ::bzip2::Compression;
use ::bzip2::bufread::{BzDecoder, BzEncoder};
use proptest::prelude::*;

use super::*;
use crate::decode::bzip2::scan::Scanner;

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Its first block, from magic to magic.
fn block(content: &[u8], level: u8) -> Bits {
    let mut bytes = Vec::new();
    let level = Compression::new(level.into());
    BzEncoder::new(content, level).read_to_end(&mut bytes).unwrap();
    let (mut scanner, mut input) = (Scanner::new(), &bytes[..]);
    scanner.next(&mut input).unwrap();
    scanner.next(&mut input).unwrap().unwrap().bits
}

/// What the reference decoder makes of a block.
fn reference(block: &Bits, level: u8) -> Option<Vec<u8>> {
    let mut stream = Bits::default();
    let checksum = block.word(MAGIC_BITS).unwrap().to_be_bytes();
    for part in [&[b'B', b'Z', b'h', b'0' + level][..], block.as_bytes()] {
        stream.append(&Bits::cut(part, 0, part.len() * 8));
    }
    stream = Bits::cut(stream.as_bytes(), 0, 32 + block.len());
    for part in [&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90][..], &checksum] {
        stream.append(&Bits::cut(part, 0, part.len() * 8));
    }
    let mut content = Vec::new();
    BzDecoder::new(stream.as_bytes()).read_to_end(&mut content).ok().map(|_| content)
}

/// `block` up to there, stating this checksum.
fn stating(block: &Bits, to: usize, checksum: u32) -> Bits {
    let mut stated = Bits::cut(block.as_bytes(), 0, MAGIC_BITS);
    stated.append(&Bits::cut(&checksum.to_be_bytes(), 0, 32));
    stated.append(&Bits::cut(block.as_bytes(), MAGIC_BITS + 32, to));
    stated
}

/// Content of several kinds.
fn content() -> impl Strategy<Value = Vec<u8>> {
    (1..60_000_usize, 0..4_u8, 1..300_usize, any::<u64>())
        .prop_map(|(length, kind, some, seed)| {
            let mut noise = noise(seed);
            match kind {
                0 => (0..length).map(|_| (noise() as usize % some.min(256)) as u8).collect(),
                // The longest codes: each byte is half as frequent as the one before it.
                1 => (0..length).map(|_| noise().trailing_zeros() as u8).collect(),
                2 => (0..length).map(|at| (at % some) as u8).collect(),
                _ => (0..length / 20)
                    .flat_map(|_| vec![noise() as u8; noise() as usize % 40])
                    .collect(),
            }
        })
        .prop_filter("a block", |content: &Vec<u8>| !content.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn usual_blocks_need_no_second_look(content in content(), level in 1..=9_u8) {
        let (block, mut decoder) = (block(&content, level), Decoder::default());
        for _ in 0..2 {
            prop_assert!(decoder.decode(&block, level, content.len()).as_ref() == Some(&content));
            prop_assert_eq!(decoder.decode(&block, level, content.len() - 1), None);
        }
    }

    // A damaged block has another checksum, and hardly ever ends where it should. Given both, it
    // shows whether the two decoders understand it in the same way.
    #[test]
    fn what_is_made_of_a_damaged_block_is_what_the_reference_makes_of_it(
        content in content(),
        places in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 1..5),
        cut in prop::option::of(any::<prop::sample::Index>()),
        seed in any::<u64>(),
    ) {
        let block = block(&content, 1);
        let mut bytes = block.as_bytes().to_vec();
        for (place, kind) in places {
            // The origin and the sets of bytes, the codes, or anywhere.
            let within = [40 * 8, 300 * 8, usize::MAX][usize::from(kind)];
            let bit = MAGIC_BITS + 32 + place.index(within.min(block.len() - MAGIC_BITS - 32));
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // Where the end was missed, there will be another one.
        let mut noise = noise(seed);
        bytes.extend((0..2000).map(|_| noise() as u8));
        answers_as_the_reference(&bytes);
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        answers_as_the_reference(&bytes);
    }
}

/// Whatever the bytes are: it comes to an end, within what is allowed, and what it answers is
/// what the reference does.
fn answers_as_the_reference(bytes: &[u8]) {
    let most = 200_000;
    let block = Bits::cut(bytes, 0, bytes.len() * 8);
    let mut input = Input::new(bytes);
    let mut decoder = Decoder::default();
    let Some((_, content)) = decoder.block(&mut input, 1, most) else { return };
    assert!(content.len() <= most);
    if input.position() <= block.len() {
        let block = stating(&block, input.position(), crc(&content));
        assert!(decoder.decode(&block, 1, most).as_ref() == Some(&content));
        assert!(reference(&block, 1) == Some(content));
    }
}

#[test]
fn a_block_that_states_another_checksum_is_not_answered() {
    let block = block(b"hello hello hello", 1);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&block, 1, 99), Some(b"hello hello hello".to_vec()));
    let checksum = block.word(MAGIC_BITS).unwrap();
    assert_eq!(decoder.decode(&stating(&block, block.len(), !checksum), 1, 99), None);
}

#[test]
fn a_block_that_ends_before_its_bits_is_not_answered() {
    let mut block = block(b"hello hello hello", 1);
    block.append(&Bits::cut(&[0], 0, 1));
    assert_eq!(Decoder::default().decode(&block, 1, 99), None);
}

#[test]
fn a_block_has_no_more_bytes_than_its_level_says() {
    let mut noise = noise(7);
    let block = block(&(0..5000).map(|_| noise() as u8).collect::<Vec<_>>(), 1);
    let read = |most| {
        let mut input = Input::new(block.as_bytes());
        // What comes before the sets of bytes.
        for count in [24, 24, 32, 25] {
            input.take(count);
        }
        Symbols::default().read(&mut input, most)
    };
    assert_eq!(read(5000), Some(5000));
    assert_eq!(read(4999), None);
}

/// A block of one zero byte, whose code of three symbols comes in so many tables.
fn of_one_byte(tables: usize, randomized: bool) -> Bits {
    let set = "1000000000000000";
    let code = "00001 0 100 0";
    let bits = format!(
        "{:048b}{:032b}{}{:024b}{set}{set}{tables:03b}{:015b}0{}0 11",
        0x3141_5926_5359_u64,
        crc(&[0]),
        u8::from(randomized),
        0,
        1,
        code.repeat(tables),
    );
    let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    let byte = |bits: &[u8]| bits.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum();
    let bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
    Bits::cut(&bytes, 0, bits.len())
}

#[test]
fn randomized_blocks_and_numbers_of_tables_that_the_format_has_not_are_not_answered() {
    for tables in 0..=7 {
        let block = of_one_byte(tables, false);
        let expected = (2..=6).contains(&tables).then(|| vec![0]);
        assert_eq!(Decoder::default().decode(&block, 1, 9), expected, "{tables}");
        assert_eq!(reference(&block, 1), expected, "{tables}");
        assert_eq!(Decoder::default().decode(&of_one_byte(tables, true), 1, 9), None);
    }
}
