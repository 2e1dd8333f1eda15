//! The server, the node and the commands that everybody gives them at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, RwLock};

use serde_json::Value;

use super::processes::groups;
use super::rest::PREFIX;
use crate::world::{Ended, World};

/// What is shared by all who play.
pub(super) struct Field {
    /// Control groups that there were before, of whoever was killed before he could remove them.
    pub(super) groups_before: Vec<PathBuf>,
    /// Whoever reads it gives commands; whoever writes it kills and starts daemons.
    pub(super) world: RwLock<World>,
    /// May a server or a node be away?
    pub(super) kills: bool,
    /// How often a command ended in which way.
    pub(super) verdicts: Mutex<BTreeMap<(String, String), u64>>,
    /// How often something was killed.
    pub(super) killed: Mutex<BTreeMap<&'static str, u64>>,
}

/// How a command ended, as far as that matters to a player.
#[derive(Debug)]
pub(super) enum Verdict {
    /// With this value, `Null` where it printed several or none.
    Done(Value),
    /// Refused or failed with this code.
    Refused(String),
}

impl Field {
    pub(super) fn new(world: World, kills: bool) -> Field {
        let (verdicts, killed) = (Mutex::default(), Mutex::default());
        let groups_before = groups(PREFIX);
        Field { groups_before, world: RwLock::new(world), kills, verdicts, killed }
    }

    /// Gives a command, and sees to it that it ends in a way that is allowed whatever the others do.
    pub(super) fn give(&self, words: &[&str]) -> Verdict {
        let command = self.world.read().unwrap().user(&[&["--json"], words].concat());
        let ended = Ended::from(limited(&command).output().unwrap());
        let said = || format!("fettle {}: {ended}", words.join(" "));
        // Of several things each says by itself what became of it.
        let lines = ended.stdout.lines().chain(ended.stderr.lines());
        let codes: Vec<String> = lines
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| Some(line["error"]["code"].as_str()?.to_owned()))
            .collect();
        let allowed = |code: &String| {
            (self.kills && code == "unreachable") || ALLOWED.contains(&code.as_str())
        };
        assert!(codes.iter().all(allowed), "{}", said());
        let verdict = match (ended.code, codes.first()) {
            (Some(0), _) => {
                Verdict::Done(serde_json::from_str(&ended.stdout).unwrap_or(Value::Null))
            }
            (Some(1 | 3), Some(code)) => Verdict::Refused(code.clone()),
            _ => panic!("{}", said()),
        };
        let word = match &verdict {
            Verdict::Done(_) => "done",
            Verdict::Refused(code) => code,
        };
        let kind = words.iter().take_while(|word| !word.contains(['/', '-', '*', '.'])).take(2);
        let kind = kind.copied().collect::<Vec<_>>().join(" ");
        *self.verdicts.lock().unwrap().entry((kind, word.to_owned())).or_default() += 1;
        verdict
    }

    /// A command that only looks, and succeeds as soon as there is somebody to ask: its lines of JSON.
    pub(super) fn look(&self, words: &[&str]) -> Vec<Value> {
        for _ in 0..ATTEMPTS {
            let command = self.world.read().unwrap().user(&[&["--json"], words].concat());
            let ended = Ended::from(limited(&command).output().unwrap());
            if ended.code == Some(0) {
                return ended
                    .stdout
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
            }
            assert!(ended.stderr.contains("unreachable"), "fettle {}: {ended}", words.join(" "));
            std::thread::sleep(BETWEEN);
        }
        panic!("nobody to ask: fettle {}", words.join(" "));
    }

    pub(super) fn count_kill(&self, what: &'static str) {
        *self.killed.lock().unwrap().entry(what).or_default() += 1;
    }
}

/// The same command, which is ended and fails where it hangs.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=1", "180"]).arg(command.get_program()).args(command.get_args());
    limited
        .env_clear()
        .current_dir(command.get_current_dir().unwrap())
        .stdin(std::process::Stdio::null());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

/// Waits for something that has to come.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..ATTEMPTS {
        if is_so() {
            return;
        }
        std::thread::sleep(BETWEEN);
    }
    panic!("in vain: {what}");
}

/// What others may cause who do something with the same thing.
const ALLOWED: &[&str] = &[
    "not-found",
    "name-taken",
    "version-taken",
    "no-profile",
    "no-version",
    "nothing-new",
    "in-use",
    "wrong-state",
    "busy",
];
/// Two minutes in all: longer than anything may take.
const ATTEMPTS: u32 = 2400;
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(50);
