//! Running programs: one owner task per instance moves it from what is to what is desired, and asks the
//! state machine of `model` before every move. `launcher` is the way to the process that makes all others;
//! `process` knows them again after a restart, by what `proc` reads.

mod enforced;
mod handle;
mod health;
mod launch;
mod launcher;
mod launches;
mod means;
mod owner;
mod prepare;
mod proc;
mod process;
mod stated;

pub(crate) use enforced::enforced;
pub(crate) use handle::{Handle, Refusal, Started, Trial, View};
pub(crate) use launch::LaunchError;
pub(crate) use launcher::Launcher;
pub(crate) use means::{LeftGroups, Means, oom_score_of_programs};
pub(crate) use owner::{Found, take_charge, take_charge_of};
pub(crate) use proc::boot_id;
pub(crate) use stated::Statements;
