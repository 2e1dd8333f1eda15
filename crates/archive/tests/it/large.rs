//! A member beyond what a header's eleven digits hold, as writers say its size; its zeros are made while
//! they are read.

use std::io::{Read, repeat};

use archive::{Encoding, Entries, Limits, TarReader};

use crate::build::{Header, Tar};

/// 8 GiB and a bit.
const SIZE: u64 = (8 << 30) + 5;

/// The size as GNU tar says it: a marked first byte, then binary, highest byte first.
fn binary() -> Header {
    let mut header = Header::new(b'0', "large");
    header.magic = *b"ustar  \0";
    header.size = [&[0x80, 0, 0, 0][..], &SIZE.to_be_bytes()].concat();
    header
}

/// Opens a tar that begins like this and has a large member and a small one, and reads it to its end.
fn read(begin: &Tar) -> (Vec<(Vec<u8>, u64)>, archive::Measured) {
    let end = Tar::new().file("behind", "small").end();
    let zeros = repeat(0).take(SIZE.next_multiple_of(512));
    let input = begin.0.as_slice().chain(zeros).chain(end.as_slice());
    let mut reader = TarReader::new(input, Encoding::Identity, Limits::default()).unwrap();
    let (mut found, mut buffer) = (Vec::new(), vec![0xff; 1 << 20]);
    while let Some(entry) = reader.next_entry().unwrap() {
        let (path, mut size) = (entry.path.as_bytes().to_vec(), 0);
        loop {
            match reader.read_content(&mut buffer).unwrap() {
                0 => break,
                count => size += count as u64,
            }
        }
        found.push((path, size));
    }
    (found, reader.summary().unwrap().measured)
}

#[test]
fn a_file_above_8_gib_is_read_however_its_size_is_said() {
    let said = SIZE.to_string();
    let pax = || Tar::new().pax(b'x', &[("size", said.as_bytes())]);
    for (how, begin) in [
        ("base-256", Tar::new().header(&binary())),
        ("a record, and 0", pax().header(&Header::new(b'0', "large"))),
        ("both", pax().header(&binary())),
    ] {
        let (found, measured) = read(&begin);
        let expected = [(b"large".to_vec(), SIZE), (b"behind".to_vec(), 5)];
        assert_eq!(found, expected, "{how}");
        assert_eq!((measured.largest_file, measured.unpacked_bytes), (SIZE, SIZE + 5), "{how}");
    }
}
