//! The files of a zip read apart from the walk: in any order, at once, and as strictly.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::thread;

use archive::{
    Ambiguity, Damage, Entries, Entry, EntryKind, Error, Limits, Packed as Apart, PackedReader,
    ZipReader,
};

use crate::build::{Packed, read_zip, zip, zip_behind};

fn walk(bytes: &[u8]) -> Vec<(Entry, Option<Apart>)> {
    let mut reader = ZipReader::new(Cursor::new(bytes), Limits::default()).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_apart().unwrap() {
        entries.push(entry);
    }
    assert!(reader.summary().is_some());
    entries
}

fn opened(bytes: &[u8], packed: Apart) -> PackedReader<Cursor<&[u8]>> {
    let mut input = Cursor::new(bytes);
    input.seek(SeekFrom::Start(packed.offset())).unwrap();
    packed.open(input)
}

fn rich() -> Vec<u8> {
    let mut entries: Vec<Packed> = (0..20u8)
        .map(|n| Packed::deflated(format!("d/{n}"), vec![n; 5000 * usize::from(n)]))
        .collect();
    entries.push(Packed::stored("d/", "").mode(0o040755));
    entries.push(Packed::stored("stored", "hello"));
    entries.push(Packed::deflated("link", "stored").mode(0o120777));
    zip_behind(b"#!/bin/sh\n", &entries, b"")
}

#[test]
fn files_read_apart_and_at_once_are_what_one_after_the_other_gives() {
    let bytes = rich();
    let mut expected = read_zip(&bytes).unwrap();
    expected.reverse();
    let mut entries = walk(&bytes);
    entries.reverse();
    let found: Vec<(Entry, Vec<u8>)> = thread::scope(|scope| {
        let started: Vec<_> = entries
            .into_iter()
            .map(|(entry, packed)| {
                assert_eq!(packed.is_some(), matches!(entry.kind, EntryKind::File { .. }));
                let reader = packed.map(|packed| opened(&bytes, packed));
                scope.spawn(move || {
                    let mut content = Vec::new();
                    if let Some(mut reader) = reader {
                        reader.read_to_end(&mut content).unwrap();
                    }
                    (entry, content)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(found, expected);
}

#[test]
fn the_packed_bytes_are_where_it_says_and_no_more_are_read() {
    let bytes = zip_behind(b"before", &[Packed::stored("f", "hello")], b"");
    let packed = walk(&bytes).remove(0).1.unwrap();
    let (from, length) = (packed.offset() as usize, packed.packed_bytes() as usize);
    assert_eq!(&bytes[from..from + length], b"hello");
    let mut content = String::new();
    packed.open(&bytes[from..from + length]).read_to_string(&mut content).unwrap();
    assert_eq!(content, "hello");
}

#[test]
fn damage_is_told_before_the_last_byte_and_then_nothing_more() {
    for (content, packed) in
        [("hello", Packed::stored("f", "hello")), ("", Packed::stored("f", ""))]
    {
        let mut wrong = packed;
        wrong.crc ^= 1;
        let bytes = zip(&[wrong]);
        let mut reader = opened(&bytes, walk(&bytes).remove(0).1.unwrap());
        let mut buffer = [0; 1];
        for _ in 1..content.len() {
            assert_eq!(reader.read_content(&mut buffer).unwrap(), 1);
        }
        let error = reader.read_content(&mut buffer).unwrap_err();
        assert!(matches!(error, Error::Damaged { what: Damage::Checksum, .. }), "{error}");
        assert!(matches!(reader.read_content(&mut buffer), Err(Error::Ended)));
    }
    let mut hiding = Packed::deflated("f", "hello");
    hiding.packed.push(0);
    let bytes = zip(&[hiding]);
    let mut reader = opened(&bytes, walk(&bytes).remove(0).1.unwrap());
    let error = reader.read_content(&mut [0; 100]).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { what: Ambiguity::HiddenBytes, .. }), "{error}");
}

#[test]
fn an_input_that_is_cut_off_is_told_from_damage() {
    let bytes = zip(&[Packed::stored("f", "hello")]);
    let packed = walk(&bytes).remove(0).1.unwrap();
    let error = packed.open(&b"hell"[..]).read_to_end(&mut Vec::new()).unwrap_err();
    assert!(matches!(Error::from_read(error), Error::Truncated));
}

#[test]
fn the_two_ways_of_reading_can_be_mixed() {
    let bytes = zip(&[Packed::stored("a", "one"), Packed::stored("b", "two")]);
    let mut reader = ZipReader::new(Cursor::new(&bytes), Limits::default()).unwrap();
    let (_, packed) = reader.next_apart().unwrap().unwrap();
    assert_eq!(reader.read_content(&mut [0; 9]).unwrap(), 0);
    reader.next_entry().unwrap().unwrap();
    let (mut first, mut second) = (String::new(), String::new());
    reader.read_to_string(&mut second).unwrap();
    opened(&bytes, packed.unwrap()).read_to_string(&mut first).unwrap();
    assert_eq!((&first[..], &second[..]), ("one", "two"));
    assert!(reader.next_apart().unwrap().is_none());
}
