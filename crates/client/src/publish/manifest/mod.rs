//! The manifest: what a publisher writes down about one version of an application. TOML, read once into
//! types that are legal by themselves; every refusal says where in the text. Owns what the text means;
//! refuses to look at the files that it names.

mod policies;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use model::policy::{Policies, PolicyFault};
use model::{
    AppName, EnvName, InnerPath, ObjectName, PackageName, Profile, RestartOn, RestartPolicy, Span,
    Title, Version,
};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;
use wire::{Code, ErrorBody};

use self::policies::{RawAlive, RawLimits, RawLogs, RawPolicies, RawReady, RawStop, RawUpdate};

/// What a publisher wrote down about one version of an application.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What installations of it are grouped by.
    pub title: Title,
    /// Where it is published.
    pub name: AppName,
    /// Its version.
    pub version: Version,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Environment of the program.
    pub env: BTreeMap<EnvName, String>,
    /// What is run on each profile; at least one.
    pub programs: BTreeMap<Profile, ProgramSource>,
    /// What is installed beside it.
    pub packages: BTreeMap<PackageName, PackageEntry>,
    /// What happens when the program ends.
    pub restart: RestartPolicy,
    /// What else it wants of whoever runs it.
    pub policies: Policies,
}

/// Where a program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSource {
    /// A file of this machine.
    File(PathBuf),
    /// A file inside one of the packages.
    InPackage {
        /// The package.
        package: PackageName,
        /// The file in it.
        path: InnerPath,
    },
}

/// A package, as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// Where it comes from.
    pub source: PackageSource,
    /// Whether every instance has a copy of its own that it may change.
    pub writable: bool,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageSource {
    /// A file or directory of this machine.
    Path(PathBuf),
    /// An object that is already in the repository.
    Object(ObjectName),
}

/// A manifest was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest `{}` cannot be read", .path.display())]
    Read {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something that makes no sense.
    #[error("the manifest `{}` is wrong{}", .path.display(), Place(*.at))]
    Wrong {
        /// Where it lies.
        path: PathBuf,
        /// Where in the text.
        at: Option<Position>,
        /// What is wrong.
        source: ManifestFault,
    },
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// No TOML, an unknown or missing key, or a value that is not legal there.
    #[error(transparent)]
    Toml(TomlFault),
    /// More bytes than any manifest needs.
    #[error("it is larger than {MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8.
    #[error("it is no text in UTF-8")]
    NotText,
    /// A package comes from nowhere, or from two places.
    #[error("the package `{package}` wants either `path` or `object`")]
    PackageSource {
        /// Which.
        package: PackageName,
    },
    /// Nothing is run.
    #[error("`[program]` names no program")]
    NoProgram,
    /// A program in a package that is not there.
    #[error("there is no package `{package}` for the program to be in")]
    NoSuchPackage {
        /// The package.
        package: PackageName,
    },
    /// A path without a name.
    #[error("the path is empty")]
    EmptyPath,
    /// A text that no process can be given.
    #[error("{what} has a NUL character")]
    Nul {
        /// Which one.
        what: String,
    },
    /// Not three numbers, and perhaps more.
    #[error("`{text}` is no version: three numbers are wanted, as in `1.4.0`")]
    Version {
        /// As it was given.
        text: String,
    },
    /// A version that cannot be part of a file name.
    #[error("the version is longer than {VERSION_BYTES} characters")]
    LongVersion,
    /// Keys of a policy that are none.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
}

/// What the TOML reader says, without the excerpt that it draws.
#[derive(Debug, Clone, PartialEq)]
pub struct TomlFault(Box<toml::de::Error>);

impl Manifest {
    /// Reads the manifest at `path`. Relative paths in it start at its directory.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(path: &Path) -> Result<Manifest, ManifestError> {
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(MANIFEST_BYTES + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes =
            read().map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        let wrong = |(at, source)| ManifestError::Wrong { path: path.to_owned(), at, source };
        if bytes.len() as u64 > MANIFEST_BYTES {
            return Err(wrong((None, ManifestFault::TooLarge)));
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| wrong((None, ManifestFault::NotText)))?;
        Manifest::parse(text, path.parent().unwrap_or(Path::new(""))).map_err(wrong)
    }

    /// Reads the text of a manifest whose relative paths start at `dir`.
    ///
    /// # Errors
    /// What is wrong, and where in the text.
    pub fn parse(text: &str, dir: &Path) -> Result<Manifest, (Option<Position>, ManifestFault)> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| Position::of(text, span.start));
            (at, ManifestFault::Toml(TomlFault(Box::new(error))))
        })?;
        raw.check(dir).map_err(|(at, fault)| {
            let at = match &fault {
                ManifestFault::Policy(fault) => policies::place(text, fault.key()),
                _ => Some(at),
            };
            (at.map(|at| Position::of(text, at)), fault)
        })
    }
}

impl ManifestError {
    /// Which kind of refusal this is.
    pub fn code(&self) -> Code {
        match self {
            ManifestError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Code::NotFound
            }
            ManifestError::Read { .. } => Code::Internal,
            ManifestError::Wrong { .. } => Code::BadManifest,
        }
    }

    /// The refusal as the command line prints it.
    pub fn to_body(&self) -> ErrorBody {
        ErrorBody::from_error(self.code(), self)
    }
}

impl Position {
    fn of(text: &str, offset: usize) -> Position {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count();
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        Position { line: line + 1, column: column + 1 }
    }
}

/// `, line 3, column 8`, or nothing.
struct Place(Option<Position>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Position { line, column }) => write!(f, ", line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TomlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

/// Without a source: what the reader says is all there is to say.
impl std::error::Error for TomlFault {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    title: Title,
    name: AppName,
    version: Spanned<String>,
    #[serde(default)]
    args: Vec<Spanned<String>>,
    #[serde(default)]
    env: BTreeMap<EnvName, Spanned<String>>,
    program: Spanned<BTreeMap<Profile, Spanned<RawProgram>>>,
    #[serde(default)]
    packages: BTreeMap<PackageName, Spanned<RawPackage>>,
    #[serde(default)]
    restart: RawRestart,
    ready: Option<RawReady>,
    alive: Option<RawAlive>,
    #[serde(default)]
    stop: RawStop,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    logs: RawLogs,
    #[serde(default)]
    update: RawUpdate,
}

enum RawProgram {
    Path(String),
    InPackage(RawInPackage),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInPackage {
    package: PackageName,
    path: InnerPath,
}

enum RawPackage {
    Path(String),
    Table(RawPackageTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackageTable {
    path: Option<String>,
    object: Option<ObjectName>,
    #[serde(default)]
    writable: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRestart {
    on: Option<RawRestartOn>,
    limit: Option<u32>,
    window: Option<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawRestartOn {
    Failure,
    Always,
    Never,
}

impl RawManifest {
    /// What the types of the fields cannot say; a refusal says at which byte of the text.
    fn check(self, dir: &Path) -> Result<Manifest, (usize, ManifestFault)> {
        let at = self.version.span().start;
        let text = self.version.into_inner();
        if text.len() > VERSION_BYTES {
            return Err((at, ManifestFault::LongVersion));
        }
        let version = Version::parse(&text).map_err(|_| (at, ManifestFault::Version { text }))?;
        let mut args = Vec::with_capacity(self.args.len());
        for (number, arg) in (1..).zip(self.args) {
            args.push(no_nul(arg, || format!("argument {number}"))?);
        }
        let mut env = BTreeMap::new();
        for (name, value) in self.env {
            let value = no_nul(value, || format!("the variable `{name}`"))?;
            env.insert(name, value);
        }
        let mut packages = BTreeMap::new();
        for (name, source) in self.packages {
            let at = source.span().start;
            let entry = match source.into_inner() {
                RawPackage::Path(path) => {
                    let source = PackageSource::Path(local(dir, &path, at)?);
                    PackageEntry { source, writable: false }
                }
                RawPackage::Table(RawPackageTable { path, object, writable }) => {
                    let source = match (path, object) {
                        (Some(path), None) => PackageSource::Path(local(dir, &path, at)?),
                        (None, Some(object)) => PackageSource::Object(object),
                        _ => return Err((at, ManifestFault::PackageSource { package: name })),
                    };
                    PackageEntry { source, writable }
                }
            };
            packages.insert(name, entry);
        }
        if self.program.get_ref().is_empty() {
            return Err((self.program.span().start, ManifestFault::NoProgram));
        }
        let mut programs = BTreeMap::new();
        for (profile, source) in self.program.into_inner() {
            let at = source.span().start;
            let source = match source.into_inner() {
                RawProgram::Path(path) => ProgramSource::File(local(dir, &path, at)?),
                RawProgram::InPackage(RawInPackage { package, path }) => {
                    if !packages.contains_key(&package) {
                        return Err((at, ManifestFault::NoSuchPackage { package }));
                    }
                    ProgramSource::InPackage { package, path }
                }
            };
            programs.insert(profile, source);
        }
        let RawManifest { title, name, restart, .. } = self;
        let policies = RawPolicies {
            ready: self.ready,
            alive: self.alive,
            stop: self.stop,
            limits: self.limits,
            logs: self.logs,
            update: self.update,
        };
        // Where a policy is wrong is looked up by its key: see `Manifest::parse`.
        let policies = policies.policies().map_err(|fault| (0, ManifestFault::Policy(fault)))?;
        let restart = restart.policy();
        Ok(Manifest { title, name, version, args, env, programs, packages, restart, policies })
    }
}

impl RawRestart {
    fn policy(self) -> RestartPolicy {
        let usual = RestartPolicy::default();
        RestartPolicy {
            on: match self.on {
                None => usual.on,
                Some(RawRestartOn::Failure) => RestartOn::Failure,
                Some(RawRestartOn::Always) => RestartOn::Always,
                Some(RawRestartOn::Never) => RestartOn::Never,
            },
            limit: self.limit.unwrap_or(usual.limit),
            window: self.window.unwrap_or(usual.window),
        }
    }
}

/// By hand, so that a refusal says what is wrong with the table and not that nothing fits.
impl<'de> Deserialize<'de> for RawProgram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a path, or a table with `package` and `path`";
        let read = deserializer.deserialize_any(PathOr::<RawInPackage>(wanted, None))?;
        Ok(match read {
            Read::Path(path) => RawProgram::Path(path),
            Read::Table(table) => RawProgram::InPackage(table),
        })
    }
}

impl<'de> Deserialize<'de> for RawPackage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a path, or a table with `path` or `object`";
        let read = deserializer.deserialize_any(PathOr::<RawPackageTable>(wanted, None))?;
        Ok(match read {
            Read::Path(path) => RawPackage::Path(path),
            Read::Table(table) => RawPackage::Table(table),
        })
    }
}

/// Reads a text, or a table of type `T`.
struct PathOr<T>(&'static str, Option<T>);

enum Read<T> {
    Path(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for PathOr<T> {
    type Value = Read<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Read<T>, E> {
        Ok(Read::Path(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Read::Table)
    }
}

fn no_nul(
    text: Spanned<String>,
    what: impl FnOnce() -> String,
) -> Result<String, (usize, ManifestFault)> {
    if text.get_ref().contains('\0') {
        return Err((text.span().start, ManifestFault::Nul { what: what() }));
    }
    Ok(text.into_inner())
}

fn local(dir: &Path, path: &str, at: usize) -> Result<PathBuf, (usize, ManifestFault)> {
    if path.is_empty() {
        return Err((at, ManifestFault::EmptyPath));
    }
    if path.contains('\0') {
        return Err((at, ManifestFault::Nul { what: "the path".to_owned() }));
    }
    Ok(dir.join(path))
}

/// Far more than a manifest of thousands of packages has.
const MANIFEST_BYTES: u64 = 1024 * 1024;
/// A version is part of directory names on the node.
const VERSION_BYTES: usize = 128;

#[cfg(test)]
mod tests;
