//! Each compression method of a zip: what it packs comes back, and damage does not.

use std::io::Cursor;

use archive::{Ambiguity, Damage, Error, Feature, Limit, Limits, ZipReader, measure};
use proptest::prelude::*;

use crate::build::{Packed, bzip2, deflate, read_zip, zip, zstd};

/// A deflate64 stream in stored blocks. (What deflate packs is deflate64 as well, unless it repeats
/// 258 bytes at once, which deflate64 spells otherwise.)
fn deflate64(content: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for block in content.chunks(40_000) {
        let length = block.len() as u16;
        packed.push(0);
        packed.extend([length, !length].map(u16::to_le_bytes).concat());
        packed.extend(block);
    }
    packed.extend([1, 0, 0, 0xff, 0xff]);
    packed
}

type Pack = fn(&[u8]) -> Vec<u8>;

const METHODS: [(u16, Pack); 4] = [(8, deflate), (9, deflate64), (12, bzip2), (93, zstd)];

fn stopped(entry: Packed) -> Error {
    read_zip(&zip(&[entry])).unwrap_err()
}

#[test]
fn what_7_zip_packs_with_deflate64_is_read() {
    let mut entry = Packed::as_method("f", b"fettle ".repeat(3000), 9, deflate);
    entry.packed = FETTLE.to_vec();
    assert_eq!(read_zip(&zip(&[entry.clone()])).unwrap()[0].1, b"fettle ".repeat(3000));
    // One byte more than the stream has, which its reader ahead of bits would swallow.
    entry.packed.push(0);
    let error = stopped(entry);
    assert!(matches!(error, Error::Ambiguous { what: Ambiguity::HiddenBytes, .. }), "{error}");
}

#[test]
fn content_of_every_size_comes_back_by_every_method() {
    for (method, pack) in METHODS {
        for size in [0, 1, 2, 100, 32_767, 32_768, 32_769, 65_536, 200_001, 1_000_000] {
            let content: Vec<u8> =
                (0..size as u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
            let entry = Packed::as_method("f", &content, method, pack);
            let contents = read_zip(&zip(&[entry])).unwrap();
            assert_eq!(contents[0].1.len(), size, "method {method}");
            assert!(contents[0].1 == content, "method {method}, {size} bytes");
        }
    }
}

#[test]
fn what_a_method_leaves_over_is_hidden() {
    for (method, pack) in METHODS {
        let mut second = Packed::as_method("f", "hello", method, pack);
        for behind in [vec![0], vec![0; 3], vec![0; 100_000], second.packed.clone()] {
            let mut entry = Packed::as_method("f", "hello", method, pack);
            entry.packed.extend(&behind);
            let error = stopped(entry);
            let hidden = matches!(error, Error::Ambiguous { what: Ambiguity::HiddenBytes, .. });
            assert!(hidden, "method {method}: {error}");
        }
        second.packed.pop();
        let error = stopped(second);
        let cut = matches!(error, Error::Damaged { what: Damage::Compressed, .. });
        assert!(cut, "method {method}: {error}");
    }
}

#[test]
fn more_or_less_content_than_promised_is_damage() {
    for (method, pack) in METHODS {
        for size in [0, 1, 99_999, 100_001] {
            let mut entry = Packed::as_method("f", vec![7; 100_000], method, pack);
            entry.size = size;
            let error = stopped(entry);
            let size = matches!(error, Error::Damaged { what: Damage::Size, .. });
            assert!(size, "method {method}: {error}");
        }
    }
}

#[test]
fn a_window_beyond_the_limit_is_refused_before_it_is_allocated() {
    // One raw block behind a header that asks for a window of 2 to the power of `log`.
    let window = |name: &str, log: u8| {
        let mut entry = Packed::stored(name, "hello");
        entry.method = 93;
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 5 << 3 | 1, 0, 0];
        entry.packed = [&header[..], b"hello"].concat();
        entry
    };
    let bytes = zip(&[window("f", 20), window("larger", 23), Packed::stored("g", "")]);
    let measured = |window| {
        let limits = Limits { window, ..Limits::default() };
        measure(&mut ZipReader::new(Cursor::new(&bytes), limits).unwrap())
    };
    assert_eq!(measured(1 << 23).unwrap().measured.window, 1 << 23);
    let error = measured((1 << 23) - 1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: Limit::Window, .. }), "{error}");
}

#[test]
fn what_is_no_zstd_frame_is_damaged() {
    let mut entry = Packed::as_method("f", "hello", 93, zstd);
    entry.packed[0] ^= 1;
    assert!(matches!(stopped(entry), Error::Damaged { what: Damage::Compressed, .. }));
    let mut dictionary = Packed::as_method("f", "hello", 93, zstd);
    dictionary.packed.splice(4..5, [dictionary.packed[4] | 1, 7]);
    let error = stopped(dictionary);
    assert!(matches!(error, Error::Unsupported { what: Feature::Dictionary(_), .. }), "{error}");
    let mut skippable = Packed::as_method("f", "hello", 93, zstd);
    skippable.packed = [&b"P*M\x18\0\0\0\0"[..], &skippable.packed].concat();
    assert!(matches!(stopped(skippable), Error::Damaged { what: Damage::Compressed, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packed_bytes_never_give_wrong_content(
        method in 0..METHODS.len(),
        content in prop::collection::vec(0u8..4, 0..5000),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (number, pack) = METHODS[method];
        let mut entry = Packed::as_method("f", &content, number, pack);
        for (at, byte) in changes {
            let at = at.index(entry.packed.len());
            entry.packed[at] = byte;
        }
        if let Ok(contents) = read_zip(&zip(&[entry])) {
            prop_assert_eq!(&contents[0].1, &content);
        }
    }
}

/// 3000 times "fettle ", packed by 7-Zip.
#[rustfmt::skip]
const FETTLE: &[u8] = &[
    0xe5, 0xc5, 0x31, 0x0d, 0x00, 0x00, 0x08, 0x03, 0x30, 0x2b, 0x98, 0x1b, 0x17, 0xe7, 0xfc,
    0x07, 0x21, 0xed, 0xd3, 0x4d, 0x7b, 0x19, 0x2e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e,
    0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x2e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e,
    0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x2e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e,
    0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x2e, 0x3e, 0x3e, 0x3e, 0x3e,
    0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x2e, 0x3e, 0x3e, 0x3e,
    0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3d, 0xbe, 0x07,
];
