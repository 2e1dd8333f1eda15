//! References: how a user names an application and the versions of it that will do. `name` wants the
//! newest release, `name@1.4.2` exactly this one, `name@^1.4` the newest that the range admits.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};

use crate::name::{AppName, InvalidName};
use crate::string_form::string_form;

/// An application and the versions of it that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The application.
    pub application: AppName,
    /// The versions.
    pub wanted: Wanted,
}

/// Which versions are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Any release; no pre-release.
    Newest,
    /// This one. A full version without an operator is exact, unlike in Cargo.
    Exact(Version),
    /// Any that the range admits; pre-releases only where the range names one of the same triple.
    Range(VersionReq),
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// The part before `@` is no application name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The part after `@` is neither a version nor a range of versions.
    #[error("`{text}` is neither a version (1.4.2) nor a range of versions (^1.4)")]
    Version {
        /// The part after `@`, cut to 80 characters.
        text: String,
    },
}

impl Wanted {
    /// Will this version do?
    pub fn admits(&self, version: &Version) -> bool {
        match self {
            Wanted::Newest => version.pre.is_empty(),
            Wanted::Exact(exact) => exact == version,
            Wanted::Range(range) => range.matches(version),
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let Some((name, version)) = text.split_once('@') else {
            return Ok(Reference { application: text.parse()?, wanted: Wanted::Newest });
        };
        let application = name.parse()?;
        let bad = || InvalidReference::Version { text: version.chars().take(80).collect() };
        if version.len() > MAX_VERSION_BYTES {
            return Err(bad());
        }
        let wanted = match Version::parse(version) {
            Ok(exact) => Wanted::Exact(exact),
            Err(_) => Wanted::Range(VersionReq::parse(version).map_err(|_| bad())?),
        };
        Ok(Reference { application, wanted })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Newest => write!(f, "{}", self.application),
            Wanted::Exact(version) => write!(f, "{}@{version}", self.application),
            Wanted::Range(range) => write!(f, "{}@{range}", self.application),
        }
    }
}

string_form!(Reference);

/// Longer than any version that somebody types; versions become directory names on the node.
const MAX_VERSION_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(reference: &str, version: &str) -> bool {
        reference.parse::<Reference>().unwrap().wanted.admits(&version.parse().unwrap())
    }

    #[test]
    fn a_bare_name_admits_every_release_and_no_pre_release() {
        assert!(admits("demo/weather", "0.0.1") && admits("demo/weather", "9.0.0+build"));
        assert!(!admits("demo/weather", "1.0.0-rc.1"));
    }

    #[test]
    fn a_full_version_admits_itself_alone() {
        assert!(admits("w@1.4.2", "1.4.2"));
        assert!(!admits("w@1.4.2", "1.4.3") && !admits("w@1.4.2", "1.4.2-rc.1"));
        assert!(admits("w@1.4.2-rc.1", "1.4.2-rc.1"));
    }

    #[test]
    fn a_range_admits_what_semver_says_and_pre_releases_only_when_asked_for() {
        assert!(admits("w@^1.4", "1.9.0") && !admits("w@^1.4", "2.0.0"));
        assert!(!admits("w@^1.4", "1.5.0-rc.1") && admits("w@^1.5.0-rc", "1.5.0-rc.1"));
        assert!(admits("w@1", "1.2.3") && admits("w@*", "3.0.0") && admits("w@>=1, <3", "2.9.9"));
    }

    #[test]
    fn what_is_neither_version_nor_range_is_refused() {
        for bad in ["w@", "w@latest", "@1.0.0", "w@1.0.0@2", "W@1.0.0", ""] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!(format!("w@1.0.0-{}", "a".repeat(200)).parse::<Reference>().is_err());
    }

    proptest! {
        #[test]
        fn a_reference_that_parses_prints_and_parses_to_itself(
            text in "[a-z/]{1,9}(@[~^=]?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(-[a-z]{1,3})?)?"
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<Reference>();
        }
    }
}
