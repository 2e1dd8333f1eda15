//! The state machines, one a file. Each is a pure function from a state and an event to the next state,
//! or to [`Illegal`]; whoever wants to move something asks here first and nowhere else.

mod blob;
mod installation;
mod instance;
mod operation;
mod probation;
mod rejected;
mod upload;

use std::fmt;

pub use blob::{BlobEvent, BlobState};
pub use installation::{InstallationEvent, InstallationState};
pub use instance::{Aftermath, Desired, Ending, InstanceEvent, InstanceState, Unwell};
pub use operation::{OperationEvent, OperationState};
pub use probation::{
    BootId, InvalidBootId, Misfit, Moved, Probation, ProbationEvent, ProbationStep, Reading,
    Serving,
};
pub use rejected::{MOST_REJECTIONS, Rejection, Rejections};
pub use upload::{UploadEvent, UploadState};

/// A move that its machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal<S, E> {
    /// The state that it was in.
    pub state: S,
    /// What was asked of it.
    pub event: E,
}

impl<S: fmt::Display, E: fmt::Debug> fmt::Display for Illegal<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not possible while {}", self.event, self.state)
    }
}

impl<S: fmt::Display + fmt::Debug, E: fmt::Debug> std::error::Error for Illegal<S, E> {}

/// A text that names no state of its machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}")]
pub struct UnknownState {
    /// Whose state it was meant to be.
    pub kind: &'static str,
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// The words for the states of one machine: `Display`, `FromStr`, serde, and the list of all.
macro_rules! state_words {
    ($type:ident, $kind:literal, $($state:ident => $word:literal),* $(,)?) => {
        impl $type {
            /// Every state, in the order of the machine's table.
            pub const ALL: &'static [$type] = &[$($type::$state),*];

            /// The word for it, on the wire and on disk.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$state => $word),* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::lifecycle::UnknownState;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($type::$state),)*
                    _ => Err(crate::lifecycle::UnknownState { kind: $kind, text: text.chars().take(80).collect() }),
                }
            }
        }

        crate::string_form::string_form!($type);
    };
}

pub(crate) use state_words;
