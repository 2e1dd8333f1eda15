//! The edge: every failure of a command becomes a code, an exit code, and a hint, in one exhaustive match.
//! Owns that classification; the words of the failures themselves stay with whoever makes them.

use std::io;
use std::process::ExitCode;

use client::ClientError;
use client::publish::{ManifestError, PublishError};
use client::transfer::TransferError;
use durable::DiskError;
use wire::serve::InvalidAddress;
use wire::{Code, ErrorBody};

use crate::command::daemon::ListenError;
use crate::command::demo::DemoError;
use crate::command::identity::IdentityError;
use crate::command::node::NodeError;
use crate::command::server::ServerError;
use crate::names::{BadName, NamesError};
use crate::output::Unwritten;
use crate::reach::{Kind, ReachError};
use crate::sample::SampleError;
use crate::service::ServiceError;
use crate::settings::SettingsError;
use crate::wait::ChangeError;

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// Nothing was done; what failed has been said.
    Failed,
    /// Wrong usage; what is wrong has been said.
    Usage,
    /// Done for some of several.
    Partly,
    /// Ctrl-C: what was asked for goes on.
    Detached,
    /// The code of the sample program.
    Sample(u8),
}

/// Why a command failed as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments make no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right.
        hint: String,
    },
    /// A name that is not legal.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// An encoding that fettle does not know.
    #[error(transparent)]
    Encoding(#[from] model::UnknownEncoding),
    /// Names that mean nothing.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// Nobody knows where to connect to.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// A call failed or was refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A change did not come about.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Bytes could not be moved.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A version could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A version is there for several profiles, and one is wanted.
    #[error("`{reference}` is there for several profiles: {}", .profiles.join(", "))]
    SeveralProfiles {
        /// What was asked for.
        reference: String,
        /// The profiles.
        profiles: Vec<String>,
    },
    /// A server could not be run.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A node could not be run.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The settings of a daemon are of no use.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A service could not be installed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The demo went wrong.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// An identity could not be shown or changed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The sample program went wrong.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// Standard output is gone.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// The threads of the runtime could not be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Ctrl-C cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
    /// A mistake of ours.
    #[error("fettle made a mistake: {message}")]
    Panic {
        /// What was violated, and where.
        message: String,
    },
}

impl Failure {
    /// The failure as it is printed.
    pub(crate) fn body(&self) -> ErrorBody {
        self.verdict().body()
    }

    /// How a change failed, as it is printed in a line of several.
    pub(crate) fn body_of_change(error: &ChangeError) -> ErrorBody {
        change(error).body()
    }

    /// The exit code; a reader that has gone away misses nothing.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::Unwritten(unwritten) | Failure::Change(ChangeError::Unwritten(unwritten))
                if unwritten.is_broken_pipe() =>
            {
                Exit::Done
            }
            Failure::Sample(SampleError::Output(unwritten))
            | Failure::Service(ServiceError::Unwritten(unwritten))
            | Failure::Demo(DemoError::Unwritten(unwritten))
                if unwritten.is_broken_pipe() =>
            {
                Exit::Done
            }
            failure if failure.verdict().0.code == Code::Usage => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// The one match: every failure has a code, and the ones that bring no hint of their own get one.
    fn verdict(&self) -> Verdict {
        let of = |code| Verdict::of(code, self);
        match self {
            Failure::Usage { hint, .. } => of(Code::Usage).hint(hint),
            Failure::BadName(name) | Failure::Names(NamesError::BadName(name)) => {
                match name.is_of_a_node() {
                    true => of(Code::BadName).hint(WHAT_A_NODE_HAS),
                    false => of(Code::BadName),
                }
            }
            Failure::Encoding(_) => of(Code::Unsupported),
            Failure::Names(NamesError::NoMatch { .. }) => of(Code::NotFound).hint(WHAT_A_NODE_HAS),
            Failure::Client(error) | Failure::Names(NamesError::Client(error)) => {
                Verdict(error.to_body())
            }
            Failure::Reach(error) => reach(error),
            Failure::Change(error) => change(error),
            Failure::Transfer(error @ TransferError::Read { .. }) => {
                Verdict(error.to_body()).hint("name a file or directory that this account may read")
            }
            Failure::Transfer(error) => Verdict(error.to_body()),
            Failure::Manifest(error @ ManifestError::Read { .. }) => {
                Verdict(error.to_body()).hint("name a manifest: a file as docs/operate.md shows it")
            }
            Failure::Manifest(error) => Verdict(error.to_body()),
            Failure::Publish(error) => Verdict(error.to_body()),
            Failure::SeveralProfiles { .. } => {
                of(Code::NoProfile).hint("name one of them with `--profile`")
            }
            Failure::Server(error) => server(error),
            Failure::Node(error) => node(error),
            Failure::Settings(error) => settings(error),
            Failure::Service(error) => service(error),
            Failure::Demo(error) => demo(error),
            Failure::Identity(error) => identity(error),
            Failure::Unwritten(error) => unwritten(error),
            Failure::Sample(_) | Failure::Runtime(_) | Failure::Signals(_) => of(Code::Internal),
            Failure::Panic { .. } => of(Code::Internal)
                .hint("this is a mistake in fettle; please report it with the command line"),
        }
    }
}

/// A failure with its code, and with a hint where something better than the general one is known.
struct Verdict(ErrorBody);

impl Verdict {
    fn of(code: Code, error: &dyn std::error::Error) -> Verdict {
        Verdict(ErrorBody::from_error(code, error))
    }

    fn hint(self, hint: impl Into<String>) -> Verdict {
        Verdict(self.0.hint(hint))
    }

    /// Where nobody knows better, the hint for the code.
    fn body(self) -> ErrorBody {
        let hint = self.0.hint.unwrap_or_else(|| general_hint(self.0.code).to_owned());
        ErrorBody { hint: Some(hint), ..self.0 }
    }
}

fn reach(error: &ReachError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        ReachError::Endpoint(_) => of(Code::Usage).hint(
            "a URL is `http://127.0.0.1:7420` or `unix:///path/to/socket`; a word is an alias from the \
             configuration file",
        ),
        ReachError::UnknownAlias { kind, file, .. } => {
            let table = match kind {
                Kind::Server => "[servers]",
                Kind::Node => "[nodes]",
            };
            of(Code::Usage).hint(format!("aliases stand in {file} under {table}"))
        }
        ReachError::Config(_) => of(Code::Usage)
            .hint("the file has two tables, [servers] and [nodes], with lines `alias = \"URL\"`"),
        ReachError::Place(_) => of(Code::Usage).hint("name it with `--server URL` or `--node URL`"),
        ReachError::Client(error) => Verdict(error.to_body()),
    }
}

fn change(error: &ChangeError) -> Verdict {
    match error {
        ChangeError::Client(error) => Verdict(error.to_body()),
        ChangeError::Lost { operation, .. } => {
            let mut body = ErrorBody::from_error(Code::Unreachable, error);
            body.operation = Some(*operation);
            Verdict(body).hint(format!(
                "the operation goes on when the node is back: `fettle operation wait {operation}`"
            ))
        }
        ChangeError::Failed(body) => Verdict(ErrorBody::clone(body)),
        ChangeError::Unwritten(error) => unwritten(error),
    }
}

fn unwritten(error: &Unwritten) -> Verdict {
    match error.is_no_space() {
        true => Verdict::of(Code::NoSpace, error).hint("make room where standard output leads to"),
        false => Verdict::of(Code::Internal, error)
            .hint("standard output has to lead to something that takes it"),
    }
}

fn server(error: &ServerError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        ServerError::Place(_) => of(Code::Usage).hint("name a directory with `--data DIR`"),
        ServerError::Url { flag, wanted, .. } => {
            of(Code::Usage).hint(format!("write `{flag} {wanted}`"))
        }
        ServerError::Unsupported { .. } => of(Code::Unsupported)
            .hint("use `sqlite:///path` and `file:///path`, or leave both away"),
        ServerError::List { source, .. } => of(match source.kind() {
            io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::Internal,
        })
        .hint("`--data DIR` names another directory"),
        ServerError::Disk(error) => of(disk(error)).hint("`--data DIR` names another directory"),
        ServerError::Foreign { .. } => {
            of(Code::Usage).hint("name an empty or a new directory with `--data DIR`")
        }
        ServerError::Locked { .. } => {
            of(Code::Busy).hint("end the other server, or name another directory with `--data DIR`")
        }
        ServerError::Objects { source, .. } => of(objects(source)),
        ServerError::Applications { source, .. } => of(applications(source)),
        ServerError::Listen(error) => listen(error),
    }
}

fn objects(error: &binary_repository::OpenError) -> Code {
    use binary_repository::catalog::sqlite::OpenCatalogError;
    use binary_repository::{OpenError, StorageError};
    match error {
        OpenError::Locked { .. } => Code::Busy,
        OpenError::Catalog(OpenCatalogError::TooNew { .. }) => Code::TooNew,
        OpenError::Catalog(OpenCatalogError::Database { .. }) => Code::Internal,
        OpenError::Storage(StorageError::Disk(error)) => disk(error),
        OpenError::Storage(StorageError::NoRoom { .. }) => Code::NoSpace,
        OpenError::Storage(StorageError::Catalog(_)) => Code::Internal,
    }
}

fn applications(error: &application_repository::OpenError) -> Code {
    use application_repository::OpenError;
    use application_repository::catalog::sqlite::OpenCatalogError;
    match error {
        OpenError::File(OpenCatalogError::TooNew { .. }) => Code::TooNew,
        OpenError::File(OpenCatalogError::Database { .. })
        | OpenError::Catalog(_)
        | OpenError::Holds(_) => Code::Internal,
    }
}

fn node(error: &NodeError) -> Verdict {
    match error {
        NodeError::Place(_) => {
            Verdict::of(Code::Usage, error).hint("name a directory with `--root DIR`")
        }
        NodeError::Reach(error) => reach(error),
        NodeError::Listen(error) => listen(error),
        NodeError::Open(error) => opening(error),
    }
}

fn settings(error: &SettingsError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        SettingsError::File(error) => of(Code::Usage).hint(&error.hint),
        SettingsError::Read { source, .. } => of(match source.kind() {
            io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::Usage,
        })
        .hint("`--config FILE` names another; without it the file need not be there"),
    }
}

fn service(error: &ServiceError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        ServiceError::Place(_) => of(Code::Usage).hint(
            "name the directory with `--root DIR` or `--data DIR`, the settings with `--config FILE`",
        ),
        ServiceError::Program(_) => of(Code::Internal).hint("was it replaced? call the new one"),
        ServiceError::Reach(error) => reach(error),
        ServiceError::NotRoot => of(Code::Denied).hint(
            "call it as root, or with `--user` for a service of this account; `--print` only shows it",
        ),
        ServiceError::Path { .. } => of(Code::Usage).hint("a unit is text: name another path"),
        ServiceError::Settings(error) => settings(error),
        ServiceError::Differs { .. } => of(Code::WrongState)
            .hint("nothing was changed: edit that file, or repeat without these flags and variables"),
        ServiceError::Read { source, .. } => of(match source.kind() {
            io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::Internal,
        }),
        ServiceError::Edited { path, difference } => {
            let mut verdict = of(Code::WrongState).hint(format!(
                "keep changes in a file of their own, with `systemctl edit {}`; `--force` replaces it",
                path.file_stem().unwrap_or_default().to_string_lossy()
            ));
            verdict.0.causes.push(format!("it would change by\n{difference}"));
            verdict
        }
        ServiceError::Disk(error) => of(disk(error)),
        ServiceError::Unwritten(_) => of(Code::Internal),
    }
}

fn opening(error: &node_manager::OpenError) -> Verdict {
    use node_manager::OpenError;
    let of = |code| Verdict::of(code, error);
    match error {
        OpenError::Locked { .. } => {
            of(Code::Busy).hint("end the other node, or name another directory with `--root DIR`")
        }
        OpenError::TooNew { .. } => of(Code::TooNew),
        OpenError::Disk(error) => of(disk(error)).hint("`--root DIR` names another directory"),
        OpenError::Damaged { .. } => of(Code::Damaged).hint(
            "nothing was changed; look at the disk, or begin with an empty directory and `--root DIR`",
        ),
        OpenError::Foreign { .. } => {
            of(Code::Usage).hint("name an empty or a new directory with `--root DIR`")
        }
        OpenError::Root { .. } => of(Code::Usage).hint("`--root DIR` names another directory"),
        OpenError::Launcher(launcher::ReachError::TooNew { .. }) => {
            of(Code::TooNew).hint("run the newer fettle, or stop all instances with it first")
        }
        OpenError::Launcher(_) => of(Code::Internal)
            .hint("a process `fettle-launch` of this node hangs: end it, its programs run on"),
        OpenError::Boot(_) | OpenError::Server(_) => of(Code::Internal),
    }
}

fn listen(error: &ListenError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        ListenError::Address(InvalidAddress::Syntax(_)) => of(Code::Usage),
        ListenError::Address(InvalidAddress::NotLoopback(address)) => of(Code::NotLoopback)
            .hint(format!("use `--listen 127.0.0.1:{}` or `--listen unix:/path`", address.port())),
        ListenError::LongPath { .. } => {
            of(Code::Usage).hint("name a shorter one with `--listen unix:/path`")
        }
        ListenError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            of(Code::Busy).hint("something listens there already; `--listen` names another address")
        }
        ListenError::Bind { .. } => of(Code::Internal).hint("`--listen` names another address"),
        ListenError::Signals(_) | ListenError::Unwritten(_) => of(Code::Internal),
    }
}

fn demo(error: &DemoError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        DemoError::NotEmpty { .. } => of(Code::Usage).hint("name one that is empty or absent"),
        DemoError::Directory(error) => of(disk(error)),
        DemoError::Interrupted
        | DemoError::Program(_)
        | DemoError::Signals(_)
        | DemoError::Read { .. }
        | DemoError::Start { .. }
        | DemoError::NotReady { .. }
        | DemoError::Command { .. }
        | DemoError::NotSeen { .. }
        | DemoError::Unwritten(_) => of(Code::Internal),
    }
}

fn identity(error: &IdentityError) -> Verdict {
    let of = |code| Verdict::of(code, error);
    match error {
        IdentityError::Place(_) => of(Code::Usage).hint("name a directory with `--identity DIR`"),
        IdentityError::Read { source, .. } => of(match source.kind() {
            io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::Usage,
        })
        .hint("name a file that this account may read; `-` is standard input"),
        IdentityError::TooLarge { .. } => {
            of(Code::TooLarge).hint("name the request, the answer or the roots themselves")
        }
        IdentityError::Home(error) => home(error),
    }
}

fn home(error: &identity::HomeError) -> Verdict {
    use identity::{FileFault, HomeError, IssueError, KeyError, Untrusted};
    let of = |code| Verdict::of(code, error);
    match error {
        HomeError::Disk(error) => of(disk(error)).hint("`--identity DIR` names another directory"),
        HomeError::Foreign { .. } => {
            of(Code::Usage).hint("name an empty or a new directory with `--identity DIR`")
        }
        HomeError::Busy { .. } => of(Code::Busy).hint("repeat the command in a moment"),
        HomeError::List { source, .. } => of(match source.kind() {
            io::ErrorKind::PermissionDenied => Code::Denied,
            _ => Code::Internal,
        })
        .hint("`--identity DIR` names another directory"),
        HomeError::Exposed { path, .. } => of(Code::Denied).hint(format!(
            "if nobody has read it: chmod 600 {}; else make new keys with `fettle identity rotate`",
            path.display()
        )),
        HomeError::File { source: FileFault::Key(KeyError::Encrypted | KeyError::Passphrase), .. } => {
            of(Code::Denied).hint("name the file with the passphrase: `--passphrase-file FILE`")
        }
        HomeError::File { source: FileFault::Untrusted(Untrusted::Expired { .. }), .. } => of(Code::Denied)
            .hint("renew it with `fettle identity rotate`; or is the clock of this machine wrong?"),
        HomeError::File { source: FileFault::Untrusted(Untrusted::NotYet { .. }), .. } => {
            of(Code::Denied).hint("is the clock of this machine right?")
        }
        HomeError::File { .. } => {
            of(Code::Damaged).hint("put the file back as it was, or ask for the name anew")
        }
        HomeError::Text { .. } => {
            of(Code::Usage).hint("name the file that was sent, as it was sent; `-` is standard input")
        }
        HomeError::Taken { .. } => {
            of(Code::WrongState).hint("name another directory with `--identity DIR`")
        }
        HomeError::Nobody { .. } => of(Code::NotFound).hint(
            "`fettle identity init NAME` founds a trust domain, `fettle identity request` asks for a name",
        ),
        HomeError::OtherDomain { .. } => {
            of(Code::WrongState).hint("name another directory with `--identity DIR`")
        }
        HomeError::MayNotExtend { .. } => of(Code::Denied).hint(
            "have it given that right: `fettle identity request --may-extend`, and the same word with `extend`",
        ),
        HomeError::NoRootKey { dir, .. } => {
            of(Code::Denied).hint(format!("bring root.pem back to {}", dir.display()))
        }
        HomeError::NoNextRoot { .. } => {
            of(Code::WrongState).hint("first `fettle identity rotate --root begin`")
        }
        HomeError::NotAsked { .. } => {
            of(Code::WrongState).hint("`fettle identity request` asks; the answer is for that request")
        }
        HomeError::OtherRoot(_) => of(Code::Denied).hint(
            "if that root is to be trusted here: `fettle identity trust FILE` with its roots.pem",
        ),
        HomeError::Request(_) | HomeError::Requests(_) | HomeError::OneKey => {
            of(Code::Usage).hint("name the file that `fettle identity request` printed")
        }
        HomeError::NoSigningKey => of(Code::Usage).hint("leave `--may-extend` away, or have it asked for"),
        HomeError::Issue(IssueError::NotExtended { prefix, .. }) => {
            of(Code::Denied).hint(format!("give a name that begins with `{prefix}/`"))
        }
        HomeError::Issue(IssueError::NotValid { .. } | IssueError::TooDeep { .. }) => {
            of(Code::Denied).hint("`fettle identity show` says who may name whom, and until when")
        }
        HomeError::Issue(_) | HomeError::Key(_) | HomeError::Record(_) => of(Code::Internal),
    }
}

fn disk(error: &DiskError) -> Code {
    match error.kind() {
        _ if error.is_no_space() => Code::NoSpace,
        io::ErrorKind::NotADirectory => Code::Usage,
        io::ErrorKind::PermissionDenied => Code::Denied,
        _ => Code::Internal,
    }
}

/// What to do next where nobody knows more than the code: docs/errors.md in a few words.
fn general_hint(code: Code) -> &'static str {
    match code {
        Code::Usage => "`fettle --help` lists the commands, `fettle COMMAND --help` what they take",
        Code::BadName => "choose a name that keeps the rule",
        Code::BadManifest => "correct the manifest and publish again",
        Code::NotFound => {
            "`fettle object list`, `app list`, `ps` and `operation list` show what is there"
        }
        Code::NameTaken => "objects are write-once: choose another name",
        Code::VersionTaken => "publish under a higher version",
        Code::Incomplete => "repeat the upload: it goes on where it stopped",
        Code::DigestMismatch => "repeat the command; `fettle object stat` shows the digest",
        Code::TooLarge => "split it into smaller ones",
        Code::NoProfile => "publish it for that profile or for `any`, or name one that is there",
        Code::NoVersion => "`fettle app list NAME` shows the versions",
        Code::NothingNew => "there is nothing to do: `fettle status NAME` shows the version",
        Code::OtherTitle => "install it as an installation of its own: `fettle install REF`",
        Code::InUse | Code::WrongState => "`fettle status NAME` shows more",
        Code::Busy => "`fettle operation list` shows what is going on",
        Code::NoSpace => "make room on the disk that is named and repeat the command",
        Code::UnsafeArchive => "make the archive anew, without the entry that is named",
        Code::Unsupported => "use one of those that are named",
        Code::Unreachable => "is it running, and is `--server` or `--node` right?",
        Code::NotLoopback => "listen on 127.0.0.1, [::1] or a Unix socket",
        Code::Denied => "call as the account that runs the node, over its socket",
        Code::Damaged => {
            "look at the disk; `fettle store repair` fetches what a repository still has"
        }
        Code::TooNew => "use the fettle that wrote it, or a newer one",
        Code::Internal => "the log of the server or node says more; report it if it is a mistake",
    }
}

/// Names of installations, instances and operations are given by the node, not by the user.
const WHAT_A_NODE_HAS: &str = "`fettle ps` lists instances, `fettle ps --installations` installations, \
     `fettle operation list` operations";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Partly => 3,
            Exit::Detached => 130,
            Exit::Sample(code) => code,
        })
    }
}
