//! Policies: what an envelope wants of whoever runs it, one idea a file. Owns that every policy that
//! exists as a value is within its bounds and contradicts nothing; refuses to know how one is written
//! (`wire`, the manifest) and how it is carried out (the node manager).
//!
//! Each policy has its keys as they are written (`…Keys`, every one optional) and is made from them in one
//! place: what a manifest may say and what an envelope may say are the same.

mod alive;
mod cpu;
mod fault;
mod limits;
mod logs;
mod port;
mod probe;
mod ready;
mod signal;
mod stop;
mod update;

pub use alive::{AliveKeys, Liveness, LivenessBy};
pub use cpu::{Cpu, InvalidCpu};
pub use fault::PolicyFault;
pub use limits::{LimitKeys, Limits};
pub use logs::{LogKeys, LogPolicy};
pub use port::{InvalidPort, Port};
pub use probe::{Argv, HttpPath, HttpProbe, InvalidArgv, InvalidHttpPath, Probe};
pub use ready::{Readiness, ReadyBy, ReadyKeys};
pub use signal::{InvalidSignal, StopSignal};
pub use stop::{StopKeys, StopPolicy};
pub use update::{UpdateKeys, UpdatePolicy};

/// Everything that an envelope wants of whoever runs it, but for the restart policy. The default is what
/// an envelope wants that says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// How it becomes known that the program is ready; `None`: with its process.
    pub ready: Option<Readiness>,
    /// How it becomes known that it still works; `None`: while its process is there.
    pub alive: Option<Liveness>,
    /// How it is ended.
    pub stop: StopPolicy,
    /// What it may use.
    pub limits: Limits,
    /// How much of what it prints is kept.
    pub logs: LogPolicy,
    /// What an update to this version has to show.
    pub update: UpdatePolicy,
}
