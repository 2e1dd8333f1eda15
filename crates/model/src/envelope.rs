//! Envelopes: what it takes to run one version of an application on one profile. Owns what an envelope
//! says and how two of them differ; refuses to know how one is written (`wire`) or kept (the application
//! repository's catalog, the node's `layout.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use semver::Version;

use crate::digest::Digest;
use crate::media::MediaInfo;
use crate::name::{AppName, ObjectName, PackageName, Profile, Title};
use crate::policy::Policies;
use crate::restart::RestartPolicy;
use crate::string_form::string_form;

/// One version of an application for one profile. Immutable once published: a later one has a higher
/// version.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The name that it is published under.
    pub application: AppName,
    /// Its version.
    pub version: Version,
    /// The profile that it is for.
    pub profile: Profile,
    /// What its installations are grouped by.
    pub title: Title,
    /// What is run.
    pub program: Program,
    /// Arguments of the program, without its name.
    pub args: Vec<String>,
    /// Environment of the program, on top of what the node gives.
    pub env: BTreeMap<EnvName, String>,
    /// What is installed under `packages/` before the program starts.
    pub packages: BTreeMap<PackageName, Pin>,
    /// What happens when the program ends.
    pub restart: RestartPolicy,
    /// What else it wants of whoever runs it.
    pub policies: Policies,
}

/// What is run.
#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// An object, run as it is.
    Object(Pin),
    /// A file inside one of the envelope's packages.
    InPackage {
        /// The package.
        package: PackageName,
        /// The file in it.
        path: InnerPath,
    },
}

/// One object, pinned: a node trusts the digest, not the name.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// Where the repository has it.
    pub object: ObjectName,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// What the bytes are; it decides how the package is unpacked.
    pub media: MediaInfo,
    /// What unpacking it takes, if the publisher measured it.
    pub measured: Option<Measured>,
    /// Whether every instance has a copy of its own that it may change; `false` for a program.
    pub writable: bool,
}

/// What unpacking an archive takes, as the publisher measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes in all files together.
    pub unpacked_bytes: u64,
    /// Bytes in the largest file.
    pub largest_file: u64,
    /// Files, directories and links, implied directories included.
    pub inodes: u64,
    /// Bytes in the longest path.
    pub deepest_path: u32,
    /// Bytes that the tree takes on a file system with blocks of 4 KiB.
    pub disk_bytes: u64,
    /// Bytes of history that decompression has to keep; 0 where the format has a small fixed one.
    pub window: u64,
}

impl Measured {
    /// Bytes of a block on the disk, as [`disk_bytes`](Self::disk_bytes) counts.
    pub const BLOCK: u64 = 4096;
}

/// Name of an environment variable: 1 to 255 bytes of `[A-Za-z_][A-Za-z0-9_]*`, and not one of those
/// that the node sets (`FETTLE_…`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvName(String);

/// Why a text cannot name an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot name an environment variable: letters, digits and `_` are wanted, and `FETTLE_…` is set by the node", .text.escape_debug())]
pub struct InvalidEnvName {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// Path of a file inside a package: components joined by `/`, none of them empty, `.` or `..`; at most
/// 1,024 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InnerPath(String);

/// Why a text is no path inside a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no path inside a package: components joined by `/` are wanted, without `.` and `..`", .text.escape_debug())]
pub struct InvalidInnerPath {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// One thing in which two envelopes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The title.
    Title,
    /// What is run.
    Program,
    /// The arguments.
    Args,
    /// This environment variable.
    Env(EnvName),
    /// This package.
    Package(PackageName),
    /// The restart policy.
    Restart,
    /// When it is ready.
    Ready,
    /// Whether it still works.
    Alive,
    /// How it is ended.
    Stop,
    /// What it may use.
    Limits,
    /// How much of what it prints is kept.
    Logs,
    /// What an update has to show.
    Update,
}

impl Envelope {
    /// Every object that it pins, the program first, with the local name of each package.
    pub fn pins(&self) -> impl Iterator<Item = (Option<&PackageName>, &Pin)> {
        let program = match &self.program {
            Program::Object(pin) => Some((None, pin)),
            Program::InPackage { .. } => None,
        };
        program.into_iter().chain(self.packages.iter().map(|(name, pin)| (Some(name), pin)))
    }

    /// In what another envelope of the same application, version and profile differs. Where an object's
    /// bytes lie (its name) is no difference, what they are (digest, media info) and whether instances
    /// may change them is.
    pub fn differences(&self, other: &Envelope) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut note = |differs: bool, what: Difference| {
            if differs {
                found.push(what);
            }
        };
        note(self.title != other.title, Difference::Title);
        note(!self.program.same_content(&other.program), Difference::Program);
        note(self.args != other.args, Difference::Args);
        for name in keys(&self.env, &other.env) {
            note(self.env.get(name) != other.env.get(name), Difference::Env(name.clone()));
        }
        for name in keys(&self.packages, &other.packages) {
            let same = match (self.packages.get(name), other.packages.get(name)) {
                (Some(a), Some(b)) => a.same_content(b),
                _ => false,
            };
            note(!same, Difference::Package(name.clone()));
        }
        note(self.restart != other.restart, Difference::Restart);
        let Policies { ready, alive, stop, limits, logs, update } = &self.policies;
        note(*ready != other.policies.ready, Difference::Ready);
        note(*alive != other.policies.alive, Difference::Alive);
        note(*stop != other.policies.stop, Difference::Stop);
        note(*limits != other.policies.limits, Difference::Limits);
        note(*logs != other.policies.logs, Difference::Logs);
        note(*update != other.policies.update, Difference::Update);
        found
    }
}

impl Program {
    fn same_content(&self, other: &Program) -> bool {
        match (self, other) {
            (Program::Object(a), Program::Object(b)) => a.same_content(b),
            (a, b) => a == b,
        }
    }
}

impl Pin {
    fn same_content(&self, other: &Pin) -> bool {
        self.digest == other.digest
            && self.size == other.size
            && self.media == other.media
            && self.writable == other.writable
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Title => f.write_str("the title"),
            Difference::Program => f.write_str("the program"),
            Difference::Args => f.write_str("the arguments"),
            Difference::Env(name) => write!(f, "the variable `{name}`"),
            Difference::Package(name) => write!(f, "the package `{name}`"),
            Difference::Restart => f.write_str("the restart policy"),
            Difference::Ready => f.write_str("the readiness"),
            Difference::Alive => f.write_str("the liveness"),
            Difference::Stop => f.write_str("the stop policy"),
            Difference::Limits => f.write_str("the limits"),
            Difference::Logs => f.write_str("the budget of logs"),
            Difference::Update => f.write_str("the probation of updates"),
        }
    }
}

impl EnvName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnvName {
    type Err = InvalidEnvName;
    fn from_str(text: &str) -> Result<Self, InvalidEnvName> {
        let word = |b: u8| b == b'_' || b.is_ascii_alphanumeric();
        let legal = text.bytes().all(word)
            && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
            && text.len() <= 255
            && !text.starts_with("FETTLE_");
        let refusal = || InvalidEnvName { text: text.chars().take(80).collect() };
        legal.then(|| EnvName(text.to_owned())).ok_or_else(refusal)
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(EnvName);

impl InnerPath {
    /// The path, relative to the package's directory.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for InnerPath {
    type Err = InvalidInnerPath;
    fn from_str(text: &str) -> Result<Self, InvalidInnerPath> {
        let component = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        let legal = text.len() <= 1024
            && !text.chars().any(char::is_control)
            && text.split('/').all(component);
        let refusal = || InvalidInnerPath { text: text.chars().take(80).collect() };
        legal.then(|| InnerPath(text.to_owned())).ok_or_else(refusal)
    }
}

impl fmt::Display for InnerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(InnerPath);

/// The keys of both maps, in order, each once.
fn keys<'a, K: Ord, V>(
    a: &'a BTreeMap<K, V>,
    b: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    a.keys().chain(b.keys()).collect::<std::collections::BTreeSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(bytes: &[u8]) -> Pin {
        Pin {
            object: "o".parse().unwrap(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            media: MediaInfo::from_file_name("a.tar"),
            measured: None,
            writable: false,
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            application: "demo/weather".parse().unwrap(),
            version: Version::new(1, 0, 0),
            profile: Profile::any(),
            title: "weather".parse().unwrap(),
            program: Program::Object(pin(b"program")),
            args: vec!["--fast".into()],
            env: [("LANG".parse().unwrap(), "C".to_owned())].into(),
            packages: [("model".parse().unwrap(), pin(b"model"))].into(),
            restart: RestartPolicy::default(),
            policies: Policies::default(),
        }
    }

    #[test]
    fn where_the_bytes_lie_is_no_difference_but_what_they_are_is() {
        let mut other = envelope();
        let name: PackageName = "model".parse().unwrap();
        other.packages.get_mut(&name).unwrap().object = "elsewhere".parse().unwrap();
        assert_eq!(envelope().differences(&other), []);
        other.packages.get_mut(&name).unwrap().media = MediaInfo::from_file_name("a.zip");
        assert_eq!(envelope().differences(&other), [Difference::Package(name)]);
    }

    #[test]
    fn whether_instances_may_change_a_package_is_a_difference() {
        let mut other = envelope();
        let name: PackageName = "model".parse().unwrap();
        other.packages.get_mut(&name).unwrap().writable = true;
        assert_eq!(envelope().differences(&other), [Difference::Package(name)]);
    }

    #[test]
    fn every_policy_that_differs_is_named() {
        use crate::policy::{AliveKeys, LimitKeys, LogKeys, ReadyKeys, StopKeys, UpdateKeys};
        let tcp = || "80".parse().ok();
        let other = Envelope {
            restart: RestartPolicy { limit: 9, ..RestartPolicy::default() },
            policies: Policies {
                ready: ReadyKeys { tcp: tcp(), ..Default::default() }.policy().ok(),
                alive: AliveKeys { tcp: tcp(), ..Default::default() }.policy().ok(),
                stop: StopKeys { signal: "SIGINT".parse().ok(), ..Default::default() }
                    .policy()
                    .unwrap(),
                limits: LimitKeys { tasks: Some(1), ..Default::default() }.policy().unwrap(),
                logs: LogKeys { budget: "1MiB".parse().ok() }.policy().unwrap(),
                update: UpdateKeys { probation: "1s".parse().ok() }.policy().unwrap(),
            },
            ..envelope()
        };
        use Difference::{Alive, Limits, Logs, Ready, Restart, Stop, Update};
        let all = [Restart, Ready, Alive, Stop, Limits, Logs, Update];
        assert_eq!(envelope().differences(&other), all);
        assert_eq!(other.differences(&envelope()), all);
        assert_eq!(other.differences(&other), []);
    }

    #[test]
    fn every_difference_is_named_once() {
        let mut other = envelope();
        other.title = "other".parse().unwrap();
        other.program = Program::InPackage {
            package: "model".parse().unwrap(),
            path: "bin/run".parse().unwrap(),
        };
        other.args.clear();
        other.env = [("TZ".parse().unwrap(), "UTC".to_owned())].into();
        other.packages.insert("more".parse().unwrap(), pin(b"more"));
        let named: Vec<String> =
            envelope().differences(&other).iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            [
                "the title",
                "the program",
                "the arguments",
                "the variable `LANG`",
                "the variable `TZ`",
                "the package `more`"
            ]
        );
    }

    #[test]
    fn variables_of_the_node_and_words_that_no_shell_takes_are_refused() {
        for bad in ["", "1A", "A-B", "A=B", "FETTLE_TITLE", "Ä", "A\0"] {
            assert!(bad.parse::<EnvName>().is_err(), "{bad}");
        }
        assert!("_LD_PATH9".parse::<EnvName>().is_ok());
    }

    #[test]
    fn a_path_inside_a_package_cannot_climb() {
        for bad in ["", "/bin/sh", "../x", "a/../b", "a//b", "./a", "a/", "a\nb"] {
            assert!(bad.parse::<InnerPath>().is_err(), "{bad}");
        }
        assert_eq!(
            "bin/weather.sh".parse::<InnerPath>().unwrap().as_path(),
            Path::new("bin/weather.sh")
        );
    }
}
