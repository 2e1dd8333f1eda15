//! Storing an object in one request.

use std::io::Read;

use model::{
    Caller, Digest, Hasher, MAX_OBJECT, MAX_PART, MediaInfo, ObjectName, Part, part_size_for,
};

use super::pour::{Spilt, pour};
use super::{BinaryRepository, LEASE, PutError};
use crate::catalog::{ObjectRecord, Taken};

/// An object that is to be stored.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// Its name.
    pub name: ObjectName,
    /// What the bytes are.
    pub media: MediaInfo,
    /// Who stores it.
    pub caller: Caller,
}

/// What a request states about the bytes that follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stated {
    /// How many there are.
    pub length: Option<u64>,
    /// Their SHA-256.
    pub digest: Option<Digest>,
}

/// What storing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The object.
    pub object: ObjectRecord,
    /// Was it stored now? `false`: the same was there.
    pub new: bool,
}

impl BinaryRepository {
    /// Stores an object whose bytes are all in `body`. The same content again is fine.
    ///
    /// The digests of its parts are taken in the same pass: parts as [`part_size_for`] says where the
    /// length is stated, of [`MAX_PART`] where it is not.
    ///
    /// # Errors
    /// See [`PutError`]; nothing is stored then.
    pub fn put(
        &self,
        new: NewObject,
        stated: Stated,
        body: &mut dyn Read,
    ) -> Result<Stored, PutError> {
        let NewObject { name, media, caller } = new;
        if stated.length.is_some_and(|length| length > MAX_OBJECT) {
            return Err(PutError::TooLarge { name });
        }
        self.room_for(stated.length.unwrap_or(0))?;
        let mut staged = self.disk.stage_file()?;
        let mut parts = PartHasher::new(stated.length.map_or(MAX_PART, part_size_for));
        let mut whole = Hasher::new();
        let poured = pour(body, MAX_OBJECT, |_, piece| {
            whole.update(piece);
            parts.update(piece);
            staged.append(piece)
        });
        let size = match poured {
            Ok(size) if stated.length.is_some_and(|length| length != size) => {
                return Err(PutError::HalfSent { name, cause: None });
            }
            Ok(size) => size,
            Err(Spilt::TooLong) => return Err(PutError::TooLarge { name }),
            Err(Spilt::Broken(_, cause)) => {
                return Err(PutError::HalfSent { name, cause: Some(cause) });
            }
            Err(Spilt::Sink(error)) => return Err(error.into()),
        };
        let digest = whole.finish();
        if let Some(stated) = stated.digest.filter(|stated| *stated != digest) {
            return Err(PutError::Digest { name, stated, received: digest });
        }
        let lease = self.now().plus(LEASE);
        self.shelve(staged, &digest, size, lease)?;
        let created = self.now();
        let object =
            ObjectRecord { name, media, size, digest, measured: None, created, created_by: caller };
        let taken = self.catalog.take_name(&object, &parts.finish(), lease, None);
        self.bell.notify_one(); // also when the name was taken: the bytes may be wanted by nobody
        match taken? {
            Taken::New => Ok(Stored { object, new: true }),
            Taken::Same => Ok(Stored { object, new: false }),
            Taken::Other(there) => {
                Err(PutError::NameTaken { name: object.name, there: Box::new(there), digest })
            }
            Taken::NoBytes => Err(PutError::BytesGone { name: object.name }),
        }
    }
}

/// Digests of the parts of a stream.
struct PartHasher {
    usual: u64,
    current: Hasher,
    filled: u64,
    parts: Vec<Part>,
}

impl PartHasher {
    fn new(usual: u64) -> PartHasher {
        PartHasher { usual, current: Hasher::new(), filled: 0, parts: Vec::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.usual - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.current.update(now);
            self.filled += now.len() as u64;
            if self.filled == self.usual {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        let digest = std::mem::take(&mut self.current).finish();
        self.parts.push(Part { size: self.filled, digest });
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<Part> {
        if self.filled > 0 {
            self.end_part();
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Parts;

    #[test]
    fn the_parts_of_a_stream_are_legal_whatever_the_pieces_it_comes_in() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
        for piece in [1, 7, 100, 1000] {
            let mut parts = PartHasher::new(100);
            bytes.chunks(piece).for_each(|piece| parts.update(piece));
            let parts = parts.finish();
            assert_eq!(parts.len(), 10);
            assert!(
                bytes.chunks(100).zip(&parts).all(|(bytes, part)| part.digest == Digest::of(bytes))
            );
        }
        assert_eq!(PartHasher::new(100).finish(), []);
        let mut one = PartHasher::new(MAX_PART);
        one.update(b"abc");
        assert!(Parts::new(3, one.finish()).is_ok());
    }
}
