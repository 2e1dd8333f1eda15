//! What a unit says, and why. Pure: it makes text; the sources are systemd.service(5), systemd.exec(5) and
//! systemd.kill(5). Everything that may change with the machine stands in the file of settings instead.

use std::fmt;
use std::path::{Path, PathBuf};

use super::plan::Plan;

/// Which of the two daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daemon {
    /// The node manager, whose programs live in its unit.
    Node,
    /// Both repositories.
    Server,
}

/// Whose service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The machine's.
    System,
    /// An account's.
    User,
}

/// A unit.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// What it runs.
    pub(super) daemon: Daemon,
    /// For whom.
    pub(super) scope: Scope,
    /// The program; absolute, UTF-8.
    pub(super) program: PathBuf,
    /// Its settings; absolute, UTF-8.
    pub(super) config: PathBuf,
}

impl Daemon {
    fn word(self) -> &'static str {
        match self {
            Daemon::Node => "node",
            Daemon::Server => "server",
        }
    }

    /// The name of its unit's file.
    pub(super) fn unit_name(self) -> String {
        format!("fettle-{}.service", self.word())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.daemon.word();
        writeln!(
            f,
            "# To change it, use `systemctl edit fettle-{word}`: that lasts over upgrades."
        )?;
        writeln!(f, "# What it runs with stands in {}.\n", self.config.display())?;
        f.write_str(match self.daemon {
            // No network is waited for: a node starts what it has without one.
            Daemon::Node => "[Unit]\nDescription=fettle node manager: keeps programs running\n",
            Daemon::Server => "[Unit]\nDescription=fettle server: objects and applications\n",
        })?;
        // Else systemd gives up after five tries, and a disk that was full for a minute is for ever.
        writeln!(f, "StartLimitIntervalSec=0")?;
        let words = [word, "--config"];
        writeln!(f, "\n[Service]\n{}", exec_start(&self.program, &words, &self.config))?;
        f.write_str(COMMON)?;
        if self.scope == Scope::System {
            f.write_str(
                "# When memory runs out, this is among the last to go.\nOOMScoreAdjust=-500\n",
            )?;
        }
        match (self.daemon, self.scope) {
            (Daemon::Node, _) => f.write_str(NODE)?,
            (Daemon::Server, Scope::User) => f.write_str(SERVER)?,
            (Daemon::Server, Scope::System) => write!(f, "{SERVER}{SERVER_OF_THE_MACHINE}")?,
        }
        let target = match self.scope {
            Scope::System => "multi-user.target",
            Scope::User => "default.target",
        };
        writeln!(f, "\n[Install]\nWantedBy={target}")
    }
}

/// The commands that come next.
pub(super) fn next(daemon: Daemon, scope: Scope, unit: Plan) -> Vec<String> {
    let systemctl = match scope {
        Scope::System => "systemctl",
        Scope::User => "systemctl --user",
    };
    let mut next = vec![
        format!("{systemctl} daemon-reload"),
        format!("{systemctl} enable --now fettle-{}", daemon.word()),
    ];
    if unit == Plan::Replace {
        next.push(format!("{systemctl} restart fettle-{}", daemon.word()));
    }
    next
}

fn exec_start(program: &Path, words: &[&str], config: &Path) -> String {
    let all = [program.to_string_lossy(), config.to_string_lossy()];
    // `:` says that a `$` is a dollar; older systemd does not know it, so it is there only if needed.
    let literal = if all.iter().any(|path| path.contains('$')) { ":" } else { "" };
    let mut line = format!("ExecStart={literal}{}", quoted(&all[0]));
    words.iter().for_each(|word| line.push_str(&format!(" {word}")));
    format!("{line} {}", quoted(&all[1]))
}

/// A word of a command line: `%` is doubled, and what is not plain stands in quotes.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.+-@:,=%".contains(c);
    match word.chars().all(is_plain) {
        true => word,
        false => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

const COMMON: &str = "\
Type=notify
NotifyAccess=main
# Putting in order what a power cut left may take its time.
TimeoutStartSec=infinity
Restart=always
RestartSec=1
# Wrong settings do not become right by trying again.
RestartPreventExitStatus=2
# fettle takes as many as it may, programs begin with the first number.
LimitNOFILE=1024:524288
UMask=0022
";

const NODE: &str = "\
# The programs live on in this unit while the manager restarts, is upgraded or stopped.
KillMode=process
Delegate=yes
TasksMax=infinity
# A program without memory is not the end of the others.
OOMPolicy=continue
";

/// What needs no right that an account's own systemd does not have.
const SERVER: &str = "
# It serves files, and does nothing else.
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
";

/// Wherever data, catalog and socket lie, they can be reached: no directory is hidden but those of the system.
const SERVER_OF_THE_MACHINE: &str = "\
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
";

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(daemon: Daemon, scope: Scope) -> String {
        let (program, config) = ("/usr/local/bin/fettle".into(), "/etc/fettle/x.toml".into());
        Unit { daemon, scope, program, config }.to_string()
    }

    #[test]
    fn a_node_survives_its_manager_and_waits_for_no_network() {
        for scope in [Scope::System, Scope::User] {
            let text = unit(Daemon::Node, scope);
            for line in [
                "Type=notify",
                "KillMode=process",
                "Delegate=yes",
                "Restart=always",
                "OOMPolicy=continue",
                "StartLimitIntervalSec=0",
                "TasksMax=infinity",
                "ExecStart=/usr/local/bin/fettle node --config /etc/fettle/x.toml",
            ] {
                assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
            }
            assert!(!text.contains("network") && !text.contains("NoNewPrivileges"), "{text}");
        }
    }

    #[test]
    fn an_account_is_asked_for_nothing_that_it_may_not_give() {
        for daemon in [Daemon::Node, Daemon::Server] {
            let text = unit(daemon, Scope::User);
            assert!(!text.contains("OOMScoreAdjust") && !text.contains("Protect"), "{text}");
            assert!(text.ends_with("WantedBy=default.target\n"), "{text}");
        }
    }

    #[test]
    fn a_path_is_one_word_and_means_itself() {
        for (path, word) in [
            ("/usr/bin/fettle", "/usr/bin/fettle"),
            ("/opt/my tools/fettle", "\"/opt/my tools/fettle\""),
            ("/a%b", "/a%%b"),
            ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
        ] {
            assert_eq!(quoted(path), word);
        }
        let line = exec_start(Path::new("/$HOME/fettle"), &["node", "--config"], Path::new("/c"));
        assert_eq!(line, "ExecStart=:\"/$HOME/fettle\" node --config /c");
    }
}
