//! Uploading an object in parts: begun, sent in any order and several at a time, completed.

use std::io::Read;
use std::sync::PoisonError;

use durable::{DiskError, StagedFile};
use model::lifecycle::UploadState;
use model::{Caller, Digest, Hasher, MAX_PART, UploadId};
use wire::v1::UploadRequest;

use super::pour::{Spilt, pour};
use super::session::Session;
use super::{BeginError, BinaryRepository, CompleteError, LEASE, PartError, Stated, StorageError};
use crate::catalog::{
    Begun, NewUpload, ObjectRecord, Taken, UploadPart, UploadRecord, Verification,
};
use crate::layout;

/// An upload, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStatus {
    /// Its id.
    pub id: UploadId,
    /// The parts that are missing, in order.
    pub missing: Vec<u32>,
    /// Has the object its name already?
    pub complete: bool,
}

impl BinaryRepository {
    /// Begins an upload, or finds the one of the same caller, name and digest. Bytes that are here, under
    /// whatever name, are not wanted again.
    ///
    /// # Errors
    /// See [`BeginError`].
    pub fn begin(
        &self,
        request: UploadRequest,
        caller: Caller,
    ) -> Result<UploadStatus, BeginError> {
        let parts = match request.checked_parts() {
            Ok(parts) => parts,
            Err(source) => return Err(BeginError::Parts { name: request.name, source }),
        };
        let now = self.now();
        let object = ObjectRecord {
            media: request.media(),
            name: request.name,
            size: request.size,
            digest: request.digest,
            measured: request.measured.map(Into::into),
            created: now,
            created_by: caller,
        };
        let here = self.bytes_are_here(&object.digest, object.size, now.plus(LEASE))?;
        self.bell.notify_one();
        let id = UploadId::from(uuid::Uuid::now_v7());
        let new = NewUpload { id, object, parts, bytes_are_here: here };
        match self.catalog.begin_upload(&new)? {
            Begun::There(id) => {
                self.disk.discard(&layout::staged_path(id))?; // begun, and then stored another way
                Ok(UploadStatus { id, missing: Vec::new(), complete: true })
            }
            Begun::NameTaken(there) => Err(BeginError::NameTaken {
                name: new.object.name,
                there: Box::new(there),
                digest: new.object.digest,
            }),
            Begun::Open { id, dropped } => {
                if let Some(dropped) = dropped {
                    self.disk.discard(&layout::staged_path(dropped))?;
                }
                let missing = if here { Vec::new() } else { self.missing_parts(id)? };
                self.room_for(missing.iter().map(|part| part.part.size).sum())?;
                let missing = missing.iter().map(|part| part.number).collect();
                Ok(UploadStatus { id, missing, complete: false })
            }
        }
    }

    /// Takes one part. The bytes are hashed on their way and recorded when they are right and synced; a
    /// part that is here already is not looked at.
    ///
    /// # Errors
    /// See [`PartError`]; the part is missing as before.
    pub fn part(
        &self,
        upload: UploadId,
        number: u32,
        stated: Stated,
        body: &mut dyn Read,
    ) -> Result<(), PartError> {
        let Some(part) = self.wanted_part(upload, number)? else {
            drain(body);
            return Ok(()); // the whole is here
        };
        check_stated(&part, stated)?;
        if part.received {
            drain(body);
            return Ok(());
        }
        let session = self.sessions.join(upload);
        let received = || {
            let part = self.wanted_part(upload, number)?;
            Ok::<bool, PartError>(part.is_none_or(|part| part.received))
        };
        let Some(turn) = session.turn(number, received)? else {
            drain(body);
            return Ok(());
        };
        let record = self.catalog.upload(upload)?.ok_or(PartError::NoUpload { upload })?;
        let file = session.file(&self.disk, upload, record.object.size)?;
        let mut hasher = Hasher::new();
        let poured = pour(body, part.part.size, |at, piece| {
            hasher.update(piece);
            turn.write(|| file.write_at(part.offset + at, piece))
        });
        check_received(&part, poured, || hasher.finish())?;
        file.sync_data()?;
        let home = turn.bring_home(|| match self.catalog.part_received(upload, number)? {
            true => Ok(()),
            false => Err(PartError::NoUpload { upload }),
        })?;
        if home { Ok(()) } else { Err(PartError::Overtaken { number }) }
    }

    /// Verifies the whole and takes the name. Asked again after it succeeded, it answers the same.
    ///
    /// # Errors
    /// See [`CompleteError`].
    pub fn complete(&self, id: UploadId) -> Result<ObjectRecord, CompleteError> {
        let session = self.sessions.join(id);
        let _one_at_a_time = session.completing.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = self.catalog.upload(id)?.ok_or(CompleteError::NoUpload { upload: id })?;
        if upload.state == UploadState::Complete {
            let object = self.catalog.object(&upload.object.name)?;
            return object.ok_or(CompleteError::NoUpload { upload: id });
        }
        let lease = self.now().plus(LEASE);
        if !self.bytes_are_here(&upload.object.digest, upload.object.size, lease)? {
            self.verify(&session, &upload)?;
            let file = session.file_to_publish(&self.disk, id)?;
            self.shelve(file, &upload.object.digest, upload.object.size, lease)?;
        }
        self.take_name(upload, lease)
    }

    /// Hashes the whole, if no part is missing.
    fn verify(&self, session: &Session, upload: &UploadRecord) -> Result<(), CompleteError> {
        let UploadRecord { id, object, .. } = upload;
        match self.catalog.begin_verifying(*id)? {
            Verification::Go => {}
            Verification::Missing(missing) => {
                return Err(CompleteError::Missing { name: object.name.clone(), missing });
            }
            Verification::Complete | Verification::Unknown => {
                return Err(CompleteError::NoUpload { upload: *id });
            }
        }
        let file = session.file_to_publish(&self.disk, *id)?;
        if file.len() != object.size {
            // The staged bytes were lost, by a disk that failed: the parts are missing after all.
            self.catalog.want_all_parts(*id)?;
            let missing = self.missing_parts(*id)?.iter().map(|part| part.number).collect();
            return Err(CompleteError::Missing { name: object.name.clone(), missing });
        }
        let received = hash(&file)?;
        if received != object.digest {
            self.catalog.want_all_parts(*id)?;
            let (name, stated) = (object.name.clone(), object.digest);
            return Err(CompleteError::Digest { name, stated, received });
        }
        Ok(())
    }

    fn take_name(
        &self,
        upload: UploadRecord,
        lease: model::Timestamp,
    ) -> Result<ObjectRecord, CompleteError> {
        let parts: Vec<_> =
            self.catalog.upload_parts(upload.id)?.iter().map(|found| found.part).collect();
        let object = ObjectRecord { created: self.now(), ..upload.object };
        let taken = self.catalog.take_name(&object, &parts, lease, Some(upload.id));
        self.bell.notify_one(); // also when the name was taken: the bytes may be wanted by nobody
        match taken? {
            Taken::New | Taken::Same => {
                self.disk.discard(&layout::staged_path(upload.id))?;
                let object = self.catalog.object(&object.name)?;
                object.ok_or(CompleteError::NoUpload { upload: upload.id }) // removed at once
            }
            Taken::Other(there) => {
                self.catalog.drop_upload(upload.id)?;
                self.disk.discard(&layout::staged_path(upload.id))?;
                let (name, digest) = (object.name, object.digest);
                Err(CompleteError::NameTaken { name, there: Box::new(there), digest })
            }
            Taken::NoBytes => Err(CompleteError::BytesGone { name: object.name }),
        }
    }

    fn missing_parts(&self, id: UploadId) -> Result<Vec<UploadPart>, StorageError> {
        let parts = self.catalog.upload_parts(id)?;
        Ok(parts.into_iter().filter(|part| !part.received).collect())
    }

    /// The part as it was stated; `None` if the upload is complete: then no part is wanted.
    fn wanted_part(&self, upload: UploadId, number: u32) -> Result<Option<UploadPart>, PartError> {
        if let Some(part) = self.catalog.upload_part(upload, number)? {
            return Ok(Some(part));
        }
        let record = self.catalog.upload(upload)?.ok_or(PartError::NoUpload { upload })?;
        match record.state {
            UploadState::Complete => Ok(None),
            _ => Err(PartError::NoPart { upload, number }),
        }
    }
}

/// Reads what nobody wants to the end, so that the answer finds its way to the client.
fn drain(body: &mut dyn Read) {
    let _ = pour(body, MAX_PART, |_, _| Ok::<(), ()>(())); // how it ends does not matter
}

/// What can be told from the head of the request, before a byte is read.
fn check_stated(part: &UploadPart, stated: Stated) -> Result<(), PartError> {
    let (number, size, wanted) = (part.number, part.part.size, part.part.digest);
    match stated.length {
        Some(length) if length > size => return Err(PartError::TooLong { number, size }),
        Some(length) if length < size => {
            return Err(PartError::HalfSent { number, size, received: length, cause: None });
        }
        _ => {}
    }
    match stated.digest.filter(|stated| *stated != wanted) {
        Some(received) => Err(PartError::Digest { number, wanted, received }),
        None => Ok(()),
    }
}

/// What can be told when the body has ended.
fn check_received(
    part: &UploadPart,
    poured: Result<u64, Spilt<DiskError>>,
    digest: impl FnOnce() -> Digest,
) -> Result<(), PartError> {
    let (number, size, wanted) = (part.number, part.part.size, part.part.digest);
    match poured {
        Ok(received) if received < size => {
            Err(PartError::HalfSent { number, size, received, cause: None })
        }
        Ok(_) => match digest() {
            received if received != wanted => Err(PartError::Digest { number, wanted, received }),
            _ => Ok(()),
        },
        Err(Spilt::TooLong) => Err(PartError::TooLong { number, size }),
        Err(Spilt::Broken(received, cause)) => {
            Err(PartError::HalfSent { number, size, received, cause: Some(cause) })
        }
        Err(Spilt::Sink(error)) => Err(error.into()),
    }
}

fn hash(file: &StagedFile) -> Result<Digest, DiskError> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        match file.read_at(offset, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
            }
        }
    }
}
