//! Running programs: one owner task per instance moves it from what is to what is desired, and asks the
//! state machine of `model` before every move. `spawn` starts processes, and nothing else does; `process`
//! knows them again after a restart.

mod handle;
mod launch;
mod owner;
mod process;
mod spawn;

pub(crate) use handle::{Handle, Refusal, View};
pub(crate) use launch::LaunchError;
pub(crate) use owner::take_charge;
pub(crate) use process::boot_id;
