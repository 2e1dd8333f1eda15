//! What a repository does when it is opened: the catalog and the disk are made to agree. Nothing else runs
//! yet. Every step is harmless to repeat.

use std::collections::HashSet;

use model::lifecycle::BlobState;

use super::{BinaryRepository, StorageError};
use crate::layout::{self, key};

impl BinaryRepository {
    pub(super) fn recover(&self) -> Result<(), StorageError> {
        self.settle_blobs()?;
        self.settle_uploads()?;
        self.disk.empty_trash()?;
        Ok(())
    }

    /// A doomed blob is removed. One that was being written is whole if its name is there, since a name
    /// is given last; else it never came.
    fn settle_blobs(&self) -> Result<(), StorageError> {
        for (digest, _) in self.catalog.blobs_in(BlobState::Doomed)? {
            self.finish_removal(&digest)?;
        }
        for (digest, size) in self.catalog.blobs_in(BlobState::Writing)? {
            if self.blobs.contains(key(&digest))? == Some(size) {
                self.catalog.publish_blob(&digest)?;
            } else {
                self.blobs.remove(key(&digest))?;
                self.catalog.abort_blob(&digest)?;
            }
        }
        Ok(())
    }

    /// An upload whose file is gone, or not as long as it was made, wants all its parts again; a file
    /// without an upload is removed.
    fn settle_uploads(&self) -> Result<(), StorageError> {
        let uploads = self.catalog.uploads_in_progress()?;
        for upload in &uploads {
            let staged = self.disk.metadata(&layout::staged_path(upload.id))?;
            if staged.is_none_or(|staged| staged.size != upload.object.size) {
                self.catalog.want_all_parts(upload.id)?;
            }
        }
        let known: HashSet<String> = uploads.iter().map(|u| layout::staged(u.id)).collect();
        self.disk.empty_staging_except(|name| known.contains(name))?;
        Ok(())
    }
}
