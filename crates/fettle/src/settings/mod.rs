//! What `fettle node` and `fettle server` can be told, and the one rule for who is heard: a flag beats the
//! environment, the environment beats the file, the file beats the default. Owns that order and which file it is;
//! how a file is read is in [`mod@file`], how a new one is written in [`template`]. Reads a file, writes none.
//!
//! The file: what `--config` (or `FETTLE_NODE_CONFIG`, `FETTLE_SERVER_CONFIG`) names and nothing else; without it
//! `node.toml` or `server.toml` in `/etc/fettle` for root and in `fettle` of the XDG configuration directory for
//! others, if it is there.

pub(crate) mod file;
pub(crate) mod template;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use model::ByteSize;

use self::file::{FileError, KeyFile};
use crate::args::{Global, UnmeasuredArgs};
use crate::places::{NoPlace, Surroundings};

/// What a node can be told. A value is absent where nobody says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct NodeSettings {
    /// Where everything of this node lies [default: /var/lib/fettle/node for root, fettle/node in the
    /// XDG data directory else]
    #[arg(long, global = true, value_name = "DIR", env = "FETTLE_NODE_ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// Where to listen: unix:/path/to/socket, or an address of this machine's loopback [default:
    /// node.sock in the root]
    #[arg(long, global = true, value_name = "ADDR", env = "FETTLE_NODE_LISTEN")]
    pub(crate) listen: Option<String>,
    /// The repositories that it installs from: the global `--server`.
    #[arg(skip)]
    pub(crate) server: Option<String>,
    /// Let every account of this machine change this node over TCP
    #[arg(
        long,
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "FETTLE_NODE_ALLOW_LOOPBACK"
    )]
    pub(crate) allow_loopback: Option<bool>,
    /// Room on the disk that no install takes, e.g. 64MiB [default: 64 MiB, or a fiftieth of a small
    /// file system]
    #[arg(long, global = true, value_name = "SIZE", env = "FETTLE_RESERVE")]
    pub(crate) reserve: Option<ByteSize>,
    #[command(flatten)]
    pub(crate) unmeasured: UnmeasuredArgs,
    /// How much of what a program prints is kept, of each stream, where its manifest does not say
    /// [default: 16MiB]
    #[arg(long, global = true, value_name = "SIZE", env = "FETTLE_LOG_BUDGET")]
    pub(crate) log_budget: Option<ByteSize>,
    /// What is logged: `FETTLE_LOG`.
    #[arg(skip)]
    pub(crate) log: Option<String>,
}

/// What a server can be told. A value is absent where nobody says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct ServerSettings {
    /// Where objects and catalog lie [default: /var/lib/fettle/server for root, fettle/server in the
    /// XDG data directory else]
    #[arg(long, global = true, value_name = "DIR", env = "FETTLE_SERVER_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen: an address of this machine's loopback, or unix:/path/to/socket; port 0 takes
    /// any that is free [default: 127.0.0.1:7420]
    #[arg(long, global = true, value_name = "ADDR", env = "FETTLE_SERVER_LISTEN")]
    pub(crate) listen: Option<String>,
    /// The catalog: sqlite:///path/to/file [default: catalog.sqlite in the data directory]
    #[arg(long, global = true, value_name = "URL", env = "FETTLE_SERVER_DATABASE")]
    pub(crate) database: Option<String>,
    /// The objects' bytes: file:///path/to/directory [default: in the data directory]
    #[arg(long, global = true, value_name = "URL", env = "FETTLE_SERVER_BLOBS")]
    pub(crate) blobs: Option<String>,
    /// What is logged: `FETTLE_LOG`.
    #[arg(skip)]
    pub(crate) log: Option<String>,
}

/// What both kinds of settings can do.
pub(crate) trait Settings: Sized + Default {
    /// `node.toml` or `server.toml`.
    const FILE: &'static str;

    /// These, and what they leave open from `under`.
    fn over(self, under: Self) -> Self;

    /// What a file says.
    fn read(file: &mut KeyFile<'_>) -> Result<Self, FileError>;

    /// Every key in the order of the file, with its value as TOML where there is one.
    fn keys(&self) -> Vec<(&'static str, Option<String>)>;
}

impl Settings for NodeSettings {
    const FILE: &'static str = "node.toml";

    fn over(self, under: NodeSettings) -> NodeSettings {
        NodeSettings {
            root: self.root.or(under.root),
            listen: self.listen.or(under.listen),
            server: self.server.or(under.server),
            allow_loopback: self.allow_loopback.or(under.allow_loopback),
            reserve: self.reserve.or(under.reserve),
            unmeasured: UnmeasuredArgs {
                max_unpacked: self.unmeasured.max_unpacked.or(under.unmeasured.max_unpacked),
                max_window: self.unmeasured.max_window.or(under.unmeasured.max_window),
            },
            log_budget: self.log_budget.or(under.log_budget),
            log: self.log.or(under.log),
        }
    }

    fn read(file: &mut KeyFile<'_>) -> Result<NodeSettings, FileError> {
        Ok(NodeSettings {
            root: file.path("root")?,
            listen: file.text("listen")?,
            server: file.text("server")?,
            allow_loopback: file.switch("allow-loopback")?,
            reserve: file.size("reserve")?,
            unmeasured: UnmeasuredArgs {
                max_unpacked: file.size("max-unpacked")?,
                max_window: file.size("max-window")?,
            },
            log_budget: file.size("log-budget")?,
            log: file.log_filter("log")?,
        })
    }

    fn keys(&self) -> Vec<(&'static str, Option<String>)> {
        let size = |size: Option<ByteSize>| size.map(|size| quoted(&size.to_string()));
        vec![
            ("root", self.root.as_deref().map(quoted_path)),
            ("listen", self.listen.as_deref().map(quoted)),
            ("server", self.server.as_deref().map(quoted)),
            ("allow-loopback", self.allow_loopback.map(|allowed| allowed.to_string())),
            ("reserve", size(self.reserve)),
            ("max-unpacked", size(self.unmeasured.max_unpacked)),
            ("max-window", size(self.unmeasured.max_window)),
            ("log-budget", size(self.log_budget)),
            ("log", self.log.as_deref().map(quoted)),
        ]
    }
}

impl Settings for ServerSettings {
    const FILE: &'static str = "server.toml";

    fn over(self, under: ServerSettings) -> ServerSettings {
        ServerSettings {
            data: self.data.or(under.data),
            listen: self.listen.or(under.listen),
            database: self.database.or(under.database),
            blobs: self.blobs.or(under.blobs),
            log: self.log.or(under.log),
        }
    }

    fn read(file: &mut KeyFile<'_>) -> Result<ServerSettings, FileError> {
        Ok(ServerSettings {
            data: file.path("data")?,
            listen: file.text("listen")?,
            database: file.text("database")?,
            blobs: file.text("blobs")?,
            log: file.log_filter("log")?,
        })
    }

    fn keys(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("data", self.data.as_deref().map(quoted_path)),
            ("listen", self.listen.as_deref().map(quoted)),
            ("database", self.database.as_deref().map(quoted)),
            ("blobs", self.blobs.as_deref().map(quoted)),
            ("log", self.log.as_deref().map(quoted)),
        ]
    }
}

/// Settings, and where they come from.
#[derive(Debug)]
pub(crate) struct Loaded<S> {
    /// All that was said.
    pub(crate) settings: S,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

/// Why nobody knows the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file is there, or was named, and cannot be read.
    #[error("cannot read the settings in {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something that it may not.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The settings of a node: what flags and environment say over what the file says.
pub(crate) fn of_node(given: NodeSettings) -> NodeSettings {
    NodeSettings { log: log_variable(), ..given }
}

/// The settings of a server, likewise.
pub(crate) fn of_server(given: ServerSettings) -> ServerSettings {
    ServerSettings { log: log_variable(), ..given }
}

/// What the global flags say to a node. A variable that is set to nothing says nothing.
pub(crate) fn with_global(given: &NodeSettings, global: &Global) -> NodeSettings {
    let server = global.server.clone().filter(|server| !server.is_empty());
    NodeSettings { server, ..given.clone() }
}

/// What `FETTLE_LOG` says.
pub(crate) fn log_variable() -> Option<String> {
    std::env::var("FETTLE_LOG").ok().filter(|filter| !filter.is_empty())
}

/// Reads the file that is named, else the one of this account if it is there, under what was given.
pub(crate) fn load<S: Settings>(
    given: S,
    named: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Loaded<S>, SettingsError> {
    let (path, may_be_absent) = match named {
        Some(path) => (path.to_owned(), false),
        None => match file_of_account::<S>(surroundings) {
            Ok(path) => (path, true),
            // Without a home there is no file, and flags may say everything.
            Err(NoPlace { .. }) => return Ok(Loaded { settings: given, file: None }),
        },
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let settings = given.over(parse(&text, &path)?);
            Ok(Loaded { settings, file: Some(std::path::absolute(&path).unwrap_or(path)) })
        }
        Err(error) if may_be_absent && error.kind() == io::ErrorKind::NotFound => {
            Ok(Loaded { settings: given, file: None })
        }
        Err(source) => Err(SettingsError::Read { path, source }),
    }
}

/// What a text says, all of it.
pub(crate) fn parse<S: Settings>(text: &str, path: &Path) -> Result<S, FileError> {
    let mut file = KeyFile::parse(text, path)?;
    let settings = S::read(&mut file)?;
    file.finish()?;
    Ok(settings)
}

/// Where the file of this account lies.
pub(crate) fn file_of_account<S: Settings>(
    surroundings: &Surroundings,
) -> Result<PathBuf, NoPlace> {
    Ok(surroundings.service_config()?.join(S::FILE))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of three values or none, for every key.
    fn node() -> impl Strategy<Value = NodeSettings> {
        let text = || proptest::option::of("[ -~ä\"\\\\]{1,8}");
        let size = || proptest::option::of((0_u64..1 << 50).prop_map(ByteSize::from_bytes));
        let path = proptest::option::of("/[ -~ä]{0,8}".prop_map(PathBuf::from));
        let switch = proptest::option::of(any::<bool>());
        let log = proptest::option::of(prop_oneof!["info", "warn,node_manager=debug"]);
        let sizes = (size(), size(), size(), size());
        (path, text(), text(), switch, sizes, log).prop_map(
            |(root, listen, server, allow_loopback, sizes, log)| {
                let (reserve, max_unpacked, max_window, log_budget) = sizes;
                let unmeasured = UnmeasuredArgs { max_unpacked, max_window };
                NodeSettings {
                    root,
                    listen,
                    server,
                    allow_loopback,
                    reserve,
                    unmeasured,
                    log_budget,
                    log,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn for_every_key_the_first_who_says_something_is_heard(
            flags in node(), environment in node(), file in node(),
        ) {
            let heard = flags.clone().over(environment.clone()).over(file.clone());
            let layers = [flags.keys(), environment.keys(), file.keys()];
            for (at, (key, value)) in heard.keys().into_iter().enumerate() {
                let first = layers.iter().find_map(|layer| layer[at].1.clone());
                prop_assert_eq!(value, first, "{}", key);
            }
        }

        #[test]
        fn what_settings_write_they_read(settings in node()) {
            let lines = settings.keys().into_iter();
            let lines = lines.filter_map(|(key, value)| Some(format!("{key} = {}\n", value?)));
            let read: NodeSettings = parse(&lines.collect::<String>(), Path::new("/f")).unwrap();
            prop_assert_eq!(read, settings);
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there_and_one_that_is_not_need_not() {
        let home = tempfile::tempdir().unwrap();
        let around = Surroundings::of_home(home.path());
        let none: Loaded<ServerSettings> = load(ServerSettings::default(), None, &around).unwrap();
        assert_eq!((none.settings, none.file), (ServerSettings::default(), None));
        let absent = home.path().join("absent.toml");
        let named = load(ServerSettings::default(), Some(&absent), &around);
        assert!(matches!(named, Err(SettingsError::Read { .. })));
    }
}
