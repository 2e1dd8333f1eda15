//! The forms of zip, and where the two accounts that it gives of itself disagree.

use archive::{
    Ambiguity, Container, Damage, Encoding, EntryKind, Error, Feature, Flaw, Limit, Limits,
    LinkTarget, Modified, ZipReader, measure, open,
};
use std::io::Cursor;

use crate::build::{Packed, deflate, end, gzip, paths, read_zip, zip, zip_behind};

const SATURATED: u32 = u32::MAX;

fn ambiguity(entry: Packed) -> Option<Ambiguity> {
    match read_zip(&zip(&[entry])) {
        Ok(_) => None,
        Err(Error::Ambiguous { what, .. }) => Some(what),
        Err(other) => panic!("{other}"),
    }
}

fn flaw(bytes: &[u8]) -> Option<Flaw> {
    match read_zip(bytes) {
        Ok(_) => None,
        Err(Error::Malformed { what, .. }) => Some(what),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_kind_is_read() {
    let contents = read_zip(&zip(&[
        Packed::stored("d/", "").mode(0o040755),
        Packed::stored("d/stored", "hello"),
        Packed::deflated("d/deflated", vec![7; 100_000]).mode(0o100755),
        Packed::deflated("link", "d/stored").mode(0o120777),
        Packed::stored("empty", ""),
        Packed::deflated("empty too", ""),
    ]))
    .unwrap();
    let expected = ["d", "d/stored", "d/deflated", "link", "empty", "empty too"];
    assert_eq!(paths(&contents), expected);
    assert_eq!(contents[0].0.kind, EntryKind::Directory);
    assert_eq!(
        contents[2].0.kind,
        EntryKind::File { size: 100_000, executable: true, sparse: None }
    );
    assert_eq!(contents[2].1, vec![7; 100_000]);
    let target = LinkTarget::parse(b"d/stored").unwrap();
    assert_eq!(contents[3].0.kind, EntryKind::Symlink { target });
}

#[test]
fn an_empty_zip_is_a_zip() {
    assert!(read_zip(&zip(&[])).unwrap().is_empty());
}

#[test]
fn a_local_header_that_tells_another_story_is_refused() {
    let entry = || Packed::deflated("name", "content");
    let with = |change: fn(&mut Packed)| {
        let mut entry = entry();
        change(&mut entry);
        ambiguity(entry)
    };
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|e| e.local_name = Some(b"evil".to_vec())), Some(Ambiguity::LocalName));
    assert_eq!(with(|e| e.local_method = Some(0)), Some(Ambiguity::LocalMethod));
    assert_eq!(with(|e| e.local_flags = Some(1)), Some(Ambiguity::LocalFlags));
    assert_eq!(with(|e| e.local_size = Some(1)), Some(Ambiguity::LocalSize));
    assert_eq!(with(|e| e.local_size = Some(0)), Some(Ambiguity::LocalSize));
    assert_eq!(with(|e| e.local_crc = Some(0)), Some(Ambiguity::LocalSize));
    assert_eq!(with(|e| e.local_packed_size = Some(1)), Some(Ambiguity::LocalSize));
    assert_eq!(with(|e| e.packed.push(0)), Some(Ambiguity::HiddenBytes));
    assert_eq!(with(|e| e.packed_size = Some(1000)), Some(Ambiguity::Overlap));
}

#[test]
fn a_data_descriptor_leaves_sizes_to_the_directory() {
    let mut entry = Packed::deflated("name", "content");
    entry.flags = 8;
    entry.local_size = Some(0);
    entry.local_crc = Some(0);
    entry.descriptor = descriptor(&entry, false, false);
    assert_eq!(ambiguity(entry.clone()), None);
    entry.local_size = Some(3);
    assert_eq!(ambiguity(entry.clone()), Some(Ambiguity::LocalSize));
    entry.local_size = Some(0);
    entry.descriptor.clear();
    assert_eq!(ambiguity(entry), Some(Ambiguity::Overlap));
}

/// What follows the content where the local header leaves things out.
pub(crate) fn descriptor(entry: &Packed, signed: bool, wide: bool) -> Vec<u8> {
    let mut bytes = if signed { b"PK\x07\x08".to_vec() } else { Vec::new() };
    bytes.extend(entry.crc.to_le_bytes());
    for size in [entry.packed.len() as u64, u64::from(entry.size)] {
        bytes.extend(&size.to_le_bytes()[..if wide { 8 } else { 4 }]);
    }
    bytes
}

#[test]
fn a_data_descriptor_of_any_form_must_say_what_the_directory_says() {
    let mut entry = Packed::deflated("name", "content");
    entry.flags = 8;
    entry.local_size = Some(0);
    for (signed, wide) in [(false, false), (false, true), (true, false), (true, true)] {
        let right = descriptor(&entry, signed, wide);
        entry.descriptor = right.clone();
        assert_eq!(ambiguity(entry.clone()), None);
        for at in 0..right.len() {
            entry.descriptor = right.clone();
            entry.descriptor[at] ^= 1;
            // The upper halves of wide sizes may look like what follows a narrow descriptor; but not here.
            assert_eq!(ambiguity(entry.clone()), Some(Ambiguity::Descriptor), "{at}");
        }
        entry.descriptor = [&right[..], b"gap"].concat();
        assert_eq!(ambiguity(entry.clone()), None);
    }
    // A checksum that looks like the signature is a checksum.
    entry.crc = u32::from_le_bytes(*b"PK\x07\x08");
    entry.descriptor = descriptor(&entry, false, false);
    let error = read_zip(&zip(&[entry])).unwrap_err();
    assert!(matches!(error, Error::Damaged { what: Damage::Checksum, .. }), "{error}");
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let mut second = Packed::stored("a", "x");
    second.offset = Some(0);
    let error = read_zip(&zip(&[Packed::stored("a", "x"), second])).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { what: Ambiguity::Overlap, .. }), "{error}");

    // The quine's trick: an entry whose content is the header and content of the next.
    let inner = Packed::stored("inner", "payload");
    let inner_bytes = zip(std::slice::from_ref(&inner));
    let inner_local = &inner_bytes[..30 + 5 + 7];
    let mut outer = Packed::stored("outer", inner_local);
    outer.packed.clear();
    outer.packed_size = Some(inner_local.len() as u32);
    let error = read_zip(&zip(&[outer, inner])).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { what: Ambiguity::Overlap, .. }), "{error}");
}

#[test]
fn content_that_differs_from_its_header_is_damaged() {
    let damage = |entry: Packed| match read_zip(&zip(&[entry])).unwrap_err() {
        Error::Damaged { what, .. } => what,
        other => panic!("{other}"),
    };
    let mut entry = Packed::stored("f", "hello");
    entry.crc ^= 1;
    assert_eq!(damage(entry), Damage::Checksum);
    let mut empty = Packed::stored("f", "");
    empty.crc = 1;
    assert_eq!(damage(empty), Damage::Checksum);
    let mut stored = Packed::stored("f", "hello");
    stored.size = 4;
    assert_eq!(damage(stored), Damage::Size);
    let mut bomb = Packed::deflated("f", vec![0; 1 << 20]);
    bomb.size = 10;
    assert_eq!(damage(bomb), Damage::Size);
    let mut short = Packed::deflated("f", "hello");
    short.size = 10;
    assert_eq!(damage(short), Damage::Size);
    let mut noise = Packed::deflated("f", "hello");
    noise.packed = vec![0xff; 7];
    assert_eq!(damage(noise), Damage::Compressed);
    let mut unfinished = Packed::deflated("f", "hello");
    unfinished.packed.truncate(deflate(b"hello").len() - 1);
    assert_eq!(damage(unfinished), Damage::Compressed);
}

#[test]
fn what_is_not_supported_is_named() {
    let unsupported = |change: fn(&mut Packed)| {
        let mut entry = Packed::stored("f", "x");
        change(&mut entry);
        match read_zip(&zip(&[entry])).unwrap_err() {
            Error::Unsupported { what, .. } => what,
            other => panic!("{other}"),
        }
    };
    assert_eq!(unsupported(|e| e.method = 14), Feature::Method(14));
    assert_eq!(unsupported(|e| e.method = 95), Feature::Method(95));
    assert_eq!(unsupported(|e| e.flags = 1), Feature::Encryption);
    assert_eq!(unsupported(|e| e.flags = 0x20), Feature::Patch);
    let opened = open(Cursor::new(gzip(b"")), Container::Zip, Encoding::Gzip, Limits::default());
    assert!(matches!(opened.err(), Some(Error::UnsupportedEncoding { .. })));
}

#[test]
fn the_archive_may_lie_behind_a_program() {
    let bytes = zip_behind(b"#!/bin/sh\nexec unzip\n", &[Packed::stored("f", "x")], b"comment");
    assert_eq!(paths(&read_zip(&bytes).unwrap()), ["f"]);
}

#[test]
fn two_directories_are_refused() {
    let one = zip(&[Packed::stored("one", "x")]);
    let two = zip(&[Packed::stored("two", "x")]);
    // Offsets of the second one also fit the first.
    assert_eq!(flaw(&[&one[..], &two].concat()), Some(Flaw::TwoDirectories));
    let comment = zip_behind(b"", &[Packed::stored("one", "x")], &two);
    assert_eq!(flaw(&comment), Some(Flaw::TwoDirectories));
    let short = zip_behind(b"", &[Packed::stored("one", "x")], b"PK\x05\x06");
    assert_eq!(flaw(&short), Some(Flaw::TwoDirectories));
}

#[test]
fn a_zip_inside_a_zip_is_content() {
    let inner = zip(&[Packed::stored("inner", "x")]);
    let contents = read_zip(&zip(&[Packed::stored("inner.zip", &inner)])).unwrap();
    assert_eq!(contents[0].1, inner);
}

#[test]
fn an_end_record_that_does_not_fit_is_refused() {
    assert_eq!(flaw(b""), Some(Flaw::NoDirectory));
    assert_eq!(flaw(b"PK\x03\x04 not really"), Some(Flaw::NoDirectory));
    let whole = zip(&[Packed::stored("f", "x")]);
    assert_eq!(flaw(&[&whole[..], b"x"].concat()), Some(Flaw::NoDirectory));
    assert_eq!(flaw(&end(0, 100, 0, b"")), Some(Flaw::DirectoryPlace));
    assert_eq!(flaw(&end(1, 0, 0, b"")), Some(Flaw::DirectoryPlace));
    let mut fewer = whole.clone();
    let at = fewer.len() - 22;
    fewer[at + 8..at + 12].copy_from_slice(&[2, 0, 2, 0]);
    assert_eq!(flaw(&fewer), Some(Flaw::DirectoryPlace));
    let mut volume = whole;
    volume[at + 4] = 1;
    assert_eq!(flaw(&volume), Some(Flaw::Volumes));
}

#[test]
fn zeros_behind_the_end_record_are_padding() {
    for comment in [&b""[..], b"comment", b"zeros\0\0"] {
        let mut bytes = zip_behind(b"", &[Packed::stored("f", "x")], comment);
        bytes.resize(10_240, 0);
        assert_eq!(paths(&read_zip(&bytes).unwrap()), ["f"]);
        bytes.push(1);
        assert_eq!(flaw(&bytes), Some(Flaw::NoDirectory));
    }
    let two = [zip(&[Packed::stored("one", "x")]), vec![0; 9], zip(&[Packed::stored("two", "x")])];
    assert_eq!(flaw(&two.concat()), Some(Flaw::TwoDirectories));
}

#[test]
fn a_zip_cut_or_damaged_in_its_directory_is_never_complete() {
    let whole = zip(&[Packed::stored("a/f", "hello"), Packed::deflated("g", "hello")]);
    for length in 0..whole.len() {
        assert!(read_zip(&whole[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_zip64_says_what_the_plain_record_leaves_to_it() {
    let mut entry = Packed::stored("f", "hello");
    entry.size = SATURATED;
    entry.packed_size = Some(SATURATED);
    entry.offset = Some(SATURATED);
    let wide = |numbers: &[u64]| {
        let body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        [&[1, 0, body.len() as u8, 0][..], &body].concat()
    };
    entry.extra = wide(&[5, 5, 0]);
    entry.local_extra = wide(&[5, 5]);
    let plain = zip(&[entry]);
    let (body, old_end) = plain.split_at(plain.len() - 22);
    let size = u64::from(u32::from_le_bytes(old_end[12..16].try_into().unwrap()));
    let offset = u64::from(u32::from_le_bytes(old_end[16..20].try_into().unwrap()));
    let build = |before: &[u8], counts: [u64; 2], plain_end: &[u8]| {
        let mut bytes = [before, body, b"PK\x06\x06"].concat();
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [counts[0], counts[1], size, offset] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend((body.len() as u64).to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(plain_end);
        bytes
    };
    let saturated = end(u16::MAX, SATURATED, SATURATED, b"");
    assert_eq!(read_zip(&build(b"", [1, 1], &saturated)).unwrap()[0].1, b"hello");
    assert_eq!(read_zip(&build(b"prefix", [1, 1], &saturated)).unwrap()[0].1, b"hello");
    assert_eq!(flaw(&build(b"", [2, 2], &saturated)), Some(Flaw::DirectoryPlace));
    assert_eq!(flaw(&build(b"", [2, 1], &saturated)), Some(Flaw::DirectoryPlace));
    let lying = end(2, SATURATED, SATURATED, b"");
    assert_eq!(flaw(&build(b"", [1, 1], &lying)), Some(Flaw::DirectoryPlace));
}

#[test]
fn names_are_utf8_the_bytes_of_a_unix_or_code_page_437() {
    let mut flagged = Packed::stored("é", "");
    flagged.flags = 1 << 11;
    let unix = Packed::stored("é", "");
    let mut dos = Packed::stored(b"\x82", "");
    dos.host = 0;
    let mut both = Packed::stored(b"\x81", "");
    both.extra = unicode_path(b"\x81", "ü".as_bytes());
    let mut stale = Packed::stored(b"\x84", "");
    stale.host = 0;
    stale.extra = unicode_path(b"other", "evil".as_bytes());
    let backslash = Packed::stored("a\\b", "");
    for (entry, name) in
        [(flagged, "é"), (unix, "é"), (dos, "é"), (both, "ü"), (stale, "ä"), (backslash, "a\\b")]
    {
        assert_eq!(paths(&read_zip(&zip(&[entry])).unwrap()), [name]);
    }
    let mut lying = Packed::stored("plain", "");
    lying.extra = unicode_path(b"plain", b"evil");
    assert_eq!(ambiguity(lying), Some(Ambiguity::UnicodePath));
}

fn unicode_path(plain: &[u8], unicode: &[u8]) -> Vec<u8> {
    let length = (5 + unicode.len()) as u8;
    let crc = crc32fast::hash(plain).to_le_bytes();
    [&[0x75, 0x70, length, 0, 1][..], &crc, unicode].concat()
}

#[test]
fn times_are_the_extended_ones_or_dos_as_utc() {
    let mut entry = Packed::stored("f", "");
    entry.date = (2000 - 1980) * 512 + 2 * 32 + 29;
    let time = |entry: &Packed| read_zip(&zip(std::slice::from_ref(entry))).unwrap()[0].0.modified;
    assert_eq!(time(&entry), Some(Modified { seconds: 951_782_400, nanos: 0 }));
    entry.extra = [&b"UT\x05\0\x01"[..], &(-1i32).to_le_bytes()].concat();
    assert_eq!(time(&entry), Some(Modified { seconds: -1, nanos: 0 }));
    entry.extra = [&b"UX\x08\0\x07\0\0\0"[..], &9i32.to_le_bytes()].concat();
    assert_eq!(time(&entry), Some(Modified { seconds: 9, nanos: 0 }));
    let ticks = 116_444_736_012_345_678u64.to_le_bytes();
    entry.extra.extend([&b"\x0a\0\x20\0\0\0\0\0\x01\0\x18\0"[..], &ticks, &[0; 16]].concat());
    assert_eq!(time(&entry), Some(Modified { seconds: 1, nanos: 234_567_800 }));
    entry.extra.clear();
    entry.date = 0;
    assert_eq!(time(&entry), None);
}

#[test]
fn kinds_come_from_unix_or_dos_attributes() {
    let kind = |entry: Packed| read_zip(&zip(&[entry])).unwrap().remove(0).0.kind;
    let mut dos = Packed::stored("d", "");
    dos.host = 0;
    dos.attributes = 0x10;
    assert_eq!(kind(dos), EntryKind::Directory);
    let mut dos = Packed::stored("f", "").mode(0o120777);
    dos.host = 0;
    assert_eq!(kind(dos), EntryKind::File { size: 0, executable: false, sparse: None });
    let mut macos = Packed::stored("f", "").mode(0o100700);
    macos.host = 19;
    assert_eq!(kind(macos), EntryKind::File { size: 0, executable: true, sparse: None });
    assert_eq!(ambiguity(Packed::stored("l/", "x").mode(0o120777)), Some(Ambiguity::Kind));
    let filled = Packed::stored("d/", "x");
    assert_eq!(ambiguity(filled), Some(Ambiguity::SizeWithoutContent));
}

#[test]
fn a_count_that_only_kept_16_bits_is_believed_modulo() {
    let entries: Vec<Packed> =
        (0..65_536 + 3).map(|n| Packed::stored(format!("{n}"), "")).collect();
    let mut bytes = zip(&entries);
    assert_eq!(read_zip(&bytes).unwrap().len(), 65_539);
    let at = bytes.len() - 22;
    bytes[at + 8..at + 12].copy_from_slice(&[4, 0, 4, 0]);
    assert_eq!(flaw(&bytes), Some(Flaw::DirectoryPlace));
    bytes[at + 8..at + 12].copy_from_slice(&[3, 0, 3, 0]);
    let limits = Limits { entries: 65_538, ..Limits::default() };
    let error = ZipReader::new(Cursor::new(&bytes), limits).err().unwrap();
    assert!(matches!(error, Error::TooLarge { limit: Limit::Entries, .. }), "{error}");
}

#[test]
fn what_is_not_kept_is_counted() {
    let dropped = |entry: Packed| {
        let bytes = zip(&[entry]);
        let mut reader = ZipReader::new(Cursor::new(&bytes), Limits::default()).unwrap();
        measure(&mut reader).unwrap().dropped
    };
    let mut owned = Packed::stored("f", "");
    owned.extra = b"ux\x05\0\x01\x01\x07\x01\0".to_vec();
    assert_eq!(dropped(owned).owners, 1);
    let mut before = Packed::stored("f", "");
    before.local_extra = b"Ux\x04\0\x01\0\0\0".to_vec();
    assert_eq!(dropped(before).owners, 1);
    assert_eq!(dropped(Packed::stored("d/", "").mode(0o040300)).directory_modes, 1);
    let mut dos = Packed::stored("d/", "");
    dos.attributes = 0x10;
    assert_eq!(dropped(dos).directory_modes, 0);
}

#[test]
fn limits_stop_a_zip_before_it_is_unpacked() {
    let bytes = zip(&[Packed::stored("a", "12345"), Packed::stored("b", "123456")]);
    let stopped = |limits| {
        let result =
            ZipReader::new(Cursor::new(&bytes), limits).and_then(|mut reader| measure(&mut reader));
        match result.unwrap_err() {
            Error::TooLarge { limit, .. } => limit,
            other => panic!("{other}"),
        }
    };
    let limits = Limits::default();
    assert_eq!(stopped(Limits { entries: 1, ..limits }), Limit::Entries);
    assert_eq!(stopped(Limits { largest_file: 5, ..limits }), Limit::LargestFile);
    assert_eq!(stopped(Limits { unpacked_bytes: 10, ..limits }), Limit::UnpackedBytes);
    assert_eq!(stopped(Limits { metadata_bytes: 50, ..limits }), Limit::MetadataBytes);
}
