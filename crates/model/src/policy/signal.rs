//! The signals by which a program may be asked to end. Owns their names; refuses those that no program can
//! hear (`SIGKILL`, `SIGSTOP`), that do not ask it anything, or whose number differs between C libraries
//! (`SIGRTMIN+n`).

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

macro_rules! signals {
    ($($name:ident $number:literal $word:literal,)*) => {
        /// A signal that asks a program to end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is the signal of its name, signal(7)")]
        pub enum StopSignal { $($name),* }

        impl StopSignal {
            /// Every one.
            pub const ALL: &'static [StopSignal] = &[$(StopSignal::$name),*];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(StopSignal::$name => $word),* }
            }

            /// Its number on Linux, on all machines but alpha, mips, parisc and sparc (signal(7)).
            pub fn number(self) -> i32 {
                match self { $(StopSignal::$name => $number),* }
            }
        }
    };
}

signals! {
    Hup 1 "SIGHUP",
    Int 2 "SIGINT",
    Quit 3 "SIGQUIT",
    Abrt 6 "SIGABRT",
    Usr1 10 "SIGUSR1",
    Usr2 12 "SIGUSR2",
    Alrm 14 "SIGALRM",
    Term 15 "SIGTERM",
    Winch 28 "SIGWINCH",
    Pwr 30 "SIGPWR",
}

/// Why a text names no signal by which a program may be asked to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no signal that asks a program to end: one of {} is wanted", .text.escape_debug(), Words)]
pub struct InvalidSignal {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

struct Words;

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = StopSignal::ALL.iter().map(|signal| signal.as_str()).collect();
        f.write_str(&words.join(", "))
    }
}

impl FromStr for StopSignal {
    type Err = InvalidSignal;
    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        let refusal = || InvalidSignal { text: text.chars().take(80).collect() };
        StopSignal::ALL.iter().copied().find(|signal| signal.as_str() == text).ok_or_else(refusal)
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

string_form!(StopSignal);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_signal_is_read_by_its_name_alone() {
        for signal in StopSignal::ALL {
            assert_eq!(signal.to_string().parse(), Ok(*signal));
        }
    }

    #[test]
    fn signals_that_no_program_hears_are_refused_with_those_that_it_does() {
        for bad in ["SIGKILL", "SIGSTOP", "SIGCHLD", "SIGRTMIN+3", "TERM", "15", "sigterm", ""] {
            let refusal = bad.parse::<StopSignal>().unwrap_err().to_string();
            assert!(refusal.contains("SIGTERM, SIGWINCH"), "{refusal}");
        }
        assert!(StopSignal::ALL.iter().all(|signal| ![9, 19].contains(&signal.number())));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(SIG)?\\PC{0,8}") {
            if let Ok(signal) = text.parse::<StopSignal>() {
                prop_assert_eq!(signal.as_str(), text);
            }
        }
    }
}
