//! Certificates of principals: making them, and finding out who somebody is by them.
//!
//! A principal has a leaf (it authenticates, and signs nothing) and, if it may extend its name, a signing
//! certificate (it signs, and never authenticates). What a signing certificate may sign stands in an
//! extension of ours; `model::identity` has the rule, webpki verifies the rest. No cryptography of our own.
//!
//! Refuses to talk to anybody, and to know what a principal may do.

mod certificate;
mod home;
mod issue;
mod key;
mod pem;
pub mod tls;
mod verify;

pub use certificate::{Leaf, Malformed, Signing};
pub use home::{FileFault, Home, HomeError, Identity, Issued, Rotated, Wish};
pub use issue::{IssueError, Issuer, LEAF, ROOT, Request, RequestError, SIGNING};
pub use key::{Key, KeyError};
pub use pem::{Bundle, BundleError, to_pem};
pub use verify::{Roots, Untrusted, Verified, verify};
