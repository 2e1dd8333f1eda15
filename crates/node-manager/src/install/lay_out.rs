//! The directories of an installation and of a version, made aside and given their names by one rename
//! each: a version is whole or not there. They hold links to the store and small records, so making them
//! does not depend on the size of what they point to.

use std::collections::BTreeMap;
use std::path::Path;

use durable::{Disk, DiskError, Seal, StagedDir};
use model::lifecycle::InstallationState;
use model::{Envelope, InnerPath, InstallationId, PackageName, Pin, Program};
use wire::v1::EnvelopeBody;

use super::plan::Need;
use crate::layout::{self, VersionName};
use crate::record::{ConfigRecord, EnvelopeRecord, OriginRecord, PackagesRecord, StatusRecord};
use crate::store::{CannotUnpack, Form, Store};

/// Why a version was not laid out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayOutError {
    /// The disk refuses.
    #[error("cannot lay out the version")]
    Disk(#[from] DiskError),
    /// A record has no form.
    #[error("cannot lay out the version")]
    Record(#[from] durable::record::RecordError),
    /// A package cannot be unpacked by this fettle.
    #[error("a package has a type that is not supported")]
    Form(#[from] CannotUnpack),
    /// The program that the envelope names is not in the package, or cannot be executed.
    #[error("the package `{package}` has no executable file `{path}`")]
    NoProgram {
        /// The package.
        package: PackageName,
        /// Where the program should be.
        path: InnerPath,
    },
}

/// What a version consists of.
#[derive(Debug, Clone)]
pub(crate) struct VersionContent {
    /// The envelope as it was published.
    pub(crate) published: EnvelopeBody,
    /// The envelope with the overrides of packages.
    pub(crate) effective: Envelope,
    /// The version before.
    pub(crate) previous: Option<VersionName>,
}

/// What an installation begins with.
#[derive(Debug, Clone)]
pub(crate) struct NewInstallation {
    /// Where it came from.
    pub(crate) origin: OriginRecord,
    /// Overrides of environment and arguments.
    pub(crate) config: ConfigRecord,
    /// Overrides of packages.
    pub(crate) packages: PackagesRecord,
}

impl VersionContent {
    /// The published envelope, with these packages over its own.
    pub(crate) fn new(
        published: EnvelopeBody,
        overrides: &PackagesRecord,
        previous: Option<VersionName>,
    ) -> Result<VersionContent, wire::v1::InvalidEnvelope> {
        let mut effective = published.to_model()?;
        let pins = overrides.packages.iter().map(|(name, pin)| (name.clone(), pin.to_model()));
        effective.packages.extend(pins);
        Ok(VersionContent { published, effective, previous })
    }
}

/// Makes an installation with its first version. If it is there already, it stays as it is.
pub(crate) fn lay_out_installation(
    store: &Store,
    id: &InstallationId,
    version: &VersionName,
    new: &NewInstallation,
    content: &VersionContent,
) -> Result<(), LayOutError> {
    let disk = store.disk();
    // Links to bytes that are being replaced would keep those that were wrong.
    let _look = store.look();
    let target = layout::installation(id);
    if disk.metadata(&target)?.is_some() {
        return Ok(());
    }
    let status = StatusRecord {
        state: InstallationState::Active,
        next_version: version.number + 1,
        next_instance: 1,
    };
    let mut staged = disk.stage_dir()?;
    let name = version.to_string();
    staged.write(Path::new("origin"), &durable::record::encode(&new.origin)?, RECORD)?;
    staged.write(Path::new("config"), &durable::record::encode(&new.config)?, RECORD)?;
    staged.write(Path::new(layout::PACKAGES), &durable::record::encode(&new.packages)?, RECORD)?;
    staged.write(Path::new("status"), &durable::record::encode(&status)?, RECORD)?;
    staged.directory(Path::new("instances"), None)?;
    fill_version(store, &mut staged, Path::new(&name), &layout::version(id, version), content)?;
    staged.symlink(Path::new("current"), name.as_bytes(), None, false)?;
    disk.make_dir(&layout::app(&id.title), 0o755)?;
    staged.publish(&target, Seal::Writable)?;
    Ok(())
}

/// Makes a further version. If it is there already, it stays as it is.
pub(crate) fn lay_out_version(
    store: &Store,
    id: &InstallationId,
    version: &VersionName,
    content: &VersionContent,
) -> Result<(), LayOutError> {
    let _look = store.look();
    let target = layout::version(id, version);
    if store.disk().metadata(&target)?.is_some() {
        return Ok(());
    }
    let mut staged = store.disk().stage_dir()?;
    fill_version(store, &mut staged, Path::new(""), &target, content)?;
    staged.publish(&target, Seal::Writable)?;
    Ok(())
}

/// Fills `inside` of a staged directory with a version that will lie at `target`.
fn fill_version(
    store: &Store,
    staged: &mut StagedDir,
    inside: &Path,
    target: &Path,
    content: &VersionContent,
) -> Result<(), LayOutError> {
    let envelope = EnvelopeRecord(content.published.clone());
    staged.directory(&inside.join("pkg"), None)?;
    staged.directory(&inside.join(layout::PACKAGES), None)?;
    let envelope = durable::record::encode(&envelope)?;
    staged.write(&inside.join(layout::ENVELOPE), &envelope, RECORD)?;
    if let Some(previous) = &content.previous {
        let link = format!("../{previous}");
        staged.symlink(&inside.join(layout::PREVIOUS), link.as_bytes(), None, false)?;
    }
    let mut forms = BTreeMap::new();
    for need in Need::of(&content.effective)? {
        let Need { package: Some(name), pin, form } = need else { continue };
        fill_package(store, staged, inside, target, (&name, &pin, &form))?;
        forms.insert(name, form);
    }
    let bin = inside.join(layout::BIN);
    match &content.effective.program {
        Program::Object(pin) => {
            let blob = store.blobs().path_of(layout::key(&pin.digest));
            // The mode belongs to the bytes, so a package of the very same bytes can be executed too.
            if store.disk().metadata(&blob)?.is_none_or(|stat| stat.mode != 0o555) {
                store.disk().set_mode(&blob, 0o555)?;
            }
            staged.link_from(&blob, &bin)?;
        }
        Program::InPackage { package, path } => {
            let missing =
                || LayOutError::NoProgram { package: package.clone(), path: path.clone() };
            let Some(Form::Tree(key)) = forms.get(package) else { return Err(missing()) };
            let file = layout::tree_files(key).join(path.as_path());
            if !is_program(store.disk(), &file) {
                return Err(missing());
            }
            let link = layout::package(package).join(path.as_path());
            staged.symlink(&bin, link.as_os_str().as_encoded_bytes(), None, false)?;
        }
    }
    Ok(())
}

fn fill_package(
    store: &Store,
    staged: &mut StagedDir,
    inside: &Path,
    target: &Path,
    (name, pin, form): (&PackageName, &Pin, &Form),
) -> Result<(), LayOutError> {
    let blob = store.blobs().path_of(layout::key(&pin.digest));
    staged.link_from(&blob, &inside.join(layout::pkg(name)))?;
    staged.write(
        &inside.join(layout::pkg_info(name)),
        pin.media.to_info_file().as_bytes(),
        0o644,
    )?;
    let link = match form {
        Form::Tree(key) => {
            layout::relative(&target.join(layout::PACKAGES), &layout::tree_files(key))
        }
        Form::File => Path::new("..").join(layout::pkg(name)),
    };
    staged.symlink(
        &inside.join(layout::package(name)),
        link.as_os_str().as_encoded_bytes(),
        None,
        false,
    )?;
    Ok(())
}

/// The tree's links were checked when it was unpacked: following them stays inside.
fn is_program(disk: &Disk, file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(disk.root().join(file))
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

const RECORD: u32 = 0o600;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Links to bytes that are being replaced would keep those that were wrong.
    #[test]
    fn nothing_is_laid_out_while_names_of_blobs_are_put_right() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::create(dir.path()).unwrap();
        let unpacker = unpacker::Unpacker::new(unpacker::Isolation::Inline);
        let store = Store::new(disk, unpacker, archive::Limits::default());
        let body = include_str!("../../../wire/golden/v1/envelope.json");
        let published: EnvelopeBody = serde_json::from_str(body).unwrap();
        let overrides = PackagesRecord { packages: BTreeMap::new() };
        let content = VersionContent::new(published, &overrides, None).unwrap();
        let version = VersionName { number: 1, version: content.effective.version.clone() };
        let id: InstallationId = "a/1".parse().unwrap();
        let alone = store.alone();
        let (sender, done) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.send(lay_out_version(&store, &id, &version, &content).is_ok()));
            assert!(done.recv_timeout(Duration::from_millis(200)).is_err(), "it has not waited");
            drop(alone);
            // The blob of this envelope is not there: that is found out now, and not before.
            assert!(!done.recv().unwrap());
        });
    }
}
