//! The catalog: what the repository knows about objects, uploads, blobs and holds, as one contract that
//! several databases can keep. It holds no bytes and touches no file but its own.
//!
//! Every method is atomic: it happens whole or not at all, what it answered is durable, and of two
//! at the same time one comes first. Times come from the caller. Methods block.
//!
//! A **lease** keeps a blob that nothing wants yet: somebody was told that it is here, or is about to give
//! it a name. A lease that nobody needs any more is `None`, so that looking for what can be removed never
//! looks at the blobs that are in use.

mod schema;
pub mod sqlite;

use std::fmt;

use model::lifecycle::{BlobEvent, BlobState, Illegal, UploadState};
use model::{
    Caller, Digest, Measured, MediaInfo, ObjectName, Part, Parts, Pin, Timestamp, UploadId,
};

/// What the catalog keeps of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its name.
    pub name: ObjectName,
    /// What the bytes are.
    pub media: MediaInfo,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// What unpacking it takes, if the publisher measured it.
    pub measured: Option<Measured>,
    /// When the name was taken.
    pub created: Timestamp,
    /// Who took it.
    pub created_by: Caller,
}

/// Wants an upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// The id that it gets, if there is no such upload yet.
    pub id: UploadId,
    /// The object that it shall become; `created` is when it begins.
    pub object: ObjectRecord,
    /// Its parts.
    pub parts: Parts,
    /// Are the bytes here, under a lease that was extended for this? Then a name that has the same
    /// content is an answer; else it is uploaded again, to mend it.
    pub bytes_are_here: bool,
}

/// An upload that the catalog knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// The object that it shall become; `created` is when it began.
    pub object: ObjectRecord,
    /// Where it stands.
    pub state: UploadState,
}

/// One part of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadPart {
    /// From 1.
    pub number: u32,
    /// Its size and digest.
    pub part: Part,
    /// Where its first byte lies in the object.
    pub offset: u64,
    /// Do the bytes lie in the staged file, verified and synced?
    pub received: bool,
}

/// How beginning an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The name has this content already; the id stands for a completed upload.
    There(UploadId),
    /// An upload is open.
    Open {
        /// Its id: the one of the same caller, name and digest, if there was one.
        id: UploadId,
        /// An upload that was dropped for it, since it was cut into other parts.
        dropped: Option<UploadId>,
    },
    /// The name has other content.
    NameTaken(ObjectRecord),
}

/// How asking to verify an upload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// No part is missing, the whole may be hashed.
    Go,
    /// These parts are missing.
    Missing(Vec<u32>),
    /// The name was taken by it already.
    Complete,
    /// There is no such upload.
    Unknown,
}

/// How taking a name ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The name was free, and is taken now.
    New,
    /// It had the same content and media info already.
    Same,
    /// It has other content.
    Other(ObjectRecord),
    /// The bytes are not here any more: a lease that ended.
    NoBytes,
}

/// How removing an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The name is free.
    Removed,
    /// It was not there.
    Absent,
    /// These need it, sorted.
    Held(Vec<String>),
}

/// Objects that one holder needs.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who needs them; any text that is that holder's alone.
    pub holder: String,
    /// What it needs.
    pub pins: Vec<Pin>,
}

/// How taking holds ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Holding {
    /// All are held.
    Held,
    /// These are not there; nothing is held.
    Absent(Vec<ObjectName>),
    /// This one has other content than was pinned; nothing is held.
    Differs {
        /// What was pinned.
        pinned: Box<Pin>,
        /// What is there.
        there: Box<ObjectRecord>,
    },
}

/// The catalog failed. What was asked for may or may not have happened if the cause is of the machine.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database refused.
    #[error("the catalog cannot {doing}")]
    Database {
        /// What was tried, e.g. `take a name`.
        doing: &'static str,
        /// The database's answer.
        source: rusqlite::Error,
    },
    /// A row says what no row may say.
    #[error("the catalog is damaged: {what}")]
    Damaged {
        /// Which row, and what it says.
        what: String,
    },
    /// A blob is not in a state in which this is possible.
    #[error("the blob `{digest}` cannot be moved")]
    Illegal {
        /// Which blob.
        digest: Digest,
        /// The move.
        source: Illegal<BlobState, BlobEvent>,
    },
}

/// The contract. One conformance suite (`tests/catalog.rs`) holds for every implementation.
pub trait Catalog: fmt::Debug + Send + Sync {
    // --- objects

    /// The object of this name.
    fn object(&self, name: &ObjectName) -> Result<Option<ObjectRecord>, CatalogError>;

    /// The parts of an object in order; none if it is not there.
    fn object_parts(&self, name: &ObjectName) -> Result<Vec<Part>, CatalogError>;

    /// At most `limit` objects whose names begin with `prefix` and come after `after`, sorted by the bytes
    /// of their names.
    fn objects(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: u32,
    ) -> Result<Vec<ObjectRecord>, CatalogError>;

    /// Takes a name for bytes that are `present`. Of several callers at the same time one gets
    /// [`Taken::New`]. The lease that ends at `own_lease` is given back, unless somebody extended it since;
    /// and when the name has this content now, `upload` is complete, all in the same transaction.
    fn take_name(
        &self,
        object: &ObjectRecord,
        parts: &[Part],
        own_lease: Timestamp,
        upload: Option<UploadId>,
    ) -> Result<Taken, CatalogError>;

    /// Frees a name, unless it is held; completed uploads of it are forgotten. If nothing else wants the
    /// bytes, they can be removed from `now` on, or when their lease ends.
    fn remove_object(&self, name: &ObjectName, now: Timestamp) -> Result<Removal, CatalogError>;

    // --- uploads

    /// Begins an upload, or finds the one of the same caller, name and digest. Of several callers at the
    /// same time all get the same id.
    fn begin_upload(&self, new: &NewUpload) -> Result<Begun, CatalogError>;

    /// An upload.
    fn upload(&self, id: UploadId) -> Result<Option<UploadRecord>, CatalogError>;

    /// The upload in progress that began last under this name.
    fn upload_in_progress(&self, name: &ObjectName) -> Result<Option<UploadRecord>, CatalogError>;

    /// The parts of an upload in order; none once it is complete.
    fn upload_parts(&self, id: UploadId) -> Result<Vec<UploadPart>, CatalogError>;

    /// One part of an upload.
    fn upload_part(&self, id: UploadId, number: u32) -> Result<Option<UploadPart>, CatalogError>;

    /// Records that a part was received; `false` if there is no such part any more.
    fn part_received(&self, id: UploadId, number: u32) -> Result<bool, CatalogError>;

    /// Moves an upload to `verifying` if no part is missing. One that is verifying already may be verified
    /// again: whoever was at it died, or the caller made sure that nobody is.
    fn begin_verifying(&self, id: UploadId) -> Result<Verification, CatalogError>;

    /// The staged bytes of an upload cannot be used: all its parts are wanted (again), and it is
    /// `receiving`.
    fn want_all_parts(&self, id: UploadId) -> Result<(), CatalogError>;

    /// Forgets an upload.
    fn drop_upload(&self, id: UploadId) -> Result<(), CatalogError>;

    /// Every upload that is not complete.
    fn uploads_in_progress(&self) -> Result<Vec<UploadRecord>, CatalogError>;

    // --- blobs

    /// Is the blob `present`, with this size? If so its lease lasts until `until` at least. One statement.
    fn extend_lease(
        &self,
        digest: &Digest,
        size: u64,
        until: Timestamp,
    ) -> Result<bool, CatalogError>;

    /// The state of a blob, `absent` if there is no row for it.
    fn blob_state(&self, digest: &Digest) -> Result<BlobState, CatalogError>;

    /// Announces that bytes are about to be put in place, and takes a lease until `until`. A blob that is
    /// `writing` or `present` is joined.
    ///
    /// # Errors
    /// [`CatalogError::Illegal`] if it is `doomed`.
    fn begin_blob(&self, digest: &Digest, size: u64, until: Timestamp) -> Result<(), CatalogError>;

    /// The bytes are in place, verified and synced.
    fn publish_blob(&self, digest: &Digest) -> Result<(), CatalogError>;

    /// The bytes of a `writing` blob will not come.
    fn abort_blob(&self, digest: &Digest) -> Result<(), CatalogError>;

    /// Dooms one blob that no object, hold or running lease wants, and says which; `None` if there is none.
    fn doom_one(&self, now: Timestamp) -> Result<Option<Digest>, CatalogError>;

    /// The bytes of a `doomed` blob are gone.
    fn remove_blob(&self, digest: &Digest) -> Result<(), CatalogError>;

    /// The blobs in this state, with their sizes.
    fn blobs_in(&self, state: BlobState) -> Result<Vec<(Digest, u64)>, CatalogError>;

    /// When the next lease ends.
    fn next_lease_end(&self) -> Result<Option<Timestamp>, CatalogError>;

    // --- holds

    /// Takes the holds of all claims, or none. Every pinned object must be there with the pinned digest,
    /// size and media info, and its bytes `present`. What a holder holds already it goes on holding.
    fn hold(&self, claims: &[Claim]) -> Result<Holding, CatalogError>;

    /// Gives back everything that this holder holds.
    fn release(&self, holder: &str) -> Result<(), CatalogError>;

    /// At most `limit` holders that come after `after`, sorted, each once.
    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, CatalogError>;
}

impl ObjectRecord {
    /// The same bytes with the same meaning?
    pub fn same_content(&self, other: &ObjectRecord) -> bool {
        self.digest == other.digest && self.size == other.size && self.media == other.media
    }
}

impl CatalogError {
    /// Is the disk of the database full?
    pub fn is_no_space(&self) -> bool {
        match self {
            CatalogError::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            }
            CatalogError::Damaged { .. } | CatalogError::Illegal { .. } => false,
        }
    }
}
