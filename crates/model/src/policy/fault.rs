//! Why keys of a policy are none. Owns the words, each with the key as it is written, so that whoever reads
//! a manifest can point at it.

use std::fmt;

/// Why keys of a policy are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Less or more than what makes sense.
    #[error("`{key}` is {given}: {least} to {most} is wanted")]
    Bounds {
        /// The key with its table: `ready.within`.
        key: &'static str,
        /// What it was given.
        given: String,
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
    /// None, or more than one, of keys of which exactly one is wanted.
    #[error("`[{table}]` wants exactly one of {wanted}, and has {found}")]
    OneOf {
        /// The table.
        table: &'static str,
        /// Of which keys.
        wanted: &'static str,
        /// How many there are.
        found: usize,
        /// The last of them with its table; the table if there is none.
        key: &'static str,
    },
    /// Two keys that contradict each other.
    #[error("`{key}` says nothing beside `{with}`")]
    Together {
        /// The key that is too much.
        key: &'static str,
        /// The key beside which it is.
        with: &'static str,
    },
}

impl PolicyFault {
    /// The key to point at, with its table: `ready.within`; a table alone where a key is missing.
    pub fn key(&self) -> &'static str {
        match self {
            PolicyFault::Bounds { key, .. }
            | PolicyFault::OneOf { key, .. }
            | PolicyFault::Together { key, .. } => key,
        }
    }
}

/// The value, if it is within its bounds.
pub(super) fn within<T: Copy + PartialOrd + fmt::Display>(
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<T, PolicyFault> {
    if value < least || value > most {
        let (given, least, most) = (value.to_string(), least.to_string(), most.to_string());
        return Err(PolicyFault::Bounds { key, given, least, most });
    }
    Ok(value)
}

/// The one of several answers that is there.
pub(super) fn one_of<T>(
    table: &'static str,
    wanted: &'static str,
    answers: impl IntoIterator<Item = (&'static str, Option<T>)>,
) -> Result<T, PolicyFault> {
    let (mut found, mut key, mut only) = (0, table, None);
    for (name, answer) in answers {
        if let Some(answer) = answer {
            (found, key, only) = (found + 1, name, Some(answer));
        }
    }
    match only {
        Some(only) if found == 1 => Ok(only),
        _ => Err(PolicyFault::OneOf { table, wanted, found, key }),
    }
}

/// Refuses keys that say nothing beside another.
pub(super) fn nothing_beside(
    with: &'static str,
    keys: impl IntoIterator<Item = (&'static str, bool)>,
) -> Result<(), PolicyFault> {
    match keys.into_iter().find(|(_, there)| *there) {
        Some((key, _)) => Err(PolicyFault::Together { key, with }),
        None => Ok(()),
    }
}
