//! The tar reader: limits hold, sizes are as announced, and an error is the end.

use archive::{Encoding, Entries, EntryKind, Error, SparseMap, TarReader};

use crate::{LIMITS, encoding, mended};

/// Reads `data` as a tar in the encoding that it announces; a plain one also with its checksums put
/// right.
pub fn tar(data: &[u8]) {
    let encoding = encoding(data);
    read(data, encoding);
    if encoding == Encoding::Identity {
        read(&mended(data), encoding);
    }
}

fn read(data: &[u8], encoding: Encoding) {
    let mut reader = TarReader::new(data, encoding, LIMITS).expect("any encoding has a reader");
    match walk(&mut reader) {
        Ok(total) => {
            let measured = reader.summary().expect("all was read").measured;
            assert!(measured.unpacked_bytes >= total);
            assert!(measured.entries <= LIMITS.entries && measured.inodes <= LIMITS.inodes);
            assert!(measured.unpacked_bytes <= LIMITS.unpacked_bytes);
            assert!(measured.window <= LIMITS.window);
            assert!(matches!(reader.next_entry(), Ok(None)));
        }
        Err(_) => {
            assert!(reader.summary().is_none());
            assert!(matches!(reader.next_entry(), Err(Error::Ended)));
        }
    }
}

/// Reads all of it, and answers how many bytes of content that were.
pub(crate) fn walk(entries: &mut dyn Entries) -> Result<u64, Error> {
    let (mut buffer, mut total) = ([0; 1000], 0);
    while let Some(entry) = entries.next_entry()? {
        let mut read = 0;
        loop {
            match entries.read_content(&mut buffer)? {
                0 => break,
                some => read += some as u64,
            }
        }
        let expected = match &entry.kind {
            EntryKind::File { size, sparse, .. } => {
                assert!(*size <= LIMITS.largest_file);
                sparse.as_ref().map_or(*size, SparseMap::data)
            }
            _ => 0,
        };
        assert_eq!(read, expected, "content of {:?}", entry.path);
        total += read;
    }
    Ok(total)
}
