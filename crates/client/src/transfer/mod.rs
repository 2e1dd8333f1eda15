//! The transfer engine: uploads that send only the parts that the server lacks, downloads that go on
//! where they stopped. Nothing is believed that was not hashed: a part is checked while it is sent, a
//! download before it gets its name.
//!
//! What a crash leaves: of an upload, the parts that the server verified (and a spool file under a hidden
//! name, if one was needed); of a download, the bytes so far under a hidden name beside its destination.
//! The next call begins there.

mod backoff;
mod download;
mod error;
mod fetch;
mod info;
mod pack;
mod plan;
mod source;
mod upload;

pub use download::{Downloaded, download};
pub use error::TransferError;
pub use info::{InvalidInfoFile, media_of, parse_info};
pub use source::Source;
pub use upload::{Upload, Uploaded, upload};

pub(crate) use fetch::{Stop, Wanted, fetch};
pub(crate) use info::stated_media;
pub(crate) use source::{Measuring, Prepared, prepare};
pub(crate) use upload::{note_figures, send};
