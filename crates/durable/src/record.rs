//! Small versioned documents.
//!
//! ```text
//! fettle <kind> <version> sha256:<64 hex digits>
//! { … JSON … }
//! ```
//!
//! The digest covers the first three words, a newline and the body (everything after the first line),
//! so that a damaged kind or version shows as well as a damaged body. The first line is the same in
//! every version to come; that is how an older program tells "newer than me" from "damaged".
//!
//! Absent, damaged and too new are three answers, none of them an error and none of them "empty": the
//! caller decides what each one means. Older versions are converted by [`Record::upgrade`].

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::blobs::Key;
use crate::disk::Disk;
use crate::error::{DiskError, Refused};

/// A document that is kept as a record.
pub trait Record: Serialize + DeserializeOwned {
    /// One word of `[a-z0-9-]` that says what it is.
    const KIND: &'static str;
    /// The version that is written; counts up from 1.
    const VERSION: u32;

    /// Converts the JSON of an older version, step by step, to that of [`Record::VERSION`]. `None`
    /// if this version never was; the record is then damaged.
    fn upgrade(version: u32, json: serde_json::Value) -> Option<serde_json::Value> {
        let _ = (version, json);
        None
    }
}

/// What was found under the name of a record.
#[derive(Debug)]
pub enum Read<R> {
    /// Nothing.
    Absent,
    /// The record.
    Present(R),
    /// Something that this program did not write, or not so.
    Damaged {
        /// What is wrong with it.
        why: Damage,
    },
    /// A whole record that a newer program wrote. It must not be overwritten.
    TooNew {
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
}

/// What is wrong with a damaged record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It is larger than any record is.
    #[error("it is larger than {LIMIT} bytes")]
    TooLarge,
    /// Its first line is not that of a record.
    #[error("its first line is not that of a record")]
    FirstLine,
    /// Its digest does not match.
    #[error("its digest does not match its content")]
    Digest,
    /// It is whole, but a record of another kind.
    #[error("it is a record of the kind `{found}`")]
    Kind {
        /// The kind that it is.
        found: String,
    },
    /// It is whole, but of a version that never was.
    #[error("there is no version {found} of it")]
    Version {
        /// The version that it claims.
        found: u32,
    },
    /// It is whole, but does not say what a record of this kind and version says.
    #[error("its content is not that of its kind and version")]
    Content(#[source] serde_json::Error),
}

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The value has no JSON form.
    #[error("a record of the kind `{kind}` cannot be written as JSON")]
    Encode {
        /// Which kind.
        kind: &'static str,
        /// What JSON cannot say.
        source: serde_json::Error,
    },
    /// The value is larger than any reader would take.
    #[error("a record of the kind `{kind}` would be larger than {LIMIT} bytes")]
    TooLarge {
        /// Which kind.
        kind: &'static str,
    },
}

/// Reads a record. `Err` only if the disk cannot tell.
pub fn read<R: Record>(disk: &Disk, path: &Path) -> Result<Read<R>, RecordError> {
    match disk.read(path, LIMIT) {
        Ok(None) => Ok(Read::Absent),
        Ok(Some(bytes)) => Ok(decode(&bytes)),
        Err(error) if matches!(error.refused(), Some(Refused::TooLarge { .. })) => {
            Ok(Read::Damaged { why: Damage::TooLarge })
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a record over the one before; after `Ok` it is there, also after a power cut.
pub fn write<R: Record>(disk: &Disk, path: &Path, record: &R) -> Result<(), RecordError> {
    Ok(disk.replace(path, &encode(record)?, MODE)?)
}

/// Writes a record of what is true within one boot only; see [`Disk::replace_unsynced`].
pub fn write_unsynced<R: Record>(disk: &Disk, path: &Path, record: &R) -> Result<(), RecordError> {
    Ok(disk.replace_unsynced(path, &encode(record)?, MODE)?)
}

/// The bytes of a record.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RecordError> {
    let encode_error = |source| RecordError::Encode { kind: R::KIND, source };
    let mut body = serde_json::to_vec_pretty(record).map_err(encode_error)?;
    body.push(b'\n');
    let head = format!("{MAGIC} {} {}", R::KIND, R::VERSION);
    let mut bytes = format!("{head} sha256:{}\n", digest(&head, &body)).into_bytes();
    bytes.append(&mut body);
    if bytes.len() as u64 > LIMIT {
        return Err(RecordError::TooLarge { kind: R::KIND });
    }
    Ok(bytes)
}

/// What these bytes are; never [`Read::Absent`].
pub fn decode<R: Record>(bytes: &[u8]) -> Read<R> {
    match open::<R>(bytes) {
        Ok(Opened::Record(record)) => Read::Present(record),
        Ok(Opened::TooNew(found)) => Read::TooNew { found, known: R::VERSION },
        Err(why) => Read::Damaged { why },
    }
}

enum Opened<R> {
    Record(R),
    TooNew(u32),
}

fn open<R: Record>(bytes: &[u8]) -> Result<Opened<R>, Damage> {
    let Envelope { kind, version, body } = envelope(bytes)?;
    if kind != R::KIND {
        return Err(Damage::Kind { found: kind.to_owned() });
    }
    if version > R::VERSION {
        return Ok(Opened::TooNew(version));
    }
    if version == R::VERSION {
        return serde_json::from_slice(body).map(Opened::Record).map_err(Damage::Content);
    }
    let json = serde_json::from_slice(body).map_err(Damage::Content)?;
    let json = R::upgrade(version, json).ok_or(Damage::Version { found: version })?;
    serde_json::from_value(json).map(Opened::Record).map_err(Damage::Content)
}

struct Envelope<'a> {
    kind: &'a str,
    version: u32,
    body: &'a [u8],
}

/// Takes a record apart and checks its digest, whatever its kind and version.
fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, Damage> {
    let end = bytes.iter().take(LONGEST_FIRST_LINE).position(|&byte| byte == b'\n');
    let (line, body) = bytes.split_at(end.ok_or(Damage::FirstLine)?);
    let body = &body[1..];
    let line = str::from_utf8(line).map_err(|_| Damage::FirstLine)?;
    let (head, checksum) = line.rsplit_once(" sha256:").ok_or(Damage::FirstLine)?;
    let mut words = head.split(' ');
    let (Some(MAGIC), Some(kind), Some(number), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Damage::FirstLine);
    };
    let version: u32 = number.parse().map_err(|_| Damage::FirstLine)?;
    if checksum != digest(head, body).to_string() {
        return Err(Damage::Digest);
    }
    Ok(Envelope { kind, version, body })
}

fn digest(head: &str, body: &[u8]) -> Key {
    Key(Sha256::new().chain_update(head).chain_update(b"\n").chain_update(body).finalize().into())
}

/// No record is larger than this, in bytes.
pub const LIMIT: u64 = 16 * 1024 * 1024;
const MAGIC: &str = "fettle";
/// A kind is a short word; whatever has no newline in this many bytes is no record.
const LONGEST_FIRST_LINE: usize = 512;
/// Permission bits of a record.
pub const MODE: u32 = 0o600;
