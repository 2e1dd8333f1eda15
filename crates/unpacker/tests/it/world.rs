//! What the tests stand on: archives, the ways to unpack them, and what is on disk afterwards.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use archive::{Container, Encoding, Limits};
use durable::Tree;
use unpacker::{How, Isolation, Outcome, Source, UnpackError, Unpacker};

/// A process of its own, as in the product.
pub fn process(landlock: bool) -> Unpacker {
    Unpacker::new(Isolation::Process {
        program: env!("CARGO_BIN_EXE_unpack-archive").into(),
        arguments: vec!["unpack".into()],
        landlock,
    })
}

pub fn inline() -> Unpacker {
    Unpacker::new(Isolation::Inline)
}

pub fn how(container: Container, writers: usize) -> How {
    How { container, encoding: Encoding::Identity, limits: Limits::default(), writers }
}

/// A file with these bytes, at its start.
pub fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// Unpacks from a file into a new directory.
pub fn unpack(
    unpacker: &Unpacker,
    how: How,
    bytes: &[u8],
) -> (tempfile::TempDir, Result<Outcome, UnpackError>) {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::beneath(dir.path()).unwrap();
    let outcome = unpacker.unpack(&mut tree, how, Source::File(file(bytes)));
    (dir, outcome)
}

/// The same, from a stream.
pub fn unpack_stream(
    unpacker: &Unpacker,
    how: How,
    mut bytes: &[u8],
) -> (tempfile::TempDir, Result<Outcome, UnpackError>) {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::beneath(dir.path()).unwrap();
    let outcome = unpacker.unpack(&mut tree, how, Source::Stream(&mut bytes));
    (dir, outcome)
}

/// Two listings are the same; if not, only the difference is told.
pub fn assert_same(left: &BTreeMap<Vec<u8>, String>, right: &BTreeMap<Vec<u8>, String>) {
    let differs = |(path, what): (&Vec<u8>, &String), other: &BTreeMap<_, String>| {
        let other = other.get(path);
        (other != Some(what)).then(|| (String::from_utf8_lossy(path).into_owned(), what.clone()))
    };
    let only_left: Vec<_> = left.iter().filter_map(|line| differs(line, right)).collect();
    let only_right: Vec<_> = right.iter().filter_map(|line| differs(line, left)).collect();
    assert!(only_left.is_empty() && only_right.is_empty(), "{only_left:#?}\n{only_right:#?}");
}

/// Everything in a directory: path to what it is. Which names share a file is told by the first of them.
pub fn listing(dir: &Path) -> BTreeMap<Vec<u8>, String> {
    let (mut found, mut inodes) = (BTreeMap::new(), BTreeMap::new());
    list(dir, dir, &mut found, &mut inodes);
    found
}

fn list(
    top: &Path,
    dir: &Path,
    found: &mut BTreeMap<Vec<u8>, String>,
    inodes: &mut BTreeMap<u64, Vec<u8>>,
) {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let facts = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        let first = inodes.entry(facts.ino()).or_insert_with(|| name.clone()).clone();
        let shared = if first == name { String::new() } else { format!(" = {first:?}") };
        let (mode, time) =
            (facts.permissions().mode() & 0o7777, (facts.mtime(), facts.mtime_nsec()));
        let what = if facts.is_dir() {
            list(top, &path, found, inodes);
            format!("directory {mode:o}")
        } else if facts.is_symlink() {
            format!("link {:?} {time:?}{shared}", std::fs::read_link(&path).unwrap())
        } else {
            let content = std::fs::read(&path).unwrap();
            format!("file {mode:o} {} {time:?}{shared}", model::Digest::of(&content))
        };
        // The manifest is not the archive's: it has the time at which it was written.
        let what =
            if name == b"manifest" { what.split(" (").next().unwrap().to_owned() } else { what };
        found.insert(name, what);
    }
}

/// One entry of a tar: name, type, link, content, mode.
pub type TarEntry<'a> = (&'a str, u8, &'a str, &'a [u8], u32);

pub fn tar(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, link, content, mode) in entries {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(format!("{:011o}", 1_600_000_000).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A zip with stored files.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let crc = crc32(content);
        let mut common = Vec::new();
        common.extend_from_slice(&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0x58]);
        common.extend_from_slice(&crc.to_le_bytes());
        common.extend_from_slice(&(content.len() as u32).to_le_bytes());
        common.extend_from_slice(&(content.len() as u32).to_le_bytes());
        common.extend_from_slice(&(name.len() as u16).to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(0o100_755u32 << 16).to_le_bytes());
        directory.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"PK\x03\x04");
        bytes.extend_from_slice(&common);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(content);
    }
    let (start, count) = (bytes.len() as u32, files.len() as u16);
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Bytes that do not repeat.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
