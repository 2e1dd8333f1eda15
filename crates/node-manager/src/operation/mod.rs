//! Operations: changes that the node was asked for. `journal` keeps them on disk and in memory, `work`
//! decides which hands do what, the other files are those hands. Each is written so that running it
//! again, after it was cut off anywhere, ends in the same state: what was decided on the way is in the
//! record's memo before it is acted on.

mod damages;
mod foresight;
mod installations;
mod instances;
mod journal;
mod moves;
mod store;
mod store_check;
mod store_mend;
mod work;

pub(crate) use foresight::{of_install, of_updates};
pub(crate) use journal::{Entry, Journal, JournalError};
pub(crate) use store::{collect_in_background, garbage};
pub(crate) use work::{resume, run};
