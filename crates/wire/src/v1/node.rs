//! Bodies of the node manager.

use std::collections::BTreeMap;

use model::lifecycle::{Desired, InstanceState, OperationState};
use model::{
    Caller, EnvName, ExitStatus, InstallationId, InstanceId, ObjectName, OperationId, PackageName,
    Profile, Reference, Timestamp, Title, Version,
};
use serde::{Deserialize, Serialize};

use super::application::PinBody;
use super::store::{CollectedBody, RepairedBody, VerifiedBody};
use crate::problem::ErrorBody;

/// An instance, as `ps` and `status` print it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceBody {
    /// Its name.
    pub instance: InstanceId,
    /// What it is an instance of.
    pub installation: InstallationId,
    /// The application's title.
    pub title: Title,
    /// The version that it is on.
    pub version: Version,
    /// What is true of it.
    pub state: InstanceState,
    /// What should be.
    pub desired: Desired,
    /// Its process.
    pub pid: Option<u32>,
    /// Restarts since it was last started by somebody.
    pub restarts: u32,
    /// How its last process ended.
    pub exit: Option<ExitBody>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Since when it is ready; `null` while it is not.
    #[serde(default)]
    pub ready: Option<Timestamp>,
    /// What its program last said of itself (`STATUS=` of sd_notify(3)).
    #[serde(default)]
    pub status: Option<String>,
    /// The probation that its version is in.
    #[serde(default)]
    pub probation: Option<ProbationBody>,
    /// Versions that it was moved to and that failed there.
    #[serde(default)]
    pub rejected: Vec<RejectedBody>,
    /// Why it is `failed` or in `backoff`.
    #[serde(default)]
    pub reason: Option<String>,
    /// When its next start is due.
    #[serde(default)]
    pub next: Option<Timestamp>,
    /// Who made it.
    pub created_by: Caller,
}

/// A version that has to show that it works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbationBody {
    /// The version that comes back if it does not.
    pub version_before: Version,
    /// Seconds that it still has to run well.
    pub remaining: f64,
}

/// A version that failed its probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedBody {
    /// Which.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExitBody {
    /// By itself.
    Code {
        /// Exit code.
        code: i32,
        /// When.
        at: Timestamp,
    },
    /// By a signal.
    Signal {
        /// Signal number.
        signal: i32,
        /// When.
        at: Timestamp,
    },
    /// The kernel could not tell any more.
    Unknown {
        /// Why not.
        unknown: String,
        /// When it was noticed.
        at: Timestamp,
    },
}

/// An installation, as `status` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstallationBody {
    /// Its name.
    pub installation: InstallationId,
    /// The application's title.
    pub title: Title,
    /// Where it came from.
    pub origin: OriginBody,
    /// The current version.
    pub version: Version,
    /// The version before; `revert` goes there.
    pub previous: Option<Version>,
    /// What was asked for beyond the envelope.
    pub overrides: OverridesBody,
    /// Its instances.
    pub instances: Vec<InstanceId>,
    /// Who made it.
    pub created_by: Caller,
}

/// Where an installation came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginBody {
    /// The repository's URL.
    pub server: String,
    /// The reference as it was given.
    pub reference: Reference,
    /// The profile that matched.
    pub profile: Profile,
}

/// What was asked for beyond the envelope; it lasts over updates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OverridesBody {
    /// Variables that replace or add to the envelope's.
    pub env: BTreeMap<EnvName, String>,
    /// Arguments after the envelope's.
    pub args: Vec<String>,
    /// Packages that replace or add to the envelope's, pinned when the application was installed.
    pub packages: BTreeMap<PackageName, PinBody>,
}

/// Wants an application installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallRequest {
    /// Which application and versions.
    pub reference: Reference,
    /// The repository's URL; the node's own if it is missing.
    #[serde(default)]
    pub server: Option<String>,
    /// Variables beyond the envelope's.
    #[serde(default)]
    pub env: BTreeMap<EnvName, String>,
    /// Arguments after the envelope's.
    #[serde(default)]
    pub args: Vec<String>,
    /// Packages beyond the envelope's: local name to object.
    #[serde(default)]
    pub packages: BTreeMap<PackageName, ObjectName>,
    /// Make an instance and start it?
    #[serde(default)]
    pub start: bool,
}

/// Names an installation or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameRequest {
    /// `TITLE/N` or `TITLE/N/M`.
    pub name: String,
}

/// Wants an instance made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Of this installation.
    pub installation: InstallationId,
    /// Start it too?
    #[serde(default)]
    pub start: bool,
}

/// Wants an instance stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Which.
    pub name: String,
    /// Seconds between SIGTERM and SIGKILL; 10 if it is missing.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// Wants an instance removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// Which.
    pub name: String,
    /// Stop it first if it runs?
    #[serde(default)]
    pub stop: bool,
}

/// Wants an installation or instance moved to another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateRequest {
    /// Which.
    pub name: String,
    /// Another reference than the one that it was installed by. Installations only.
    #[serde(default)]
    pub to: Option<Reference>,
    /// Begin with new copies of writable packages? Instances only.
    #[serde(default)]
    pub fresh_packages: bool,
    /// Also to a version that was rejected? Instances only.
    #[serde(default)]
    pub again: bool,
}

/// Wants an installation or instance moved back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertRequest {
    /// Which.
    pub name: String,
    /// Begin with new copies of writable packages? Instances only.
    #[serde(default)]
    pub fresh_packages: bool,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationBody {
    /// Its id.
    pub operation: OperationId,
    /// What was asked for.
    pub kind: OperationKind,
    /// On which thing: an installation, an instance, or the reference of an install.
    pub target: String,
    /// How far it is.
    pub state: OperationState,
    /// What it is doing, in words.
    pub phase: String,
    /// Bytes moved.
    pub bytes_done: u64,
    /// Bytes to move; `null` while that is unknown.
    pub bytes_total: Option<u64>,
    /// When it was asked for.
    pub started: Timestamp,
    /// When it last came further.
    pub progressed: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
    /// What it gave.
    pub result: Option<OperationResult>,
    /// What was left out or is worth knowing.
    pub notes: Vec<String>,
    /// What it waits for, once it has not come further for a while.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Counts up with every change; a client waits for a higher one.
    pub revision: u64,
    /// Who asked for it.
    pub created_by: Caller,
}

/// What an operation was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is the command of its name")]
pub enum OperationKind {
    Install,
    Uninstall,
    Create,
    Start,
    Stop,
    Restart,
    Pause,
    Resume,
    Delete,
    Update,
    Revert,
    StoreGc,
    StoreVerify,
    StoreRepair,
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationResult {
    /// An application was installed.
    Installed(InstalledBody),
    /// An installation, as it is now (or last was).
    Installation(InstallationBody),
    /// An instance, as it is now (or last was).
    Instance(InstanceBody),
    /// What was collected.
    Collected(CollectedBody),
    /// What a look at the whole store gave.
    Verified(VerifiedBody),
    /// What mending it gave.
    Repaired(RepairedBody),
}

/// What an install gave, as the command prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledBody {
    /// The operation.
    pub operation: OperationId,
    /// The installation.
    pub installation: InstallationId,
    /// The application's title.
    pub title: Title,
    /// The version.
    pub version: Version,
    /// The instance, if one was asked for.
    pub instance: Option<InstanceId>,
}

/// How to wait for news of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitQuery {
    /// Answer when the revision is higher than this, when it has ended, or after half a minute. Whoever wants
    /// to hear of the end alone says the highest number.
    pub after: Option<u64>,
}

/// Which stream of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is the stream of its name")]
pub enum LogStream {
    Stdout,
    Stderr,
}

/// Which lines of a log, and whether to wait for more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsQuery {
    /// Standard output if it is missing.
    pub stream: Option<LogStream>,
    /// From this byte of the stream; from its beginning if it is missing.
    pub offset: Option<u64>,
    /// This many lines from the end on. Not together with `offset` or `since`.
    pub tail: Option<u64>,
    /// All that was printed since then, and rather more than less: lines have no times, the node notes now and
    /// then how far a stream had come. Not together with `offset` or `tail`.
    pub since: Option<Timestamp>,
    /// Go on with what comes?
    #[serde(default)]
    pub follow: bool,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Whose.
    pub instance: InstanceId,
    /// Which stream.
    pub stream: LogStream,
    /// Where in the stream it begins, in bytes over all runs.
    pub offset: u64,
    /// The line without its line feed; bytes that are no UTF-8 are replaced.
    pub line: String,
    /// Bytes right before this line that are gone, because the log was over its budget; absent if none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// With the first line, where `since` was asked for: everything that was printed from this time on
    /// follows. Absent if the node knows no such time, and everything that is there follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl ExitBody {
    /// The end as it is written.
    pub fn from_model(exit: &ExitStatus, at: Timestamp) -> ExitBody {
        match exit {
            ExitStatus::Code(code) => ExitBody::Code { code: *code, at },
            ExitStatus::Signal(signal) => ExitBody::Signal { signal: *signal, at },
            ExitStatus::Unknown(unknown) => ExitBody::Unknown { unknown: unknown.clone(), at },
        }
    }

    /// The end that this says.
    pub fn to_model(&self) -> (ExitStatus, Timestamp) {
        match self {
            ExitBody::Code { code, at } => (ExitStatus::Code(*code), *at),
            ExitBody::Signal { signal, at } => (ExitStatus::Signal(*signal), *at),
            ExitBody::Unknown { unknown, at } => (ExitStatus::Unknown(unknown.clone()), *at),
        }
    }
}

impl OperationKind {
    /// The command's word.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Install => "install",
            OperationKind::Uninstall => "uninstall",
            OperationKind::Create => "create",
            OperationKind::Start => "start",
            OperationKind::Stop => "stop",
            OperationKind::Restart => "restart",
            OperationKind::Pause => "pause",
            OperationKind::Resume => "resume",
            OperationKind::Delete => "delete",
            OperationKind::Update => "update",
            OperationKind::Revert => "revert",
            OperationKind::StoreGc => "store-gc",
            OperationKind::StoreVerify => "store-verify",
            OperationKind::StoreRepair => "store-repair",
        }
    }
}

impl std::fmt::Display for OperationKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LogStream {
    /// The stream's word.
    pub fn as_str(self) -> &'static str {
        match self {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        }
    }
}
