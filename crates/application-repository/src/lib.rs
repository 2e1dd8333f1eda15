//! The application repository: envelopes, immutable under application, version and profile.
//!
//! A version is published whole: all its envelopes or none, and only if every object that they pin is
//! there as it was pinned. From then on the objects are held, so that nobody can remove them; the hold is
//! taken before the envelope is there and given back after it is gone. A removed version leaves a mark, so
//! that its number never comes back with other content.
//!
//! It knows nothing of how objects are kept: what it needs of them is the trait [`Holds`].

pub mod catalog;
mod envelope;
mod holds;
mod http;
mod plan;
mod publish;
mod repository;

pub use envelope::Published;
pub use holds::{Claim, HoldError, Holder, Holds, InvalidHolder};
pub use plan::{Conflict, Manifest};
pub use publish::{Publication, PublishError};
pub use repository::{
    ApplicationLine, ApplicationRepository, FindError, OpenError, RemoveError, VersionLine,
};
