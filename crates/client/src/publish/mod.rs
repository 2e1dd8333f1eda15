//! From a manifest to a published version: `manifest` reads what the publisher wrote, `plan` decides
//! which objects there are and what they are called (pure), `execute` hashes, uploads and publishes.
//!
//! # What objects are called
//!
//! `<application>/<version>/<label>-<12 digits>`: the label is `program-<profile>` or the package's local
//! name, the digits are the first of the content's SHA-256. Objects are write-once, so a name without
//! the digits would be taken for ever by an attempt that was given up after other bytes were uploaded;
//! with them every attempt finds its own objects again, and the same content gets the same name.
//!
//! A crash at any point leaves objects, or parts of them, and no version: the same command goes on.

mod error;
mod execute;
mod manifest;
mod measure;
mod plan;

pub use error::{PathFault, PublishError, Use};
pub use execute::{Published, PublishedObject, publish};
pub use manifest::{
    Manifest, ManifestError, ManifestFault, PackageEntry, PackageSource, Position, ProgramSource,
    TomlFault,
};
