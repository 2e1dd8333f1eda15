//! A real launcher, real programs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod crowd;
mod node;
mod programs;
