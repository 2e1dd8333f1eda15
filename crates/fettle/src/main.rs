//! `fettle`: the repository, the node manager and the command line, in one binary.
//!
//! It parses the arguments, runs one command, and turns its end into an exit code. Nothing is decided
//! here; `--version` and `--help` are answered before anything else is set up.

mod args;
mod command;
mod config;
mod error;
mod holds;
mod interrupt;
mod launching;
mod names;
mod notify;
mod output;
mod places;
mod progress;
mod reach;
mod sample;
mod service;
mod settings;
mod table;
mod unpacking;
mod usage;
mod wait;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Arguments;
use crate::error::{Exit, Failure};
use crate::output::Output;

fn main() -> ExitCode {
    if let Some(ended) = launching::run().or_else(unpacking::run) {
        return ended;
    }
    if usage::asks_for_version(std::env::args_os()) {
        return usage::version().into();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::answer(&error).into(),
    };
    let output = Output::new(arguments.global.json);
    let ended = command::run(arguments, output);
    let exit = ended.unwrap_or_else(|failure: Failure| {
        let exit = failure.exit();
        if exit != Exit::Done {
            output.failure(&failure.body());
        }
        exit
    });
    exit.into()
}
