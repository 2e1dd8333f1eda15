//! The port at which a program is asked: a number, or the variable of its environment that has the number,
//! for programs that are told where to listen. Always of this machine (127.0.0.1); owns no socket.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::envelope::EnvName;

/// Where a program is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Port {
    /// This port.
    Number(NonZeroU16),
    /// The port whose number this variable of the program's environment has.
    Variable(EnvName),
}

/// Why a text is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no port: a number from 1 to 65535 is wanted, or the name of a variable of the program's environment", .text.escape_debug())]
pub struct InvalidPort {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl FromStr for Port {
    type Err = InvalidPort;
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let bad = || InvalidPort { text: text.chars().take(80).collect() };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().map(Port::Number).map_err(|_| bad());
        }
        text.parse().map(Port::Variable).map_err(|_| bad())
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Number(number) => number.fmt(f),
            Port::Variable(name) => name.fmt(f),
        }
    }
}

/// A number as a number, a variable as its name.
impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Port::Number(number) => serializer.serialize_u16(number.get()),
            Port::Variable(name) => serializer.serialize_str(name.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrName)
    }
}

struct NumberOrName;

impl Visitor<'_> for NumberOrName {
    type Value = Port;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port from 1 to 65535, or the name of a variable")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Port, E> {
        let number = u16::try_from(number).ok().and_then(NonZeroU16::new);
        let bad = || E::custom("a port is a number from 1 to 65535");
        number.map(Port::Number).ok_or_else(bad)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Port, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(0))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Port, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_port_is_a_number_or_the_name_of_a_variable() {
        assert_eq!("8080".parse(), Ok(Port::Number(NonZeroU16::new(8080).unwrap())));
        assert_eq!("PORT".parse(), Ok(Port::Variable("PORT".parse().unwrap())));
        for bad in ["", "0", "65536", "80a", "-1", "FETTLE_PORT", "A B", "+80"] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_port_prints_and_parses_to_itself(number: NonZeroU16, name in "[A-Z_][A-Z0-9_]{0,20}") {
            prop_assume!(!name.starts_with("FETTLE_"));
            for port in [Port::Number(number), Port::Variable(name.parse().unwrap())] {
                prop_assert_eq!(port.to_string().parse(), Ok(port));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,20}") {
            if let Ok(port) = text.parse::<Port>() {
                prop_assert_eq!(port.to_string().parse(), Ok(port));
            }
        }
    }
}
