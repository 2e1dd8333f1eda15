//! What real compressors write is read, and what is cut off, damaged or too demanding is told apart.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use archive::{Encoding, Entries, Error, Feature, Limit, Limits, Summary, TarReader, measure};

use crate::build::{Tar, read_tar, read_tar_as};

/// What `command` makes of `input`; `None` where it is not installed.
fn made(command: &str, input: &[u8]) -> Option<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input).unwrap();
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .stdin(File::open(file.path()).unwrap())
        .stderr(Stdio::inherit())
        .output();
    let Ok(output) = output else {
        println!("skipped a part: no {command}");
        return None;
    };
    assert!(output.status.success(), "{command}");
    Some(output.stdout)
}

/// A tar with text, with bytes that do not compress, and with a run that compresses to nothing.
fn tar(bytes: usize) -> Vec<u8> {
    let noise = noise(bytes);
    let text = (0..bytes / 16).fold(String::new(), |text, n| text + &format!("line {n}\n"));
    let code = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let code = &code[..code.len().min(bytes)];
    let run = vec![b'x'; bytes * 2];
    Tar::new().file("noise", noise).file("text", text).file("code", code).file("run", run).end()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(step).collect()
}

fn measured(bytes: &[u8], encoding: Encoding, limits: Limits) -> Result<Summary, Error> {
    measure(&mut TarReader::new(bytes, encoding, limits).unwrap())
}

const COMMANDS: [(Encoding, &str); 27] = [
    (Encoding::Gzip, "gzip -c"),
    (Encoding::Bzip2, "bzip2 -1 -c"),
    (Encoding::Bzip2, "bzip2 -5 -c"),
    (Encoding::Bzip2, "bzip2 -9 -c"),
    (Encoding::Bzip2, "pbzip2 -b1 -p2 -c"),
    (Encoding::Bzip2, "lbzip2 -n2 -c"),
    (Encoding::Zstd, "zstd -1 -c"),
    (Encoding::Zstd, "zstd -19 -T2 -c"),
    (Encoding::Zstd, "zstd --ultra -22 -c"),
    (Encoding::Zstd, "zstd --long=27 -c"),
    (Encoding::Zstd, "zstd --no-check --fast=5 -c"),
    (Encoding::Xz, "xz -0 -c"),
    (Encoding::Xz, "xz -9e -c"),
    (Encoding::Xz, "xz --block-size=100000 -c"),
    (Encoding::Xz, "xz -T2 --block-size=65536 -c"),
    (Encoding::Xz, "xz --check=crc32 -c"),
    (Encoding::Xz, "xz --check=sha256 -c"),
    (Encoding::Xz, "xz --check=none -c"),
    (Encoding::Xz, "xz --x86 --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --arm --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --armthumb --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --powerpc --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --ia64 --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --sparc --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --delta=dist=4 --lzma2=preset=1 -c"),
    (Encoding::Xz, "xz --x86 --delta=dist=1 --delta=dist=2 --lzma2=dict=4KiB,lc=0,lp=4 -c"),
    (Encoding::Xz, "pixz"),
];

#[test]
fn what_real_compressors_write_is_read() {
    let tar = tar(900_000);
    let expected = read_tar(&tar).unwrap();
    for (encoding, command) in COMMANDS {
        let Some(packed) = made(command, &tar) else { continue };
        // pixz puts an index of the tar behind it, as a part of the decoded stream.
        assert!(read_tar_as(&packed, encoding).unwrap() == expected, "{command}");
    }
}

#[test]
fn pieces_one_after_another_are_one_archive() {
    let tar = tar(150_000);
    let expected = read_tar(&tar).unwrap();
    let (first, second) = tar.split_at(200_001);
    for (encoding, command) in COMMANDS {
        if command == "pixz" {
            continue; // It wants whole tars.
        }
        let pieces = [first, b"", second].map(|piece| made(command, piece));
        let [Some(first), Some(empty), Some(second)] = pieces else { continue };
        let packed = [first, empty.clone(), second, empty].concat();
        assert!(read_tar_as(&packed, encoding).unwrap() == expected, "{command}");
    }
}

#[test]
fn what_stands_between_pieces_is_passed_over() {
    let tar = tar(1000);
    let (first, second) = tar.split_at(1234);
    let expected = read_tar(&tar).unwrap();
    let between = |encoding, command, between: &[u8]| {
        let pieces = [first, second].map(|piece| made(command, piece));
        let [Some(first), Some(second)] = pieces else { return true };
        let packed = [&first[..], between, &second, between].concat();
        read_tar_as(&packed, encoding).is_ok_and(|contents| contents == expected)
    };
    assert!(between(Encoding::Xz, "xz -c", &[0; 400]));
    assert!(!between(Encoding::Xz, "xz -c", &[0; 401]));
    assert!(!between(Encoding::Xz, "xz -c", b"\0\0\0\0jink"));
    assert!(between(Encoding::Zstd, "zstd -c", b"\x5f\x2a\x4d\x18\x03\0\0\0abc"));
    assert!(!between(Encoding::Zstd, "zstd -c", b"\x5f\x2a\x4d\x18\x03\0\0\0ab"));
    assert!(!between(Encoding::Zstd, "zstd -c", &[0; 4]));
    assert!(!between(Encoding::Bzip2, "bzip2 -c", &[0; 4]));
}

#[test]
fn the_largest_declared_window_is_measured_and_limited() {
    let tar = tar(1000);
    let (first, second) = tar.split_at(1024);
    let table = [
        (Encoding::Gzip, "gzip -c", 0),
        (Encoding::Bzip2, "bzip2 -c", 0),
        (Encoding::Zstd, "zstd --long=27 -c", 128 << 20),
        (Encoding::Zstd, "zstd --long=20 -1 -c", 1 << 20),
        (Encoding::Xz, "xz -9 -c", 64 << 20),
        (Encoding::Xz, "xz --lzma2=dict=6MiB -c", 6 << 20),
    ];
    for (encoding, command, window) in table {
        // Through a pipe, so that zstd cannot know that the content is smaller than the window.
        let pieces = [first, second].map(|piece| made(&piped(command), piece));
        let small = if encoding == Encoding::Zstd { "zstd -1 -c" } else { command };
        let (Some(empty), [Some(first), Some(second)]) = (made(&piped(small), b""), pieces) else {
            continue;
        };
        let packed = [&empty[..], &first, &empty, &second].concat();
        let limits = Limits { window, ..Limits::default() };
        let summary = measured(&packed, encoding, limits).unwrap();
        assert_eq!(summary.measured.window, window, "{command}");
        if window > 0 {
            let limits = Limits { window: window - 1, ..limits };
            let error = measured(&packed, encoding, limits).unwrap_err();
            let Error::TooLarge { limit, most } = error else { panic!("{command}: {error}") };
            assert_eq!((limit, most), (Limit::Window, window - 1));
        }
    }
}

/// The same command, where it cannot know how much will come.
fn piped(command: &str) -> String {
    // One word for the shell: `made` splits at blanks.
    format!("sh -c cat|{}", command.replace(' ', "\t"))
}

#[test]
fn a_window_above_the_limit_is_refused_before_memory_is_taken() {
    for (encoding, command) in [
        (Encoding::Zstd, "zstd --long=31 -c"),
        (Encoding::Zstd, "zstd --ultra -22 --long=28 -c"),
        (Encoding::Xz, "xz --lzma2=dict=192MiB -c"),
    ] {
        let Some(packed) = made(&piped(command), &tar(1000)) else { continue };
        let error = measured(&packed, encoding, Limits::default()).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: Limit::Window, .. }), "{command} {error}");
    }
}

#[test]
fn a_dictionary_is_refused_as_such() {
    // A frame header that names dictionary 7; what would follow does not matter.
    let error = read_tar_as(b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\0\0", Encoding::Zstd).unwrap_err();
    let Error::UnsupportedCoding { what, .. } = error else { panic!("{error}") };
    assert_eq!(what, Feature::Dictionary(7));
}

#[test]
fn an_index_that_tells_of_other_blocks_is_refused() {
    let pieces = [Tar::new().file("f", "one").end(), Tar::new().file("f", noise(99)).end()];
    let [Some(ours), Some(other)] = pieces.map(|tar| made("xz -c", &tar)) else { return };
    // The footer says how long the index before it is.
    let index = |packed: &[u8]| {
        let words = u32::from_le_bytes(packed[packed.len() - 8..][..4].try_into().unwrap());
        packed.len() - 12 - (words as usize + 1) * 4
    };
    let mixed = [&ours[..index(&ours)], &other[index(&other)..]].concat();
    assert!(read_tar_as(&ours, Encoding::Xz).is_ok());
    let error = read_tar_as(&mixed, Encoding::Xz).unwrap_err();
    assert!(matches!(error, Error::Decode { .. }), "{error}");
}

#[test]
fn a_small_piece_cut_anywhere_is_truncated() {
    let tar = tar(300);
    for (encoding, command) in COMMANDS {
        let Some(packed) = made(command, &tar) else { continue };
        for length in 0..packed.len() {
            match measured(&packed[..length], encoding, Limits::default()) {
                Err(Error::Truncated) => {}
                other => panic!("{command}, {length} of {}: {other:?}", packed.len()),
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_changes_nothing() {
    let tar = tar(100);
    let expected = read_tar(&tar).unwrap();
    for (encoding, command) in COMMANDS {
        // Without a check there is nothing to find it by.
        if command.contains("no-check") || command.contains("=none") {
            continue;
        }
        let Some(mut packed) = made(command, &tar) else { continue };
        for bit in 0..packed.len() * 8 {
            packed[bit / 8] ^= 1 << (bit % 8);
            match read_tar_as(&packed, encoding) {
                Err(Error::Read { source }) => panic!("{command}, bit {bit}: {source}"),
                Err(_) => {}
                // gzip states a time, zstd a window, bzip2 a level and ends in a few idle bits;
                // in xz each bit is under some checksum.
                Ok(contents) => {
                    let same = contents == expected && encoding != Encoding::Xz;
                    assert!(same, "{command}, bit {bit}");
                }
            }
            packed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn an_input_that_fails_midway_is_not_a_damaged_archive() {
    struct Unplugged<'a>(&'a [u8]);
    impl std::io::Read for Unplugged<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match std::io::Read::read(&mut self.0, buffer) {
                Ok(0) => Err(std::io::Error::other("unplugged")),
                read => read,
            }
        }
    }
    let tar = tar(100_000);
    for (encoding, command) in COMMANDS {
        let Some(packed) = made(command, &tar) else { continue };
        for length in [0, 3, 11, 20, packed.len() / 2, packed.len() - 1, packed.len()] {
            let input = Unplugged(&packed[..length]);
            let mut reader = TarReader::new(input, encoding, Limits::default()).unwrap();
            let error = measure(&mut reader).unwrap_err();
            assert!(matches!(error, Error::Read { .. }), "{command}, {length}: {error}");
            assert!(matches!(reader.next_entry(), Err(Error::Ended)));
        }
    }
}
