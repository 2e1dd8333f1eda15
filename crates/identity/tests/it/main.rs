//! Who somebody is, by certificates of ours and by certificates of openssl.
#![allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod chains;
mod crash;
mod home;
mod openssl;
mod tls;
mod world;
