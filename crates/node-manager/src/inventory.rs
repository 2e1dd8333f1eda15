//! What is there, read from the disk: installations, their versions, their instances. Owns the reading;
//! refuses to change anything. Links say which version is current; records say the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use durable::{Disk, DiskError, Kind};
use model::{InstallationId, InstanceId, PackageName, Pin, Title};

use crate::layout::{self, VersionName};
use crate::record::{
    self, AppRecord, ConfigRecord, EnvelopeRecord, InstanceRecord, OriginRecord, PackagesRecord,
    StatusRecord, Unusable,
};

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The thing is not there.
    #[error("there is no `{name}` on this node")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// A record of it cannot be used.
    #[error("`{name}` cannot be used")]
    Record {
        /// Its name.
        name: String,
        /// Which record, and why.
        source: Unusable,
    },
    /// A link of it is missing or leads nowhere.
    #[error("`{name}` cannot be used: the link `{}` is missing or damaged", .link.display())]
    Link {
        /// Its name.
        name: String,
        /// Which link.
        link: PathBuf,
    },
    /// The disk cannot tell.
    #[error("`{name}` cannot be read")]
    Disk {
        /// Its name.
        name: String,
        /// Why.
        source: DiskError,
    },
}

/// An installation as it is on disk.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// Where it came from.
    pub(crate) origin: OriginRecord,
    /// Overrides of environment and arguments.
    pub(crate) config: ConfigRecord,
    /// Overrides of packages.
    pub(crate) packages: PackagesRecord,
    /// State and counters.
    pub(crate) status: StatusRecord,
    /// The current version.
    pub(crate) current: VersionName,
    /// The version before the current one.
    pub(crate) previous: Option<VersionName>,
}

/// All titles that were ever installed. One that cannot be read is logged and left out, so that the others
/// can be seen and run.
pub(crate) fn titles(disk: &Disk) -> Result<Vec<Title>, ReadError> {
    let failed = |source| ReadError::Disk { name: "apps".to_owned(), source };
    let info = |entry: durable::DirEntry| {
        let path = layout::apps().join(entry.name).join("info");
        match record::find(disk, &path) {
            // A directory whose record was not written yet has nothing in it.
            Ok(record) => record.map(|record: AppRecord| record.title),
            Err(error) => {
                tracing::error!(%error, "an application cannot be used, and is left as it is");
                None
            }
        }
    };
    Ok(disk.list(&layout::apps()).map_err(failed)?.into_iter().filter_map(info).collect())
}

/// The installations of a title, in order.
pub(crate) fn installations(disk: &Disk, title: &Title) -> Result<Vec<InstallationId>, ReadError> {
    let numbers = numbered(disk, &layout::app(title), "installation-", title.as_str())?;
    let id = |number| InstallationId { title: title.clone(), number };
    Ok(numbers.into_iter().map(id).collect())
}

/// The instances of an installation, in order.
pub(crate) fn instances(disk: &Disk, id: &InstallationId) -> Result<Vec<InstanceId>, ReadError> {
    let numbers = numbered(disk, &layout::instances(id), "instance-", &id.to_string())?;
    let instance = |number| InstanceId { installation: id.clone(), number };
    Ok(numbers.into_iter().map(instance).collect())
}

/// One installation.
pub(crate) fn installation(disk: &Disk, id: &InstallationId) -> Result<Installation, ReadError> {
    let name = || id.to_string();
    let path = layout::installation(id);
    let there = disk.metadata(&path).map_err(|source| ReadError::Disk { name: name(), source })?;
    if there.is_none() {
        return Err(ReadError::NotFound { name: name() });
    }
    let failed = |source| ReadError::Record { name: name(), source };
    let current = version_link(disk, &layout::current(id), &name())?;
    Ok(Installation {
        origin: record::need(disk, &path.join("origin")).map_err(failed)?,
        config: record::need(disk, &path.join("config")).map_err(failed)?,
        packages: record::need(disk, &path.join(layout::PACKAGES)).map_err(failed)?,
        status: record::need(disk, &layout::status(id)).map_err(failed)?,
        previous: previous_of(disk, id, &current)?,
        current,
    })
}

/// The overrides of an installation's environment and arguments.
pub(crate) fn config(disk: &Disk, id: &InstallationId) -> Result<ConfigRecord, ReadError> {
    record::need(disk, &layout::installation(id).join("config"))
        .map_err(|source| ReadError::Record { name: id.to_string(), source })
}

/// The envelope of one version.
pub(crate) fn envelope(
    disk: &Disk,
    id: &InstallationId,
    version: &VersionName,
) -> Result<EnvelopeRecord, ReadError> {
    record::need(disk, &layout::version(id, version).join(layout::ENVELOPE))
        .map_err(|source| ReadError::Record { name: id.to_string(), source })
}

/// The packages of one version, as they are used: those of its envelope with the installation's overrides.
pub(crate) fn packages(
    disk: &Disk,
    id: &InstallationId,
    version: &VersionName,
) -> Result<BTreeMap<PackageName, Pin>, ReadError> {
    let published = envelope(disk, id, version)?.0.packages;
    let overrides: PackagesRecord =
        record::need(disk, &layout::installation(id).join(layout::PACKAGES))
            .map_err(|source| ReadError::Record { name: id.to_string(), source })?;
    let all = published.into_iter().chain(overrides.packages);
    Ok(all.map(|(name, pin)| (name, pin.to_model())).collect())
}

/// The versions of an installation.
pub(crate) fn versions(disk: &Disk, id: &InstallationId) -> Result<Vec<VersionName>, ReadError> {
    let failed = |source| ReadError::Disk { name: id.to_string(), source };
    let entries = disk.list(&layout::installation(id)).map_err(failed)?.into_iter();
    let directories = entries.filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// The version before this one.
pub(crate) fn previous_of(
    disk: &Disk,
    id: &InstallationId,
    version: &VersionName,
) -> Result<Option<VersionName>, ReadError> {
    let link = layout::version(id, version).join(layout::PREVIOUS);
    match disk
        .read_link(&link)
        .map_err(|source| ReadError::Disk { name: id.to_string(), source })?
    {
        None => Ok(None),
        Some(_) => version_link(disk, &link, &id.to_string()).map(Some),
    }
}

/// The record of an instance.
pub(crate) fn instance(disk: &Disk, id: &InstanceId) -> Result<InstanceRecord, ReadError> {
    let name = || id.to_string();
    let path = layout::instance_info(id);
    match record::find(disk, &path).map_err(|source| ReadError::Record { name: name(), source })? {
        Some(record) => Ok(record),
        None => {
            let there = disk.metadata(&layout::instance(id));
            match there.map_err(|source| ReadError::Disk { name: name(), source })? {
                None => Err(ReadError::NotFound { name: name() }),
                Some(_) => {
                    Err(ReadError::Record { name: name(), source: Unusable::Absent { path } })
                }
            }
        }
    }
}

/// The version that an instance is on.
pub(crate) fn instance_version(disk: &Disk, id: &InstanceId) -> Result<VersionName, ReadError> {
    version_link(disk, &layout::instance_version(id), &id.to_string())
}

/// Reads a link whose last component is a version's name.
fn version_link(disk: &Disk, link: &Path, name: &str) -> Result<VersionName, ReadError> {
    let target =
        disk.read_link(link).map_err(|source| ReadError::Disk { name: name.to_owned(), source })?;
    target
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|last| last.to_str()?.parse().ok())
        .ok_or_else(|| ReadError::Link { name: name.to_owned(), link: link.to_owned() })
}

/// The numbers in names like `instance-3`, in order.
fn numbered(disk: &Disk, dir: &Path, prefix: &str, name: &str) -> Result<Vec<u32>, ReadError> {
    let entries =
        disk.list(dir).map_err(|source| ReadError::Disk { name: name.to_owned(), source })?;
    let number = |entry: &durable::DirEntry| {
        let digits = entry.name.to_str()?.strip_prefix(prefix)?;
        let number: u32 = digits.parse().ok()?;
        (entry.kind == Kind::Directory && number.to_string() == digits).then_some(number)
    };
    let mut numbers: Vec<u32> = entries.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
