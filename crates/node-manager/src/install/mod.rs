//! Installing: from a reference to a version on disk.
//!
//! `plan` decides what is to be fetched and unpacked, from facts; `execute` does it, one step after the
//! other; `receive` and `unpack` are its hands: bytes are hashed, kept and unpacked as they arrive, and
//! nothing has a name before the digest is right. `room` says what all that takes on the disk, `ledger` promises it. `lay_out` makes the directories that point to it all.

mod execute;
mod lay_out;
mod ledger;
mod patience;
mod plan;
mod receive;
mod room;
mod unpack;

pub(crate) use execute::{
    Fetch, InstallError, Lacking, Reporter, bring_in, find_envelope, lacking, pin_overrides,
    prepare,
};
pub(crate) use lay_out::{
    LayOutError, NewInstallation, VersionContent, lay_out_installation, lay_out_version,
};
pub(crate) use ledger::{Ledger, Promise, PromiseError};
pub(crate) use plan::Need;
pub(crate) use receive::{ReceiveError, receive_again};
pub(crate) use room::{Claims, Room, Shortage, Thing, of_a_directory, of_blob, of_files, of_tree};
pub(crate) use unpack::unpack_blob;
