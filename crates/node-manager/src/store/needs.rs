//! What installations need of the store, and where it can be had again: for each digest the pin, the
//! repositories, the names that versions have for the blob, and the trees that their links lead to.
//!
//! It is true for the moment in which it is read. What of an installation cannot be read is said; what is
//! known of the rest can be mended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use durable::{Disk, DiskError, Kind};
use model::{Digest, InstallationId, Pin, Title};

use super::links::{Broken, Look, Owner, Used, chain};
use super::{Form, TreeKey};
use crate::inventory;
use crate::layout;
use crate::record::AppRecord;

/// What is needed of one digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Need {
    /// Name, size and media info, as some version pins them.
    pub(crate) pins: Vec<Pin>,
    /// Where installations that need it came from.
    pub(crate) servers: BTreeSet<String>,
    /// Hard links to the blob in versions.
    pub(crate) names: Vec<PathBuf>,
    /// Is one of them a program?
    pub(crate) runs: bool,
    /// What it is unpacked to, as this fettle does it, and the pin that says so.
    pub(crate) forms: Vec<(TreeKey, Pin)>,
    /// The trees that versions' links lead to, or should, by name.
    pub(crate) trees: BTreeSet<String>,
}

/// What all installations need, and what of them is broken.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// By digest.
    pub(crate) of: BTreeMap<Digest, Need>,
    /// Records and links.
    pub(crate) broken: Vec<Broken>,
}

impl Need {
    /// The mode of the blob, if it has this one: nobody writes it, and what is a program can be executed.
    /// What was one once may be so still.
    pub(crate) fn mode_for(&self, mode: u32) -> u32 {
        if self.runs || mode == 0o555 { 0o555 } else { 0o444 }
    }

    /// The way in which the tree of this name is made, and the pin that says so.
    pub(crate) fn form_of(&self, tree: &str) -> Option<&(TreeKey, Pin)> {
        self.forms.iter().find(|(key, _)| key.is_form_of(tree))
    }
}

impl Needs {
    /// Reads them.
    pub(crate) fn read(disk: &Disk) -> Result<Needs, DiskError> {
        let mut needs = Needs::default();
        for entry in disk.list(&layout::apps())? {
            if entry.kind != Kind::Directory {
                continue;
            }
            let mut look = Look { disk, broken: Vec::new() };
            let name = entry.name.to_string_lossy().into_owned();
            let title = title(&mut look, name, &layout::apps().join(entry.name));
            needs.broken.append(&mut look.broken);
            let Some(title) = title else { continue };
            match inventory::installations(disk, &title) {
                Ok(ids) => ids.iter().for_each(|id| needs.add(disk, id)),
                Err(error) => needs.broken.push(Broken {
                    owner: Owner::Application(title.to_string()),
                    path: layout::app(&title),
                    what: chain(&error),
                    target: None,
                }),
            }
        }
        Ok(needs)
    }

    /// Reads what one installation needs.
    pub(crate) fn of_one(disk: &Disk, id: &InstallationId) -> Needs {
        let mut needs = Needs::default();
        needs.add(disk, id);
        needs
    }

    fn add(&mut self, disk: &Disk, id: &InstallationId) {
        let mut look = Look { disk, broken: Vec::new() };
        let (server, used) = look.installation(id);
        self.broken.append(&mut look.broken);
        for Used { wanted, name, tree } in used {
            let need = self.of.entry(wanted.pin.digest).or_default();
            need.servers.extend(server.clone());
            need.runs |= wanted.package.is_none();
            need.names.push(name);
            need.trees.extend(tree);
            if let Form::Tree(key) = wanted.form {
                match need.forms.iter_mut().find(|(known, _)| *known == key) {
                    None => need.forms.push((key, wanted.pin.clone())),
                    // Figures are better than the limits for what has none.
                    Some((_, pin)) if pin.measured.is_none() => *pin = wanted.pin.clone(),
                    Some(_) => {}
                }
            }
            if !need.pins.contains(&wanted.pin) {
                need.pins.push(wanted.pin);
            }
        }
    }
}

/// The title whose installations lie in this directory.
fn title(look: &mut Look<'_>, name: String, app: &Path) -> Option<Title> {
    let is_installation = |entry: &durable::DirEntry| {
        entry.name.to_str().is_some_and(|name| name.starts_with("installation-"))
    };
    let info = app.join("info");
    let owner = Owner::Application(name);
    let entries = look.disk.list(app).unwrap_or_default();
    // A directory whose record was not written yet has nothing in it.
    if !entries.iter().any(|entry| entry.name == "info" || is_installation(entry)) {
        return None;
    }
    let record: AppRecord = look.record(&owner, info.clone())?;
    if layout::app(&record.title) != app {
        look.add(&owner, info, format!("it is that of `{}`", record.title), None);
        return None;
    }
    Some(record.title)
}
