//! The command line from outside: real processes, a real server, real files. What needs a node is tested
//! elsewhere.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests play the user: they start programs, write files, and stop at what should not be"
)]

mod applications;
mod harness;
mod identity;
mod notify;
mod objects;
mod sample;
mod service;
mod serving;
mod settings;
mod usage;
