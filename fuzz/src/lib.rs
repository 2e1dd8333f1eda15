//! What must hold whatever the bytes are, a function a target. A broken promise is a panic.
//!
//! Inputs are whole archives as tools make them (`seeds/`), so each can be looked at with those tools, or
//! texts.

mod application;
mod fields;
mod identity;
mod links;
mod manifest;
mod tar;
mod tree;
mod zip;

pub use application::application;
pub use fields::fields;
pub use identity::identity;
pub use manifest::manifest;
pub use tar::tar;
pub use tree::tree;
pub use zip::zip;

use archive::{Encoding, Limits};

/// Small, so that every limit is met.
const LIMITS: Limits = Limits {
    entries: 200,
    unpacked_bytes: 1 << 20,
    largest_file: 1 << 19,
    metadata_bytes: 32 << 10,
    inodes: 300,
    disk_bytes: u64::MAX,
    longest_path: 4096,
    window: 1 << 20,
};

/// The encoding that the first bytes announce.
fn encoding(data: &[u8]) -> Encoding {
    match data {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [b'B', b'Z', b'h', ..] => Encoding::Bzip2,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Encoding::Xz,
        _ => Encoding::Identity,
    }
}

/// A tar whose headers' checksums are put right, so that a change in a header gets past them.
fn mended(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        if block[257..262] == *b"ustar" || at == 0 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        at += 512;
    }
    tar
}
