//! The binary repository: named, write-once objects with media info, parts and a digest.
//!
//! An object is there when the server itself has verified the SHA-256 of all its bytes, synced them, and
//! taken the name by one conditional insert; whoever asks before sees an upload in progress, which goes on
//! after any interruption with the parts that are missing. Bytes are kept once for each digest, and are
//! removed when no object, no hold and no lease wants them.
//!
//! It knows nothing of applications: an envelope that needs an object is a **hold** by somebody with a name.
//!
//! - [`catalog`]: what is known, in SQL, behind one contract.
//! - `store`: what can be done, plain blocking code; `layout` says where the bytes lie.
//! - `http`: the routes; `sweeper`: the task that removes what nothing wants.

pub mod catalog;
mod config;
mod hold;
mod http;
mod layout;
mod store;
mod sweeper;

pub use config::{Clock, Config};
pub use hold::{HoldError, HoldRefusal};
pub use store::{
    BeginError, BinaryRepository, CompleteError, Content, DeleteError, NewObject, OpenError,
    PartError, PutError, ReadError, Stated, StorageError, Stored, UploadStatus,
};
