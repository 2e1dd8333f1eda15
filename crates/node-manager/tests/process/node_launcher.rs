//! A launcher for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    launcher::run(&arguments)
}
