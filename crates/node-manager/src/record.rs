//! The records of a node's tree: what each says, in which version. Owns their forms; refuses to know
//! where they lie (`layout`) and how they are written (`durable::record`).
//!
//! Absent, damaged and too new are different answers; none of them is ever taken for "empty".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::Disk;
use durable::record::{Read, Record, RecordError};
use model::lifecycle::{
    BootId, Desired, Ending, InstallationState, InstanceState, OperationState, Probation, Reading,
    Serving,
};
use model::{
    Caller, EnvName, InstallationId, InstanceId, LaunchId, OperationId, PackageName, Profile,
    Reference, Span, Timestamp, Title,
};
use serde::{Deserialize, Serialize};
use wire::ErrorBody;
use wire::v1::{
    CreateRequest, DeleteRequest, EnvelopeBody, ExitBody, InstallRequest, OperationKind,
    OperationResult, PinBody, RevertRequest, StopRequest, StoreRequest, UpdateRequest,
};

use crate::instance::Copies;
use crate::layout::VersionName;
use crate::logs::LogIndexRecord;

/// Why a record that must be there cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// The disk cannot tell, or cannot take it.
    #[error("cannot read or write the record `{}`", .path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: RecordError,
    },
    /// It is not there.
    #[error("the record `{}` is missing", .path.display())]
    Absent {
        /// Which.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error("the record `{}` is damaged: {why}", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// A newer fettle wrote it.
    #[error("the record `{}` has version {found}; this fettle knows up to {known}", .path.display())]
    TooNew {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}

/// Reads a record that must be there.
pub(crate) fn need<R: Record>(disk: &Disk, path: &Path) -> Result<R, Unusable> {
    find(disk, path)?.ok_or_else(|| Unusable::Absent { path: path.to_owned() })
}

/// Reads a record that may be absent; damaged and too new are errors.
pub(crate) fn find<R: Record>(disk: &Disk, path: &Path) -> Result<Option<R>, Unusable> {
    let path = path.to_owned();
    match durable::record::read(disk, &path) {
        Ok(Read::Present(record)) => Ok(Some(record)),
        Ok(Read::Absent) => Ok(None),
        Ok(Read::Damaged { why }) => Err(Unusable::Damaged { path, why: why.to_string() }),
        Ok(Read::TooNew { found, known }) => Err(Unusable::TooNew { path, found, known }),
        Err(source) => Err(Unusable::Disk { path, source }),
    }
}

/// Writes a record so that a power cut leaves the old or the new one.
pub(crate) fn write<R: Record>(disk: &Disk, path: &Path, record: &R) -> Result<(), Unusable> {
    let failed = |source| Unusable::Disk { path: path.to_owned(), source };
    durable::record::write(disk, path, record).map_err(failed)
}

macro_rules! records {
    ($($type:ident = $kind:literal $version:literal;)*) => {$(
        impl Record for $type {
            const KIND: &'static str = $kind;
            const VERSION: u32 = $version;
        }
    )*};
}

records! {
    FormatRecord = "node" 1;
    AppRecord = "app" 1;
    OriginRecord = "origin" 1;
    ConfigRecord = "config" 1;
    PackagesRecord = "packages" 1;
    StatusRecord = "status" 1;
    EnvelopeRecord = "envelope" 1;
    InstanceRecord = "instance" 1;
    ObservedRecord = "observed" 1;
    LogIndexRecord = "log-index" 1;
    OperationRecord = "operation" 1;
}

/// `format`: this is a node's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormatRecord {
    /// When the tree was made.
    pub(crate) created: Timestamp,
}

/// `apps/app-<hash>/info`. It outlives the installations: numbers are never used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    /// The title that the directory's name is a hash of.
    pub(crate) title: Title,
    /// The next installation's number.
    pub(crate) next_installation: u32,
}

/// `origin`: where an installation came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OriginRecord {
    /// The repository's URL.
    pub(crate) server: String,
    /// The reference as it was given.
    pub(crate) reference: Reference,
    /// The profile that matched.
    pub(crate) profile: Profile,
    /// When it was installed.
    pub(crate) created: Timestamp,
    /// Who asked for it.
    pub(crate) created_by: Caller,
}

/// `config`: overrides of environment and arguments; they last over updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigRecord {
    /// Variables that replace or add to the envelope's.
    pub(crate) env: BTreeMap<EnvName, String>,
    /// Arguments after the envelope's.
    pub(crate) args: Vec<String>,
}

/// `packages`: overrides of packages, pinned when the application was installed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PackagesRecord {
    /// Packages that replace or add to the envelope's.
    pub(crate) packages: BTreeMap<PackageName, PinBody>,
}

/// `status` of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusRecord {
    /// Active, or about to be removed.
    pub(crate) state: InstallationState,
    /// The next version's number.
    pub(crate) next_version: u32,
    /// The next instance's number.
    pub(crate) next_instance: u32,
}

/// `envelope` of a version, as it was published. The wire's form is the disk's: both only grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EnvelopeRecord(pub(crate) EnvelopeBody);

/// `info` of an instance: what should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    /// Should its process run?
    pub(crate) desired: Desired,
    /// Where the version that it is on stands.
    #[serde(default)]
    pub(crate) probation: ProbationRecord,
    /// The operation that began the last probation: one that goes on after a crash begins none again, also
    /// when the verdict was given meanwhile.
    #[serde(default)]
    pub(crate) trial: Option<OperationId>,
    /// Versions that it was moved to and that failed there, the last one last.
    #[serde(default)]
    pub(crate) rejected: Vec<RejectedRecord>,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Who asked for it.
    pub(crate) created_by: Caller,
}

/// What is true of an instance within this boot. Not synced: after a power cut there is another boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObservedRecord {
    /// What it was when this was written.
    pub(crate) state: InstanceState,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The launch that was asked for last. Recorded before the process is made.
    pub(crate) launch: Option<LaunchId>,
    /// Its process, once it is known.
    pub(crate) process: Option<ProcessRecord>,
    /// When the process was made.
    pub(crate) started: Option<Timestamp>,
    /// Is it asked whether it works? Then its envelope says how.
    #[serde(default)]
    pub(crate) watched: bool,
    /// Since when it is ready.
    #[serde(default)]
    pub(crate) ready: Option<Timestamp>,
    /// What it last said of itself.
    #[serde(default)]
    pub(crate) status: Option<String>,
    /// Why it is not running although it should be, or is being ended.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Who wanted the end that is under way.
    #[serde(default, with = "ending")]
    pub(crate) ending: Option<Ending>,
    /// Restarts since somebody started it.
    pub(crate) restarts: u32,
    /// Restarts within the window.
    pub(crate) attempts: u32,
    /// How long it has run since the first of them. Records of before say when that was instead.
    #[serde(default)]
    pub(crate) attempts_ran: Duration,
    /// How the last process ended.
    pub(crate) exit: Option<ExitBody>,
}

/// A [`Probation`] as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub(crate) enum ProbationRecord {
    /// Nothing has to be shown.
    #[default]
    None,
    /// It has to show that it works.
    Serving {
        /// The version that comes back if it does not.
        before: VersionName,
        /// How long.
        length: Span,
        /// How long it did, without what runs.
        served: Duration,
        /// Since when it runs well: the boot, and the time since it.
        since: Option<(BootId, Duration)>,
    },
    /// It has shown that it works.
    Passed,
    /// It does not work, and the instance is to be moved back.
    Failed {
        /// The version that comes back.
        before: VersionName,
        /// Why.
        reason: String,
    },
}

/// A version that failed its probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RejectedRecord {
    /// Which.
    pub(crate) version: VersionName,
    /// Why.
    pub(crate) reason: String,
}

impl ProbationRecord {
    /// Has something still to be shown, or to be done because it was not?
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, ProbationRecord::Serving { .. } | ProbationRecord::Failed { .. })
    }

    /// As the machine has it.
    pub(crate) fn to_model(&self) -> Probation<VersionName> {
        match self.clone() {
            ProbationRecord::None => Probation::None,
            ProbationRecord::Passed => Probation::Passed,
            ProbationRecord::Failed { before, reason } => Probation::Failed { before, reason },
            ProbationRecord::Serving { before, length, served, since } => {
                let since = since.map(|(boot, at)| Reading { boot, at });
                Probation::Serving(Serving { before, length, served, since })
            }
        }
    }

    /// From what the machine says.
    pub(crate) fn from_model(probation: Probation<VersionName>) -> ProbationRecord {
        match probation {
            Probation::None => ProbationRecord::None,
            Probation::Passed => ProbationRecord::Passed,
            Probation::Failed { before, reason } => ProbationRecord::Failed { before, reason },
            Probation::Serving(Serving { before, length, served, since }) => {
                let since = since.map(|Reading { boot, at }| (boot, at));
                ProbationRecord::Serving { before, length, served, since }
            }
        }
    }
}

/// An [`Ending`] as a word.
mod ending {
    use model::lifecycle::{Ending, Unwell};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const WORDS: [(&str, Ending); 4] = [
        ("asked", Ending::Asked),
        ("not-ready", Ending::Unwell(Unwell::NotReady)),
        ("watchdog", Ending::Unwell(Unwell::Watchdog)),
        ("not-alive", Ending::Unwell(Unwell::NotAlive)),
    ];

    pub(super) fn serialize<S: Serializer>(
        ending: &Option<Ending>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let word = |ending: &Ending| WORDS.iter().find(|(_, known)| known == ending);
        ending.as_ref().and_then(word).map(|(word, _)| *word).serialize(serializer)
    }

    /// A word of a newer fettle is no reason to lose the rest.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Ending>, D::Error> {
        let word: Option<String> = Deserialize::deserialize(deserializer)?;
        let known = |word: String| WORDS.iter().find(|(known, _)| *known == word);
        Ok(word.and_then(known).map(|(_, ending)| *ending))
    }
}

/// A process, safe from the reuse of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    /// Its number; also its group's.
    pub(crate) pid: u32,
    /// When it was made, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`.
    pub(crate) start_ticks: u64,
}

/// `operations/<id>`: a persisted request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    /// Its id.
    pub(crate) operation: OperationId,
    /// What was asked for.
    pub(crate) request: Request,
    /// Queued until the verdict; how far a running one is, memory knows.
    pub(crate) state: OperationState,
    /// When it was asked for.
    pub(crate) started: Timestamp,
    /// When it ended.
    pub(crate) ended: Option<Timestamp>,
    /// Who asked for it.
    pub(crate) created_by: Caller,
    /// What was decided on the way, so that running it again decides the same.
    pub(crate) memo: Memo,
    /// Why it failed.
    pub(crate) error: Option<ErrorBody>,
    /// What it gave.
    pub(crate) result: Option<OperationResult>,
    /// What was left out or is worth knowing.
    pub(crate) notes: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is the command of its name")]
pub(crate) enum Request {
    Install(InstallRequest),
    Uninstall(InstallationId),
    Create(CreateRequest),
    Start(InstanceId),
    Stop(InstanceId, StopRequest),
    Restart(InstanceId, StopRequest),
    Pause(InstanceId),
    Resume(InstanceId),
    Delete(InstanceId, DeleteRequest),
    Update(Target, UpdateRequest),
    Revert(Target, RevertRequest),
    StoreGc(StoreRequest),
    StoreVerify(StoreRequest),
    StoreRepair(StoreRequest),
}

/// An installation or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is the thing of its name")]
pub(crate) enum Target {
    Installation(InstallationId),
    Instance(InstanceId),
}

/// What was decided on the way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memo {
    /// The envelope that was found: large, and most operations have none.
    pub(crate) envelope: Option<Box<EnvelopeBody>>,
    /// Overrides of packages, pinned.
    pub(crate) packages: Option<BTreeMap<PackageName, PinBody>>,
    /// The installation's number.
    pub(crate) installation: Option<InstallationId>,
    /// The version's directory that is made, or that is moved to.
    pub(crate) version: Option<VersionName>,
    /// The instance's own copies of the packages of the version that it is moved to.
    #[serde(default)]
    pub(crate) copies: Copies,
    /// The instance's number.
    pub(crate) instance: Option<InstanceId>,
    /// The launch that was there before, for what must end one and make another.
    pub(crate) launch_before: Option<LaunchId>,
    /// The version that it is moved from.
    #[serde(default)]
    pub(crate) before: Option<VersionName>,
    /// Is everything done but to wait for the verdict of a probation?
    #[serde(default)]
    pub(crate) waits: bool,
    /// Was its work begun? Then what it removes may be gone already.
    pub(crate) begun: bool,
}

impl Request {
    /// The command.
    pub(crate) fn kind(&self) -> OperationKind {
        match self {
            Request::Install(_) => OperationKind::Install,
            Request::Uninstall(_) => OperationKind::Uninstall,
            Request::Create(_) => OperationKind::Create,
            Request::Start(_) => OperationKind::Start,
            Request::Stop(..) => OperationKind::Stop,
            Request::Restart(..) => OperationKind::Restart,
            Request::Pause(_) => OperationKind::Pause,
            Request::Resume(_) => OperationKind::Resume,
            Request::Delete(..) => OperationKind::Delete,
            Request::Update(..) => OperationKind::Update,
            Request::Revert(..) => OperationKind::Revert,
            Request::StoreGc(_) => OperationKind::StoreGc,
            Request::StoreVerify(_) => OperationKind::StoreVerify,
            Request::StoreRepair(_) => OperationKind::StoreRepair,
        }
    }

    /// The installation that it is about; an install has none yet, and the store is of all of them.
    pub(crate) fn installation(&self) -> Option<&InstallationId> {
        match self {
            Request::Install(_)
            | Request::StoreGc(_)
            | Request::StoreVerify(_)
            | Request::StoreRepair(_) => None,
            Request::Create(request) => Some(&request.installation),
            Request::Uninstall(id)
            | Request::Update(Target::Installation(id), _)
            | Request::Revert(Target::Installation(id), _) => Some(id),
            Request::Start(id)
            | Request::Stop(id, _)
            | Request::Pause(id)
            | Request::Resume(id)
            | Request::Restart(id, _)
            | Request::Delete(id, _)
            | Request::Update(Target::Instance(id), _)
            | Request::Revert(Target::Instance(id), _) => Some(&id.installation),
        }
    }

    /// The thing that it is about, in words.
    pub(crate) fn target(&self) -> String {
        match self {
            Request::Install(request) => request.reference.to_string(),
            Request::StoreGc(_) | Request::StoreVerify(_) | Request::StoreRepair(_) => {
                "store".to_owned()
            }
            Request::Uninstall(id) => id.to_string(),
            Request::Create(request) => request.installation.to_string(),
            Request::Start(id)
            | Request::Stop(id, _)
            | Request::Pause(id)
            | Request::Resume(id)
            | Request::Restart(id, _)
            | Request::Delete(id, _) => id.to_string(),
            Request::Update(target, _) | Request::Revert(target, _) => target.to_string(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Installation(id) => id.fmt(f),
            Target::Instance(id) => id.fmt(f),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = model::InvalidId;
    fn from_str(text: &str) -> Result<Self, model::InvalidId> {
        match text.parse() {
            Ok(instance) => Ok(Target::Instance(instance)),
            Err(_) => text.parse().map(Target::Installation),
        }
    }
}
