//! What an installation and its instances consist of beside content: records that can be read, and links that
//! lead where they should. Looks and says what is broken; [`Broken::mend`] puts a link right whose target
//! follows from what else is there. Hard links to blobs are looked at with the blobs, in `examine`.
//!
//! What is removed in the meantime is renamed away as a whole, and is no damage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durable::{Disk, DiskError, Kind};
use model::{InstallationId, InstanceId, PackageName, Program};
use wire::v1::DamageKind;

use super::examine::words;
use super::examine_tree::is;
use super::{Form, TreeKey};
use crate::install::{Need as Wanted, VersionContent};
use crate::inventory;
use crate::layout::{self, VersionName};
use crate::record::{self, Unusable};
use crate::record::{ConfigRecord, OriginRecord, PackagesRecord, StatusRecord};

/// Whose record or link is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// All installations of one title, by the name of their directory.
    Application(String),
    /// An installation.
    Installation(InstallationId),
    /// An instance.
    Instance(InstanceId),
}

/// A record that cannot be used, or a link that does not lead where it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Whose.
    pub(crate) owner: Owner,
    /// Where it is; relative to the root.
    pub(crate) path: PathBuf,
    /// In which way.
    pub(crate) what: String,
    /// What the link should say, if that can be told.
    pub(crate) target: Option<PathBuf>,
}

/// One thing that a version needs, and how its links make it seen.
#[derive(Debug)]
pub(super) struct Used {
    /// What it needs.
    pub(super) wanted: Wanted,
    /// The hard link to the blob.
    pub(super) name: PathBuf,
    /// The tree that it leads to, or should.
    pub(super) tree: Option<String>,
}

/// Where a version's packages are, and which of them instances may change.
type Contents = BTreeMap<PackageName, (PathBuf, bool)>;

impl Owner {
    /// Of which kind it is.
    pub(crate) fn kind(&self) -> DamageKind {
        match self {
            Owner::Application(_) | Owner::Installation(_) => DamageKind::Installation,
            Owner::Instance(_) => DamageKind::Instance,
        }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        match self {
            Owner::Application(name) => name.clone(),
            Owner::Installation(id) => id.to_string(),
            Owner::Instance(id) => id.to_string(),
        }
    }

    /// The installation that it is or belongs to.
    pub(crate) fn installation(&self) -> Option<&InstallationId> {
        match self {
            Owner::Application(_) => None,
            Owner::Installation(id) => Some(id),
            Owner::Instance(id) => Some(&id.installation),
        }
    }
}

impl Broken {
    /// Makes the link say what it should, if that can be told: `false` if not. What is in its place is
    /// thrown away. The caller keeps its owner from being removed.
    pub(crate) fn mend(&self, disk: &Disk) -> Result<bool, DiskError> {
        let Some(target) = &self.target else { return Ok(false) };
        if disk.metadata(&self.path)?.is_some_and(|stat| stat.kind != Kind::Link) {
            disk.discard(&self.path)?;
        }
        disk.make_dir(self.path.parent().unwrap_or(Path::new("")), 0o755)?;
        disk.point(&self.path, target)?;
        Ok(true)
    }
}

/// An installation being looked at.
pub(super) struct Look<'a> {
    pub(super) disk: &'a Disk,
    pub(super) broken: Vec<Broken>,
}

impl Look<'_> {
    /// Looks at an installation and its instances. Where it came from, if that can be read, and what its
    /// versions use.
    pub(super) fn installation(&mut self, id: &InstallationId) -> (Option<String>, Vec<Used>) {
        let (before, mut used) = (self.broken.len(), Vec::new());
        let owner = Owner::Installation(id.clone());
        let dir = layout::installation(id);
        let origin: Option<OriginRecord> = self.record(&owner, dir.join("origin"));
        let overrides: Option<PackagesRecord> = self.record(&owner, dir.join(layout::PACKAGES));
        let _: Option<ConfigRecord> = self.record(&owner, dir.join("config"));
        let _: Option<StatusRecord> = self.record(&owner, dir.join("status"));
        let versions = inventory::versions(self.disk, id).unwrap_or_else(|error| {
            self.add(&owner, dir.clone(), chain(&error), None);
            Vec::new()
        });
        let only = match versions.as_slice() {
            [only] => Some(PathBuf::from(only.to_string())),
            _ => None,
        };
        let is_one =
            |target: &Path| versions.iter().any(|name| target == Path::new(&name.to_string()));
        self.link(&owner, layout::current(id), only, &is_one);
        let overrides = overrides.unwrap_or_else(|| PackagesRecord { packages: BTreeMap::new() });
        let mut contents = BTreeMap::new();
        for version in versions {
            if let Some(seen) = self.version(id, &version, &overrides, &mut used) {
                contents.insert(version, seen);
            }
        }
        match inventory::instances(self.disk, id) {
            Ok(instances) => instances.iter().for_each(|id| self.instance(id, &contents)),
            Err(error) => self.add(&owner, layout::instances(id), chain(&error), None),
        }
        if matches!(self.disk.metadata(&dir), Ok(None)) {
            self.broken.truncate(before);
            used.clear();
        }
        (origin.map(|origin| origin.server), used)
    }

    fn version(
        &mut self,
        id: &InstallationId,
        version: &VersionName,
        overrides: &PackagesRecord,
        used: &mut Vec<Used>,
    ) -> Option<Contents> {
        let owner = Owner::Installation(id.clone());
        let dir = layout::version(id, version);
        let envelope = dir.join(layout::ENVELOPE);
        let published = match inventory::envelope(self.disk, id, version) {
            Ok(record) => record.0,
            Err(error) => {
                self.add(&owner, envelope, chain(&error), None);
                return None;
            }
        };
        if let Err(error) = inventory::previous_of(self.disk, id, version) {
            self.add(&owner, dir.join(layout::PREVIOUS), chain(&error), None);
        }
        let content = VersionContent::new(published, overrides, None).ok();
        let wanted = content.and_then(|content| {
            let wanted = Wanted::of(&content.effective).ok()?;
            Some((content.effective.program, wanted))
        });
        let Some((program, wanted)) = wanted else {
            self.add(&owner, envelope, "it is not usable".to_owned(), None);
            return None;
        };
        if let Program::InPackage { package, path } = program {
            let target = layout::package(&package).join(path.as_path());
            let same = |found: &Path| found == target;
            self.link(&owner, dir.join(layout::BIN), Some(target.clone()), &same);
        }
        let mut contents = Contents::new();
        for wanted in wanted {
            let name = wanted.package.as_ref();
            let path = name.map_or(PathBuf::from(layout::BIN), layout::pkg);
            let tree = name.and_then(|name| {
                let (content, tree) = self.package(&owner, &dir, name, &wanted.form);
                contents.insert(name.clone(), (content, wanted.pin.writable));
                tree
            });
            used.push(Used { name: dir.join(path), tree, wanted });
        }
        Some(contents)
    }

    /// Looks at a version's link to a package: where its content is, and in which tree.
    fn package(
        &mut self,
        owner: &Owner,
        version: &Path,
        name: &PackageName,
        form: &Form,
    ) -> (PathBuf, Option<String>) {
        let packages = version.join(layout::PACKAGES);
        let link = version.join(layout::package(name));
        let Form::Tree(key) = form else {
            let target = Path::new("..").join(layout::pkg(name));
            self.link(owner, link, Some(target.clone()), &|found| found == target);
            return (version.join(layout::pkg(name)), None);
        };
        let tree_of = |target: &Path| layout::tree_name(&layout::resolve(&packages, target));
        let fits = |target: &Path| tree_of(target).is_some_and(|tree| key.is_form_of(&tree));
        let found = self.disk.read_link(&link).ok().flatten().filter(|found| fits(found));
        let tree = found.as_deref().and_then(tree_of).unwrap_or_else(|| self.best_tree(key));
        let files = layout::tree_named(key.digest(), &tree).join(unpacker::FILES);
        self.link(owner, link, Some(layout::relative(&packages, &files)), &fits);
        (files, Some(tree))
    }

    /// The name of the tree that a lost link is to lead to: one that is there, as this fettle makes it or
    /// as an older one did; else the one that is to be made.
    fn best_tree(&self, key: &TreeKey) -> String {
        let own = key.to_string();
        let shard = layout::tree(key).parent().map(Path::to_owned).unwrap_or_default();
        let names = self.disk.list(&shard).unwrap_or_default().into_iter();
        let mut names = names.filter_map(|entry| entry.name.into_string().ok());
        match names.clone().any(|name| name == own) {
            true => own,
            false => names.rfind(|name| key.is_form_of(name)).unwrap_or(own),
        }
    }

    fn instance(&mut self, id: &InstanceId, contents: &BTreeMap<VersionName, Contents>) {
        let (before, owner) = (self.broken.len(), Owner::Instance(id.clone()));
        if let Err(error) = inventory::instance(self.disk, id) {
            self.add(&owner, layout::instance(id).join("info"), chain(&error), None);
        }
        // The workspace says it too.
        let said = self.disk.read_link(&layout::workspace_packages(id)).ok().flatten();
        let said = said.as_deref().and_then(version_in).filter(|name| contents.contains_key(name));
        let target = said.map(|name| PathBuf::from(format!("../../{name}")));
        let there = |target: &Path| version_in(target).is_some();
        self.link(&owner, layout::instance_version(id), target, &there);
        let on = inventory::instance_version(self.disk, id).ok();
        let packages = layout::instance(id).join(layout::PACKAGES);
        let been = self.disk.list(&packages).unwrap_or_else(|error| {
            self.add(&owner, packages, words(&error), None);
            Vec::new()
        });
        let been = been.iter().filter_map(|entry| entry.name.to_str()?.parse::<VersionName>().ok());
        let mut versions: Vec<VersionName> = been.chain(on).collect();
        versions.sort_unstable();
        versions.dedup();
        for version in versions {
            let dir = layout::instance_packages(id, &version);
            for (package, (content, writable)) in contents.get(&version).into_iter().flatten() {
                let fits = |target: &Path| {
                    let found = layout::resolve(&dir, target);
                    found == *content || found.starts_with(layout::instance_copies(id))
                };
                // Which of its copies a link led to cannot be told.
                let target = (!writable).then(|| layout::relative(&dir, content));
                self.link(&owner, dir.join(package.as_str()), target, &fits);
            }
        }
        if matches!(self.disk.metadata(&layout::instance(id)), Ok(None)) {
            self.broken.truncate(before);
        }
    }

    /// Reads a record, or says why it cannot be used.
    pub(super) fn record<R: durable::record::Record>(
        &mut self,
        owner: &Owner,
        path: PathBuf,
    ) -> Option<R> {
        match record::need(self.disk, &path) {
            Ok(record) => Some(record),
            Err(error) => {
                let what = match error {
                    Unusable::Absent { .. } => "it is missing".to_owned(),
                    Unusable::Damaged { why, .. } => format!("it is damaged: {why}"),
                    other => chain(&other),
                };
                self.add(owner, path, what, None);
                None
            }
        }
    }

    /// Looks whether a link leads where it should.
    fn link(
        &mut self,
        owner: &Owner,
        path: PathBuf,
        target: Option<PathBuf>,
        fits: &dyn Fn(&Path) -> bool,
    ) {
        let what = match self.disk.metadata(&path) {
            Ok(None) => "it is missing".to_owned(),
            Ok(Some(stat)) if stat.kind != Kind::Link => is(stat, "a symbolic link"),
            Ok(Some(_)) => match self.disk.read_link(&path) {
                Ok(Some(found)) if fits(&found) => return,
                Ok(found) => format!("it leads to `{}`", found.unwrap_or_default().display()),
                Err(error) => words(&error),
            },
            Err(error) => words(&error),
        };
        self.add(owner, path, what, target);
    }

    pub(super) fn add(
        &mut self,
        owner: &Owner,
        path: PathBuf,
        what: String,
        target: Option<PathBuf>,
    ) {
        self.broken.push(Broken { owner: owner.clone(), path, what, target });
    }
}

/// The version that the last name of a link is.
fn version_in(target: &Path) -> Option<VersionName> {
    target.file_name()?.to_str()?.parse().ok()
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
