//! What is made of an archive, the same whoever makes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use archive::{Container, Encoding, Limits};
use durable::Tree;
use proptest::prelude::*;
use unpacker::manifest::Kind;
use unpacker::{Fault, How, ManifestReader, Source, UnpackError};

use crate::world::{
    TarEntry, assert_same, how, inline, listing, noise, process, tar, unpack, unpack_stream, zip,
};

#[test]
fn a_process_with_many_threads_makes_the_tree_that_one_thread_makes() {
    let large = noise(3_000_000, 1);
    let entries: &[TarEntry<'_>] = &[
        ("d/", b'5', "", b"", 0o700),
        ("d/large", b'0', "", &large, 0o644),
        ("d/run", b'0', "", b"#!/bin/sh\n", 0o755),
        ("d/again", b'1', "d/large", b"", 0o644),
        ("link", b'2', "d/run", b"", 0o777),
        ("d/run", b'0', "", b"the last one holds", 0o644),
        ("empty/", b'5', "", b"", 0o755),
        ("implied/deep/file", b'0', "", b"", 0o600),
        ("d/kept", b'1', "d/run", b"", 0o644),
    ];
    let bytes = tar(entries);
    let (expected, outcome) = unpack(&inline(), how(Container::Tar, 0), &bytes);
    outcome.unwrap();
    let expected = listing(expected.path());
    assert_eq!(expected.len(), 12, "{expected:#?}");
    assert!(expected[&b"files/d/large"[..]].contains(" = "), "{expected:#?}");
    for writers in [0, 1, 3] {
        let (dir, outcome) = unpack(&process(true), how(Container::Tar, writers), &bytes);
        outcome.unwrap();
        assert_same(&listing(dir.path()), &expected);
        let (dir, outcome) = unpack_stream(&process(true), how(Container::Tar, writers), &bytes);
        outcome.unwrap();
        assert_same(&listing(dir.path()), &expected);
    }
}

#[test]
fn the_files_of_a_zip_are_unpacked_by_all_threads_and_each_is_verified() {
    let contents: Vec<(String, Vec<u8>)> =
        (0..200).map(|n| (format!("d{}/f{n}", n % 7), noise(n * 997, n as u64))).collect();
    let files: Vec<(&str, &[u8])> =
        contents.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let mut bytes = zip(&files);
    let (expected, outcome) = unpack(&inline(), how(Container::Zip, 0), &bytes);
    outcome.unwrap();
    let expected = listing(expected.path());
    for writers in [0, 1, 4] {
        let (dir, outcome) = unpack(&process(true), how(Container::Zip, writers), &bytes);
        outcome.unwrap();
        assert_same(&listing(dir.path()), &expected);
    }
    let at = bytes.windows(4).rposition(|window| window == &contents[199].1[..4]).unwrap();
    bytes[at] ^= 1;
    for writers in [0, 4] {
        let (_dir, outcome) = unpack(&process(true), how(Container::Zip, writers), &bytes);
        let Err(UnpackError::Archive { fault: Fault::Malformed, message }) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(message.contains("f199"), "{message}");
    }
}

#[test]
fn the_manifest_tells_all_that_is_there() {
    let bytes = tar(&[
        ("a", b'0', "", b"first", 0o644),
        ("a", b'0', "", b"second", 0o755),
        ("l", b'2', "a", b"", 0o777),
        ("h", b'1', "a", b"", 0o644),
    ]);
    let (dir, outcome) = unpack(&process(true), how(Container::Tar, 2), &bytes);
    outcome.unwrap();
    let manifest = BufReader::new(File::open(dir.path().join("manifest")).unwrap());
    let lines: Vec<_> = ManifestReader::new(manifest).map(|line| line.unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[1].replaces && !lines[0].replaces);
    let digest = model::Digest::of(b"second");
    assert_eq!(lines[1].kind, Kind::File { size: 6, executable: true, digest });
}

#[test]
fn an_archive_stops_at_the_first_byte_beyond_what_was_measured() {
    let bytes = tar(&[("a", b'0', "", &[0; 1000], 0o644), ("b", b'0', "", &[0; 1000], 0o644)]);
    let exact = Limits {
        unpacked_bytes: 2000,
        largest_file: 1000,
        entries: 2,
        inodes: 2,
        longest_path: 1,
        ..Limits::default()
    };
    let with = |limits| How { limits, ..how(Container::Tar, 2) };
    unpack(&process(true), with(exact), &bytes).1.unwrap();
    for limits in [
        Limits { unpacked_bytes: 1999, ..exact },
        Limits { largest_file: 999, ..exact },
        Limits { entries: 1, ..exact },
        Limits { disk_bytes: 4095, ..exact },
    ] {
        let (dir, outcome) = unpack(&process(true), with(limits), &bytes);
        let Err(UnpackError::Archive { fault: Fault::TooLarge, .. }) = outcome else {
            panic!("{limits:?}: {outcome:?}");
        };
        let written = listing(&dir.path().join("files"));
        assert!(written.len() < 2, "{limits:?}: {written:?}");
    }
}

/// One file of zeros, as long as its header says or cut off, that compresses to next to nothing.
fn one_large_file(size: u64, is_there: u64) -> Vec<u8> {
    let mut entry = tar(&[("large", b'0', "", b"", 0o644)])[..512].to_vec();
    entry[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    entry[148..156].copy_from_slice(b"        ");
    let sum: u32 = entry.iter().map(|byte| u32::from(*byte)).sum();
    entry[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut zstd = Command::new("zstd")
        .arg("-qc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = zstd.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        stdin.write_all(&entry).unwrap();
        let end = if is_there == size { size.next_multiple_of(512) + 1024 } else { is_there };
        let zeros = vec![0; 1 << 20];
        let mut left = end;
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            stdin.write_all(&zeros[..now as usize]).unwrap();
            left -= now;
        }
    });
    let output = zstd.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_file_larger_than_the_memory_of_the_process_is_unpacked() {
    // Buffers and stacks get 256 MiB, names 64, windows 128, and what entries are counted with 400.
    let size = 1 << 30;
    let small =
        Limits { metadata_bytes: 1 << 20, entries: 10, window: 8 << 20, ..Limits::default() };
    let how = How { encoding: Encoding::Zstd, limits: small, ..how(Container::Tar, 1) };
    let (dir, outcome) = unpack(&process(true), how, &one_large_file(size, size));
    outcome.unwrap();
    assert_eq!(dir.path().join("files/large").metadata().unwrap().len(), size);
}

/// 80,000 directories at the end of a way of 3,900 bytes: their paths alone have more bytes than the process
/// may have.
#[test]
fn very_many_directories_far_below_are_unpacked_in_bounded_memory() {
    const COUNT: u64 = 80_000;
    const LEN: usize = 3918;
    let way = vec![["d"; 129].concat(); 30].join("/");
    let headers = |name: &str, kind, content: &[u8]| {
        let mut tar = tar(&[(name, kind, "", content, 0o755)]);
        tar.truncate(tar.len() - 1024);
        tar
    };
    let directory = headers("d", b'5', b"");
    let entries = (0..COUNT).map(|number| {
        let record = format!("{LEN} path={way}/{number:06}/\n");
        assert_eq!(record.len(), LEN);
        [headers("x", b'x', record.as_bytes()), directory.clone()].concat()
    });
    let mut input = Entries { left: entries.chain([vec![0; 1024]]), current: Cursor::default() };
    let limits =
        Limits { entries: COUNT + 100, metadata_bytes: 4 << 20, window: 0, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::beneath(dir.path()).unwrap();
    let how = How { limits, ..how(Container::Tar, 1) };
    process(true).unpack(&mut tree, how, Source::Stream(&mut input)).unwrap();
    let at = dir.path().join("files").join(&way);
    assert_eq!(std::fs::read_dir(&at).unwrap().count() as u64, COUNT);
    for path in [at.clone(), at.join("000000"), at.join("079999"), dir.path().join("files")] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o555, "{path:?}");
    }
    let _ = Command::new("chmod").args(["-R", "u+w"]).arg(dir.path()).status();
}

/// An archive that is made while it is read.
struct Entries<I> {
    left: I,
    current: Cursor<Vec<u8>>,
}

impl<I: Iterator<Item = Vec<u8>>> Read for Entries<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.current.read(buffer)? {
                0 => match self.left.next() {
                    Some(next) => self.current = Cursor::new(next),
                    None => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_not_made_up_to_its_size() {
    let how = How { encoding: Encoding::Zstd, ..how(Container::Tar, 1) };
    let (dir, outcome) = unpack(&process(true), how, &one_large_file(1 << 32, 1 << 20));
    assert!(
        matches!(outcome, Err(UnpackError::Archive { fault: Fault::Malformed, .. })),
        "{outcome:?}"
    );
    assert!(dir.path().join("files/large").metadata().unwrap().len() <= 1 << 20);
}

#[test]
fn what_is_wrong_is_said_by_the_process_in_the_same_words() {
    for (bytes, container) in [
        (tar(&[("../a", b'0', "", b"", 0o644)]), Container::Tar),
        (tar(&[("l", b'2', "/etc", b"", 0o777)]), Container::Tar),
        (tar(&[("a", b'0', "", &[0; 5000], 0o644)])[..3000].to_vec(), Container::Tar),
        (b"no zip at all".to_vec(), Container::Zip),
        (zip(&[("a", b"x"), ("a", b"y")]), Container::Zip),
    ] {
        let inline = unpack(&inline(), how(container, 0), &bytes).1.unwrap_err();
        let process = unpack(&process(true), how(container, 2), &bytes).1.unwrap_err();
        assert_eq!(process, inline);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_tar_becomes_the_same_tree_with_and_without_threads(
        files in proptest::collection::vec((0u8..12, 0usize..400_000, any::<u64>()), 1..20),
        writers in 1usize..4,
    ) {
        let contents: Vec<(String, Vec<u8>)> = files
            .into_iter()
            .map(|(name, len, seed)| (format!("d{}/f{name}", name % 3), noise(len, seed)))
            .collect();
        let entries: Vec<TarEntry<'_>> =
            contents.iter().map(|(name, content)| (name.as_str(), b'0', "", &content[..], 0o644)).collect();
        let bytes = tar(&entries);
        let (one, outcome) = unpack(&inline(), how(Container::Tar, 0), &bytes);
        outcome.unwrap();
        let (many, outcome) = unpack_stream(&process(true), how(Container::Tar, writers), &bytes);
        outcome.unwrap();
        assert_same(&listing(one.path()), &listing(many.path()));
        // A name that came again has what came last.
        let last: BTreeMap<_, _> = contents.iter().map(|(name, content)| (name, content)).collect();
        for (name, content) in last {
            prop_assert!(std::fs::read(one.path().join("files").join(name)).unwrap() == *content);
        }
    }
}
