//! The launcher: one small process per node that is the parent of every program the node runs. It starts
//! what it is told to start, reaps, and remembers how each program ended until it is told that this is
//! recorded. It decides nothing and writes nothing to disk.
//!
//! It outlives the node manager: whoever comes next connects to its socket and hears what there is, so a
//! manager can be killed, restarted or replaced and no program, no exit status and no descriptor is lost.
//! It replaces itself by a newer program without a new process ([`Request::Replace`]), so its children
//! stay its children. If it is killed itself, programs go on; how they end is then for the manager to find
//! out from the kernel ([`end_of`]).
//!
//! - [`run`] is the process; [`Connection`] is the manager's side.
//! - `table` knows what there is (pure), `message` what is said, `channel` how it travels, `serve` waits,
//!   `spawn` makes processes, `starting` hears how they begin, `files` has the limit of open files, `sys` the
//!   system calls that nobody else offers: the one file of fettle with `unsafe` in it.

mod channel;
mod connection;
mod files;
mod message;
mod replace;
mod serve;
mod spawn;
mod starting;
mod sys;
mod table;

pub use channel::ChannelError;
pub use connection::{Connection, Known, ReachError, Way};
pub use files::{option as open_files, raise_limit_of_files};
pub use message::{
    End, Ended, Event, Launched, Limit, PROTOCOL, Program, Refused, Request, Step, Welcome, Word,
};
pub use serve::run;
pub use sys::end_of;
