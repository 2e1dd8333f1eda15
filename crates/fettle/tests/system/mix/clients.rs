//! Clients that give commands at random to everything that there is, and keepers, each with an instance of
//! its own, who know what has to be true of it.

use serde_json::Value;

use super::applications::{KEPT, VERSIONS};
use super::dice::Dice;
use super::field::{Field, Verdict, eventually};

/// Gives commands at random, mostly to what there is.
pub(super) struct Meddler<'a> {
    pub(super) field: &'a Field,
    pub(super) dice: Dice,
    pub(super) manifests: &'a [(String, Vec<String>)],
    /// Instances of the mix that there were a moment ago.
    pub(super) known: Vec<String>,
}

impl Meddler<'_> {
    pub(super) fn meddle(&mut self, done: u32) {
        let Meddler { field, dice, manifests, known } = self;
        if done.is_multiple_of(8) {
            let names = field.look(&["ps"]).into_iter().map(|body| word(&body["instance"]));
            *known = names.filter(|name| !name.starts_with(KEPT.title)).collect();
        }
        let (title, of_title) = dice.one_of(manifests);
        let mut instance = format!("{title}/{}/{}", dice.below(3) + 1, dice.below(3) + 1);
        if !known.is_empty() && dice.below(5) > 0 {
            instance.clone_from(dice.one_of(known));
        }
        let (installation, _) = instance.rsplit_once('/').unwrap();
        let title_of_it = instance.split('/').next().unwrap();
        let version = format!("1.{}.0", dice.below(u64::from(VERSIONS)));
        let manifest = dice.one_of(of_title);
        let name = format!("demo/{title}");
        let (at, wants) = (format!("{name}@{version}"), format!("{name}@^1"));
        let to = format!("demo/{title_of_it}@{version}");
        let all = format!("{title}/**");
        let instance = instance.as_str();
        let words: &[&str] = match dice.below(46) {
            // So many are enough to be in each other's way.
            0..7 if known.len() > MOST => &["delete", instance, "--stop"],
            0 => &["install", &name, "--start"],
            1 => &["install", &at, "--start", "--env", "COLOUR=red"],
            2 => &["install", &wants, "--dry-run"],
            3 => &["uninstall", installation],
            4 | 5 => &["instance", "create", installation, "--start"],
            6 => &["instance", "create", installation],
            7..10 => &["start", instance],
            10..13 => &["stop", instance],
            13 => &["stop", instance, "--timeout", "100ms"],
            14 => &["restart", instance],
            15 => &["pause", instance],
            16 => &["resume", instance],
            17..20 => &["update", installation, "--to", &to],
            20 => &["update", installation],
            21 => &["update", installation, "--dry-run"],
            22..25 => &["update", instance],
            25 => &["update", instance, "--again"],
            26 => &["update", instance, "--fresh-packages"],
            27 => &["revert", installation],
            28 => &["revert", instance],
            29 => &["delete", instance],
            30 => &["delete", instance, "--stop"],
            31 => &["stop", &all],
            32 => &["start", &all],
            33 => &["ps"],
            34 => &["status", instance],
            35 => &["why", instance],
            36 => &["logs", instance, "--tail", "3"],
            37 => &["operation", "list"],
            38 => &["store", "gc"],
            39 => &["store", "verify"],
            40 => &["store", "repair"],
            41 => &["app", "publish", manifest],
            42 => &["app", "list"],
            43 => &["app", "remove", &to],
            44 => &["install", &name, "--arg", "more"],
            _ => &["stop", instance, "--detach"],
        };
        field.give(words);
    }
}

/// One that nobody else touches.
pub(super) struct Keeper {
    title: String,
    /// `None`: it is not installed.
    installation: Option<String>,
    instance: Option<Kept>,
}

/// What has to be true of an instance.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    name: String,
    runs: bool,
    version: String,
}

impl Keeper {
    pub(super) fn new(number: usize) -> Keeper {
        Keeper { title: format!("{}{number}", KEPT.title), installation: None, instance: None }
    }

    /// Gives a command that has to succeed, and looks whether what it promised is so.
    pub(super) fn keep(&mut self, field: &Field, dice: &mut Dice) {
        let name = format!("demo/{}", self.title);
        match (self.installation.clone(), self.instance.clone()) {
            (None, _) => {
                let version = format!("1.{}.0", dice.below(u64::from(VERSIONS)));
                let at = format!("{name}@{version}");
                if let Some(made) = self.done(field, &["install", &at, "--start"]) {
                    self.installation = Some(word(&made["installation"]));
                    let name = word(&made["instance"]);
                    self.instance = Some(Kept { name, runs: true, version });
                }
            }
            (Some(installation), None) => match dice.below(3) {
                0 => {
                    if self.done(field, &["uninstall", &installation]).is_some() {
                        self.installation = None;
                    }
                }
                _ => {
                    let created =
                        self.done(field, &["instance", "create", &installation, "--start"]);
                    self.instance = created.map(|body| Kept {
                        name: word(&body["instance"]),
                        runs: true,
                        version: word(&body["version"]),
                    });
                }
            },
            (Some(installation), Some(kept)) => self.change(field, dice, &installation, &kept),
        }
        self.check(field);
    }

    fn change(&mut self, field: &Field, dice: &mut Dice, installation: &str, kept: &Kept) {
        let instance = kept.name.as_str();
        let (choice, others) = (dice.below(8), dice.below(u64::from(VERSIONS)));
        let (words, after): (&[&str], _) = match (choice, kept.runs) {
            (0 | 1, true) => (&["stop", instance], Some(Kept { runs: false, ..kept.clone() })),
            (2, true) => (&["restart", instance], Some(kept.clone())),
            (3, true) => {
                let paused = self.done(field, &["pause", instance]).is_some();
                if !paused {
                    return;
                }
                (&["resume", instance], Some(kept.clone()))
            }
            (4 | 5, _) => {
                let version = format!("1.{others}.0");
                let at = format!("demo/{}@{version}", self.title);
                // It may be on it already.
                if version == kept.version
                    || self.done(field, &["update", installation, "--to", &at]).is_none()
                {
                    return;
                }
                (&["update", instance], Some(Kept { version, ..kept.clone() }))
            }
            (6, false) => (&["delete", instance], None),
            (6, true) => (&["delete", instance, "--stop"], None),
            _ => (&["start", instance], Some(Kept { runs: true, ..kept.clone() })),
        };
        if self.done(field, words).is_some() {
            self.instance = after;
        }
    }

    /// `None`: something was away, or killed in the middle, and what is so now was looked at.
    fn done(&mut self, field: &Field, words: &[&str]) -> Option<Value> {
        match field.give(words) {
            Verdict::Done(value) => Some(value),
            Verdict::Refused(code) => {
                // With nobody killing, nobody else does anything with it.
                let same = matches!((words[0], code.as_str()), ("update", "nothing-new"));
                assert!(field.kills || same, "fettle {}: {code}", words.join(" "));
                self.find(field);
                None
            }
        }
    }

    /// Everything that was asked for has ended; then what is so is taken for what should be.
    fn find(&mut self, field: &Field) {
        eventually("its operations end", || {
            field.look(&["operation", "list"]).iter().all(|operation| {
                let ended = matches!(operation["state"].as_str(), Some("done" | "failed"));
                ended
                    || !operation["target"]
                        .as_str()
                        .is_some_and(|target| target.contains(&self.title))
            })
        });
        let mine = |body: &Value| body["title"] == self.title.as_str();
        let installations = field.look(&["ps", "--installations"]);
        let installation = installations.iter().rfind(|body| mine(body));
        self.installation = installation.map(|body| word(&body["installation"]));
        let instance = field.look(&["ps"]).into_iter().rfind(mine);
        self.instance = instance.map(|body| Kept {
            name: word(&body["instance"]),
            runs: body["desired"] == "running",
            version: word(&body["version"]),
        });
    }

    /// What was promised is so; where processes are killed, soon.
    pub(super) fn check(&self, field: &Field) {
        let Some(kept) = &self.instance else { return };
        let is_so = |status: &Value| {
            let wanted = if kept.runs { "running" } else { "not-running" };
            status["state"] == wanted && status["version"] == kept.version.as_str()
        };
        let look = || field.look(&["status", &kept.name]).remove(0);
        if field.kills {
            eventually(&format!("it is as {kept:?}"), || {
                let status = look();
                // It was to be resumed when there was nobody to say it to.
                if status["state"] == "paused" {
                    field.give(&["resume", &kept.name]);
                }
                is_so(&status)
            });
        } else {
            let status = look();
            assert!(is_so(&status), "{kept:?} but {status}");
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Instances beside those of keepers, about.
const MOST: usize = 30;
