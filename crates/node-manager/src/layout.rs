//! What is on disk, drawn. Each path is a function of values that were parsed; nothing else in this
//! crate joins paths of the tree.
//!
//! ```text
//! <root>/
//!   format                      record: this is a node's tree, and of which version
//!   lock                        held by the one manager of the tree
//!   redo                        log of the small writes that do not last by themselves yet
//!   store/
//!     blobs/<aa>/<sha256>       downloaded bytes
//!     trees/<aa>/<key>/         unpacked: manifest, files/ (read-only); key = digest and how it was unpacked
//!   apps/app-<hash>/            one per title; hash = first 16 bytes of its SHA-256
//!     info                      record: title, the next installation's number
//!     installation-<n>/
//!       origin                  record: server, reference as given, profile that matched, who and when
//!       config                  record: overrides of environment and arguments
//!       packages                record: overrides of packages, pinned
//!       status                  record: state, the next version's and instance's numbers
//!       <n>-<semver>/           a version: envelope (record), bin, previous -> ../<n>-<semver>,
//!                               pkg/<name> (hard link to the blob), pkg/<name>.__info,
//!                               packages/<name> -> the tree's files, or ../pkg/<name>
//!       current -> <n>-<semver>
//!       instances/instance-<m>/
//!         info                  record: what should be, who made it and when
//!         systemname            the account that it runs as
//!         version -> ../../<n>-<semver>
//!         packages/<n>-<semver>/<name>  -> the tree's files, or the version's file; of a writable
//!                               package: -> ../../writable/<name>.<n>, or the file in it
//!         writable/<name>.<n>/  a copy of its own, made for version n: the tree's files, or <name>;
//!                               <name>.<n>-2 and so on if it was begun anew for the same version
//!         root/                 the workspace, the program's own; packages -> ../packages/<n>-<semver>
//!         logs/                 stdout, stderr, and what the program puts there
//!         credentials/
//!   operations/<id>             record: what was asked for and how it ended
//!   run/<boot id>/              what is true within one boot: <instance> (record, not synced), and
//!         launcher.sock         the launcher's; <instance>.notify, its NOTIFY_SOCKET
//!   staging/  trash/            durable's
//! ```
//!
//! Everything but `run/` is synced before it is acted on. `run/` of another boot is removed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use durable::Key;
use model::{Digest, InstallationId, InstanceId, OperationId, PackageName, Title, Version};

use crate::store::TreeKey;

/// The record that says what this tree is.
pub(crate) fn format() -> PathBuf {
    "format".into()
}

/// The lock that the manager of the tree holds.
pub(crate) fn lock() -> PathBuf {
    "lock".into()
}

/// The log of small writes.
pub(crate) fn redo() -> PathBuf {
    "redo".into()
}

/// Where blobs lie.
pub(crate) fn blobs() -> PathBuf {
    "store/blobs".into()
}

/// Where unpacked trees lie.
pub(crate) fn trees() -> PathBuf {
    "store/trees".into()
}

/// One unpacked tree.
pub(crate) fn tree(key: &TreeKey) -> PathBuf {
    trees().join(&key.digest().hex()[..2]).join(key.to_string())
}

/// The files of one unpacked tree.
pub(crate) fn tree_files(key: &TreeKey) -> PathBuf {
    tree(key).join(unpacker::FILES)
}

/// The tree of this name, which begins with the digest of what was unpacked.
pub(crate) fn tree_named(digest: &Digest, name: &str) -> PathBuf {
    trees().join(&digest.hex()[..2]).join(name)
}

/// The name of the tree whose files lie at this path of the tree; `None` if that is something else.
pub(crate) fn tree_name(files: &Path) -> Option<String> {
    let mut names = files.strip_prefix(trees()).ok()?.iter();
    let (_shard, name, files) = (names.next()?, names.next()?, names.next()?);
    (files == unpacker::FILES && names.next().is_none())
        .then(|| name.to_str().map(str::to_owned))?
}

/// The digest of what a tree of this name was unpacked from; `None` if no tree is called so.
pub(crate) fn tree_digest(name: &str) -> Option<Digest> {
    digest(name.split_once('.')?.0)
}

fn digest(hex: &str) -> Option<Digest> {
    hex.parse::<Key>().ok().map(|key| Digest::from_bytes(key.0))
}

/// Where applications lie.
pub(crate) fn apps() -> PathBuf {
    "apps".into()
}

/// All installations of one title.
pub(crate) fn app(title: &Title) -> PathBuf {
    apps().join(format!("app-{}", &Digest::of(title.as_str().as_bytes()).hex()[..32]))
}

/// The record of one title.
pub(crate) fn app_info(title: &Title) -> PathBuf {
    app(title).join("info")
}

/// One installation.
pub(crate) fn installation(id: &InstallationId) -> PathBuf {
    app(&id.title).join(format!("installation-{}", id.number))
}

/// The directory of the installation that something below it belongs to.
pub(crate) fn installation_of(path: &Path) -> Option<&Path> {
    let depth = apps().components().count() + 2;
    path.ancestors().find(|above| above.components().count() == depth)
}

/// One version of an installation.
pub(crate) fn version(id: &InstallationId, version: &VersionName) -> PathBuf {
    installation(id).join(version.to_string())
}

/// The link to the current version.
pub(crate) fn current(id: &InstallationId) -> PathBuf {
    installation(id).join("current")
}

/// Where the instances of an installation lie.
pub(crate) fn instances(id: &InstallationId) -> PathBuf {
    installation(id).join("instances")
}

/// One instance.
pub(crate) fn instance(id: &InstanceId) -> PathBuf {
    instances(&id.installation).join(format!("instance-{}", id.number))
}

/// What an installation counts.
pub(crate) fn status(id: &InstallationId) -> PathBuf {
    installation(id).join("status")
}

/// What should be of an instance.
pub(crate) fn instance_info(id: &InstanceId) -> PathBuf {
    instance(id).join("info")
}

/// Which version an instance is on.
pub(crate) fn instance_version(id: &InstanceId) -> PathBuf {
    instance(id).join("version")
}

/// What an instance sees of a version's packages.
pub(crate) fn instance_packages(id: &InstanceId, version: &VersionName) -> PathBuf {
    instance(id).join(PACKAGES).join(version.to_string())
}

/// The copies of packages that an instance may change.
pub(crate) fn instance_copies(id: &InstanceId) -> PathBuf {
    instance(id).join(WRITABLE)
}

/// The workspace.
pub(crate) fn workspace(id: &InstanceId) -> PathBuf {
    instance(id).join("root")
}

/// The link in the workspace that leads to the packages.
pub(crate) fn workspace_packages(id: &InstanceId) -> PathBuf {
    workspace(id).join(PACKAGES)
}

/// The directory of logs.
pub(crate) fn logs(id: &InstanceId) -> PathBuf {
    instance(id).join("logs")
}

/// The record of what the logs lost at their beginning.
pub(crate) fn log_index(id: &InstanceId) -> PathBuf {
    instance(id).join("log-index")
}

/// The log of one stream's first run.
pub(crate) fn log(id: &InstanceId, stream: wire::v1::LogStream) -> PathBuf {
    logs(id).join(stream.as_str())
}

/// Where operations lie.
pub(crate) fn operations() -> PathBuf {
    "operations".into()
}

/// One operation.
pub(crate) fn operation(id: OperationId) -> PathBuf {
    operations().join(id.to_string())
}

/// What is true within some boot.
pub(crate) fn runs() -> PathBuf {
    "run".into()
}

/// What is true within this boot.
pub(crate) fn run(boot: &str) -> PathBuf {
    runs().join(boot)
}

/// What is true of one instance within this boot.
pub(crate) fn observed(boot: &str, id: &InstanceId) -> PathBuf {
    run(boot).join(format!("{}.{}.{}", id.installation.title, id.installation.number, id.number))
}

/// The socket that an instance's program notifies its node through.
pub(crate) fn notify(boot: &str, id: &InstanceId) -> PathBuf {
    run(boot)
        .join(format!("{}.{}.{}.notify", id.installation.title, id.installation.number, id.number))
}

/// The name that a partly received blob has in `staging/`.
pub(crate) fn partial(digest: &Digest) -> String {
    format!("{PARTIAL}{}", digest.hex())
}

/// Where it lies.
pub(crate) fn partial_path(digest: &Digest) -> PathBuf {
    Path::new("staging").join(partial(digest))
}

/// The digest of the partly received blob that has this name in `staging/`.
pub(crate) fn partial_digest(name: &str) -> Option<Digest> {
    digest(name.strip_prefix(PARTIAL)?)
}

/// Where a relative link in `directory` leads, by its words alone: these links are ours and climb over no
/// others.
pub(crate) fn resolve(directory: &Path, target: &Path) -> PathBuf {
    use std::path::Component;
    let mut path = directory.to_owned();
    for component in target.components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
    }
    path
}

/// The path of `to` as a relative link in the directory `from` has it; both are paths of the tree.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    let down = to.components().skip(shared);
    up.map(Path::to_path_buf).chain(down.map(|c| PathBuf::from(c.as_os_str()))).collect()
}

/// A package's file name beside its media info: the version's `pkg/<name>`.
pub(crate) fn pkg(name: &PackageName) -> PathBuf {
    Path::new("pkg").join(name.as_str())
}

/// The media info beside it.
pub(crate) fn pkg_info(name: &PackageName) -> PathBuf {
    Path::new("pkg").join(format!("{name}.__info"))
}

/// A package as programs see it, in a version's directory.
pub(crate) fn package(name: &PackageName) -> PathBuf {
    Path::new(PACKAGES).join(name.as_str())
}

/// A blob's key is its digest.
pub(crate) fn key(digest: &Digest) -> Key {
    Key(*digest.as_bytes())
}

/// Names within a version's directory.
pub(crate) const BIN: &str = "bin";
/// The envelope as it was published.
pub(crate) const ENVELOPE: &str = "envelope";
/// The link to the version before.
pub(crate) const PREVIOUS: &str = "previous";
/// Packages as programs see them.
pub(crate) const PACKAGES: &str = "packages";
/// An instance's own copies of packages.
pub(crate) const WRITABLE: &str = "writable";
/// How the names of partly received blobs begin.
pub(crate) const PARTIAL: &str = "receive-";

/// Name of a version's directory: the number of the version within its installation, and its SemVer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct VersionName {
    /// From 1, counted up, never used again within the installation.
    pub(crate) number: u32,
    /// What the envelope says.
    pub(crate) version: Version,
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.version)
    }
}

impl FromStr for VersionName {
    type Err = NoVersionName;
    fn from_str(text: &str) -> Result<Self, NoVersionName> {
        let (number, version) = text.split_once('-').ok_or(NoVersionName)?;
        let parsed = VersionName {
            number: number.parse().map_err(|_| NoVersionName)?,
            version: Version::parse(version).map_err(|_| NoVersionName)?,
        };
        (parsed.to_string() == text).then_some(parsed).ok_or(NoVersionName)
    }
}

/// Name of an instance's own copy of a package: the package, the number of the version that it was made
/// for, and which of that version's copies it is, where there was more than one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CopyName {
    package: PackageName,
    version: u32,
    /// From 1.
    ordinal: u32,
}

impl CopyName {
    /// The first copy of this package for this version.
    pub(crate) fn new(package: PackageName, version: u32) -> CopyName {
        CopyName { package, version, ordinal: 1 }
    }

    /// The next copy for the same version.
    pub(crate) fn next(&self) -> CopyName {
        CopyName { ordinal: self.ordinal.saturating_add(1), ..self.clone() }
    }

    /// Of which package.
    pub(crate) fn package(&self) -> &PackageName {
        &self.package
    }

    /// The number of the version that it was made for.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }
}

/// A package's name may have dots in it, what follows the last one has none.
impl fmt::Display for CopyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CopyName { package, version, ordinal } = self;
        match ordinal {
            1 => write!(f, "{package}.{version}"),
            _ => write!(f, "{package}.{version}-{ordinal}"),
        }
    }
}

impl FromStr for CopyName {
    type Err = NoCopyName;
    fn from_str(text: &str) -> Result<Self, NoCopyName> {
        let (package, numbers) = text.rsplit_once('.').ok_or(NoCopyName)?;
        let (version, ordinal) = numbers.split_once('-').unwrap_or((numbers, "1"));
        let parsed = CopyName {
            package: package.parse().map_err(|_| NoCopyName)?,
            version: version.parse().map_err(|_| NoCopyName)?,
            ordinal: ordinal.parse().map_err(|_| NoCopyName)?,
        };
        (parsed.to_string() == text).then_some(parsed).ok_or(NoCopyName)
    }
}

/// A text that names no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`PACKAGE.N` or `PACKAGE.N-M` is wanted")]
pub(crate) struct NoCopyName;

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(VersionName, CopyName);

/// A text that names no version's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`N-SEMVER` is wanted")]
pub(crate) struct NoVersionName;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_lead_from_where_they_are_to_where_the_thing_is() {
        for (from, to, link) in
            [("a/b", "a/c/d", "../c/d"), ("a/b/c", "s/t", "../../../s/t"), ("a", "a/b", "b")]
        {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(link));
        }
    }

    #[test]
    fn links_are_resolved_by_their_words() {
        assert_eq!(resolve(Path::new("a/b/c"), Path::new("../../x/y")), Path::new("a/x/y"));
        assert_eq!(resolve(Path::new("a"), Path::new("b")), Path::new("a/b"));
    }

    #[test]
    fn a_link_to_the_files_of_a_tree_names_the_tree_and_no_other_does() {
        let digest = Digest::of(b"");
        let name = format!("{}.tar-gzip.1", digest.hex());
        let files = tree_named(&digest, &name).join(unpacker::FILES);
        let link = relative(Path::new("apps/a/b/packages"), &files);
        assert_eq!(tree_name(&resolve(Path::new("apps/a/b/packages"), &link)), Some(name.clone()));
        assert_eq!(tree_digest(&name), Some(digest));
        for other in
            ["store/trees/aa", "store/trees/aa/key", "store/trees/aa/key/manifest", "pkg/x"]
        {
            assert_eq!(tree_name(Path::new(other)), None, "{other}");
        }
        assert_eq!(tree_name(&files.join("deeper")), None);
        assert_eq!(partial_digest(&partial(&digest)), Some(digest));
        assert!(tree_digest("lost+found").is_none() && partial_digest(".7-1").is_none());
    }

    #[test]
    fn two_titles_never_share_a_directory_and_every_path_stays_in_the_tree() {
        let id = |text: &str| text.parse::<InstanceId>().unwrap();
        assert_ne!(app(&id("a/1/1").installation.title), app(&id("b/1/1").installation.title));
        let path = workspace_packages(&id("weather/1/2"));
        assert!(
            path.is_relative()
                && path.ends_with("installation-1/instances/instance-2/root/packages")
        );
    }

    proptest! {
        #[test]
        fn a_version_name_prints_and_parses_to_itself(n in 1u32.., v in "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(-[a-z]{1,4})?(\\+[a-z0-9]{1,4})?") {
            if let Ok(version) = Version::parse(&v) {
                let name = VersionName { number: n, version };
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }

        #[test]
        fn a_copy_name_prints_and_parses_to_itself(
            package in "[a-c1-2.-]{1,6}", version: u32, again in 0u8..3,
        ) {
            if let Ok(package) = package.parse() {
                let first = CopyName::new(package, version);
                let name = (0..again).fold(first, |name, _| name.next());
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }

        #[test]
        fn arbitrary_directory_names_never_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<VersionName>();
            let _ = text.parse::<CopyName>();
        }
    }
}
