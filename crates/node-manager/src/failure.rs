//! The edge: every way in which an operation or a question fails, and the one place that says which code
//! and which next step go with it.

use durable::DiskError;
use model::lifecycle::{Illegal, InstallationEvent, InstallationState, InstanceState};
use model::{InstallationId, InstanceId, OperationId, Reference, Title, Version, counted};
use wire::v1::{ExitBody, InvalidEnvelope};
use wire::{Code, ErrorBody};

use crate::install::{InstallError, LayOutError, ReceiveError};
use crate::instance::InstanceError;
use crate::inventory::ReadError;
use crate::operation::JournalError;
use crate::record::Unusable;
use crate::store::RootsError;
use crate::supervise::{LaunchError, Refusal};
use unpacker::{Fault, UnpackError};

/// Why something that was asked for is not so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The thing is not there.
    #[error("there is no `{name}` on this node")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// Another operation moves it to another version.
    #[error("`{instance}` is being updated")]
    Busy {
        /// Which.
        instance: InstanceId,
        /// By which operation.
        operation: OperationId,
    },
    /// No repository is known.
    #[error("this node knows no repository to install from")]
    NoServer,
    /// A repository's URL is none.
    #[error("`{url}` is no repository")]
    BadServer {
        /// As it was given.
        url: String,
        /// Why.
        source: client::InvalidEndpoint,
    },
    /// It cannot be talked to.
    #[error("cannot reach a repository")]
    Client(#[from] client::ClientError),
    /// An installation still has instances.
    #[error("`{installation}` has instances: {}", list(.instances))]
    HasInstances {
        /// Which.
        installation: InstallationId,
        /// What needs it.
        instances: Vec<InstanceId>,
    },
    /// The envelope is one of another application.
    #[error("`{installation}` cannot become version {version} of `{found}`")]
    OtherTitle {
        /// Which.
        installation: InstallationId,
        /// The title of the envelope.
        found: Title,
        /// Its version.
        version: Version,
    },
    /// The application is the node manager itself.
    #[error("version {version} of the node manager is no application that a node manager can run")]
    Manager {
        /// Its version.
        version: Version,
    },
    /// There is nothing newer, for the reference that it follows.
    #[error("`{installation}` is on version {version}, and `{reference}` leads to {found}")]
    NothingNew {
        /// Which.
        installation: InstallationId,
        /// What it is on.
        version: Version,
        /// What it follows.
        reference: Reference,
        /// Where that leads.
        found: Version,
    },
    /// The instance is where its installation is.
    #[error("`{instance}` is on version {version}, and so is its installation")]
    Current {
        /// Which.
        instance: InstanceId,
        /// The version.
        version: Version,
    },
    /// There is nothing to go back to.
    #[error("`{name}` has no previous version to go back to")]
    NoPrevious {
        /// Which.
        name: String,
    },
    /// It was started, and ended at once.
    #[error("`{instance}` ended right after it was started{}", exit_words(.exit.as_ref()))]
    EndedAtOnce {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Option<ExitBody>,
        /// The last lines that it wrote to standard error.
        stderr: Vec<String>,
    },
    /// It was started, and did not become ready.
    #[error("`{instance}` did not become ready: {reason}")]
    NotReady {
        /// Which.
        instance: InstanceId,
        /// What it did instead.
        reason: String,
        /// The last lines that it wrote to standard error.
        stderr: Vec<String>,
    },
    /// The version that it would be moved to has failed there before.
    #[error("`{instance}` was moved to {version} before and back again: {reason}")]
    Rejected {
        /// Which.
        instance: InstanceId,
        /// The version.
        version: Version,
        /// Why it failed.
        reason: String,
    },
    /// It was moved to a version that did not work there.
    #[error("`{instance}` is on {version} again, since {new} did not work: {reason}")]
    BackAgain {
        /// Which.
        instance: InstanceId,
        /// The version that it was moved to.
        new: Version,
        /// Why it failed.
        reason: String,
        /// The version that it is on.
        version: Version,
    },
    /// Somebody moved it on before the version had shown that it works.
    #[error("`{instance}` was moved to {version} before {new} had shown that it works")]
    MovedOn {
        /// Which.
        instance: InstanceId,
        /// The version that this operation moved it to.
        new: Version,
        /// The version that it is on.
        version: Version,
    },
    /// A defect of fettle.
    #[error("this operation met a defect of fettle: {why}")]
    Panicked {
        /// What the panic said.
        why: String,
    },
    /// The installation is in a state that does not allow it.
    #[error("the installation does not allow this")]
    Installation(#[from] Illegal<InstallationState, InstallationEvent>),
    /// See [`InstallError`].
    #[error(transparent)]
    Install(#[from] InstallError),
    /// See [`LayOutError`].
    #[error(transparent)]
    LayOut(#[from] LayOutError),
    /// The envelope is none.
    #[error("the envelope is not usable")]
    Envelope(#[from] InvalidEnvelope),
    /// See [`InstanceError`].
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// See [`Refusal`].
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// See [`ReadError`].
    #[error(transparent)]
    Read(#[from] ReadError),
    /// See [`Unusable`].
    #[error(transparent)]
    Record(#[from] Unusable),
    /// See [`JournalError`].
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// See [`RootsError`].
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Failure {
    /// The thing of this name is not there.
    pub(crate) fn gone(name: &impl ToString) -> Failure {
        Failure::NotFound { name: name.to_string() }
    }

    /// The work ended in a panic.
    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Failure::Panicked { why: said.unwrap_or_else(|| "it does not say which".to_owned()) }
    }

    /// As it is sent, kept and printed.
    pub(crate) fn to_body(&self) -> ErrorBody {
        let mut body = ErrorBody::from_error(self.code(), self);
        if let Some(refusal) = self.refusal_of_the_repository() {
            // The repository has said more than the chain of errors holds.
            body.causes.extend(refusal.causes.iter().cloned());
        }
        if let Failure::EndedAtOnce { stderr, .. } | Failure::NotReady { stderr, .. } = self {
            body.causes.extend(stderr.iter().map(|line| format!("stderr: {line}")));
        }
        if let Failure::Busy { operation, .. } = self {
            body.operation = Some(*operation);
        }
        body.hint = self.hint();
        body
    }

    fn code(&self) -> Code {
        match self {
            Failure::NotFound { .. } => Code::NotFound,
            Failure::Busy { .. } => Code::Busy,
            Failure::NoServer | Failure::BadServer { .. } => Code::Usage,
            Failure::Client(error) => error.code(),
            Failure::HasInstances { .. } => Code::InUse,
            Failure::OtherTitle { .. } => Code::OtherTitle,
            Failure::Manager { .. } => Code::Unsupported,
            Failure::NothingNew { .. } | Failure::Current { .. } | Failure::NoPrevious { .. } => {
                Code::NothingNew
            }
            Failure::EndedAtOnce { .. }
            | Failure::NotReady { .. }
            | Failure::BackAgain { .. }
            | Failure::MovedOn { .. }
            | Failure::Installation(_) => Code::WrongState,
            Failure::Rejected { .. } => Code::NothingNew,
            Failure::Panicked { .. } => Code::Internal,
            Failure::Install(error) => install_code(error),
            Failure::LayOut(error) => match error {
                LayOutError::Disk(error) => disk_code(error),
                LayOutError::Record(_) => Code::Internal,
                LayOutError::Form(_) => Code::Unsupported,
                LayOutError::NoProgram { .. } => Code::BadManifest,
            },
            Failure::Envelope(error) => envelope_code(error),
            Failure::Instance(error) => instance_code(error),
            Failure::Refusal(error) => match error {
                Refusal::WrongState { .. } => Code::WrongState,
                Refusal::Launch { source, .. } => match source {
                    LaunchError::Read(error) => read_code(error),
                    // A newer fettle installed it; otherwise it was checked then, and is not what it was.
                    LaunchError::Envelope { source, .. } if source.is_unsupported() => {
                        Code::Unsupported
                    }
                    LaunchError::Envelope { .. } => Code::Damaged,
                    LaunchError::Logs { source, .. } => disk_code(source),
                    LaunchError::Execute { source, .. } => execute_code(source),
                    LaunchError::Port { .. } | LaunchError::Notify { .. } => Code::Unsupported,
                    LaunchError::Prepare { .. }
                    | LaunchError::Group { .. }
                    | LaunchError::Launcher { .. } => Code::Internal,
                },
                Refusal::Disk(error) => instance_code(error),
                Refusal::Observed { source, .. } => record_code(source),
                Refusal::Gone { .. } => Code::NotFound,
                Refusal::Abandoned { .. } => Code::Internal,
            },
            Failure::Read(error) => read_code(error),
            Failure::Record(error) => record_code(error),
            Failure::Journal(error) => match error {
                JournalError::OtherRequest { .. } => Code::NameTaken,
                JournalError::Record(error) => record_code(error),
                JournalError::Disk(error) => disk_code(error),
            },
            Failure::Roots(error) => match error {
                RootsError::Disk(error) => disk_code(error),
                RootsError::Record(error) => record_code(error),
                RootsError::Link { .. } | RootsError::Operation { .. } => Code::Damaged,
            },
            Failure::Disk(error) => disk_code(error),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Failure::NotFound { .. } | Failure::Read(ReadError::NotFound { .. }) => {
                "`fettle ps` lists the instances of this node, `fettle ps --installations` what is installed".into()
            }
            Failure::Busy { operation, .. } => {
                format!("wait for it: fettle operation wait {operation}")
            }
            Failure::NoServer => "start the node with --server URL".into(),
            Failure::HasInstances { instances, .. } => {
                format!("delete them first: fettle delete --stop {}", list(instances).replace(", ", " "))
            }
            Failure::NothingNew { installation, .. } => {
                format!("for another version: fettle update {installation} --to REF")
            }
            Failure::Current { instance, .. } => {
                format!("the installation moves first: fettle update {}", instance.installation)
            }
            Failure::Manager { .. } => {
                "the title `node-manager` is the manager's own: publish the application under another".into()
            }
            Failure::OtherTitle { .. } => "install it beside: fettle install REF".into(),
            Failure::Rejected { instance, .. } => {
                format!("try it all the same: fettle update --again {instance}")
            }
            Failure::BackAgain { instance, .. } => format!(
                "its workspace is as the newer version left it; what that printed: fettle logs {instance}"
            ),
            Failure::EndedAtOnce { instance, .. } | Failure::NotReady { instance, .. } => format!("read on: fettle logs --stderr {instance}"),
            Failure::Refusal(Refusal::WrongState {
                instance,
                state: InstanceState::Stopping | InstanceState::Updating,
            }) => format!("what it waits for: fettle why {instance}; then try again"),
            Failure::Refusal(Refusal::WrongState { instance, state }) if !state.is_stopped() => {
                format!("stop it first: fettle stop {instance}")
            }
            Failure::Refusal(Refusal::Abandoned { .. }) => "restart the node manager".into(),
            Failure::Refusal(Refusal::Launch { instance, .. }) => {
                format!("the instance is there: fettle logs --stderr {instance}, fettle status {instance}")
            }
            Failure::Install(InstallError::Receive { source, .. }) => match source {
                ReceiveError::Digest { .. } | ReceiveError::Size { .. } => {
                    "the repository's copy is damaged: upload the object again and repeat the install".into()
                }
                ReceiveError::Transfer { source, .. } => source.to_body().hint?,
                ReceiveError::Cut { .. } => "repeat the command: what arrived is kept".into(),
                ReceiveError::Unpack { source } => return unpack_hint(source),
                ReceiveError::Disk { source, .. } => return space_hint(source),
            },
            Failure::Install(
                InstallError::Envelope { source, .. } | InstallError::Pin { source, .. },
            )
            | Failure::Client(source) => source.to_body().hint?,
            Failure::Install(InstallError::Unpack { source, .. }) => return unpack_hint(source),
            Failure::Install(InstallError::NoRoom(shortage))
            | Failure::Instance(InstanceError::NoRoom { source: shortage, .. }) => {
                match shortage.reclaimable {
                    Some(bytes @ 1..) => {
                        let bytes = counted(bytes, "byte");
                        format!("a clean-up would free {bytes}: fettle store gc")
                    }
                    _ => NO_SPACE.into(),
                }
            }
            Failure::Install(InstallError::Form(_)) => {
                "pack it as a tar, with gzip, bzip2, zstd or xz, or as a zip, and publish a new version".into()
            }
            Failure::Roots(RootsError::Record(_) | RootsError::Link { .. }) => {
                "nothing was collected; `fettle uninstall` what is damaged, or look at the disk".into()
            }
            Failure::Roots(RootsError::Operation { .. }) => {
                "nothing was collected; remove that file if nobody waits for the operation".into()
            }
            Failure::Disk(error)
            | Failure::Instance(InstanceError::Disk { source: error, .. })
            | Failure::Refusal(Refusal::Disk(InstanceError::Disk { source: error, .. })) => {
                return space_hint(error);
            }
            _ => return None,
        })
    }

    fn refusal_of_the_repository(&self) -> Option<&ErrorBody> {
        let source = match self {
            Failure::Client(source) => source,
            Failure::Install(
                InstallError::Envelope { source, .. } | InstallError::Pin { source, .. },
            ) => source,
            Failure::Install(InstallError::Receive {
                source: ReceiveError::Transfer { source, .. },
                ..
            }) => source,
            _ => return None,
        };
        match source {
            client::ClientError::Refused { body, .. } => Some(body),
            _ => None,
        }
    }
}

fn install_code(error: &InstallError) -> Code {
    match error {
        InstallError::Envelope { source, .. } | InstallError::Pin { source, .. } => source.code(),
        InstallError::Unusable { source, .. } => envelope_code(source),
        InstallError::Incomplete { .. } => Code::Incomplete,
        InstallError::NoRoom(_) => Code::NoSpace,
        InstallError::Form(_) => Code::Unsupported,
        InstallError::Receive { source, .. } => match source {
            ReceiveError::Transfer { source, .. } => source.code(),
            ReceiveError::Digest { .. } | ReceiveError::Size { .. } => Code::DigestMismatch,
            ReceiveError::Cut { .. } => Code::Unreachable,
            ReceiveError::Unpack { source } => unpack_code(source),
            ReceiveError::Disk { source, .. } => disk_code(source),
        },
        InstallError::Unpack { source, .. } => unpack_code(source),
        InstallError::Disk(error) => disk_code(error),
    }
}

fn unpack_code(error: &UnpackError) -> Code {
    match error {
        UnpackError::Archive { fault, .. } => match fault {
            Fault::TooLarge => Code::TooLarge,
            Fault::Unsupported => Code::Unsupported,
            // The bytes are those that the publisher stated: the archive was made so.
            Fault::Unsafe | Fault::Malformed => Code::UnsafeArchive,
        },
        full if full.is_no_space() => Code::NoSpace,
        _ => Code::Internal,
    }
}

fn instance_code(error: &InstanceError) -> Code {
    match error {
        InstanceError::Read(error) => read_code(error),
        InstanceError::NoRoom { .. } => Code::NoSpace,
        InstanceError::Disk { source, .. } => disk_code(source),
        InstanceError::Record { source, .. } => record_code(source),
        InstanceError::Encode { .. } => Code::Internal,
    }
}

/// Another architecture, no interpreter, a script without one: the machine cannot run this program. Whatever
/// else the system says (no memory, no descriptors) is not the program's fault.
fn execute_code(error: &std::io::Error) -> Code {
    use rustix::io::Errno;
    let program = [Errno::NOEXEC, Errno::NOENT, Errno::ACCESS, Errno::LIBBAD, Errno::NOTDIR];
    match Errno::from_io_error(error) {
        Some(errno) if program.contains(&errno) => Code::Unsupported,
        _ => Code::Internal,
    }
}

fn read_code(error: &ReadError) -> Code {
    match error {
        ReadError::NotFound { .. } => Code::NotFound,
        ReadError::Record { source, .. } => record_code(source),
        ReadError::Link { .. } => Code::Damaged,
        ReadError::Disk { source, .. } => disk_code(source),
    }
}

fn envelope_code(error: &InvalidEnvelope) -> Code {
    if error.is_unsupported() { Code::Unsupported } else { Code::BadManifest }
}

fn record_code(error: &Unusable) -> Code {
    match error {
        Unusable::Disk { source: durable::record::RecordError::Disk(error), .. } => {
            disk_code(error)
        }
        Unusable::Disk { .. } => Code::Internal,
        Unusable::Absent { .. } | Unusable::Damaged { .. } => Code::Damaged,
        Unusable::TooNew { .. } => Code::TooNew,
    }
}

fn disk_code(error: &DiskError) -> Code {
    if error.is_no_space() { Code::NoSpace } else { Code::Internal }
}

fn unpack_hint(error: &UnpackError) -> Option<String> {
    let fault = match error {
        UnpackError::Archive { fault, .. } => fault,
        UnpackError::Died { .. } => {
            return Some(
                "repeat the command; if it ends so again, the archive is not to be trusted"
                    .to_owned(),
            );
        }
        other => return other.is_no_space().then(|| NO_SPACE.to_owned()),
    };
    let hint = match fault {
        Fault::Unsafe => "pack it again without that entry and publish a new version",
        Fault::Unsupported => {
            "pack it as a plain tar, with gzip, bzip2, zstd or xz, or as a zip, and publish a new version"
        }
        Fault::TooLarge => {
            "it is more than was measured when it was published: publish it again as a new version"
        }
        Fault::Malformed => {
            "look whether it is what its media type says, pack it again and publish a new version"
        }
    };
    Some(hint.to_owned())
}

fn space_hint(error: &DiskError) -> Option<String> {
    error.is_no_space().then(|| NO_SPACE.to_owned())
}

const NO_SPACE: &str = "free some space on the node's disk and repeat the command";

fn exit_words(exit: Option<&ExitBody>) -> String {
    match exit {
        None => String::new(),
        Some(ExitBody::Code { code, .. }) => format!(": exit code {code}"),
        Some(ExitBody::Signal { signal, .. }) => format!(": signal {signal}"),
        Some(ExitBody::Unknown { unknown, .. }) => format!(": {unknown}"),
    }
}

fn list(instances: &[InstanceId]) -> String {
    let names: Vec<String> = instances.iter().map(ToString::to_string).collect();
    names.join(", ")
}
