//! Asking for objects: their facts, their bytes, their names.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use model::{Glob, ObjectName, Part};

use super::{BinaryRepository, DeleteError, ReadError, StorageError};
use crate::catalog::{ObjectRecord, Removal, UploadPart, UploadRecord};
use crate::layout::key;

/// An object, or what is there of it.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// It has its name.
    Complete(ObjectRecord, Vec<Part>),
    /// It is being uploaded.
    Incomplete(UploadRecord, Vec<UploadPart>),
}

/// The bytes of an object, open. They can be read to the end even if the object is removed meanwhile.
#[derive(Debug)]
pub struct Content {
    file: File,
    size: u64,
}

impl BinaryRepository {
    /// Everything about an object but its bytes, also while it is uploaded.
    pub(crate) fn stat(&self, name: &ObjectName) -> Result<Found, ReadError> {
        if let Some(object) = self.catalog.object(name)? {
            return Ok(Found::Complete(object, self.catalog.object_parts(name)?));
        }
        match self.catalog.upload_in_progress(name)? {
            Some(upload) => {
                let parts = self.catalog.upload_parts(upload.id)?;
                Ok(Found::Incomplete(upload, parts))
            }
            None => Err(ReadError::NotFound { name: name.clone() }),
        }
    }

    /// Opens the bytes of an object.
    ///
    /// # Errors
    /// See [`ReadError`]; bytes that are gone or too few are found out here.
    pub fn read(&self, name: &ObjectName) -> Result<(ObjectRecord, Content), ReadError> {
        let Some(object) = self.catalog.object(name)? else {
            let name = name.clone();
            return Err(match self.catalog.upload_in_progress(&name)? {
                Some(_) => ReadError::Incomplete { name },
                None => ReadError::NotFound { name },
            });
        };
        let damaged =
            |found| Err(ReadError::Damaged { name: name.clone(), size: object.size, found });
        let Some(file) = self.blobs.open(key(&object.digest))? else {
            // Removed between the two questions, and not lost?
            return match self.catalog.object(name)? {
                Some(still) if still == object => damaged(0),
                _ => Err(ReadError::NotFound { name: name.clone() }),
            };
        };
        match self.blobs.contains(key(&object.digest))? {
            Some(found) if found != object.size => damaged(found),
            _ => {
                let content = Content { file, size: object.size };
                Ok((object, content))
            }
        }
    }

    /// At most `limit` objects after `after` whose names match, and the name to go on after; `None` at the
    /// end. Fewer than `limit`, even none, do not mean the end.
    pub(crate) fn list(
        &self,
        glob: &Glob,
        after: Option<&ObjectName>,
        limit: u32,
    ) -> Result<(Vec<ObjectRecord>, Option<ObjectName>), StorageError> {
        let mut page = self.catalog.objects(glob.literal_prefix(), after, limit)?;
        let full = page.len() == limit as usize;
        let last = page.last().filter(|_| full).map(|object| object.name.clone());
        page.retain(|object| glob.matches(object.name.as_str()));
        Ok((page, last))
    }

    /// Removes an object. Its bytes go when nothing else wants them.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub fn delete(&self, name: &ObjectName) -> Result<(), DeleteError> {
        match self.catalog.remove_object(name, self.now())? {
            Removal::Removed => {
                self.bell.notify_one();
                Ok(())
            }
            Removal::Absent => Err(DeleteError::NotFound { name: name.clone() }),
            Removal::Held(holders) => Err(DeleteError::InUse { name: name.clone(), holders }),
        }
    }
}

impl Content {
    /// Bytes in it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes from `offset` on, exactly `length` of them.
    ///
    /// # Errors
    /// The disk's, and [`io::ErrorKind::UnexpectedEof`] if the file has become shorter.
    pub fn read_exact_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
