//! Reads tar and zip, in any encoding, into checked entries, and writes the reproducible tar.
//!
//! An archive is foreign bytes. What comes out of this crate is data that is safe to act on: each
//! [`Entry`] may be created relative to the root of a tree, in the order given, by a writer that
//! follows no link; and once [`Entries::next_entry`] has answered `Ok(None)`, the tree as a whole
//! is safe to publish. Until then it is not: some rules can only be judged when all entries are
//! known.
//!
//! This crate opens no path and writes no file; `durable` writes trees. It keeps no state, so a
//! crash means nothing to it.
//!
//! ```
//! use archive::{Encoding, Entries, EntryPath, Limits, TarReader, TarWriter};
//! use std::io::Read;
//!
//! let mut writer = TarWriter::new(Vec::new());
//! let path = EntryPath::parse(b"greeting").unwrap();
//! writer.file(&path, 5, false, &mut "hello".as_bytes()).unwrap();
//! let bytes = writer.finish().unwrap();
//!
//! let mut reader = TarReader::new(&bytes[..], Encoding::Identity, Limits::default()).unwrap();
//! while let Some(entry) = reader.next_entry().unwrap() {
//!     let mut content = String::new();
//!     reader.read_to_string(&mut content).unwrap();
//!     assert_eq!((entry.path.as_bytes(), content.as_str()), (&b"greeting"[..], "hello"));
//! }
//! assert_eq!(reader.summary().unwrap().measured.unpacked_bytes, 5);
//! ```
//!
//! # The map
//!
//! - `check`: the rules; pure. It is fed raw entries in archive order and answers checked ones.
//! - `tar`, `zip`: the two formats, parsed here and nowhere else.
//! - `decode`: the encodings around a tar, one file each. What they declare is parsed and limited
//!   there; the bytes are decoded by flate2, bzip2, zstd and lzma-rust2, usual blocks of bzip2 by
//!   code of its own.
//! - `pack`: the one form of tar that fettle writes.

mod check;
mod decode;
mod entry;
mod error;
mod limits;
mod pack;
mod reader;
mod rule;
mod tar;
mod zip;

pub use decode::Encoding;
pub use entry::{Entry, EntryKind, EntryPath, Extent, LinkTarget, Modified, SparseMap};
pub use error::{Ambiguity, Damage, Error, Feature, Flaw};
pub use limits::{Dropped, Limit, Limits, Measured, Summary};
pub use pack::{PackError, TarWriter};
pub use reader::{Container, Entries, measure, open};
pub use rule::Rule;
pub use tar::TarReader;
pub use zip::{Packed, PackedReader, ZipReader};
