//! Questions to a program that runs: does it answer over HTTP, does it take a connection, does a command
//! say so? Owns what may be asked; refuses to ask (the node manager does).

use std::fmt;
use std::str::FromStr;

use super::port::Port;
use crate::string_form::string_form;

/// One question; the answer is yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of this path: yes is a status of 200 to 399.
    Http(HttpProbe),
    /// A connection to this port: yes is that it is taken.
    Tcp(Port),
    /// A command in the workspace, with the program's environment: yes is exit code 0.
    Command(Argv),
}

/// A question over HTTP, to 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// At this port.
    pub port: Port,
    /// For this path.
    pub path: HttpPath,
}

/// What is asked for over HTTP: the path and perhaps the query of a URL, as they are sent. At most 1,024
/// visible characters of ASCII, the first a `/`, none a `#` (RFC 9112 §3.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpPath(String);

/// Why a text is no path of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no path of a URL: visible characters of ASCII are wanted that begin with `/`, without `#`", .text.escape_debug())]
pub struct InvalidHttpPath {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// A command: what is executed, relative to the workspace, and its arguments. 1 to 256 words without NUL,
/// the first not empty, together at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argv(Vec<String>);

/// Why words are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgv {
    /// Nothing is executed.
    #[error("a command wants a program before its arguments")]
    Empty,
    /// A word that no process can be given.
    #[error("word {0} of the command has a NUL character")]
    Nul(usize),
    /// More than any probe needs.
    #[error("a command has at most {MOST_WORDS} words and {MOST_BYTES} bytes")]
    TooLong,
}

impl HttpPath {
    /// The path as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpPath {
    type Err = InvalidHttpPath;
    fn from_str(text: &str) -> Result<Self, InvalidHttpPath> {
        let sendable = |b: u8| b.is_ascii_graphic() && b != b'#';
        let legal = text.starts_with('/') && text.len() <= 1024 && text.bytes().all(sendable);
        let refusal = || InvalidHttpPath { text: text.chars().take(80).collect() };
        legal.then(|| HttpPath(text.to_owned())).ok_or_else(refusal)
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(HttpPath);

impl Argv {
    /// What is executed.
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str) // never empty: see the type
    }

    /// Its arguments.
    pub fn args(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }

    /// All words.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Argv {
    type Error = InvalidArgv;
    fn try_from(words: Vec<String>) -> Result<Argv, InvalidArgv> {
        if words.first().is_none_or(String::is_empty) {
            return Err(InvalidArgv::Empty);
        }
        if words.len() > MOST_WORDS || words.iter().map(String::len).sum::<usize>() > MOST_BYTES {
            return Err(InvalidArgv::TooLong);
        }
        match words.iter().position(|word| word.contains('\0')) {
            Some(at) => Err(InvalidArgv::Nul(at + 1)),
            None => Ok(Argv(words)),
        }
    }
}

impl serde::Serialize for Argv {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Argv {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Argv::try_from(words).map_err(serde::de::Error::custom)
    }
}

const MOST_WORDS: usize = 256;
const MOST_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_would_end_the_line_of_a_request_is_refused() {
        for bad in ["", "healthz", "/a b", "/a\r\nHost: x", "/a#b", "/ä", "http://x/"] {
            assert!(bad.parse::<HttpPath>().is_err(), "{bad}");
        }
        assert!(format!("/{}", "a".repeat(1024)).parse::<HttpPath>().is_err());
        assert_eq!("/healthz?deep=1".parse::<HttpPath>().unwrap().as_str(), "/healthz?deep=1");
    }

    #[test]
    fn a_command_has_a_program_no_nul_and_an_end() {
        let argv = |words: &[&str]| {
            Argv::try_from(words.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(argv(&[]), Err(InvalidArgv::Empty));
        assert_eq!(argv(&["", "a"]), Err(InvalidArgv::Empty));
        assert_eq!(argv(&["a", "b\0"]), Err(InvalidArgv::Nul(2)));
        assert_eq!(argv(&["a"; 257]), Err(InvalidArgv::TooLong));
        assert_eq!(argv(&[&"a".repeat(MOST_BYTES + 1)]), Err(InvalidArgv::TooLong));
        let made = argv(&["bin/check", "", "--fast"]).unwrap();
        assert_eq!((made.program(), made.args().len()), ("bin/check", 2));
    }

    proptest! {
        #[test]
        fn a_path_that_is_taken_is_one_word_of_a_request(text in "/?\\PC{0,40}") {
            if let Ok(path) = text.parse::<HttpPath>() {
                prop_assert_eq!(path.as_str().split_ascii_whitespace().count(), 1);
                prop_assert_eq!(path.to_string().parse(), Ok(path));
            }
        }

        #[test]
        fn words_that_are_taken_can_be_given_to_a_process(words in prop::collection::vec("[a\\x00 ]{0,4}", 0..300)) {
            if let Ok(argv) = Argv::try_from(words.clone()) {
                prop_assert!(argv.words().iter().all(|word| !word.contains('\0')));
                prop_assert_eq!(argv.words(), &words[..]);
                prop_assert!(!argv.program().is_empty() && argv.words().len() <= MOST_WORDS);
            }
        }
    }
}
