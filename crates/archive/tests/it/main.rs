//! Archives as bytes, honest and hostile, through the public readers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a skipped comparison says so")]

mod build;
mod damage;
mod encodings;
mod extracted;
mod foreign;
mod large;
mod links;
mod pack;
mod round;
mod rules;
mod sparse;
mod tar;
mod zip;
mod zip_apart;
mod zip_methods;
