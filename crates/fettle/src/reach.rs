//! How a command reaches its server or node: from the flags and environment, through the aliases of the
//! configuration file, to a connection. Owns the order of precedence and the defaults; connects nothing.

use client::{ClientError, Connection, Endpoint, InvalidEndpoint};

use crate::args::Global;
use crate::config::{Config, ConfigError};
use crate::output::Output;
use crate::places::{NoPlace, Surroundings, node_socket};

/// What a command has beside its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where it prints.
    pub(crate) output: Output,
    global: Global,
}

/// Why nobody knows where to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// It looks like a URL and is none that fettle can call.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// It is a word that the configuration file does not have.
    #[error("`{}` is neither a URL nor an alias of a {kind}", .alias.escape_debug())]
    UnknownAlias {
        /// `server` or `node`.
        kind: Kind,
        /// The word.
        alias: String,
        /// Where aliases are kept.
        file: String,
    },
    /// The configuration file is of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no default.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The two kinds of things to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The repositories.
    Server,
    /// A node manager.
    Node,
}

impl Context {
    /// The context of one command.
    pub(crate) fn new(output: Output, global: Global) -> Context {
        Context { output, global }
    }

    /// The repositories that are meant.
    pub(crate) fn server(&self) -> Result<Connection, ReachError> {
        Ok(Connection::new(&self.server_endpoint()?)?)
    }

    /// The node that is meant.
    pub(crate) fn node(&self) -> Result<Connection, ReachError> {
        let endpoint = match named(&self.global.node) {
            Some(text) => resolve(text, Kind::Node)?,
            None => Endpoint::Unix(node_socket(&Surroundings::of_this_process().node_root()?)),
        };
        Ok(Connection::new(&endpoint)?)
    }

    /// Where the repositories are that are meant.
    pub(crate) fn server_endpoint(&self) -> Result<Endpoint, ReachError> {
        Ok(self.stated_server()?.map_or_else(|| DEFAULT_SERVER.parse(), Ok)?)
    }

    /// What holds for every command.
    pub(crate) fn global(&self) -> &Global {
        &self.global
    }

    /// Where the repositories are that were named by a flag or the environment.
    pub(crate) fn stated_server(&self) -> Result<Option<Endpoint>, ReachError> {
        named(&self.global.server).map(|text| resolve(text, Kind::Server)).transpose()
    }
}

/// The repositories of this name; the usual ones without one.
pub(crate) fn server_named(name: Option<&str>) -> Result<Endpoint, ReachError> {
    resolve(name.unwrap_or(DEFAULT_SERVER), Kind::Server)
}

/// A variable that is set to nothing names nothing.
fn named(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn resolve(text: &str, kind: Kind) -> Result<Endpoint, ReachError> {
    if text.contains([':', '/']) {
        return Ok(text.parse()?);
    }
    let file = Surroundings::of_this_process().config_file()?;
    let config = Config::read(&file)?;
    let aliases = match kind {
        Kind::Server => config.servers,
        Kind::Node => config.nodes,
    };
    let unknown = || ReachError::UnknownAlias {
        kind,
        alias: text.to_owned(),
        file: file.display().to_string(),
    };
    Ok(aliases.get(text).ok_or_else(unknown)?.parse()?)
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Server => "server",
            Kind::Node => "node",
        })
    }
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:7420";
