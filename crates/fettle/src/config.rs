//! The user's configuration file: short names for servers and nodes. Owns its form; it is read only when
//! a name has to be looked up, and never written.
//!
//! ```toml
//! [servers]
//! office = "http://127.0.0.1:7420"
//!
//! [nodes]
//! shop-7 = "unix:///run/fettle/shop-7.sock"
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Aliases of servers.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, String>,
    /// Aliases of nodes.
    #[serde(default)]
    pub(crate) nodes: BTreeMap<String, String>,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It is there and cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not of the form that is wanted.
    #[error("{}, line {line}: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl Config {
    /// Reads the file; one that is not there says nothing.
    pub(crate) fn read(path: &Path) -> Result<Config, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ConfigError::Syntax {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_read_and_a_file_that_is_absent_has_none() {
        let text = "[servers]\noffice = \"http://127.0.0.1:1\"\n";
        let config = Config::parse(text, Path::new("c")).unwrap();
        assert_eq!(config.servers["office"], "http://127.0.0.1:1");
        let absent = Path::new("/nonexistent/fettle/config.toml");
        assert_eq!(Config::read(absent).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = "[servers]\na = \"x\"\n\n[server]\nb = \"y\"\n";
        let refusal = Config::parse(text, Path::new("/c.toml")).unwrap_err().to_string();
        assert!(refusal.starts_with("/c.toml, line 4: unknown field `server`"), "{refusal}");
    }

    #[test]
    fn a_broken_file_is_no_empty_file() {
        assert!(Config::parse("[servers", Path::new("c")).is_err());
    }
}
