//! The command line from outside: real processes, a real server, real files. What needs a node is tested
//! elsewhere.
#![expect(
    clippy::disallowed_methods,
    reason = "tests play the user: they start programs and write files"
)]

mod applications;
mod harness;
mod objects;
mod serving;
mod usage;
