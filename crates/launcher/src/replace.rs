//! Becoming a newer program without a new process: what is known goes through a file in memory, the socket
//! and the kept descriptors stay open under their numbers. If the newer program cannot be executed,
//! everything is as before. Nothing of it touches the disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::rc::Rc;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::message::{Ended, Launched, Limit, Word};
use crate::sys;
use crate::table::Table;

/// What the next program needs to go on. Newer programs read what older ones wrote: keys are only added.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    listener: i32,
    /// The limit of open files that programs begin with.
    #[serde(default)]
    files: Option<Limit>,
    launches: Vec<Launch>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Launch {
    launched: Launched,
    ended: Option<Ended>,
    kept: Option<i32>,
    #[serde(default)]
    is_forgotten: bool,
}

/// Executes `program` in place of this one. Comes back only with the reason why not.
pub(crate) fn replace(
    program: &Word,
    args: &[Word],
    listener: &OwnedFd,
    files: Limit,
    table: &Table<Rc<OwnedFd>>,
) -> io::Error {
    let mut inherited = vec![listener.as_fd()];
    inherited.extend(table.all().filter_map(|known| Some(known.kept?.as_fd())));
    let launches = table.all().map(|known| Launch {
        launched: known.launched,
        ended: known.ended,
        kept: known.kept.map(AsRawFd::as_raw_fd),
        is_forgotten: known.is_forgotten,
    });
    let state =
        State { listener: listener.as_raw_fd(), files: Some(files), launches: launches.collect() };
    let handed_over = || {
        let memory = memfd_create("fettle-launch", MemfdFlags::CLOEXEC)?;
        let mut memory = File::from(memory);
        serde_json::to_writer(&memory, &state)?;
        memory.flush()?;
        memory.rewind()?;
        Ok::<_, io::Error>(memory)
    };
    let memory = match handed_over() {
        Ok(memory) => memory,
        Err(error) => return error,
    };
    inherited.push(memory.as_fd());
    let keep_open = |flags: FdFlags| inherited.iter().try_for_each(|fd| fcntl_setfd(fd, flags));
    if let Err(error) = keep_open(FdFlags::empty()) {
        return error.into();
    }
    let mut command = Command::new(&program.0);
    command.args(args.iter().map(|word| &word.0));
    command.args([RESUME.into(), OsString::from(memory.as_raw_fd().to_string())]);
    let error = command.exec();
    let _ = keep_open(FdFlags::CLOEXEC); // so that no program gets them; it gets none anyway
    error
}

/// What an older program left.
pub(crate) struct Resumed {
    pub(crate) listener: OwnedFd,
    pub(crate) files: Option<Limit>,
    pub(crate) table: Table<Rc<OwnedFd>>,
}

/// Takes over what an older program left in the file with this number.
pub(crate) fn resume(number: &str) -> io::Result<Resumed> {
    let number = number.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut text = Vec::new();
    File::from(sys::inherited(number)?).read_to_end(&mut text)?;
    let state: State = serde_json::from_slice(&text)?;
    let take = |number| {
        let descriptor = sys::inherited(number)?;
        fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
        Ok::<_, io::Error>(descriptor)
    };
    let mut table = Table::default();
    for Launch { launched, ended, kept, is_forgotten } in state.launches {
        // One that cannot be kept is no reason to forget a process.
        let kept = kept.and_then(|number| take(number).ok()).map(Rc::new);
        table.insert(&launched, ended.as_ref(), kept);
        if is_forgotten {
            table.acknowledge(&launched.launch);
        }
    }
    Ok(Resumed { listener: take(state.listener)?, files: state.files, table })
}

/// What comes before the number of the file in memory.
pub(crate) const RESUME: &str = "--resume";
