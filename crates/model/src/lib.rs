//! The nouns of fettle and their rules.
//!
//! Everything here is pure: no I/O, no clock, no async, no SQL. A name, version, digest or media type
//! that exists as a value of this crate is legal; nothing else in fettle checks strings. A state
//! change that a machine in [`lifecycle`] answers with a state is legal; nothing else decides that.
//!
//! Leaf values have a string form, which is also their serde form. Composite values ([`Envelope`])
//! have none: what they look like on the wire or on disk is decided at those edges.

mod access;
mod counted;
mod digest;
mod duration;
mod envelope;
mod glob;
mod id;
pub mod identity;
pub mod lifecycle;
mod media;
mod name;
mod part;
pub mod policy;
mod reference;
mod restart;
mod selection;
mod size;
mod string_form;
mod time;

pub use access::{Caller, Decision, InvalidCaller, Policy, Right, UnknownRight};
pub use counted::counted;
pub use digest::{Digest, Hasher, InvalidDigest};
pub use duration::{InvalidDuration, Span};
pub use envelope::{
    Difference, EnvName, Envelope, InnerPath, InvalidEnvName, InvalidInnerPath, Measured, Pin,
    Program,
};
pub use glob::{Glob, InvalidGlob};
pub use id::{InstallationId, InstanceId, InvalidId, LaunchId, OperationId, RequestId, UploadId};
pub use media::{Encoding, InvalidMediaType, MediaInfo, MediaType, UnknownEncoding};
pub use name::{AppName, InvalidName, NameFault, ObjectName, PackageName, Profile, Title};
pub use part::{
    InvalidParts, MAX_OBJECT, MAX_PART, MAX_PARTS, MIN_PART, Part, Parts, part_size_for,
};
pub use policy::Policies;
pub use reference::{InvalidReference, Reference, Wanted};
pub use restart::{
    Attempts, End, ExitStatus, RestartOn, RestartPolicy, Verdict, backoff_ceiling, jittered,
    verdict,
};
pub use selection::{Candidate, NoMatch, select};
pub use size::{ByteSize, InvalidSize};
pub use time::{InvalidTimestamp, Timestamp};

/// Version of a program or package set: Semantic Versioning 2.0.0.
pub use semver::Version;
