//! A share of processors as people write it: `1.5` is one and a half. Owns the reading; whole thousandths,
//! so that what was written is what is compared and printed.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// So much time of processors for each time that passes: 0.01 to 1,024, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u32);

/// Why a number is no share of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no share of processors: 0.01 to 1024 is wanted, with at most three decimals", .text.escape_debug())]
pub struct InvalidCpu {
    /// The number as it was given, cut to 80 characters.
    pub text: String,
}

impl Cpu {
    /// From thousandths; `None` out of bounds.
    pub fn from_thousandths(thousandths: u32) -> Option<Cpu> {
        (LEAST..=MOST).contains(&thousandths).then_some(Cpu(thousandths))
    }

    /// In thousandths of a processor.
    pub fn thousandths(self) -> u32 {
        self.0
    }

    /// From a number of JSON or TOML.
    ///
    /// # Errors
    /// It is out of bounds, or has more than three decimals.
    pub fn from_f64(number: f64) -> Result<Cpu, InvalidCpu> {
        // The shortest decimal that gives this number is what was written, if it was one of ours.
        number.to_string().parse()
    }

    /// As a number of JSON.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl FromStr for Cpu {
    type Err = InvalidCpu;
    fn from_str(text: &str) -> Result<Self, InvalidCpu> {
        let bad = || InvalidCpu { text: text.chars().take(80).collect() };
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) if (1..=3).contains(&decimals.len()) => (whole, decimals),
            Some(_) => return Err(bad()),
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 4 || !digits(whole) || !digits(decimals) {
            return Err(bad());
        }
        let thousandths = format!("{whole}{decimals:0<3}").parse().map_err(|_| bad())?;
        Cpu::from_thousandths(thousandths).ok_or_else(bad)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => {
                let decimals = format!("{rest:03}");
                write!(f, "{}.{}", self.0 / 1000, decimals.trim_end_matches('0'))
            }
        }
    }
}

impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Cpu;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of processors, for instance 1.5")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cpu, E> {
        Cpu::from_f64(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cpu, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cpu, E> {
        number.to_string().parse().map_err(E::custom)
    }
}

/// What control groups can do: a millisecond of a period of a tenth of a second.
const LEAST: u32 = 10;
const MOST: u32 = 1_024_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, thousandths) in
            [("1.5", 1500), ("2", 2000), ("0.01", 10), ("1024", 1_024_000), ("0.125", 125)]
        {
            assert_eq!(text.parse(), Ok(Cpu(thousandths)), "{text}");
        }
        for bad in ["", ".5", "1.", "0", "0.009", "1024.001", "1.2345", "-1", "1e3", "+1", "1,5"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
        for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0001, 1e300, 1.0 / 3.0] {
            assert!(Cpu::from_f64(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_share_prints_and_parses_to_itself_also_as_a_number(thousandths in LEAST..=MOST) {
            let cpu = Cpu(thousandths);
            prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
            prop_assert_eq!(Cpu::from_f64(cpu.as_f64()), Ok(cpu));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[0-9.eE+-]{0,10}|\\PC{0,8}") {
            let _ = text.parse::<Cpu>();
        }
    }
}
