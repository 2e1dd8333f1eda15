//! What installations need of the store, and where it can be had again: for each digest the pin, the
//! repositories, the names that versions have for the blob, and the trees that their links lead to.
//!
//! An installation that cannot be read is passed over and said: what is known of the others can be mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use durable::{Disk, Kind};
use model::{Digest, InstallationId, Pin};

use super::{Form, TreeKey};
use crate::install::{Need as Wanted, VersionContent};
use crate::inventory::{self, ReadError};
use crate::layout::{self, VersionName};

/// What is needed of one digest.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    /// Name, size and media info, as some version pins them.
    pub(crate) pins: Vec<Pin>,
    /// Where installations that need it came from.
    pub(crate) servers: BTreeSet<String>,
    /// Hard links to the blob in versions.
    pub(crate) names: Vec<PathBuf>,
    /// Is one of them a program?
    pub(crate) runs: bool,
    /// What it was unpacked to, as this fettle does it.
    pub(crate) keys: Vec<TreeKey>,
}

/// What all installations need, and what could not be read.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// By digest.
    pub(crate) of: BTreeMap<Digest, Need>,
    /// In words.
    pub(crate) unread: Vec<String>,
}

impl Needs {
    /// Reads them.
    pub(crate) fn read(disk: &Disk) -> Result<Needs, ReadError> {
        let mut needs = Needs::default();
        for title in inventory::titles(disk)? {
            for id in inventory::installations(disk, &title)? {
                if let Err(error) = needs.add(disk, &id) {
                    needs.unread.push(error.to_string());
                }
            }
        }
        Ok(needs)
    }

    fn add(&mut self, disk: &Disk, id: &InstallationId) -> Result<(), ReadError> {
        let installation = inventory::installation(disk, id)?;
        let failed = |source| ReadError::Disk { name: id.to_string(), source };
        for entry in disk.list(&layout::installation(id)).map_err(failed)? {
            let version = entry.name.to_str().and_then(|name| name.parse::<VersionName>().ok());
            let Some(version) = version.filter(|_| entry.kind == Kind::Directory) else { continue };
            let published = inventory::envelope(disk, id, &version)?.0;
            let content = VersionContent::new(published, &installation.packages, None);
            let wanted = content.ok().and_then(|content| Wanted::of(&content.effective).ok());
            let Some(wanted) = wanted else {
                self.unread.push(format!("`{id}` {version}: its envelope is not usable"));
                continue;
            };
            let directory = layout::version(id, &version);
            for Wanted { package, pin, form } in wanted {
                let need = self.of.entry(pin.digest).or_insert_with(|| Need {
                    pins: Vec::new(),
                    servers: BTreeSet::new(),
                    names: Vec::new(),
                    runs: false,
                    keys: Vec::new(),
                });
                need.servers.insert(installation.origin.server.clone());
                need.runs |= package.is_none();
                need.names.push(match &package {
                    Some(name) => directory.join(layout::pkg(name)),
                    None => directory.join(layout::BIN),
                });
                if let Form::Tree(key) = form
                    && !need.keys.contains(&key)
                {
                    need.keys.push(key);
                }
                if !need.pins.contains(&pin) {
                    need.pins.push(pin);
                }
            }
        }
        Ok(())
    }
}
