//! Instances on disk: made whole by one rename, moved from version to version by links, removed by one
//! rename. Owns the order of these steps; refuses to know about processes (`supervise` does), but relies
//! on there being none while an instance is moved or removed. What it sees of packages is
//! made in `packages`, after what `copies` decides.

mod copies;
mod packages;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use durable::{Disk, DiskError, Seal};
use model::InstanceId;

use crate::install::Shortage;
use crate::inventory::ReadError;
use crate::layout::{self, VersionName};
use crate::record::{InstanceRecord, Unusable};

pub(crate) use copies::Copies;
pub(crate) use packages::{Copying, Move, copying, plan_first, plan_move};

/// Why an instance was not changed on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    /// What is there cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk refuses.
    #[error("cannot change `{instance}` on disk")]
    Disk {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: DiskError,
    },
    /// There is no room for copies of writable packages; nothing was written.
    #[error("`{instance}` cannot get its own copies of packages")]
    NoRoom {
        /// Which.
        instance: InstanceId,
        /// What is missing.
        source: Shortage,
    },
    /// A record cannot be written.
    #[error("cannot change `{instance}` on disk")]
    Record {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: Unusable,
    },
    /// A record has no form.
    #[error("cannot change `{instance}` on disk")]
    Encode {
        /// Which.
        instance: InstanceId,
        /// Why.
        source: durable::record::RecordError,
    },
}

/// Makes an instance on this version, with these copies of its writable packages. If it is there already,
/// it stays as it is.
pub(crate) fn create(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
    copies: &Copies,
    record: &InstanceRecord,
) -> Result<(), InstanceError> {
    let failed = |source| InstanceError::Disk { instance: id.clone(), source };
    let target = layout::instance(id);
    if disk.metadata(&target).map_err(failed)?.is_some() {
        return Ok(());
    }
    let encode = |source| InstanceError::Encode { instance: id.clone(), source };
    let info = durable::record::encode(record).map_err(encode)?;
    let make = || {
        let mut staged = disk.stage_dir()?;
        staged.write(Path::new("info"), &info, 0o600)?;
        staged.write(Path::new("systemname"), account_name().as_bytes(), 0o644)?;
        let link = format!("../../{version}");
        staged.symlink(Path::new("version"), link.as_bytes(), None, false)?;
        for directory in ["logs", "credentials", "root"] {
            staged.directory(Path::new(directory), None)?;
        }
        for (package, copy) in copies {
            let inside = Path::new(layout::WRITABLE).join(copy.to_string());
            packages::fill_copy(disk, &mut staged, &inside, (id, version), package)?;
        }
        let links = Path::new(layout::PACKAGES).join(version.to_string());
        packages::fill_links(disk, &mut staged, &links, (id, version), copies)?;
        let link = Path::new("..").join(&links);
        let name = Path::new("root").join(layout::PACKAGES);
        staged.symlink(&name, link.as_os_str().as_bytes(), None, false)?;
        staged.publish(&target, Seal::Writable).map(drop)
    };
    make().map_err(failed)
}

/// Moves an instance to a version, with these copies of its writable packages. Repeating it, also after it
/// was cut off anywhere, ends in the same state: the packages of the version are made first, then
/// `version` says what is true, then the workspace's link follows it.
pub(crate) fn switch(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
    copies: &Copies,
) -> Result<(), InstanceError> {
    let work = || {
        packages::bring(disk, id, version, copies)?;
        disk.point(&layout::instance_version(id), Path::new(&format!("../../{version}")))?;
        point_workspace(disk, id, version)
    };
    let moved = work();
    // After a failure the instance may still use any of them.
    if moved.is_ok()
        && let Err(error) = packages::sweep(disk, id)
    {
        tracing::warn!(instance = %id, %error, "copies that nothing uses stay until it moves again");
    }
    moved.map_err(|source| InstanceError::Disk { instance: id.clone(), source })
}

/// Makes the workspace's link follow `version`, where a crash came between the two. One that does is only
/// looked at: what a predecessor left was made to last when the disk was opened.
pub(crate) fn repair(
    disk: &Disk,
    id: &InstanceId,
    version: &VersionName,
) -> Result<(), InstanceError> {
    let failed = |source| InstanceError::Disk { instance: id.clone(), source };
    let says = disk.read_link(&layout::workspace_packages(id)).map_err(failed)?;
    if says.as_deref() == Some(&workspace_target(version)) {
        return Ok(());
    }
    point_workspace(disk, id, version).map_err(failed)
}

/// Removes an instance with all that it has. An absent one is fine.
pub(crate) fn delete(disk: &Disk, id: &InstanceId) -> Result<(), InstanceError> {
    disk.discard(&layout::instance(id))
        .map_err(|source| InstanceError::Disk { instance: id.clone(), source })
}

fn point_workspace(disk: &Disk, id: &InstanceId, version: &VersionName) -> Result<(), DiskError> {
    disk.point(&layout::workspace_packages(id), &workspace_target(version))
}

fn workspace_target(version: &VersionName) -> PathBuf {
    format!("../{}/{version}", layout::PACKAGES).into()
}

/// The account that instances run as: the manager's own. By its name where the system's list has one.
fn account_name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    account_in(&list, &uid).map_or(uid.clone(), str::to_owned)
}

/// passwd(5): name, password, uid, … joined by colons.
fn account_in<'a>(list: &'a str, uid: &str) -> Option<&'a str> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_its_name_where_there_is_one() {
        let list = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nbroken\n";
        assert_eq!(account_in(list, "65534"), Some("nobody"));
        assert_eq!(account_in(list, "1000"), None);
    }
}
