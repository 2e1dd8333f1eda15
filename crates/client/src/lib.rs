//! Typed calls to servers and nodes, and the transfer engine.
//!
//! - [`Connection`]: one server or node; its calls are grouped in [`Objects`], [`Applications`] and
//!   [`Node`]. Answers are parsed once, here; what is not an answer of fettle is an error, never a panic.
//! - [`transfer`]: uploads and downloads that go on where they stopped.
//! - [`publish`]: from a manifest to a published version.
//!
//! It never prints (transfers report through [`Progress`]), holds no policy, and takes no decision of
//! the product: it asks, and passes on what was answered. What it keeps on disk is partial downloads and
//! spooled uploads, so a crash costs at most the part that was in flight.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests play the user, whose files are not synced")
)]

mod address;
mod applications;
mod connection;
mod endpoint;
mod error;
mod incoming;
mod lines;
mod node;
mod objects;
mod progress;
pub mod publish;
pub mod transfer;

pub use applications::Applications;
pub use connection::Connection;
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::{ClientError, ProtocolFault, Transport};
pub use incoming::Incoming;
pub use lines::Lines;
pub use node::{Change, Node};
pub use objects::Objects;
pub use progress::{NoProgress, Progress};
