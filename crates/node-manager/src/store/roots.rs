//! Who refers to content: read from where the links on disk really lead, and from what unfinished
//! operations have decided. The one file of the store that knows who uses it.
//!
//! Whatever cannot be read is an error and never "nothing": a damaged installation must not lose what it
//! is made of. One that is removed in the meantime is none of that, and refers to nothing any more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use durable::{DirEntry, Disk, DiskError, Kind};
use model::{Digest, PackageName};

use crate::layout;
use crate::record::{self, EnvelopeRecord, Memo, PackagesRecord, Unusable};

/// Why it is not known what refers to content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    /// The disk cannot tell.
    #[error("cannot tell what the store is needed for")]
    Disk(#[from] DiskError),
    /// A version's envelope cannot be read: nobody knows what it is made of.
    #[error("cannot tell what the store is needed for")]
    Record(#[from] Unusable),
    /// A version has lost a link, or the link leads nowhere.
    #[error("cannot tell what the store is needed for: the link `{}` is missing or damaged", .path.display())]
    Link {
        /// Which.
        path: PathBuf,
    },
    /// An operation's record cannot be used: nobody knows what it was about to do.
    #[error("cannot tell what the store is needed for: the record `{}` is damaged", .path.display())]
    Operation {
        /// Which.
        path: PathBuf,
    },
}

/// The trees that links of versions and of instances lead to, by name.
pub(super) fn linked(disk: &Disk) -> Result<BTreeSet<String>, RootsError> {
    let mut trees = BTreeSet::new();
    for app in directories(disk, &layout::apps())? {
        for installation in directories(disk, &app)? {
            let mut found = BTreeSet::new();
            match of_installation(disk, &installation, &mut found) {
                Ok(()) => trees.append(&mut found),
                // It is being removed: that renames it away as a whole.
                Err(_) if disk.metadata(&installation)?.is_none() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(trees)
}

/// The bytes that an operation has decided to use.
pub(crate) fn wanted(memo: &Memo) -> impl Iterator<Item = Digest> {
    let packages = memo.packages.iter().flat_map(|packages| packages.values());
    let envelope = memo.envelope.iter();
    let of_envelope = envelope.clone().flat_map(|envelope| envelope.packages.values());
    let programs = envelope.filter_map(|envelope| match &envelope.program {
        wire::v1::ProgramBody::Object(pin) => Some(pin),
        wire::v1::ProgramBody::InPackage { .. } => None,
    });
    packages.chain(of_envelope).chain(programs).map(|pin| pin.digest)
}

fn of_installation(
    disk: &Disk,
    installation: &Path,
    trees: &mut BTreeSet<String>,
) -> Result<(), RootsError> {
    // Overrides are packages of every version.
    let overrides: PackagesRecord = record::need(disk, &installation.join(layout::PACKAGES))?;
    let added: Vec<PackageName> = overrides.packages.into_keys().collect();
    for directory in directories(disk, installation)? {
        if directory.file_name() == Some("instances".as_ref()) {
            for instance in directories(disk, &directory)? {
                match of_instance(disk, &instance, trees) {
                    // It is being deleted: that renames it away as a whole too.
                    Err(_) if disk.metadata(&instance)?.is_none() => {}
                    done => done?,
                }
            }
        } else {
            of_version(disk, &directory, &added, trees)?;
        }
    }
    Ok(())
}

fn of_instance(
    disk: &Disk,
    instance: &Path,
    trees: &mut BTreeSet<String>,
) -> Result<(), RootsError> {
    for version in directories(disk, &instance.join(layout::PACKAGES))? {
        of_packages(disk, &version, trees)?;
    }
    Ok(())
}

/// A version is whole, or something is wrong with it: each package of its envelope, and each that was
/// `added`, has its link.
fn of_version(
    disk: &Disk,
    version: &Path,
    added: &[PackageName],
    trees: &mut BTreeSet<String>,
) -> Result<(), RootsError> {
    let packages = version.join(layout::PACKAGES);
    of_packages(disk, &packages, trees)?;
    let envelope: EnvelopeRecord = record::need(disk, &version.join(layout::ENVELOPE))?;
    for name in envelope.0.packages.keys().chain(added) {
        let path = version.join(layout::package(name));
        if disk.metadata(&path)?.is_none() {
            return Err(RootsError::Link { path });
        }
    }
    Ok(())
}

/// What is no link is somebody's own and refers to nothing.
fn of_packages(
    disk: &Disk,
    packages: &Path,
    trees: &mut BTreeSet<String>,
) -> Result<(), RootsError> {
    for entry in disk.list(packages)?.into_iter().filter(|entry| entry.kind == Kind::Link) {
        let path = packages.join(entry.name);
        let Some(target) = disk.read_link(&path)? else { return Err(RootsError::Link { path }) };
        trees.extend(layout::tree_name(&layout::resolve(packages, &target)));
    }
    Ok(())
}

fn directories(disk: &Disk, path: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let is_directory = |entry: &DirEntry| entry.kind == Kind::Directory;
    let entries = disk.list(path)?.into_iter().filter(is_directory);
    Ok(entries.map(|entry| path.join(entry.name)).collect())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "what is made and removed here need not last")]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A node with one installation whose instances each have a link.
    fn instances(disk: &Disk, count: u32) -> PathBuf {
        let installation = layout::apps().join("app-x/installation-1");
        disk.make_dir(&installation.join("instances"), 0o755).unwrap();
        let overrides = PackagesRecord { packages: BTreeMap::new() };
        record::write(disk, &installation.join(layout::PACKAGES), &overrides).unwrap();
        for number in 0..count {
            let mut staged = disk.stage_dir().unwrap();
            for package in ["p", "q", "r"] {
                let link = Path::new("packages/1-1.0.0").join(package);
                staged.symlink(&link, b"somewhere", None, false).unwrap();
            }
            let name = installation.join(format!("instances/instance-{number}"));
            let from = disk.root().join("staging").join(staged.path().file_name().unwrap());
            std::fs::rename(from, disk.root().join(&name)).unwrap();
        }
        installation.join("instances")
    }

    #[test]
    fn an_instance_that_is_deleted_in_the_meantime_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::create(dir.path()).unwrap();
        let (count, done) = (400, AtomicBool::new(false));
        let instances = instances(&disk, count);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..count {
                    let name = format!("instance-{number}");
                    let from = disk.root().join(&instances).join(&name);
                    std::fs::rename(from, disk.root().join("trash").join(&name)).unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
                done.store(true, Ordering::SeqCst);
            });
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) {
                if let Err(error) = linked(&disk) {
                    panic!("after {looks} looks: {error}");
                }
                looks += 1;
            }
        });
        assert_eq!(linked(&disk).unwrap(), BTreeSet::new());
    }
}
