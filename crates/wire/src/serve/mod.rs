//! The skeleton that every server stands on: it listens, establishes who calls, refuses what comes through
//! a browser, checks the right of each route, gives every request an id, and ends in good order.
//!
//! It refuses to know what is served. A crash of a handler is an `internal` problem for its caller and no
//! one else.

mod blocking;
mod body;
mod door;
mod extract;
mod listener;
mod listing;
mod service;

pub use blocking::{blocking, brief};
pub use body::{BodyReader, read_in_order};
pub use door::CurrentRequest;
pub use extract::{Calling, Path, Query};
pub use listener::{Address, Closing, InvalidAddress, Listener, serve};
pub use listing::{json_line, listing, ndjson, paged_listing};
pub use service::{Json, Service};
