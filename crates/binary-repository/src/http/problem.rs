//! Which code each refusal of the store has on the wire, and the next step for the user.

use wire::{Code, ErrorBody, Problem};

use crate::store::{
    BeginError, CompleteError, DeleteError, PartError, PutError, ReadError, StorageError,
};

fn storage(error: &StorageError) -> Code {
    match error {
        full if full.is_no_space() => Code::NoSpace,
        StorageError::Catalog(crate::catalog::CatalogError::Damaged { .. }) => Code::Damaged,
        StorageError::Catalog(_) | StorageError::Disk(_) | StorageError::NoRoom { .. } => {
            Code::Internal
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Problem {
        problem(storage(&error), &error)
    }
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Problem {
        let code = match &error {
            PutError::NameTaken { .. } => Code::NameTaken,
            PutError::TooLarge { .. } => Code::TooLarge,
            PutError::HalfSent { .. } | PutError::BytesGone { .. } => Code::Incomplete,
            PutError::Digest { .. } => Code::DigestMismatch,
            PutError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

impl From<BeginError> for Problem {
    fn from(error: BeginError) -> Problem {
        let code = match &error {
            BeginError::Parts { source: model::InvalidParts::TooLarge { .. }, .. } => {
                Code::TooLarge
            }
            BeginError::Parts { .. } => Code::Usage,
            BeginError::NameTaken { .. } => Code::NameTaken,
            BeginError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

impl From<PartError> for Problem {
    fn from(error: PartError) -> Problem {
        let code = match &error {
            PartError::NoUpload { .. } | PartError::NoPart { .. } => Code::NotFound,
            PartError::TooLong { .. } => Code::TooLarge,
            PartError::HalfSent { .. } => Code::Incomplete,
            PartError::Digest { .. } => Code::DigestMismatch,
            PartError::Overtaken { .. } => Code::Busy,
            PartError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

impl From<CompleteError> for Problem {
    fn from(error: CompleteError) -> Problem {
        let code = match &error {
            CompleteError::NoUpload { .. } => Code::NotFound,
            CompleteError::Missing { .. } | CompleteError::BytesGone { .. } => Code::Incomplete,
            CompleteError::Digest { .. } => Code::DigestMismatch,
            CompleteError::NameTaken { .. } => Code::NameTaken,
            CompleteError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        let code = match &error {
            ReadError::NotFound { .. } => Code::NotFound,
            ReadError::Incomplete { .. } => Code::Incomplete,
            ReadError::Damaged { .. } => Code::Damaged,
            ReadError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Problem {
        let code = match &error {
            DeleteError::NotFound { .. } => Code::NotFound,
            DeleteError::InUse { .. } => Code::InUse,
            DeleteError::Storage(error) => storage(error),
        };
        problem(code, &error)
    }
}

fn problem(code: Code, error: &dyn std::error::Error) -> Problem {
    let body = ErrorBody::from_error(code, error);
    match hint(code) {
        Some(hint) => body.hint(hint).into(),
        None => body.into(),
    }
}

/// What helps whatever it was about.
fn hint(code: Code) -> Option<&'static str> {
    match code {
        Code::NameTaken => Some("objects are write-once: choose another name"),
        Code::Damaged => {
            Some("upload the object again under the same name: its bytes are replaced")
        }
        Code::NoSpace => Some("make room on the disk of the repository and repeat the command"),
        Code::InUse => Some("remove the versions that need it first"),
        Code::Incomplete | Code::Busy => Some("repeat the upload: what was received is kept"),
        _ => None,
    }
}
