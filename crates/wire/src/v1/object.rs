//! Bodies of the binary repository.

use model::{
    Caller, Digest, Encoding, InvalidParts, Measured, MediaInfo, MediaType, ObjectName, Part,
    Parts, Timestamp, UploadId,
};
use serde::{Deserialize, Serialize};

/// Everything about an object but its bytes: what `object stat` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectBody {
    /// Its name.
    pub name: ObjectName,
    /// What the bytes are.
    #[serde(rename = "type")]
    pub media_type: MediaType,
    /// How they were encoded on top of that.
    pub encoding: Option<Encoding>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// Has the server verified the whole? If not, these are the parts of an upload.
    pub complete: bool,
    /// Its parts in order.
    pub parts: Vec<PartBody>,
    /// What unpacking it takes.
    pub measured: Option<MeasuredBody>,
    /// When the name was taken; for an incomplete object, when the upload began.
    pub created: Timestamp,
    /// Who did.
    pub created_by: Caller,
}

/// One part of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBody {
    /// From 1.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of these bytes.
    pub digest: Digest,
    /// Does the server have it, verified?
    pub received: bool,
}

/// One line of a listing of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLine {
    /// Its name.
    pub name: ObjectName,
    /// What the bytes are.
    #[serde(rename = "type")]
    pub media_type: MediaType,
    /// How they were encoded on top of that.
    pub encoding: Option<Encoding>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// When the name was taken.
    pub created: Timestamp,
    /// Who did.
    pub created_by: Caller,
}

/// What storing an object gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBody {
    /// Its name.
    pub name: ObjectName,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// Wants to upload an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// The name that it shall have.
    pub name: ObjectName,
    /// What the bytes are.
    #[serde(rename = "type")]
    pub media_type: MediaType,
    /// How they were encoded on top of that.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub digest: Digest,
    /// The parts in order; see [`model::Parts`] for their sizes.
    pub parts: Vec<StatedPart>,
    /// What unpacking it takes, if it was measured.
    #[serde(default)]
    pub measured: Option<MeasuredBody>,
}

/// A part as the client states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedPart {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of these bytes.
    pub digest: Digest,
}

/// An upload, and what is still wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadBody {
    /// Its id.
    pub upload: UploadId,
    /// The parts that the server lacks, in order, from 1.
    pub missing: Vec<u32>,
    /// Has the object its name already? Then nothing more is to be done.
    pub complete: bool,
}

/// What unpacking an archive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredBody {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes in all files together.
    pub unpacked_bytes: u64,
    /// Bytes in the largest file.
    pub largest_file: u64,
    /// Files, directories and links, implied directories included.
    pub inodes: u64,
    /// Bytes in the longest path.
    pub deepest_path: u32,
    /// Bytes that the tree takes on a file system with blocks of 4 KiB.
    #[serde(default)] // younger than the other figures, as is the next one
    pub disk_bytes: u64,
    /// Bytes of history that decompression has to keep; 0 where the format has a small fixed one.
    #[serde(default)]
    pub window: u64,
}

/// The query of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobQuery {
    /// Which names; all if it is missing.
    pub glob: Option<model::Glob>,
}

impl UploadRequest {
    /// What the bytes are.
    pub fn media(&self) -> MediaInfo {
        MediaInfo { media_type: self.media_type.clone(), encoding: self.encoding }
    }

    /// The parts, checked against the size.
    ///
    /// # Errors
    /// See [`InvalidParts`].
    pub fn checked_parts(&self) -> Result<Parts, InvalidParts> {
        let part = |stated: &StatedPart| Part { size: stated.size, digest: stated.digest };
        Parts::new(self.size, self.parts.iter().map(part).collect())
    }
}

impl ObjectBody {
    /// What the bytes are.
    pub fn media(&self) -> MediaInfo {
        MediaInfo { media_type: self.media_type.clone(), encoding: self.encoding }
    }
}

impl From<Measured> for MeasuredBody {
    fn from(measured: Measured) -> MeasuredBody {
        let Measured {
            entries,
            unpacked_bytes,
            largest_file,
            inodes,
            deepest_path,
            disk_bytes,
            window,
        } = measured;
        MeasuredBody {
            entries,
            unpacked_bytes,
            largest_file,
            inodes,
            deepest_path,
            disk_bytes,
            window,
        }
    }
}

impl From<MeasuredBody> for Measured {
    fn from(body: MeasuredBody) -> Measured {
        let MeasuredBody {
            entries,
            unpacked_bytes,
            largest_file,
            inodes,
            deepest_path,
            disk_bytes,
            window,
        } = body;
        Measured { entries, unpacked_bytes, largest_file, inodes, deepest_path, disk_bytes, window }
    }
}
