//! What manager and launcher say to each other. Owns the words; `channel` carries them.
//!
//! Both ends may be of different versions of fettle, for a manager is replaced while its launcher runs: a
//! message may grow by keys, which an older reader skips, and never change their meaning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde::{Deserialize, Serialize};

/// What a manager says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Make a process; the same launch a second time makes none. Descriptors come with it: see
    /// [`Program`]. Answered by [`Event::Launched`] or [`Event::Refused`].
    Launch(Box<Program>),
    /// Send a signal to a program that has not been reaped. Not answered: what follows is an end or
    /// nothing.
    Signal {
        /// Which program.
        launch: String,
        /// The number of the signal.
        signal: i32,
        /// To its process group too, not to it alone?
        group: bool,
    },
    /// The end of this launch is recorded, or of no use to anybody: forget it, one that still runs at its
    /// end, of which nobody is told then. Not answered. (A launcher of before keeps one that runs, and
    /// tells its end: whoever hears of a launch that it does not know may say this again.)
    Acknowledge {
        /// Which.
        launch: String,
    },
    /// Execute this program in place of the running one: a newer fettle. What is known, the socket and the
    /// children stay. The connection ends; the next one is with the new program.
    Replace {
        /// The program.
        program: Word,
        /// What it is called with; the launcher adds what it needs to go on.
        args: Vec<Word>,
    },
}

/// What a launcher says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The first thing on each connection; followed by as many [`Event::Known`] as it says.
    Welcome(Welcome),
    /// This launch is known from before; the descriptor that was to be kept comes with it.
    Known {
        /// Which.
        launched: Launched,
        /// Its end, if it has ended.
        ended: Option<Ended>,
    },
    /// This program was made, now or when the same launch was asked for before.
    Launched(Launched),
    /// This program could not be made.
    Refused(Refused),
    /// This program has ended. Said again after the next welcome, until it is acknowledged.
    Ended(Ended),
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of these messages, [`PROTOCOL`].
    pub protocol: u32,
    /// The version of fettle that it is.
    pub fettle: String,
    /// Its process.
    pub pid: u32,
    /// How many launches it knows.
    pub known: usize,
}

/// Everything that a program begins with. The descriptors that come with it, in this order: standard
/// output, standard error; a directory of a v2 control group that it begins in, if `in_group`; `joins`
/// files of v1 control groups (`cgroup.procs`) that it writes itself to; one to be kept for the manager as
/// long as the launch is known, if `keeps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Which launch: made up by the manager, and recorded by it before it asks.
    pub launch: String,
    /// What is executed; absolute.
    pub program: Word,
    /// Arguments, without the program's name.
    pub args: Vec<Word>,
    /// The whole environment, `NAME=value` each.
    pub env: Vec<Word>,
    /// The working directory; absolute.
    pub directory: Word,
    /// Limits of resources, set in this order.
    pub limits: Vec<Limit>,
    /// What the kernel adds to its wish to kill it when memory runs out (proc(5), `oom_score_adj`); `None`
    /// leaves what the launcher has.
    #[serde(default)]
    pub oom_score: Option<i32>,
    /// Does a v2 control group come with it?
    pub in_group: bool,
    /// How many v1 control groups come with it?
    pub joins: usize,
    /// Does a descriptor to keep come with it?
    pub keeps: bool,
}

/// One limit, as setrlimit(2) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The number of the resource (`RLIMIT_…`).
    pub resource: u32,
    /// The soft limit; `None`: unlimited.
    pub soft: Option<u64>,
    /// The hard limit; `None`: unlimited.
    pub hard: Option<u64>,
}

/// A program that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// By which launch.
    pub launch: String,
    /// Its number; also its session's and group's.
    pub pid: u32,
    /// When it was made, in clock ticks since the boot (proc_pid_stat(5), field 22): with the number and
    /// the boot it tells it from any other process.
    pub start_ticks: u64,
}

/// A program that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// By which launch.
    pub launch: String,
    /// What failed.
    pub step: Step,
    /// The system's error number.
    pub errno: i32,
}

/// What making a process consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Understanding the request.
    Request,
    /// Making the process, in its v2 control group.
    Process,
    /// A session of its own.
    Session,
    /// Joining its v1 control groups.
    Groups,
    /// Limits of resources.
    Limits,
    /// Going to its working directory.
    Directory,
    /// Input and output.
    Streams,
    /// Executing the program.
    Execute,
    /// All of that in time: it hangs in the kernel, as on a disk that does not answer, and was killed.
    InTime,
    /// What a newer launcher knows.
    #[serde(other)]
    Other,
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// By which launch it was made.
    pub launch: String,
    /// How.
    pub end: End,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It called exit with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Bytes that the system takes for a text: a path, an argument, a variable. As JSON a string where they
/// are UTF-8, else a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub OsString);

/// The version of these messages.
pub const PROTOCOL: u32 = 1;

impl Word {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<T: AsRef<OsStr>> From<T> for Word {
    fn from(text: T) -> Word {
        Word(text.as_ref().to_owned())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes(Vec<u8>),
}

impl Serialize for Word {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Form::Bytes(self.as_bytes().to_vec()).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Word(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Bytes(bytes) => OsString::from_vec(bytes),
        }))
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Request => "understand the request",
            Step::Process => "make a process",
            Step::Session => "give it a session",
            Step::Groups => "put it into its control groups",
            Step::Limits => "limit its resources",
            Step::Directory => "go to its workspace",
            Step::Streams => "connect its output",
            Step::Execute => "execute its program",
            Step::InTime => "get to its program in time",
            Step::Other => "do what only a newer fettle knows",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_comes_back_byte_for_byte(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let word = Word(OsString::from_vec(bytes));
            let text = serde_json::to_string(&word).unwrap();
            prop_assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), word);
        }
    }

    #[test]
    fn keys_of_a_newer_fettle_are_skipped() {
        let text = r#"{"ended":{"launch":"a","end":{"code":3},"at":7,"mood":"fine"}}"#;
        let ended = Ended { launch: "a".into(), end: End::Code(3), at: 7 };
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), Event::Ended(ended));
    }
}
