//! What an instance sees of a version's packages: links to what the version has, shared and read-only,
//! or to copies of its own where a package is writable. Owns the order on disk; which copy a link leads to
//! is decided in `copies`.
//!
//! A copy is whole under its name before any link leads to it. What a crash leaves is a whole copy
//! without a link, which the next move removes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use durable::{Disk, DiskError, Kind, Seal, StagedDir};
use model::{Digest, InstanceId, PackageName, Pin};

use super::InstanceError;
use super::copies::{Copies, Facts, decide};
use crate::install::{Claims, Thing, of_a_directory, of_files};
use crate::inventory;
use crate::layout::{self, CopyName, VersionName};
use crate::store::taken;

/// A move to a version, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    /// Where each writable package of the version will lead.
    pub(crate) copies: Copies,
    /// What the user should know about it.
    pub(crate) notes: Vec<String>,
}

/// What making copies takes, and what they are made from.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    /// Room on the disk.
    pub(crate) claims: Claims,
    /// Content that must stay as it is meanwhile.
    pub(crate) digests: BTreeSet<Digest>,
}

/// Decides how an instance that is on the version `on` moves to the version `to`. Changes nothing.
pub(crate) fn plan_move(
    disk: &Disk,
    id: &InstanceId,
    on: &VersionName,
    to: &VersionName,
    fresh: bool,
) -> Result<Move, InstanceError> {
    let failed = |source| InstanceError::Disk { instance: id.clone(), source };
    let pins = writable(disk, id, to)?;
    let there = layout::instance_packages(id, to);
    let was_there = disk.metadata(&there).map_err(failed)?.is_some();
    let now = links(disk, &layout::instance_packages(id, on)).map_err(failed)?;
    let facts = Facts {
        version: to.number,
        wanted: pins.keys().cloned().collect(),
        there: was_there.then(|| links(disk, &there)).transpose().map_err(failed)?,
        now,
        all: all(disk, id).map_err(failed)?,
    };
    let copies = decide(&facts, fresh);
    let notes = if fresh { Vec::new() } else { notes(disk, id, to, &pins, &copies)? };
    Ok(Move { copies, notes })
}

/// The copies that a new instance on this version begins with.
pub(crate) fn plan_first(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
) -> Result<Copies, InstanceError> {
    let wanted = writable(disk, id, version)?.into_keys().collect();
    Ok(decide(&Facts { version: version.number, wanted, ..Facts::default() }, false))
}

/// Builds links to every package of the version in `links` of the staged directory.
pub(super) fn fill_links(
    disk: &Disk,
    staged: &mut StagedDir,
    links: &Path,
    (id, version): (&InstanceId, &VersionName),
    copies: &Copies,
) -> Result<(), DiskError> {
    let from = layout::instance_packages(id, version);
    staged.directory(links, None)?;
    for (name, content) in contents(disk, id, version)? {
        let own = name.to_str().and_then(|name| copies.get(&name.parse().ok()?));
        let target = match own {
            Some(copy) => own_content(disk, id, copy, &content)?,
            None => content,
        };
        let link = layout::relative(&from, &target);
        staged.symlink(&links.join(&name), link.as_os_str().as_bytes(), None, false)?;
    }
    Ok(())
}

/// Builds a copy in `inside` of the staged directory: of a tree its files, of a file a directory with it.
pub(super) fn fill_copy(
    disk: &Disk,
    staged: &mut StagedDir,
    inside: &Path,
    (id, version): (&InstanceId, &VersionName),
    package: &PackageName,
) -> Result<(), DiskError> {
    let link = layout::version(&id.installation, version).join(layout::package(package));
    let Some(target) = disk.read_link(&link)? else { return Ok(()) };
    let content = layout::resolve(link.parent().unwrap_or(Path::new("")), &target);
    match is_tree(disk, &content)? {
        true => staged.copy_from(&content, inside),
        false => staged.copy_from(&content, &inside.join(package.as_str())),
    }
}

/// Makes the copies that are missing and lets the version's links lead to them. Repeating it is harmless.
pub(super) fn bring(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
    copies: &Copies,
) -> Result<(), DiskError> {
    let room = layout::instance_copies(id);
    for (package, copy) in copies {
        let target = room.join(copy.to_string());
        if disk.metadata(&target)?.is_none() {
            disk.make_dir(&room, 0o755)?;
            let mut staged = disk.stage_dir()?;
            fill_copy(disk, &mut staged, Path::new(""), (id, version), package)?;
            staged.publish(&target, Seal::Writable)?;
        }
    }
    let packages = layout::instance_packages(id, version);
    if disk.metadata(&packages)?.is_none() {
        let mut staged = disk.stage_dir()?;
        fill_links(disk, &mut staged, Path::new(""), (id, version), copies)?;
        staged.publish(&packages, Seal::Writable)?;
        return Ok(());
    }
    for (name, content) in contents(disk, id, version)? {
        let own = name.to_str().and_then(|name| copies.get(&name.parse().ok()?));
        if let Some(copy) = own {
            let target = own_content(disk, id, copy, &content)?;
            disk.point(&packages.join(&name), &layout::relative(&packages, &target))?;
        }
    }
    Ok(())
}

/// Removes the copies that no link leads to: what a crash or a failure left, and what was begun anew.
pub(super) fn sweep(disk: &Disk, id: &InstanceId) -> Result<(), DiskError> {
    let all = all(disk, id)?;
    if all.is_empty() {
        return Ok(());
    }
    let mut used = BTreeSet::new();
    let packages = layout::instance(id).join(layout::PACKAGES);
    for version in disk.list(&packages)? {
        used.extend(links(disk, &packages.join(version.name))?.into_values());
    }
    for copy in all.difference(&used) {
        disk.discard(&layout::instance_copies(id).join(copy.to_string()))?;
    }
    Ok(())
}

/// The packages of a version that instances may change.
fn writable(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
) -> Result<BTreeMap<PackageName, Pin>, InstanceError> {
    let mut packages = inventory::packages(disk, &id.installation, version)?;
    packages.retain(|_, pin| pin.writable);
    Ok(packages)
}

/// What is kept although the version that is moved to has other content.
fn notes(
    disk: &Disk,
    id: &InstanceId,
    to: &VersionName,
    pins: &BTreeMap<PackageName, Pin>,
    copies: &Copies,
) -> Result<Vec<String>, InstanceError> {
    let mut notes = Vec::new();
    let foreign = copies.iter().filter(|(_, copy)| copy.version() != to.number);
    for (package, copy) in foreign {
        let versions = inventory::versions(disk, &id.installation)?;
        let Some(from) = versions.into_iter().find(|name| name.number == copy.version()) else {
            continue;
        };
        let before = inventory::packages(disk, &id.installation, &from)?;
        let digest = |pin: &Pin| pin.digest;
        if before.get(package).map(digest) != pins.get(package).map(digest) {
            notes.push(format!(
                "package {package}: kept the instance's own copy (from {}); --fresh-packages begins anew from {}'s",
                from.version, to.version
            ));
        }
    }
    Ok(notes)
}

/// What it takes to make those of the copies that are not there. Where content is shared they take next to
/// nothing. What nobody measured is looked at where it lies.
pub(crate) fn copying(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
    copies: &Copies,
) -> Result<Copying, InstanceError> {
    let failed = |source| InstanceError::Disk { instance: id.clone(), source };
    let mut copying = Copying::default();
    let pins = writable(disk, id, version)?;
    for (package, copy) in copies {
        let path = layout::instance_copies(id).join(copy.to_string());
        let Some(pin) = pins.get(package) else { continue };
        if disk.metadata(&path).map_err(failed)?.is_some() {
            continue;
        }
        let room = match pin.measured {
            Some(measured) => of_files(&measured),
            None => {
                let packages = layout::version(&id.installation, version).join(layout::PACKAGES);
                let link = disk.read_link(&packages.join(package.as_str())).map_err(failed)?;
                let content = link.map(|link| layout::resolve(&packages, &link));
                let size = content.map(|content| taken(disk, &content)).transpose();
                size.map_err(failed)?.unwrap_or_default().and(of_a_directory())
            }
        };
        copying.claims.insert(Thing::Copy(path), room);
        copying.digests.insert(pin.digest);
    }
    if !copying.claims.is_empty() && disk.shares_content() {
        copying.claims.values_mut().for_each(|room| room.bytes = 0);
    }
    Ok(copying)
}

/// Every copy that the instance has.
fn all(disk: &Disk, id: &InstanceId) -> Result<BTreeSet<CopyName>, DiskError> {
    let names = disk.list(&layout::instance_copies(id))?.into_iter();
    Ok(names.filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// The copies that the links in this directory lead to. A directory that is absent has none.
fn links(disk: &Disk, packages: &Path) -> Result<Copies, DiskError> {
    let mut copies = Copies::new();
    for entry in disk.list(packages)?.into_iter().filter(|entry| entry.kind == Kind::Link) {
        let Some(target) = disk.read_link(&packages.join(&entry.name))? else { continue };
        let package = entry.name.to_str().and_then(|name| name.parse().ok());
        if let (Some(package), Some(copy)) = (package, copy_in(&target)) {
            copies.insert(package, copy);
        }
    }
    Ok(copies)
}

/// The copy that a link `../../writable/<copy>…` leads to.
fn copy_in(target: &Path) -> Option<CopyName> {
    let mut names = target.components().skip_while(|part| *part == Component::ParentDir);
    let (room, copy) = (names.next()?, names.next()?);
    (room.as_os_str() == layout::WRITABLE).then(|| copy.as_os_str().to_str()?.parse().ok())?
}

/// Where the version's packages are, in the store or in the version.
fn contents(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
) -> Result<Vec<(std::ffi::OsString, PathBuf)>, DiskError> {
    let packages = layout::version(&id.installation, version).join(layout::PACKAGES);
    let mut contents = Vec::new();
    for entry in disk.list(&packages)? {
        // The version's own link says where the content is, relative to the version.
        let Some(target) = disk.read_link(&packages.join(&entry.name))? else { continue };
        contents.push((entry.name, layout::resolve(&packages, &target)));
    }
    Ok(contents)
}

/// Where in a copy of `content` the content is.
fn own_content(
    disk: &Disk,
    id: &InstanceId,
    copy: &CopyName,
    content: &Path,
) -> Result<PathBuf, DiskError> {
    let own = layout::instance_copies(id).join(copy.to_string());
    Ok(if is_tree(disk, content)? { own } else { own.join(copy.package().as_str()) })
}

fn is_tree(disk: &Disk, content: &Path) -> Result<bool, DiskError> {
    Ok(disk.metadata(content)?.is_some_and(|found| found.kind == Kind::Directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_copies_are_told_from_others() {
        let found = |link: &str| copy_in(Path::new(link)).map(|copy| copy.to_string());
        assert_eq!(found("../../writable/model.1").as_deref(), Some("model.1"));
        assert_eq!(
            found("../../writable/notes.txt.3-2/notes.txt").as_deref(),
            Some("notes.txt.3-2")
        );
        for other in ["../../../../../../store/trees/aa/x/files", "../../writable", "x", ""] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
