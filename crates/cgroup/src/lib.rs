//! Groups of processes in the kernel's control groups: what this machine offers, groups with limits, and
//! killing, freezing, watching and removing them.
//!
//! It knows the kernel's files and none of the product's nouns. It starts no process, holds no policy and
//! keeps no state of its own: what is there is what the kernel says is there, so a crash anywhere leaves
//! groups that the next [`Groups::open`] finds again, and every call can be repeated.
//!
//! Machines differ, and each capability is judged by itself, by trying it:
//!
//! - **version 2 alone** (systemd of today): one tree with limits, kill, freeze and events. A group that hands
//!   controllers to groups below it may hold no process itself, so the manager moves into [`MANAGER_LEAF`].
//! - **version 1**: a tree for each controller. A group exists only in the trees of those limits that are set,
//!   since every entry into one costs time.
//! - **both**: limits from version 1; kill, freeze and events from a version 2 tree that has no controllers.
//! - **neither**, or not permitted: [`Groups`] is there all the same, [`Capabilities`] says why nothing is
//!   enforced, and a [`Group`] of it is in no tree.
//!
//! ```text
//! the manager's own group
//! ├── fettle-manager          version 2, only where controllers can be handed down
//! └── NODE                    one directory for each node
//!     └── NAME.group          one for each name that was made
//! ```
//!
//! Blocking code; all calls but the waits take micro- to milliseconds.

mod capability;
mod control;
mod delegate;
mod events;
mod find;
mod freeze;
mod group;
mod groups;
mod kill;
mod limits;
mod membership;
mod mounts;
mod name;
#[cfg(test)]
mod only_v1;
mod places;
mod probe;
mod usage;
mod watch;

pub use capability::{By, Capabilities, Capability};
pub use control::ControlError;
pub use delegate::MANAGER_LEAF;
pub use find::FindError;
pub use freeze::FreezeError;
pub use group::{Descriptors, DescriptorsError, Group, LookError, RemoveError};
pub use groups::{Groups, ListError, MakeError, OpenError, WithdrawError};
pub use kill::KillError;
pub use limits::Limits;
pub use name::NameError;
pub use usage::Usage;
pub use watch::{Changed, Watch, WatchError, Watched};
