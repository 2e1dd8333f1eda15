//! The contract of the binary repository, held against a real server over HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the test damages what the repository wrote")]

mod damage;
mod delete;
mod get;
mod list;
mod put;
mod restart;
mod upload;
mod world;
