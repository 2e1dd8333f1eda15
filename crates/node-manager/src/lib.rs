//! The node manager: installs applications, makes instances of them, keeps them running, and takes
//! every change back when asked.
//!
//! What it knows is on disk, in the tree that `layout` draws; memory holds a copy that is read anew
//! at every start. A change is an `operation`: a persisted request that is harmless to run again,
//! which is all that recovery does. Programs run as processes of their own and outlive the manager.
//!
//! # The map
//!
//! - `layout`, `record`: what is on disk, where and in which form.
//! - `node`: opens the tree, recovers, hands out the service; `http`: the routes.
//! - `operation`: the journal of what was asked for, and the one place that runs it.
//! - `install`: fetching, unpacking and laying out versions: `plan` is pure, `execute` is dull.
//! - `instance`: making, switching and removing instances on disk.
//! - `supervise`: one owner task per instance; `spawn` starts processes and nothing else does.
//! - `store`: content by digest, shared by all of them.

mod commit;
mod config;
mod event;
mod failure;
mod http;
mod install;
mod instance;
mod inventory;
mod layout;
mod locks;
mod logs;
mod node;
mod opening;
mod operation;
mod record;
mod store;
mod supervise;
mod waiting;

pub use config::{Config, Starter, machine_profiles};
pub use node::{Node, OpenError};
