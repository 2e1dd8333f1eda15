//! Where things lie when nobody says otherwise: the data of a server, the root of a node, the user's
//! configuration. Owns the rule of the platform (root: `/var/lib/fettle`; else the XDG base directories); reads
//! the environment, never the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// There is no place to fall back on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no default directory: neither HOME nor {variable} is set")]
pub(crate) struct NoPlace {
    variable: &'static str,
}

/// What the rule depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    is_root: bool,
    home: Option<PathBuf>,
    data_home: Option<PathBuf>,
    config_home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process. The XDG specification says to ignore what is not absolute.
    pub(crate) fn of_this_process() -> Surroundings {
        let absolute =
            |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
        Surroundings {
            is_root: rustix::process::geteuid().is_root(),
            home: absolute(std::env::var_os("HOME")),
            data_home: absolute(std::env::var_os("XDG_DATA_HOME")),
            config_home: absolute(std::env::var_os("XDG_CONFIG_HOME")),
        }
    }

    /// The data of `fettle server`.
    pub(crate) fn server_data(&self) -> Result<PathBuf, NoPlace> {
        Ok(self.data()?.join("server"))
    }

    /// The root of `fettle node`.
    pub(crate) fn node_root(&self) -> Result<PathBuf, NoPlace> {
        Ok(self.data()?.join("node"))
    }

    /// The keys of this account.
    pub(crate) fn identity(&self) -> Result<PathBuf, NoPlace> {
        Ok(self.data()?.join("identity"))
    }

    /// Is this the account that may do everything?
    pub(crate) fn is_root(&self) -> bool {
        self.is_root
    }

    /// The user's configuration file.
    pub(crate) fn config_file(&self) -> Result<PathBuf, NoPlace> {
        Ok(self.config()?.join("fettle/config.toml"))
    }

    /// Where the settings of a node and a server lie.
    pub(crate) fn service_config(&self) -> Result<PathBuf, NoPlace> {
        match self.is_root {
            true => Ok(PathBuf::from("/etc/fettle")),
            false => Ok(self.config()?.join("fettle")),
        }
    }

    /// Where the account's own systemd looks for units.
    pub(crate) fn user_units(&self) -> Result<PathBuf, NoPlace> {
        Ok(self.config()?.join("systemd/user"))
    }

    fn config(&self) -> Result<PathBuf, NoPlace> {
        let below_home = || self.home.as_ref().map(|home| home.join(".config"));
        let base = self.config_home.clone().or_else(below_home);
        base.ok_or(NoPlace { variable: "XDG_CONFIG_HOME" })
    }

    /// Those of an ordinary account with this home.
    #[cfg(test)]
    pub(crate) fn of_home(home: &Path) -> Surroundings {
        Surroundings { home: Some(home.to_owned()), ..Surroundings::default() }
    }

    fn data(&self) -> Result<PathBuf, NoPlace> {
        if self.is_root {
            return Ok(PathBuf::from("/var/lib/fettle"));
        }
        let below_home = || self.home.as_ref().map(|home| home.join(".local/share"));
        let base = self.data_home.clone().or_else(below_home);
        Ok(base.ok_or(NoPlace { variable: "XDG_DATA_HOME" })?.join("fettle"))
    }
}

/// The socket of the node with this root.
pub(crate) fn node_socket(root: &Path) -> PathBuf {
    root.join("node.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_var_lib_and_others_the_xdg_directories_or_what_lies_below_home() {
        let mut all = Surroundings {
            is_root: true,
            home: Some("/home/a".into()),
            data_home: Some("/xdg".into()),
            config_home: None,
        };
        assert_eq!(all.server_data(), Ok("/var/lib/fettle/server".into()));
        assert_eq!(all.service_config(), Ok("/etc/fettle".into()));
        all.is_root = false;
        assert_eq!(all.node_root(), Ok("/xdg/fettle/node".into()));
        all.data_home = None;
        assert_eq!(all.node_root(), Ok("/home/a/.local/share/fettle/node".into()));
        assert_eq!(all.config_file(), Ok("/home/a/.config/fettle/config.toml".into()));
        assert_eq!(all.service_config(), Ok("/home/a/.config/fettle".into()));
        all.home = None;
        assert!(all.node_root().is_err() && all.config_file().is_err());
    }
}
