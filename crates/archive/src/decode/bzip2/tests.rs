//! Against the sequential decoder, which is the judge of what bytes mean.

use std::io::{self, BufReader, Read, Write};

use ::bzip2::Compression;
use ::bzip2::bufread::MultiBzDecoder;
use ::bzip2::write::BzEncoder;
use proptest::prelude::*;

use super::*;
use crate::{Encoding, Error, Limits};

#[derive(Debug, PartialEq, Eq)]
enum End {
    Good,
    Truncated,
    Damaged,
}

fn sequential(bytes: &[u8]) -> (Vec<u8>, End) {
    let mut content = Vec::new();
    let end = match MultiBzDecoder::new(BufReader::new(bytes)).read_to_end(&mut content) {
        Ok(_) => End::Good,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Truncated,
        Err(_) => End::Damaged,
    };
    (content, end)
}

fn parallel(bytes: &[u8]) -> (Vec<u8>, End) {
    let mut stream = super::super::Stream::new(bytes, Encoding::Bzip2, &Limits::default());
    let (mut content, mut buffer) = (Vec::new(), vec![0; 10_000]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (content, End::Good),
            Ok(read) => content.extend(&buffer[..read]),
            Err(Error::Truncated) => return (content, End::Truncated),
            Err(Error::Decode { .. }) => return (content, End::Damaged),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Both come to the same end, and what either handed out is the beginning of the same content.
fn same(bytes: &[u8]) {
    let (theirs, their_end) = sequential(bytes);
    let (ours, our_end) = parallel(bytes);
    assert_eq!(
        our_end,
        their_end,
        "{} bytes: {:02x?}",
        bytes.len(),
        &bytes[..bytes.len().min(200)]
    );
    if our_end == End::Good {
        assert!(ours == theirs);
    }
    let common = ours.len().min(theirs.len());
    assert!(ours[..common] == theirs[..common]);
}

fn packed(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Content of every kind: noise, runs, text, short repeats.
fn content() -> impl Strategy<Value = Vec<u8>> {
    (0..400_000_usize, 0..5_u8, any::<u64>()).prop_map(|(length, kind, seed)| {
        let mut state = seed | 1;
        let mut noise = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        match kind {
            0 => (0..length).map(|_| noise() as u8).collect(),
            1 => vec![seed as u8; length * 4],
            2 => (0..length).map(|_| b"etaoin shrdlu"[noise() as usize % 13]).collect(),
            3 => b"abcabd".iter().copied().cycle().take(length).collect(),
            _ => {
                (0..length / 50).flat_map(|_| vec![noise() as u8; noise() as usize % 99]).collect()
            }
        }
    })
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let stream = (content(), 1..=9_u32).prop_map(|(content, level)| packed(&content, level));
    let empty = Just(packed(b"", 9));
    prop::collection::vec(prop_oneof![4 => stream, 1 => empty], 1..4).prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_packed_is_unpacked(bytes in streams()) {
        prop_assert_eq!(sequential(&bytes).1, End::Good);
        same(&bytes);
    }

    #[test]
    fn damaged_and_cut_streams_come_to_the_same_end(
        bytes in streams(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut bytes = bytes;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        same(&bytes);
    }
}

#[test]
fn small_streams_cut_or_changed_anywhere_come_to_the_same_end() {
    let mut bytes = [packed(b"hello hello hello", 1), packed(b"", 1), packed(b"x", 1)].concat();
    for length in 0..=bytes.len() {
        same(&bytes[..length]);
    }
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        same(&bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for tail in [&b"B"[..], b"BZ", b"BZh", b"BZh9", b"BZh91", b"BZh0", b"x", b"\0", b"BZh9\x17"] {
        same(&[&bytes[..], tail].concat());
    }
}

#[test]
fn a_reader_dropped_at_any_time_leaves_no_thread() {
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .flatten()
            .filter(|task| {
                std::fs::read_to_string(task.path().join("comm"))
                    .is_ok_and(|name| name == "dropped\n")
            })
            .count()
    };
    let bytes = packed(&content_of_noise(2_000_000), 1);
    for reads in 0..6 {
        let mut streams = Streams::new(Tap::new(&bytes[..]));
        streams.pool.name = "dropped";
        for _ in 0..reads {
            streams.read_exact(&mut [0; 50_000]).unwrap();
        }
        assert_eq!(threads() > 0, reads > 0);
        drop(streams);
        assert_eq!(threads(), 0);
    }
}

fn content_of_noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn blocks_of_every_size_are_read() {
    // Runs: what one block holds goes from less than it has symbols to fifty times that.
    for length in [0, 1, 5, 1000, 100_000, 5_000_000] {
        let noise = content_of_noise(100_000);
        let mixed: Vec<u8> = noise
            .chunks(50)
            .flat_map(|chunk| [chunk.to_vec(), vec![0; length / 2000]].concat())
            .collect();
        for content in [vec![7; length], mixed] {
            let bytes = packed(&content, 9);
            let (ours, end) = parallel(&bytes);
            assert!(end == End::Good && ours == content, "{length}");
        }
    }
}

#[test]
fn a_magic_within_a_block_does_not_end_it() {
    let content = content_of_noise(300_000);
    let bytes = packed(&content, 9);
    let mut scanner = Scanner::new();
    let mut input = &bytes[..];
    let mut whole = std::iter::from_fn(|| scanner.next(&mut input).unwrap());
    let (_, block, trailer) = (whole.next().unwrap(), whole.next().unwrap(), whole.next().unwrap());
    let all = block.bits.len();
    for cuts in [vec![1], vec![79], vec![80], vec![200, 300, 5000], vec![all / 2], vec![all - 1]] {
        let mut streams = Streams::new(Tap::new(io::empty()));
        let mut from = 0;
        for to in cuts.into_iter().chain([all]) {
            let bits = Bits::cut(block.bits.as_bytes(), from, to);
            let start = if from == 0 { Start::Block } else { Start::Trailer };
            streams.submit(Segment { start, bits, phase: 0, end: super::End::Magic });
            from = to;
        }
        let Segment { start, bits, phase, end } = &trailer;
        let (start, bits, phase, end) = (*start, bits.clone(), *phase, *end);
        streams.submit(Segment { start, bits, phase, end });
        let mut ours = Vec::new();
        streams.read_to_end(&mut ours).unwrap();
        assert!(ours == content);
    }
}
