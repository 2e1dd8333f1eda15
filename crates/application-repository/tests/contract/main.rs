//! The contract of the application repository, held against a real server over HTTP. What is behind the
//! trait `Holds` is a map of objects in memory, which can also fail.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod find;
mod publish;
mod remove;
mod world;
