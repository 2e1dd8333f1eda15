//! The arguments of the command line: which words there are, and what each means to a reader of
//! `--help`. Owns nothing else: names stay text here and are parsed by the command that takes them, so
//! that an illegal one is a `bad-name` and not a wrong usage.

mod identity;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use model::{ByteSize, Span, Timestamp};

pub(crate) use self::identity::{IdentityArgs, IdentityCommand, RootStep};
use crate::settings::{NodeSettings, ServerSettings};

/// Ships programs and packages to machines and keeps them running there.
#[derive(Debug, Parser)]
#[command(name = "fettle", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON value (a listing: one object per line), and errors as one JSON line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The repositories: a URL, or an alias from the configuration file [default:
    /// http://127.0.0.1:7420]
    #[arg(long, global = true, value_name = "URL", env = "FETTLE_SERVER")]
    pub(crate) server: Option<String>,
    /// The node: a URL, or an alias from the configuration file [default: the socket of this
    /// account's node on this machine]
    #[arg(long, global = true, value_name = "URL", env = "FETTLE_NODE")]
    pub(crate) node: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run both repositories, until SIGTERM
    Server(ServerArgs),
    /// Run the node manager, until SIGTERM
    Node(NodeArgs),
    /// Show what fettle does, on this machine, in a temporary directory
    Demo(DemoArgs),
    /// Upload, download and look at objects
    #[command(subcommand)]
    Object(ObjectCommand),
    /// Publish applications and look at them
    #[command(subcommand, visible_alias = "application")]
    App(AppCommand),
    /// Install an application on the node
    Install(InstallArgs),
    /// Remove an installation that has no instances
    Uninstall(UninstallArgs),
    /// Make instances of installations
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Start instances, and watch that they stay up for a moment
    Start(InstancesArgs),
    /// Stop instances: SIGTERM, then SIGKILL, to everything that they started
    Stop(StopArgs),
    /// Stop instances and start them again
    Restart(InstancesArgs),
    /// Give instances no time any more; their processes stay
    Pause(InstancesArgs),
    /// Give paused instances time again
    Resume(InstancesArgs),
    /// Move installations to a newer version, or instances to their installation's
    Update(UpdateArgs),
    /// Move installations or instances back to the version before
    Revert(RevertArgs),
    /// Remove instances that are stopped
    Delete(DeleteArgs),
    /// List instances, or installations
    Ps(PsArgs),
    /// Show one installation or instance; without a name, the node
    Status(StatusArgs),
    /// Explain why something is as it is, and what to do next
    Why(WhyArgs),
    /// Print what instances printed
    Logs(LogsArgs),
    /// Look at what the node was asked to do
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Look after the content that the node keeps
    #[command(subcommand)]
    Store(StoreCommand),
    /// Who this account is, and whom it names
    Identity(IdentityArgs),
    /// The program of the demo's sample application
    #[command(name = "__sample", hide = true)]
    Sample(SampleArgs),
}

/// Arguments of `fettle server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The file of settings [default: /etc/fettle/server.toml for root, fettle/server.toml in the XDG
    /// configuration directory else, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "FETTLE_SERVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: ServerSettings,
    #[command(subcommand)]
    pub(crate) command: Option<ServiceCommand>,
}

/// Arguments of `fettle node`; the repositories that it installs from are the global `--server`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The file of settings [default: /etc/fettle/node.toml for root, fettle/node.toml in the XDG
    /// configuration directory else, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "FETTLE_NODE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: NodeSettings,
    #[command(subcommand)]
    pub(crate) command: Option<ServiceCommand>,
}

/// What can be done with a daemon but running it.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Write a systemd unit and a commented file of settings, and say how to start it; repeating it
    /// changes nothing
    InstallService(InstallServiceArgs),
}

/// Arguments of `install-service`.
#[derive(Debug, Args)]
pub(crate) struct InstallServiceArgs {
    /// A service of this account instead of the machine
    #[arg(long)]
    pub(crate) user: bool,
    /// Print the unit and write nothing
    #[arg(long)]
    pub(crate) print: bool,
    /// Replace a unit that was edited by hand
    #[arg(long)]
    pub(crate) force: bool,
}

/// What an archive may amount to that nobody has measured; the window holds for measured ones too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(crate) struct UnmeasuredArgs {
    /// Most bytes that an archive may unpack to if nobody has measured it [default: 1TiB]
    #[arg(long, global = true, value_name = "SIZE", env = "FETTLE_MAX_UNPACKED")]
    pub(crate) max_unpacked: Option<ByteSize>,
    /// Largest decompression window that an archive may need: memory that unpacking it takes
    /// [default: 128MiB]
    #[arg(long, global = true, value_name = "SIZE", env = "FETTLE_MAX_WINDOW")]
    pub(crate) max_window: Option<ByteSize>,
}

impl UnmeasuredArgs {
    /// As limits of the reader.
    pub(crate) fn limits(self) -> archive::Limits {
        let unpacked = self.max_unpacked.map_or(1 << 40, ByteSize::bytes);
        archive::Limits {
            unpacked_bytes: unpacked,
            largest_file: unpacked,
            window: self.max_window.map_or(128 << 20, ByteSize::bytes),
            ..archive::Limits::default()
        }
    }
}

/// Arguments of `fettle demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave everything in this directory (empty or absent now) and say how to look at it
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// What can be done with objects.
#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Store a file, a directory (packed as a tar) or standard input under a name; goes on where an
    /// interrupted upload stopped
    Upload {
        /// The name that the object gets
        name: String,
        /// A file, a directory, or `-` for standard input
        path: PathBuf,
        /// Media type [default: from PATH.__info if it is there, else from the file name]
        #[arg(long = "type", value_name = "TYPE")]
        media_type: Option<String>,
        /// Encoding on top of it: gzip, bzip2, zstd, xz or none [default: from
        /// PATH.__info or the file name too]
        #[arg(long)]
        encoding: Option<String>,
    },
    /// Fetch an object, verify it, and put it under PATH, with its media info in PATH.__info
    Download {
        /// The object
        name: String,
        /// Where the file goes; what is there is replaced at once
        path: PathBuf,
    },
    /// Show everything about an object but its bytes
    Stat {
        /// The object
        name: String,
    },
    /// List objects
    List {
        /// Which: `*` and `?` stay within a segment of the name, `**` crosses [default: all]
        glob: Option<String>,
    },
    /// Remove an object that nothing needs
    Delete {
        /// The object
        name: String,
    },
}

/// What can be done with applications.
#[derive(Debug, Subcommand)]
pub(crate) enum AppCommand {
    /// Publish the version that a manifest describes; uploads what the repository lacks
    Publish {
        /// The manifest
        #[arg(value_name = "MANIFEST.toml")]
        manifest: PathBuf,
        #[command(flatten)]
        unmeasured: UnmeasuredArgs,
    },
    /// Show the envelope of the newest version that REF wants
    Show {
        /// NAME, NAME@1.4.2 or NAME@^1.4
        #[arg(value_name = "REF")]
        reference: String,
        /// The envelope for this profile; needed where there are several
        #[arg(long)]
        profile: Option<String>,
    },
    /// List applications and their versions
    List {
        /// Which: `*` and `?` stay within a segment of the name, `**` crosses [default: all]
        glob: Option<String>,
    },
    /// Show the envelope that a machine with these profiles would get
    Match {
        /// NAME, NAME@1.4.2 or NAME@^1.4
        #[arg(value_name = "REF")]
        reference: String,
        /// The profiles of the machine, the best first
        #[arg(required = true, value_name = "PROFILE")]
        profiles: Vec<String>,
    },
    /// Remove a version; its number never comes back with other content
    Remove {
        /// The version
        #[arg(value_name = "NAME@VERSION")]
        version: String,
    },
}

/// What can be done with instances beyond the commands of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// Make an instance of an installation
    Create {
        /// The installation, TITLE/N
        installation: String,
        /// Start it too
        #[arg(long)]
        start: bool,
        /// How to wait.
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// What can be done with operations.
#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations, the newest first
    List,
    /// Show an operation as it is now
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        operation: String,
        /// Print how far it is as that changes, a line each, until its end; the exit code is that of its
        /// verdict
        #[arg(long, short)]
        follow: bool,
    },
    /// Wait for the end of an operation and show it
    Wait {
        /// Its id
        #[arg(value_name = "ID")]
        operation: String,
    },
}

/// What can be done with the node's store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Remove content that nothing refers to any more; happens by itself after uninstall and delete
    /// and when the node starts
    Gc {
        /// Only list what would go
        #[arg(long, conflicts_with = "detach")]
        dry_run: bool,
        /// How to wait.
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Read everything and look whether it is what it should be; instances go on
    Verify {
        /// How to wait.
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Verify, and fetch and unpack again what is damaged or missing; instances go on
    Repair {
        /// How to wait.
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// How to wait for the end of a change.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Print the operation's id at once and do not wait for its end
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Arguments of `fettle install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// NAME, NAME@1.4.2 or NAME@^1.4; later updates follow it too
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Set a variable of the program's environment; lasts over updates
    #[arg(long, value_name = "K=V")]
    pub(crate) env: Vec<String>,
    /// Add an argument after those of the envelope; lasts over updates
    #[arg(long, value_name = "A", allow_hyphen_values = true)]
    pub(crate) arg: Vec<String>,
    /// Add or override a package, by the name of an object; pinned by digest, lasts over updates
    #[arg(long, value_name = "NAME=OBJECT")]
    pub(crate) package: Vec<String>,
    /// Make an instance and start it
    #[arg(long)]
    pub(crate) start: bool,
    /// Only say what would be done
    #[arg(long, conflicts_with = "detach")]
    pub(crate) dry_run: bool,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle uninstall`.
#[derive(Debug, Args)]
pub(crate) struct UninstallArgs {
    /// The installation, TITLE/N
    pub(crate) installation: String,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle start` and `fettle restart`.
#[derive(Debug, Args)]
pub(crate) struct InstancesArgs {
    /// Names or globs of instances: TITLE/N/M
    #[arg(required = true, value_name = "INSTANCE")]
    pub(crate) names: Vec<String>,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle revert`.
#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    /// Names or globs of installations (TITLE/N) or instances (TITLE/N/M)
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Begin with new copies of writable packages, as the version was published; the copies that the
    /// instance has changed stay with the version that it leaves. Instances only
    #[arg(long)]
    pub(crate) fresh_packages: bool,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Names or globs of instances: TITLE/N/M
    #[arg(required = true, value_name = "INSTANCE")]
    pub(crate) names: Vec<String>,
    /// How long after SIGTERM the SIGKILL comes [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<Span>,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Names or globs of installations (TITLE/N) or instances (TITLE/N/M)
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Follow this reference from now on (NAME, NAME@1.4.2 or NAME@^1.4), and move to what it wants,
    /// be it older
    #[arg(long, value_name = "REF")]
    pub(crate) to: Option<String>,
    /// Begin with new copies of writable packages, as the version was published; the copies that the
    /// instance has changed stay with the version that it leaves. Instances only
    #[arg(long)]
    pub(crate) fresh_packages: bool,
    /// Also to a version that an instance was moved back from because it did not work
    #[arg(long)]
    pub(crate) again: bool,
    /// Only say what would be done: what moves, what is downloaded, restarted and freed; the exit code is
    /// that of the update
    #[arg(long, conflicts_with = "detach")]
    pub(crate) dry_run: bool,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Names or globs of instances: TITLE/N/M
    #[arg(required = true, value_name = "INSTANCE")]
    pub(crate) names: Vec<String>,
    /// Stop them first
    #[arg(long)]
    pub(crate) stop: bool,
    /// How to wait.
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Arguments of `fettle ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Which: `*` and `?` stay within a segment of the name, `**` crosses [default: all]
    pub(crate) glob: Option<String>,
    /// List installations instead, also those that have no instances
    #[arg(long, short)]
    pub(crate) installations: bool,
}

/// Arguments of `fettle status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// An installation (TITLE/N) or instance (TITLE/N/M)
    pub(crate) name: Option<String>,
}

/// Arguments of `fettle why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// An instance (TITLE/N/M), an installation (TITLE/N), or the id of an operation
    pub(crate) name: String,
}

/// Arguments of `fettle logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Names or globs of instances: TITLE/N/M
    #[arg(required = true, value_name = "INSTANCE")]
    pub(crate) names: Vec<String>,
    /// Go on with what comes, until Ctrl-C (which is the normal end: exit code 0)
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Begin this many lines before the end
    #[arg(long, value_name = "LINES", conflicts_with = "since")]
    pub(crate) tail: Option<u64>,
    /// Begin with what was printed since then: a duration (10m) or a time (2026-01-31T12:00:00Z). Lines have no
    /// times, so this may begin earlier; where it does, it says so
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
}

/// How long ago, or when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Since {
    /// This long before now.
    Ago(Span),
    /// At this time.
    At(Timestamp),
}

impl FromStr for Since {
    type Err = NoSince;
    fn from_str(text: &str) -> Result<Since, NoSince> {
        let ago = text.parse().ok().map(Since::Ago);
        ago.or_else(|| text.parse().ok().map(Since::At)).ok_or(NoSince)
    }
}

/// A text that is neither.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a duration like `10m` or a time like `2026-01-31T12:00:00Z` is wanted")]
pub(crate) struct NoSince;

/// Arguments of the sample program.
#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// Time between two lines
    #[arg(long, default_value = "1s")]
    pub(crate) interval: Span,
    /// Exit with this code instead of running on
    #[arg(long, value_name = "CODE")]
    pub(crate) exit: Option<u8>,
    /// How long after the start `--exit` happens
    #[arg(long, default_value = "0s", requires = "exit")]
    pub(crate) after: Span,
    /// Let SIGTERM pass by
    #[arg(long)]
    pub(crate) ignore_term: bool,
    /// Start a child that does nothing, and print its pid
    #[arg(long)]
    pub(crate) spawn_child: bool,
    /// Print the environment, a line for each variable
    #[arg(long)]
    pub(crate) print_env: bool,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 done for some of \
several, 130 detached by Ctrl-C. Standard output is data, standard error is talk.

Environment: FETTLE_SERVER and FETTLE_NODE stand for --server and --node; FETTLE_LOG says what is \
logged to standard error (off, warn, info, debug, or a filter by module). Settings of `fettle node` \
and `fettle server` stand in fettle/node.toml and fettle/server.toml, below /etc for root. Aliases stand in \
fettle/config.toml in the XDG configuration directory, under [servers] and [nodes].";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_arguments_contradicts_nothing() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {} says nothing",
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(|command| check(command, &path));
        }
        check(&Arguments::command(), "");
    }
}
