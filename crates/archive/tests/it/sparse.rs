//! Sparse files in a tar: what others write, whatever a map says, and what it may cost.
#![expect(clippy::disallowed_methods, reason = "files of a test need not outlast a power cut")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use archive::{
    Ambiguity, Encoding, EntryKind, Error, Extent, Flaw, Limit, Limits, SparseMap, TarReader,
    measure,
};
use proptest::prelude::*;

use crate::build::{Contents, Header, Tar, read_tar};

/// The header of a sparse file in the old GNU form, with up to four extents.
pub(crate) fn old(name: &str, extents: &[(u64, u64)], size: u64, continues: bool) -> Header {
    let mut header = Header::new(b'S', name);
    header.magic = *b"ustar  \0";
    // The prefix of ustar begins at 345, the map at 386.
    header.prefix = vec![0; 150];
    header.prefix[41..41 + 24 * extents.len()].copy_from_slice(&slots(extents));
    header.prefix[137] = u8::from(continues);
    header.prefix[138..149].copy_from_slice(format!("{size:011o}").as_bytes());
    header.size(extents.iter().map(|(_, length)| *length as usize).sum())
}

pub(crate) fn slots(extents: &[(u64, u64)]) -> Vec<u8> {
    extents
        .iter()
        .flat_map(|(at, length)| format!("{at:011o}\0{length:011o}\0").into_bytes())
        .collect()
}

fn map(contents: &Contents, at: usize) -> (u64, Option<&SparseMap>) {
    match &contents[at].0.kind {
        EntryKind::File { size, sparse, .. } => (*size, sparse.as_ref()),
        other => panic!("{other:?}"),
    }
}

/// The file that an entry describes.
fn laid_out((entry, data): &(archive::Entry, Vec<u8>)) -> Vec<u8> {
    let EntryKind::File { size, sparse, .. } = &entry.kind else { panic!("{entry:?}") };
    let Some(sparse) = sparse else {
        assert_eq!(*size, data.len() as u64);
        return data.clone();
    };
    let mut file = vec![0; *size as usize];
    let mut data = &data[..];
    for Extent { offset, length } in sparse.extents() {
        let (this, rest) = data.split_at(*length as usize);
        file[*offset as usize..][..this.len()].copy_from_slice(this);
        data = rest;
    }
    assert!(data.is_empty());
    file
}

/// Makes sparse files and tells their names.
fn files(dir: &Path) -> [&'static str; 5] {
    let file = |name: &str, extents: &[(u64, usize)], size: u64| {
        let file = File::create(dir.join(name)).unwrap();
        for (at, length) in extents {
            let data: Vec<u8> = (0..*length).map(|n| (n % 251) as u8 + 1).collect();
            file.write_all_at(&data, *at).unwrap();
        }
        file.set_len(size).unwrap();
    };
    file("tail", &[(0, 5000)], 1 << 20);
    file("head", &[(1 << 20, 777)], (1 << 20) + 777);
    file("hole", &[], 300_000);
    file("full", &[(0, 10_000)], 10_000);
    // More than the 4 extents of a header, and the 21 of a block behind it.
    let many: Vec<(u64, usize)> = (0..60).map(|n| (n << 16, 4096)).collect();
    file("many", &many, 60 << 16);
    ["tail", "head", "hole", "full", "many"]
}

#[test]
fn every_form_that_others_write_gives_the_file_that_others_extract() {
    let dir = tempfile::tempdir().unwrap();
    let names = files(dir.path());
    if fs::metadata(dir.path().join("hole")).unwrap().blocks() > 0 {
        return println!("skipped: this file system keeps no holes");
    }
    let forms = [
        ("tar", &["--sparse", "--format=gnu"][..]),
        ("tar", &["--sparse", "--format=oldgnu"]),
        ("tar", &["--sparse", "--format=posix", "--sparse-version=0.0"]),
        ("tar", &["--sparse", "--format=posix", "--sparse-version=0.1"]),
        ("tar", &["--sparse", "--format=posix", "--sparse-version=1.0"]),
        ("bsdtar", &["--read-sparse", "--format=pax"]),
    ];
    for (writer, options) in forms {
        let archive = dir.path().join("archive");
        let mut command = Command::new(writer);
        command.args(options).arg("-cf").arg(&archive).arg("-C").arg(dir.path()).args(names);
        match command.output() {
            Ok(done) => assert!(done.status.success(), "{done:?}"),
            Err(error) => {
                println!("skipped a part: no {writer}: {error}");
                continue;
            }
        }
        let contents = read_tar(&fs::read(&archive).unwrap()).unwrap();
        assert_eq!(crate::build::paths(&contents), names);
        for reader in ["tar", "bsdtar"] {
            let target = dir.path().join("extracted");
            fs::create_dir(&target).unwrap();
            let done =
                Command::new(reader).arg("-xf").arg(&archive).arg("-C").arg(&target).output();
            match done {
                Ok(done) => assert!(done.status.success(), "{done:?}"),
                Err(error) => println!("skipped a part: no {reader}: {error}"),
            }
            for (name, entry) in names.iter().zip(&contents) {
                let theirs = fs::read(target.join(name)).unwrap_or_default();
                assert!(laid_out(entry) == theirs, "{writer} {options:?} {reader} {name}");
            }
            fs::remove_dir_all(&target).unwrap();
        }
        // The holes are there: what is delivered is the data, as far as the file system tells it.
        for (at, name) in names.iter().enumerate() {
            let (_, sparse) = map(&contents, at);
            assert_eq!(sparse.is_some(), *name != "full", "{writer} {options:?} {name}");
        }
        assert_eq!(map(&contents, 2).1.map(SparseMap::data), Some(0));
        assert_eq!(map(&contents, 4).1.map(SparseMap::data), Some(60 * 4096));
        assert_eq!(contents[4].1.len(), 60 * 4096);
    }
}

#[test]
fn the_forms_made_by_hand_are_read() {
    let content = [vec![1; 512], vec![2; 100]].concat();
    let first = [(512, 512), (2048, 100), (5000, 0)];
    let long: Vec<(u64, u64)> = (0..30).map(|n| (n * 1024, 512)).collect();
    let mut block = slots(&long[4..25]);
    block.extend([1; 8]);
    let mut last = slots(&long[25..]);
    last.resize(512, 0);
    let mut head = old("long", &long[..4], 30 * 1024, true);
    head = head.size(30 * 512);
    let tar = Tar::new()
        .header(&old("old", &first, 5000, false))
        .content(&content)
        .header(&head)
        .content(&block)
        .content(&last)
        .content(&[7; 30 * 512])
        .pax(
            b'x',
            &[
                ("GNU.sparse.size", b"5000"),
                ("GNU.sparse.map", b"512,512,2048,100"),
                ("GNU.sparse.name", b"0.1"),
            ],
        )
        .file("munged", &content)
        .pax(
            b'x',
            &[
                ("GNU.sparse.size", b"5000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"512"),
                ("GNU.sparse.numbytes", b"512"),
                ("GNU.sparse.offset", b"2048"),
                ("GNU.sparse.numbytes", b"100"),
            ],
        )
        .file("0.0", &content)
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"1.0"),
                ("GNU.sparse.realsize", b"5000"),
            ],
        )
        .file("munged", in_content(&[(512, 512), (2048, 100)], &content))
        .file("after", "x")
        .end();
    let contents = read_tar(&tar).unwrap();
    assert_eq!(crate::build::paths(&contents), ["old", "long", "0.1", "0.0", "1.0", "after"]);
    let mut expected = vec![0; 5000];
    expected[512..1024].fill(1);
    expected[2048..2148].fill(2);
    for at in [0, 2, 3, 4] {
        assert!(laid_out(&contents[at]) == expected, "{at}");
        assert_eq!(map(&contents, at).1.unwrap().extents().len(), 2);
    }
    assert_eq!(map(&contents, 1).1.unwrap().extents().len(), 30);
    let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
    let measured = measure(&mut reader).unwrap().measured;
    assert_eq!(measured.unpacked_bytes, 4 * 5000 + 30 * 1024 + 1);
    // One block each, the long one has data in all of its 8.
    assert_eq!(measured.disk_bytes, (4 + 8 + 1) * 4096);
}

/// A map of the form 1.0 before its content.
pub(crate) fn in_content(extents: &[(u64, u64)], content: &[u8]) -> Vec<u8> {
    let mut text = format!("{}\n", extents.len());
    extents.iter().for_each(|(at, length)| text += &format!("{at}\n{length}\n"));
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes.extend(content);
    bytes
}

#[test]
fn a_map_that_readers_take_differently_is_refused() {
    let records = |records: &[(&str, &[u8])]| Tar::new().pax(b'x', records);
    let one = |map: &[u8], size: usize| {
        records(&[("GNU.sparse.size", b"9000"), ("GNU.sparse.map", map)]).file("f", vec![0; size])
    };
    let mut half = old("f", &[(0, 512), (1024, 512)], 9000, false);
    half.prefix[41 + 24] = 0;
    let mut ended = old("f", &[(0, 512)], 9000, true);
    ended.prefix[137] = 1;
    let table = [
        // Less, or more, than is stored.
        one(b"0,512", 511),
        one(b"0,512,1024,512", 512),
        // GNU tar begins the second extent at the next block.
        one(b"0,100,1024,512", 612),
        Tar::new().header(&half.size(512)).content(&[0; 512]),
        Tar::new().header(&ended).content(&[0; 512]).content(&[0; 512]),
        records(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"")]).directory("d"),
        records(&[("GNU.sparse.size", b"9")]).header(&old("f", &[], 9, false)),
    ];
    for (row, tar) in table.into_iter().enumerate() {
        let error = read_tar(&tar.end()).unwrap_err();
        let told = matches!(error, Error::Ambiguous { what: Ambiguity::SparseMap, .. });
        assert!(told, "row {row}: {error}");
    }
    for map in [&b"512,512,0,512"[..], b"8999,512", b"18446744073709551615,512"] {
        let size = 512 * map.split(|byte| *byte == b',').count() / 2;
        let error = read_tar(&one(map, size).end()).unwrap_err();
        assert!(matches!(error, Error::Malformed { what: Flaw::SparseMap, .. }), "{error}");
    }
}

#[test]
fn the_size_of_a_sparse_file_counts_with_its_holes_and_its_map_is_bounded() {
    let stopped = |limits, tar: &[u8]| {
        let mut reader = TarReader::new(tar, Encoding::Identity, limits).unwrap();
        match measure(&mut reader).unwrap_err() {
            Error::TooLarge { limit, .. } => limit,
            other => panic!("{other}"),
        }
    };
    let huge = Tar::new().header(&old("f", &[], 1 << 32, false)).end();
    let limits = Limits { largest_file: (1 << 32) - 1, ..Limits::default() };
    assert_eq!(stopped(limits, &huge), Limit::LargestFile);
    let limits = Limits { metadata_bytes: 1000, ..Limits::default() };
    let extents: Vec<(u64, u64)> = (0..100).map(|n| (n, 0)).collect();
    let mut inner = Tar::new().pax(
        b'x',
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"99")],
    );
    inner = inner.file("f", in_content(&extents, b""));
    assert_eq!(stopped(limits, &inner.end()), Limit::MetadataBytes);
    let mut blocks = Tar::new().header(&old("f", &[(0, 0); 4], 99, true));
    for _ in 0..4 {
        blocks = blocks.content(&[slots(&[(0, 0); 21]), vec![1; 8]].concat());
    }
    assert_eq!(stopped(limits, &blocks.0), Limit::MetadataBytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn every_sparse_file_comes_back_in_every_form(
        runs in prop::collection::vec((0u64..5, 1u64..5), 0..40),
        last in 1u64..600,
        hole in 0u64..3000,
    ) {
        let mut extents = Vec::new();
        let mut at = 0;
        for (gap, blocks) in &runs {
            at += gap * 512;
            extents.push((at, blocks * 512));
            at += blocks * 512;
        }
        extents.push((at + 512, last));
        let size = at + 512 + last + hole;
        let mut file = vec![0; size as usize];
        let mut content = Vec::new();
        for (n, (at, length)) in extents.iter().enumerate() {
            let data = vec![n as u8 + 1; *length as usize];
            file[*at as usize..][..data.len()].copy_from_slice(&data);
            content.extend(data);
        }
        let numbers: Vec<String> =
            extents.iter().flat_map(|(at, length)| [at.to_string(), length.to_string()]).collect();
        let size_text = size.to_string();
        let mut turns = vec![("GNU.sparse.size", size_text.as_bytes())];
        for (n, number) in numbers.iter().enumerate() {
            let key = if n % 2 == 0 { "GNU.sparse.offset" } else { "GNU.sparse.numbytes" };
            turns.push((key, number.as_bytes()));
        }
        let joined = numbers.join(",");
        let one = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", size_text.as_bytes()),
        ];
        let (first, rest) = extents.split_at(extents.len().min(4));
        let header = old("f", first, size, !rest.is_empty()).size(content.len());
        let mut tar = Tar::new().header(&header);
        for (n, slots_of) in rest.chunks(21).enumerate() {
            let mut block = slots(slots_of);
            block.resize(504, 0);
            block.push(u8::from((n + 1) * 21 < rest.len()));
            tar = tar.content(&block);
        }
        let tar = tar
            .content(&content)
            .pax(b'x', &turns)
            .file("g", &content)
            .pax(b'x', &[("GNU.sparse.size", size_text.as_bytes()), ("GNU.sparse.map", joined.as_bytes())])
            .file("h", &content)
            .pax(b'x', &one)
            .file("i", in_content(&extents, &content))
            .end();
        let contents = read_tar(&tar).unwrap();
        prop_assert_eq!(contents.len(), 4);
        for entry in &contents {
            prop_assert!(laid_out(entry) == file);
        }
    }
}
