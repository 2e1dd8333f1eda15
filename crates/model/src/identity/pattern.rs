//! Which callers an entry of a list means. Owns the spelling and the matching.
//!
//! `acme/ops` is that principal and all that extends its name, `acme/ops$` that principal alone, `acme` the
//! whole trust domain, `uid:1000` a local account, `loopback` whoever calls over TCP without a certificate,
//! `*` everybody who is known at all.

use std::fmt;
use std::str::FromStr;

use super::extension::Prefix;
use super::name::{InvalidPrincipal, Principal};
use crate::Caller;
use crate::string_form::string_form;

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallerPattern {
    /// Everybody who is known.
    Anyone,
    /// This name and all that extends it, or a whole trust domain.
    Under(Prefix),
    /// This principal alone.
    Exactly(Principal),
    /// This account of the machine.
    Uid(u32),
    /// Some account of this machine.
    Loopback,
}

/// Why a text is no entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// The name in it is none.
    #[error(transparent)]
    Name(#[from] InvalidPrincipal),
    /// No number of an account after `uid:`.
    #[error("`{}` is no account: `uid:1000` is wanted", .text.escape_debug())]
    Uid {
        /// The text, cut to 80 characters.
        text: String,
    },
}

impl CallerPattern {
    /// Does it mean this caller?
    pub fn matches(&self, caller: &Caller) -> bool {
        match (self, caller) {
            (CallerPattern::Anyone, Caller::Uid(_) | Caller::Principal(_)) => true,
            (CallerPattern::Under(Prefix::Below(name)), Caller::Principal(calling)) => {
                calling == name || calling.extends(name.as_str())
            }
            (CallerPattern::Under(Prefix::Whole(domain)), Caller::Principal(calling)) => {
                calling.extends(domain.as_str())
            }
            (CallerPattern::Exactly(name), Caller::Principal(calling)) => calling == name,
            (CallerPattern::Uid(uid), Caller::Uid(calling)) => calling == uid,
            (CallerPattern::Loopback, Caller::Loopback) => true,
            _ => false,
        }
    }

    /// The one that means this caller, and whom it extends its name to.
    pub fn of(caller: &Caller) -> CallerPattern {
        match caller {
            Caller::Uid(uid) => CallerPattern::Uid(*uid),
            Caller::Loopback => CallerPattern::Loopback,
            Caller::Principal(name) => CallerPattern::Under(Prefix::Below(name.clone())),
        }
    }
}

impl FromStr for CallerPattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if let Some(uid) = text.strip_prefix("uid:") {
            // One spelling: no sign, no zeros before it.
            let number = uid.parse().ok().filter(|number: &u32| number.to_string() == uid);
            let refusal = || InvalidPattern::Uid { text: text.chars().take(80).collect() };
            return number.map(CallerPattern::Uid).ok_or_else(refusal);
        }
        match text {
            "*" => Ok(CallerPattern::Anyone),
            "loopback" => Ok(CallerPattern::Loopback),
            _ => match text.strip_suffix('$') {
                Some(name) => Ok(CallerPattern::Exactly(name.parse()?)),
                None => Ok(CallerPattern::Under(text.parse()?)),
            },
        }
    }
}

impl fmt::Display for CallerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallerPattern::Anyone => f.write_str("*"),
            CallerPattern::Under(prefix) => prefix.fmt(f),
            CallerPattern::Exactly(name) => write!(f, "{name}$"),
            CallerPattern::Uid(uid) => write!(f, "uid:{uid}"),
            CallerPattern::Loopback => f.write_str("loopback"),
        }
    }
}

string_form!(CallerPattern);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hit(pattern: &str, caller: &str) -> bool {
        pattern.parse::<CallerPattern>().unwrap().matches(&caller.parse().unwrap())
    }

    #[test]
    fn a_name_means_itself_and_what_extends_it() {
        for (pattern, caller, means) in [
            ("acme/ops", "acme/ops", true),
            ("acme/ops", "acme/ops/alice", true),
            ("acme/ops", "acme/opsy", false),
            ("acme/ops", "acme/op", false),
            ("acme/ops", "other/ops", false),
            ("acme/ops$", "acme/ops", true),
            ("acme/ops$", "acme/ops/alice", false),
            ("acme", "acme/ops", true),
            ("acme", "acmes/ops", false),
            ("*", "acme/ops", true),
            ("*", "uid:7", true),
            ("*", "loopback", false),
            ("loopback", "loopback", true),
            ("loopback", "uid:7", false),
            ("uid:7", "uid:7", true),
            ("uid:7", "uid:77", false),
            ("uid:7", "acme/7", false),
        ] {
            assert_eq!(hit(pattern, caller), means, "{pattern} {caller}");
        }
    }

    #[test]
    fn what_looks_like_more_than_it_means_is_refused() {
        for bad in [
            "",
            "$",
            "acme$",
            "acme/*",
            "**",
            "acme/ops/",
            "uid:",
            "uid:-1",
            "uid:07",
            "uid:+7",
            "uid:4294967296",
            "acme/ops$$",
        ] {
            assert!(bad.parse::<CallerPattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn patterns_agree_with_a_definition_by_strings(pattern in "(a|b)(/[ab]){0,3}\\$?", name in "(a|b)(/[ab]){1,4}") {
            if let Ok(parsed) = pattern.parse::<CallerPattern>() {
                prop_assert_eq!(parsed.to_string(), &*pattern);
                let plain = match pattern.strip_suffix('$') {
                    Some(exact) => name == exact,
                    None => format!("{name}/").starts_with(&format!("{pattern}/")),
                };
                prop_assert_eq!(parsed.matches(&name.parse().unwrap()), plain);
            }
        }

        #[test]
        fn the_pattern_of_a_caller_means_it(caller in "uid:[0-9]|loopback|a(/[ab]){1,3}") {
            let caller: Caller = caller.parse().unwrap();
            prop_assert!(CallerPattern::of(&caller).matches(&caller));
        }
    }
}
