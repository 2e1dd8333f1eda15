//! The HTTP contract, both sides: which routes there are and which right each needs, what bodies look
//! like, which codes refusals have, and the skeleton that every server stands on.
//!
//! It takes no business decision and touches no disk. Bodies are written and read here and nowhere else;
//! a change inside `model` is therefore never a change of the protocol. An example of every body lies in
//! `golden/v1/`; the tests read those files.

mod code;
mod conditional;
mod digest_field;
mod path;
mod problem;
mod range;
pub mod route;
pub mod serve;
pub mod v1;

pub use code::{Code, UnknownCode};
pub use conditional::{Precondition, evaluate};
pub use digest_field::{
    CONTENT_DIGEST, InvalidDigestField, REPR_DIGEST, format_digest, parse_digest,
};
pub use path::{encode_name, encode_segment};
pub use problem::{ErrorBody, Problem};
pub use range::{Selection, select_range};
