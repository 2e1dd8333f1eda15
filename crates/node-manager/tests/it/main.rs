//! The node manager from outside: real repositories over HTTP, a real node behind a Unix socket, driven by
//! the client; real processes, real files, and disks that die at every single operation.
#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod access;
mod cable;
mod crash;
mod failures;
mod health;
mod interrupted;
mod journey;
mod launcher_dies;
mod limits;
mod links;
mod logs;
mod machine;
mod manager;
mod operations;
mod probation;
mod repair;
mod room;
mod store;
mod supervision;
mod sweep;
mod waiting;
mod world;
mod writable;
