//! From the foreign bytes of an archive to a tree of files with a manifest, in a process that has no
//! rights beyond that tree.
//!
//! It owns how entries become files (several threads, bounded memory), the manifest's format, the
//! words between the two processes, and what the process gives up before it looks at the first byte.
//! It refuses to know stores, names and networks: what may be written where was decided by `archive`,
//! how it is written safely by `durable`, and whether the tree gets a name is the caller's. A crash
//! anywhere leaves a directory in staging that nobody asks for.
//!
//! - `unpacker`: the caller's side: run it, feed it, hear how it ended.
//! - `child`: the process's side, behind a hidden command of the binary.
//! - `inherited`: closing what the process was not meant to have.
//! - `job`: what the two say to each other.
//! - `sandbox`: giving up rights.
//! - `pipeline`: entries to files.
//! - [`manifest`]: what a tree consists of, a line each.

mod child;
mod error;
mod inherited;
mod job;
pub mod manifest;
mod pipeline;
pub mod sandbox;
mod unpacker;

pub use child::run as run_child;
pub use error::{Fault, UnpackError};
pub use job::{How, Outcome, Sandbox};
pub use manifest::{ManifestError, ManifestReader};
pub use pipeline::{FILES, MANIFEST};
pub use unpacker::{Isolation, Source, Unpacker};
