//! Filling one file: data to its place, holes left out, and the digest of it all.

use archive::SparseMap;
use durable::{DiskError, NewFile, TreeFile};
use model::{Digest, Hasher};

/// A file that is being filled with its data, in order.
pub(super) struct Filling {
    file: TreeFile,
    size: u64,
    sparse: Option<SparseMap>,
    /// The extent that the next byte of data goes to, and how much of it is filled.
    extent: usize,
    within: u64,
    /// Bytes of the file that the digest covers.
    hashed: u64,
    hasher: Hasher,
}

impl Filling {
    /// Makes the file.
    pub(super) fn begin(
        file: NewFile,
        size: u64,
        sparse: Option<SparseMap>,
    ) -> Result<Filling, DiskError> {
        let mut file = file.create()?;
        if sparse.is_some() {
            // Its length first: one that no file can have is refused before its holes are hashed.
            file.set_len(size)?;
        }
        Ok(Filling { file, size, sparse, extent: 0, within: 0, hashed: 0, hasher: Hasher::new() })
    }

    /// Takes the next bytes of data.
    pub(super) fn push(&mut self, mut data: &[u8]) -> Result<(), DiskError> {
        let Some(sparse) = self.sparse.take() else {
            self.hash(data);
            return self.file.append(data);
        };
        while let (Some(extent), false) = (sparse.extents().get(self.extent), data.is_empty()) {
            let left = extent.length - self.within;
            let most = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
            let (now, later) = data.split_at(most);
            let at = extent.offset + self.within;
            self.hash_hole(at);
            self.hash(now);
            self.file.write_at(at, now)?;
            self.within += now.len() as u64;
            if self.within == extent.length {
                (self.extent, self.within) = (self.extent + 1, 0);
            }
            data = later;
        }
        self.sparse = Some(sparse);
        Ok(())
    }

    /// Finishes the file.
    pub(super) fn finish(mut self) -> Result<Digest, DiskError> {
        if self.sparse.is_some() {
            self.hash_hole(self.size);
        }
        self.file.close()?;
        Ok(self.hasher.finish())
    }

    fn hash(&mut self, data: &[u8]) {
        self.hasher.update(data);
        self.hashed += data.len() as u64;
    }

    /// A hole reads as zeros.
    fn hash_hole(&mut self, until: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while self.hashed < until {
            let left = until - self.hashed;
            let most = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            self.hash(&ZEROS[..most]);
        }
    }
}
