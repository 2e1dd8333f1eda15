//! A catalog that dies with the disk: at one operation of the disk, or around one of its own calls. From
//! then on neither does anything, as when the process is gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use binary_repository::catalog::sqlite::Sqlite;
use binary_repository::catalog::{
    Begun, Catalog, CatalogError, Claim, Holding, NewUpload, ObjectRecord, Removal, Taken,
    UploadPart, UploadRecord, Verification,
};
use durable::faults::{Recorder, Script};
use model::lifecycle::BlobState;
use model::{Digest, ObjectName, Part, Timestamp, UploadId};

use crate::Shared;

/// When it all ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Death {
    Never,
    /// At this operation of the disk, which does not happen.
    Disk {
        at: usize,
    },
    /// Around this call of the catalog.
    Catalog {
        at: usize,
        when: When,
    },
}

/// Does the call still happen?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

#[derive(Debug)]
pub(crate) struct Mortal {
    catalog: Sqlite,
    recorder: Recorder,
    death: Death,
    calls: AtomicUsize,
    dead: AtomicBool,
    /// Where every state of the catalog's files is kept, for the test of power cuts.
    commits: Option<(PathBuf, Shared<Vec<Commit>>)>,
}

/// The catalog as it was after so many operations of the disk.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) operations: usize,
    files: Vec<(String, Vec<u8>)>,
}

impl Mortal {
    pub(crate) fn new(
        recorder: Recorder,
        death: Death,
        catalog: Sqlite,
        commits: Option<(PathBuf, Shared<Vec<Commit>>)>,
    ) -> Mortal {
        if let Death::Disk { at } = death {
            recorder.play(Script::Kill { at });
        }
        let (calls, dead) = (AtomicUsize::new(0), AtomicBool::new(false));
        Mortal { catalog, recorder, death, calls, dead, commits }
    }

    pub(crate) fn is_dead(&self) -> bool {
        let disk = matches!(self.death, Death::Disk { at } if self.recorder.tried() > at);
        disk || self.dead.load(Ordering::SeqCst)
    }

    fn turn<T>(
        &self,
        call: impl FnOnce(&Sqlite) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let turn = self.calls.fetch_add(1, Ordering::SeqCst);
        self.die_if(turn, When::Before)?;
        let answer = call(&self.catalog);
        if let Some((database, commits)) = &self.commits {
            let commit = Commit::take(database, self.recorder.len());
            let mut commits = commits.lock().unwrap();
            if commits.last().is_none_or(|last| last.files != commit.files) {
                commits.push(commit);
            }
        }
        self.die_if(turn, When::After)?;
        answer
    }

    fn die_if(&self, turn: usize, now: When) -> Result<(), CatalogError> {
        if matches!(self.death, Death::Catalog { at, when } if at == turn && when == now) {
            self.dead.store(true, Ordering::SeqCst);
            self.recorder.play(Script::Kill { at: 0 });
        }
        match self.is_dead() {
            true => Err(CatalogError::Database {
                doing: "do anything: it is dead",
                source: rusqlite::Error::InvalidQuery,
            }),
            false => Ok(()),
        }
    }
}

impl Commit {
    fn take(database: &Path, operations: usize) -> Commit {
        let read = |suffix: &str| {
            let bytes = std::fs::read(format!("{}{suffix}", database.display())).ok()?;
            Some((suffix.to_owned(), bytes))
        };
        Commit { operations, files: ["", "-wal"].into_iter().filter_map(read).collect() }
    }

    pub(crate) fn restore(&self, database: &Path) {
        for (suffix, bytes) in &self.files {
            std::fs::write(format!("{}{suffix}", database.display()), bytes).unwrap();
        }
    }
}

macro_rules! delegate {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Catalog for Mortal {
            $(fn $name(&self, $($arg: $type),*) -> Result<$answer, CatalogError> {
                self.turn(|catalog| catalog.$name($($arg),*))
            })*
        }
    };
}

delegate! {
    fn object(name: &ObjectName) -> Option<ObjectRecord>;
    fn object_parts(name: &ObjectName) -> Vec<Part>;
    fn objects(prefix: &str, after: Option<&ObjectName>, limit: u32) -> Vec<ObjectRecord>;
    fn take_name(object: &ObjectRecord, parts: &[Part], own: Timestamp, upload: Option<UploadId>) -> Taken;
    fn remove_object(name: &ObjectName, now: Timestamp) -> Removal;
    fn begin_upload(new: &NewUpload) -> Begun;
    fn upload(id: UploadId) -> Option<UploadRecord>;
    fn upload_in_progress(name: &ObjectName) -> Option<UploadRecord>;
    fn upload_parts(id: UploadId) -> Vec<UploadPart>;
    fn upload_part(id: UploadId, number: u32) -> Option<UploadPart>;
    fn part_received(id: UploadId, number: u32) -> bool;
    fn begin_verifying(id: UploadId) -> Verification;
    fn want_all_parts(id: UploadId) -> ();
    fn drop_upload(id: UploadId) -> ();
    fn uploads_in_progress() -> Vec<UploadRecord>;
    fn extend_lease(digest: &Digest, size: u64, until: Timestamp) -> bool;
    fn blob_state(digest: &Digest) -> BlobState;
    fn begin_blob(digest: &Digest, size: u64, until: Timestamp) -> ();
    fn publish_blob(digest: &Digest) -> ();
    fn abort_blob(digest: &Digest) -> ();
    fn doom_one(now: Timestamp) -> Option<Digest>;
    fn remove_blob(digest: &Digest) -> ();
    fn blobs_in(state: BlobState) -> Vec<(Digest, u64)>;
    fn next_lease_end() -> Option<Timestamp>;
    fn hold(claims: &[Claim]) -> Holding;
    fn release(holder: &str) -> ();
    fn holders(after: Option<&str>, limit: u32) -> Vec<String>;
}
