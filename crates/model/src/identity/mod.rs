//! Identity: what principals are called, who may extend whose name, and which callers a list means.
//!
//! A principal `acme/ops/alice` is the SPIFFE ID `spiffe://acme/ops/alice`: a trust domain and a path. What
//! it may sign for others begins with its own name. Certificates are not known here, only what they say.

mod extension;
mod list;
mod name;
mod pattern;

pub use extension::{ChainFault, MAX_CHAIN, Prefix, check_chain};
pub use list::{Access, AccessList, Lists, decide};
pub use name::{InvalidPrincipal, Principal, PrincipalFault, TrustDomain};
pub use pattern::{CallerPattern, InvalidPattern};
