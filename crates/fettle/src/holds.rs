//! The one thing that the two repositories know of each other: an envelope holds the objects that it pins.
//! Puts the binary repository behind the trait of the application repository; decides nothing.

use std::sync::Arc;

use application_repository::{Claim, HoldError, Holder, Holds};
use binary_repository::{BinaryRepository, HoldRefusal, catalog};

/// The objects of the same server.
#[derive(Debug)]
pub(crate) struct OwnObjects(pub(crate) Arc<BinaryRepository>);

impl Holds for OwnObjects {
    fn take(&self, claims: &[Claim]) -> Result<(), HoldError> {
        let claim = |Claim { holder, pins }: &Claim| catalog::Claim {
            holder: holder.to_string(),
            pins: pins.clone(),
        };
        let claims: Vec<catalog::Claim> = claims.iter().map(claim).collect();
        self.0.hold(&claims).map_err(|error| match error {
            binary_repository::HoldError::Refused(HoldRefusal::Absent(names)) => {
                HoldError::Absent(names)
            }
            binary_repository::HoldError::Refused(HoldRefusal::Differs { pinned, there }) => {
                let catalog::ObjectRecord { digest, size, media, .. } = *there;
                HoldError::Differs { pinned, digest, size, media }
            }
            binary_repository::HoldError::Catalog(error) => HoldError::Failed(Box::new(error)),
        })
    }

    fn release(&self, holder: &Holder) -> Result<(), HoldError> {
        let released = self.0.release(&holder.to_string());
        released.map_err(|error| HoldError::Failed(Box::new(error)))
    }

    fn holders(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, HoldError> {
        let holders = self.0.holders(after, limit);
        holders.map_err(|error| HoldError::Failed(Box::new(error)))
    }
}
