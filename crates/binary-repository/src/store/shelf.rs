//! Putting blobs in place and taking them away. Both hold the shelf, so that a blob which is being removed
//! is never the one that somebody is putting in place.

use std::sync::{MutexGuard, PoisonError};

use durable::StagedFile;
use model::lifecycle::BlobState;
use model::{Digest, Timestamp};

use super::{BinaryRepository, StorageError};
use crate::layout::{self, key};

impl BinaryRepository {
    /// Removes the bytes that nothing wants, and says when to look again: when the next lease ends.
    ///
    /// # Errors
    /// The disk or the catalog failed. What was doomed is removed by a later sweep or the next start.
    pub fn sweep(&self) -> Result<Option<Timestamp>, StorageError> {
        loop {
            let _shelf = self.shelf();
            let Some(digest) = self.catalog.doom_one(self.now())? else { break };
            self.finish_removal(&digest)?;
            tracing::debug!(%digest, "removed the bytes that nothing wants");
        }
        Ok(self.catalog.next_lease_end()?)
    }

    /// Puts verified bytes in place. The lease keeps them until they have a name.
    ///
    /// A failure leaves at most a blob that is `writing`: the next one with the same bytes joins it, and
    /// the next start settles it.
    pub(super) fn shelve(
        &self,
        staged: StagedFile,
        digest: &Digest,
        size: u64,
        lease: Timestamp,
    ) -> Result<(), StorageError> {
        staged.sync_data()?; // the long wait, before the shelf is held
        let _shelf = self.shelf();
        if self.catalog.blob_state(digest)? == BlobState::Doomed {
            self.finish_removal(digest)?;
        }
        self.catalog.begin_blob(digest, size, lease)?;
        if self.blobs.contains(key(digest))?.is_some_and(|found| found != size) {
            tracing::warn!(%digest, "a damaged blob is replaced by the same bytes, sent again");
            self.blobs.remove(key(digest))?;
        }
        self.blobs.publish(staged, key(digest), layout::BLOB_MODE)?;
        Ok(self.catalog.publish_blob(digest)?)
    }

    /// Are the bytes here? If so they stay until `until` at least.
    pub(super) fn bytes_are_here(
        &self,
        digest: &Digest,
        size: u64,
        until: Timestamp,
    ) -> Result<bool, StorageError> {
        let known = self.catalog.extend_lease(digest, size, until)?;
        Ok(known && self.blobs.contains(key(digest))? == Some(size))
    }

    /// The second step of removing: the bytes, then the row. The caller holds the shelf.
    pub(super) fn finish_removal(&self, digest: &Digest) -> Result<(), StorageError> {
        self.blobs.remove(key(digest))?;
        Ok(self.catalog.remove_blob(digest)?)
    }

    fn shelf(&self) -> MutexGuard<'_, ()> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
