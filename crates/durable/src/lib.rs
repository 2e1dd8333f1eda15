//! The disk verbs of fettle: the only crate that opens a path for writing.
//!
//! It knows bytes and paths and none of the product's nouns, holds no policy, and is plain blocking
//! code. What it sells is one promise, kept inside the verbs so that no call site can forget it:
//! **data first, synced, then the pointer**. A verb that returned `Ok` is there after a power cut;
//! one that did not return leaves the old state or the new one, never something between.
//!
//! - [`Disk`]: one directory tree, reached through a handle on its root. No link is followed and
//!   nothing outside is reached, whatever a path looks like.
//! - [`StagedFile`] and [`StagedDir`]: what is built aside in `staging/` and published by one rename.
//! - [`Tree`]: files written beneath the handle of one directory, by one thread or several.
//! - [`Guest`]: one file put into a directory that is no tree of ours.
//! - [`Appended`]: a file that another process appends to, and whose beginning can be released.
//! - [`record`]: small versioned documents; absent, damaged and too new are three answers.
//! - [`Blobs`]: content under its SHA-256.
//! - [`Lock`]: one holder at a time, across processes.
//!
//! A disk may keep a log ([`Disk::keep_log`]): small files and small directories then last by one short sync
//! each, and every verb promises what it promised before.
//!
//! What a process leaves behind when it dies lies in `staging/` and `trash/` and nowhere else. A
//! process that starts calls [`Disk::empty_staging`] and [`Disk::empty_trash`]; opening the disk has
//! already made durable what its predecessor left unsynced, so that what is read may be acted on.
//!
//! With the feature `faults` (tests only) a disk can be given a recorder that logs every change,
//! fails or kills at the n-th one, and rebuilds every state that a power cut may leave.
#![allow(clippy::disallowed_methods, reason = "this is the crate that the other ones are sent to")]

mod blobs;
mod disk;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod gate;
mod lock;
mod op;
mod place;
pub mod record;
mod redo;
mod resolve;
mod stage;
mod tree;

pub use blobs::{Blobs, Key, KeyError};
pub use disk::{Appended, DirEntry, Disk, Guest, Kind, Replacement, Space, Stat, Thrown};
pub use error::{DiskError, Refused, Verb};
pub use lock::{Lock, LockMode};
pub use redo::TooNew;
pub use stage::{IfExists, Published, StagedFile, StagedReader};
pub use tree::{Mended, NewFile, Seal, StagedDir, Tree, TreeFile, TreeSync};
