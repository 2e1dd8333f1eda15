//! The zip reader: its two ways, one file after the other and apart, agree on every entry, on its
//! content, and on what is wrong.

use std::io::Cursor;
use std::mem::{Discriminant, discriminant};

use archive::{Entries, Entry, Error, ZipReader};

use crate::LIMITS;

/// Reads `data` as a zip in both ways.
pub fn zip(data: &[u8]) {
    let one = ZipReader::new(Cursor::new(data), LIMITS);
    let two = ZipReader::new(Cursor::new(data), LIMITS);
    match (one, two) {
        (Ok(one), Ok(two)) => agree(data, one, two),
        (Err(one), Err(two)) => assert_eq!(kind(&one), kind(&two)),
        _ => panic!("a zip can be opened every time or never"),
    }
}

fn agree(data: &[u8], mut in_turn: ZipReader<Cursor<&[u8]>>, mut apart: ZipReader<Cursor<&[u8]>>) {
    let mut total = 0;
    loop {
        // An error in content ends the one reader and not the other: there is nothing to compare then.
        let (one, two) = (next_in_turn(&mut in_turn), next_apart(data, &mut apart));
        match (one, two) {
            (Ok(None), Ok(None)) => break,
            (Ok(one), Ok(two)) => {
                assert_eq!(one, two);
                total += one.map_or(0, |(_, content)| content.len() as u64);
                assert!(total <= LIMITS.unpacked_bytes);
            }
            (Err(one), Err(two)) => {
                assert_eq!(kind(&one), kind(&two), "{one} and {two}");
                assert!(matches!(in_turn.next_entry(), Err(Error::Ended)));
                return;
            }
            (one, two) => panic!("{one:?}, but apart {two:?}"),
        }
    }
    assert_eq!(in_turn.summary(), apart.summary());
    assert!(in_turn.summary().expect("all was read").measured.unpacked_bytes >= total);
}

fn next_in_turn(reader: &mut dyn Entries) -> Result<Option<(Entry, Vec<u8>)>, Error> {
    let Some(entry) = reader.next_entry()? else { return Ok(None) };
    let content = content(|buffer| reader.read_content(buffer))?;
    Ok(Some((entry, content)))
}

fn next_apart(
    data: &[u8],
    reader: &mut ZipReader<Cursor<&[u8]>>,
) -> Result<Option<(Entry, Vec<u8>)>, Error> {
    let Some((entry, packed)) = reader.next_apart()? else { return Ok(None) };
    let Some(packed) = packed else { return Ok(Some((entry, Vec::new()))) };
    let from = usize::try_from(packed.offset()).expect("an offset in memory");
    let most = usize::try_from(packed.packed_bytes()).expect("a length in memory");
    let mut content_reader = packed.open(&data[from..from + most]);
    let content = content(|buffer| content_reader.read_content(buffer))?;
    Ok(Some((entry, content)))
}

fn content(mut read: impl FnMut(&mut [u8]) -> Result<usize, Error>) -> Result<Vec<u8>, Error> {
    let (mut buffer, mut content) = ([0; 1000], Vec::new());
    loop {
        match read(&mut buffer)? {
            0 => return Ok(content),
            some => content.extend_from_slice(&buffer[..some]),
        }
        assert!(content.len() as u64 <= LIMITS.largest_file);
    }
}

fn kind(error: &Error) -> Discriminant<Error> {
    discriminant(error)
}
