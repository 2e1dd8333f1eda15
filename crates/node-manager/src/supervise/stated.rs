//! What a version says of how its programs are run, read and parsed once for all instances that are on it.
//! Owns nothing on disk: a version is published whole and never written again under its name, and no name is
//! given twice, so what was read once stays true. A crash forgets it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use durable::Disk;
use model::{Envelope, InstallationId, InstanceId};

use super::launch::LaunchError;
use crate::inventory;
use crate::layout::VersionName;
use crate::record::ConfigRecord;

/// The versions that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// The one that was asked for last is the last.
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    installation: InstallationId,
    version: VersionName,
    stated: Arc<Stated>,
}

/// What one version says.
#[derive(Debug)]
pub(super) struct Stated {
    /// As it was published.
    pub(super) envelope: Envelope,
    /// What the installation was given beyond that.
    pub(super) config: ConfigRecord,
}

impl Statements {
    /// What the version says that this instance is on. Blocking where it was not asked for lately.
    pub(super) fn of(
        &self,
        disk: &Disk,
        id: &InstanceId,
        version: &VersionName,
    ) -> Result<Arc<Stated>, LaunchError> {
        if let Some(stated) = self.find(&id.installation, version) {
            return Ok(stated);
        }
        let envelope = inventory::envelope(disk, &id.installation, version)?.0;
        let envelope = envelope
            .to_model()
            .map_err(|source| LaunchError::Envelope { instance: id.clone(), source })?;
        let config = inventory::config(disk, &id.installation)?;
        let stated = Arc::new(Stated { envelope, config });
        let mut kept = self.kept();
        if kept.len() >= MOST {
            kept.pop_front();
        }
        let (installation, version) = (id.installation.clone(), version.clone());
        kept.push_back(Kept { installation, version, stated: stated.clone() });
        Ok(stated)
    }

    fn find(&self, installation: &InstallationId, version: &VersionName) -> Option<Arc<Stated>> {
        let mut kept = self.kept();
        let is = |kept: &Kept| kept.version == *version && kept.installation == *installation;
        let found = kept.iter().position(is).and_then(|at| kept.remove(at))?;
        let stated = found.stated.clone();
        kept.push_back(found);
        Some(stated)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node runs a few versions of many instances.
const MOST: usize = 16;
