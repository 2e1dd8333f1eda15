//! Archives to trees through real processes: what is made, what is refused, and what the process can
//! not do.
#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod confined;
mod trees;
mod world;
