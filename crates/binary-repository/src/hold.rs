//! Holds: somebody with a name (an envelope, later a profile or a person) needs objects, which then cannot
//! be removed. The repository does not know what a holder is.

use model::{ObjectName, Pin};

use crate::catalog::{CatalogError, Claim, Holding, ObjectRecord};
use crate::store::BinaryRepository;

/// Why objects are not held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The objects are not as they were pinned.
    #[error(transparent)]
    Refused(#[from] HoldRefusal),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The objects are not as they were pinned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HoldRefusal {
    /// These are not there, or not completely.
    #[error("objects are missing: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Absent(Vec<ObjectName>),
    /// One has another digest, size or media info.
    #[error("the object `{}` is not what was pinned", pinned.object)]
    Differs {
        /// What was pinned.
        pinned: Box<Pin>,
        /// What is there.
        there: Box<ObjectRecord>,
    },
}

impl BinaryRepository {
    /// Holds all the objects of all claims, or none. Every one must be there, complete, with the digest,
    /// size and media info that it is pinned with. What a holder holds already it goes on holding.
    ///
    /// # Errors
    /// See [`HoldError`]; nothing is held then.
    pub fn hold(&self, claims: &[Claim]) -> Result<(), HoldError> {
        match self.catalog().hold(claims)? {
            Holding::Held => Ok(()),
            Holding::Absent(names) => Err(HoldRefusal::Absent(names).into()),
            Holding::Differs { pinned, there } => {
                Err(HoldRefusal::Differs { pinned, there }.into())
            }
        }
    }

    /// Gives back everything that this holder holds; none is fine.
    ///
    /// # Errors
    /// The catalog failed.
    pub fn release(&self, holder: &str) -> Result<(), CatalogError> {
        self.catalog().release(holder)
    }

    /// At most `limit` holders after `after`, sorted.
    ///
    /// # Errors
    /// The catalog failed.
    pub fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, CatalogError> {
        self.catalog().holders(after, limit)
    }
}
