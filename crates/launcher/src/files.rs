//! The limit of open files: raised for manager and launcher, which have a descriptor for each program that
//! notifies; given back to programs, since one that uses select(2) must not get numbers above 1023
//! (getrlimit(2), and the notes of select(2)).

use std::ffi::{OsStr, OsString};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::message::Limit;

/// Takes as many descriptors as the process may. Gives the soft limit of before, if it was another one: what
/// programs are to begin with. A launcher is told with [`option`].
#[must_use]
pub fn raise_limit_of_files() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, ..before };
    let is_raised = raised != before && setrlimit(Resource::Nofile, raised).is_ok();
    before.current.filter(|_| is_raised)
}

/// Among the arguments of a launcher, before its directory: the soft limit that its programs begin with, where
/// whoever starts it has raised its own.
#[must_use]
pub fn option(soft: u64) -> OsString {
    format!("{OPTION}{soft}").into()
}

/// The limit that programs begin with, and the arguments without [`option`]. Raises that of this process.
pub(crate) fn limit_of_programs(arguments: &[OsString]) -> (Limit, &[OsString]) {
    let told = |argument: &OsStr| argument.to_str()?.strip_prefix(OPTION)?.parse().ok();
    let (told, rest) = match arguments.split_first() {
        Some((first, rest)) if let Some(soft) = told(first) => (Some(soft), rest),
        _ => (None, arguments),
    };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let _ = raise_limit_of_files();
    // Never above the hard limit: the kernel would refuse it, and with it every program.
    let soft = told.or(current).map(|soft| maximum.map_or(soft, |hard| soft.min(hard)));
    (Limit { resource: Resource::Nofile as u32, soft, hard: maximum }, rest)
}

const OPTION: &str = "--open-files=";
