//! Whatever the bytes are, the readers answer: no panic, and never more content than is allowed.

use std::io::Cursor;

use archive::{Encoding, Entries, Limits, TarReader, ZipReader};
use proptest::prelude::*;

use crate::build::{Header, Packed, Tar, bzip2, deflate, gzip, zip, zstd};

const LIMITS: Limits = Limits {
    entries: 100,
    unpacked_bytes: 1 << 16,
    largest_file: 1 << 15,
    metadata_bytes: 1 << 12,
    inodes: 100,
    longest_path: 4096,
    disk_bytes: u64::MAX,
    window: 1 << 20,
};

fn exhaust(entries: &mut dyn Entries) -> u64 {
    let mut total = 0;
    let mut buffer = [0; 1000];
    while let Ok(Some(_)) = entries.next_entry() {
        while let Ok(read @ 1..) = entries.read_content(&mut buffer) {
            total += read as u64;
        }
    }
    total
}

fn feed(bytes: &[u8]) -> u64 {
    let mut most = 0;
    let compressed = [Encoding::Gzip, Encoding::Bzip2, Encoding::Zstd, Encoding::Xz];
    for encoding in [Encoding::Identity].into_iter().chain(compressed) {
        let mut reader = TarReader::new(bytes, encoding, LIMITS).unwrap();
        most = most.max(exhaust(&mut reader));
    }
    if let Ok(mut reader) = ZipReader::new(Cursor::new(bytes), LIMITS) {
        most = most.max(exhaust(&mut reader));
        most = most.max(exhaust_apart(bytes));
    }
    most
}

fn exhaust_apart(bytes: &[u8]) -> u64 {
    let mut total = 0;
    let mut buffer = [0; 1000];
    let mut reader = ZipReader::new(Cursor::new(bytes), LIMITS).unwrap();
    while let Ok(Some((_, packed))) = reader.next_apart() {
        let Some(packed) = packed else { continue };
        let packed_bytes = &bytes[packed.offset() as usize..];
        let mut content = packed.open(packed_bytes);
        while let Ok(read @ 1..) = content.read_content(&mut buffer) {
            total += read as u64;
        }
    }
    total
}

/// As many extents as a header holds.
const FULL: [(u64, u64); 4] = [(0, 512), (512, 0), (600, 0), (1024, 512)];

fn rich_tar() -> Vec<u8> {
    let mut prefixed = Header::new(b'0', "name");
    prefixed.prefix = b"prefix".to_vec();
    Tar::new()
        .pax(b'g', &[("mtime", b"1.5")])
        .directory("d/")
        .file("d/f", "hello")
        .pax(b'x', &[("path", b"d/pax"), ("size", b"3")])
        .file("cut", "abc")
        .sized(b'L', b"L", b"d/gnu\0")
        .sized(b'K', b"K", b"f\0")
        .symlink("cut", "cut")
        .hard_link("h", "d/f")
        .hard_link("h2", "d/gnu")
        .header(&prefixed)
        .header(&crate::sparse::old("s", &FULL, 3000, true).size(1024 + 5))
        .content(&[&crate::sparse::slots(&[(2048, 5)])[..], &[0; 400]].concat())
        .content(&[7; 1024 + 5])
        .pax(b'x', &[("GNU.sparse.size", b"3000"), ("GNU.sparse.map", b"0,512,2000,3")])
        .file("m", [7; 515])
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"3000"),
            ],
        )
        .file("c", crate::sparse::in_content(&[(0, 512), (2000, 3)], &[7; 515]))
        .end()
}

fn rich_zip() -> Vec<u8> {
    let mut described = Packed::deflated("described", "content");
    described.flags = 8;
    described.descriptor = [described.crc, described.packed.len() as u32, described.size]
        .map(u32::to_le_bytes)
        .concat();
    zip(&[
        Packed::stored("d/", "").mode(0o040755),
        Packed::deflated("d/f", "hello hello hello"),
        Packed::stored("l", "d/f").mode(0o120777),
        Packed::as_method("64", "hello hello hello", 9, deflate),
        Packed::as_method("bz", "hello hello hello", 12, bzip2),
        Packed::as_method("zst", "hello hello hello", 93, zstd),
        described,
    ])
}

fn mutated(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, cut, cuts)| {
        let mut bytes = valid.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

/// As above, with the checksums of tar headers put right again, so that damage gets through.
fn mended(mut tar: Vec<u8>) -> Vec<u8> {
    for block in tar.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    tar
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        feed(&bytes);
    }

    #[test]
    fn a_mutated_tar_never_panics(bytes in mutated(rich_tar())) {
        prop_assert!(feed(&mended(bytes)) <= LIMITS.unpacked_bytes);
    }

    #[test]
    fn a_mutated_gzip_never_panics(bytes in mutated(gzip(&rich_tar()))) {
        prop_assert!(feed(&bytes) <= LIMITS.unpacked_bytes);
    }

    #[test]
    fn a_mutated_zip_never_panics(bytes in mutated(rich_zip())) {
        prop_assert!(feed(&bytes) <= LIMITS.unpacked_bytes);
    }
}

#[test]
fn the_archives_that_are_mutated_are_valid() {
    crate::build::read_tar(&rich_tar()).unwrap();
    crate::build::read_zip(&rich_zip()).unwrap();
}
