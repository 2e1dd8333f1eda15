//! What a node manager is told at its start.

use std::path::PathBuf;

use client::Endpoint;
use model::Profile;
use unpacker::Isolation;

/// What a node manager is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that everything lies in; made if it is missing.
    pub root: PathBuf,
    /// The repository that it installs from; needed by installs and updates only.
    pub server: Option<Endpoint>,
    /// What this machine can run, the best first.
    pub profiles: Vec<Profile>,
    /// May callers over TCP, whose account is unknown, change something?
    pub loopback_may_write: bool,
    /// What is a launcher, if it is called so: the parent of all programs.
    pub launcher: Starter,
    /// Where archives are unpacked.
    pub unpacker: Isolation,
    /// What an archive may amount to that nobody has measured.
    pub unmeasured: archive::Limits,
    /// Bytes that no install takes from the file system of the root; the smaller one of 64 MiB and a
    /// fiftieth of the file system, if nobody says.
    pub reserve: Option<u64>,
    /// The file that some of this stood in, for `status` to name.
    pub file: Option<PathBuf>,
    /// Bytes that the logs of one stream of an instance may take, over all its runs, where its
    /// envelope does not say.
    pub log_budget: u64,
}

/// A program that is of use to a node, and what it is called with.
#[derive(Debug, Clone)]
pub struct Starter {
    /// The program.
    pub program: PathBuf,
    /// What comes before what the node adds.
    pub args: Vec<std::ffi::OsString>,
}

/// The profiles of this machine: `<system>-<architecture>` with the names that publishers use
/// (`linux-amd64`, `linux-arm64`), then `any`.
pub fn machine_profiles() -> Vec<Profile> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    let native = format!("{}-{architecture}", std::env::consts::OS).parse();
    native.into_iter().chain([Profile::any()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_can_run_its_own_kind_and_then_anything() {
        let profiles = machine_profiles();
        assert_eq!(profiles.len(), 2);
        assert!(profiles[0].as_str().contains('-') && profiles[1] == Profile::any());
    }
}
