//! Does what `budget` has planned to the files of a stream.
//!
//! Taking out the beginning of a file and noting how much it was are two steps, and a crash may come between
//! them. So the beginning is made a hole first; then the record says that this hole is being taken out; then
//! it is; then the record says how much is out. Each step is on the disk before the next begins, and whether
//! the third has happened is seen by whether the hole is there. A program may append all the time.

use durable::{Disk, DiskError, record};
use model::InstanceId;
use wire::v1::LogStream;

use super::budget::Step;
use super::index::{Index, LogIndexRecord, Moved, path};
use crate::layout;

/// Why a stream is not brought within its budget.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReleaseError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot note what the logs lost")]
    Record(#[from] record::RecordError),
    #[error("the file system cannot release the beginning of a file")]
    Unable,
}

/// The record of one instance while a stream is worked on.
pub(super) struct Release<'a> {
    pub(super) disk: &'a Disk,
    pub(super) id: &'a InstanceId,
    pub(super) stream: LogStream,
    pub(super) index: Index,
}

impl Release<'_> {
    /// Does one step. Harmless to repeat from a fresh plan, whatever became of it.
    pub(super) fn take(&mut self, step: Step) -> Result<(), ReleaseError> {
        match step {
            Step::Remove { base } => Ok(self.disk.remove(&path(self.id, self.stream, base))?),
            Step::Release { base, to } => self.release(base, to),
        }
    }

    /// Ends what a crash cut off: the hole that the record names goes, or the record says that it is gone.
    pub(super) fn settle(&mut self, base: u64) -> Result<(), ReleaseError> {
        let moved = self.index.moved(self.stream, base);
        let (Some(hole), Index::Known(record)) = (moved.collapsing, self.index) else {
            return Ok(());
        };
        let Some(file) = self.disk.open_appended(&path(self.id, self.stream, base))? else {
            return Ok(());
        };
        if moved.in_truth(file.first_data()?) != moved.moved {
            return self
                .note(record, Moved { moved: moved.moved + hole, collapsing: None, ..moved });
        }
        self.collapse(&file, record, moved, hole)
    }

    fn release(&mut self, base: u64, to: u64) -> Result<(), ReleaseError> {
        let Some(file) = self.disk.open_appended(&path(self.id, self.stream, base))? else {
            return Ok(());
        };
        if !file.punch_head(to)? {
            return Err(ReleaseError::Unable);
        }
        let Index::Known(record) = self.index else { return Ok(()) };
        if !file.can_collapse() {
            return Ok(());
        }
        let moved = self.index.moved(self.stream, base);
        self.collapse(&file, record, moved, to)
    }

    /// Takes out a hole that is there and synced.
    fn collapse(
        &mut self,
        file: &durable::Appended,
        record: LogIndexRecord,
        moved: Moved,
        hole: u64,
    ) -> Result<(), ReleaseError> {
        self.note(record, Moved { collapsing: Some(hole), ..moved })?;
        // Where it cannot be taken out (a file system with clusters), it stays a hole, which is as good.
        let out = if file.collapse_head(hole)? { hole } else { 0 };
        self.note(record, Moved { moved: moved.moved + out, collapsing: None, ..moved })
    }

    fn note(&mut self, record: LogIndexRecord, moved: Moved) -> Result<(), ReleaseError> {
        let record = record.with(self.stream, moved);
        record::write(self.disk, &layout::log_index(self.id), &record)?;
        self.index = Index::Known(record);
        Ok(())
    }
}
