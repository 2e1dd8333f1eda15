//! Names: what may be called what. Owns every rule on the spelling of titles, profiles, application
//! names, object names and local package names. Refuses to turn a name into a path: only the
//! `layout.rs` of a crate that owns a tree does that, with these types as its arguments.

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{}` {fault}", printable(.name))]
pub struct InvalidName {
    /// What it was meant to name, e.g. `title`.
    pub kind: &'static str,
    /// The name as it was given.
    pub name: String,
    /// The rule that it breaks.
    pub fault: NameFault,
}

/// The rule that a refused name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// No character at all, or nothing between two slashes.
    #[error("has an empty segment")]
    Empty,
    /// More bytes than this kind of name may have.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// More segments than this kind of name may have.
    #[error("has more than {limit} segments")]
    TooDeep {
        /// The most segments.
        limit: usize,
    },
    /// A character outside the alphabet of this kind of name.
    #[error("may hold only a-z, 0-9, `.`, `_` and `-`, and begins with a letter or digit")]
    Alphabet,
    /// A control character, NUL included.
    #[error("has a control character")]
    Control,
    /// The segments `.` and `..` mean directories.
    #[error("has a segment `.` or `..`")]
    Dots,
    /// A slash where one path component is wanted.
    #[error("has a slash")]
    Slash,
    /// Names that begin with a dot are kept for fettle and hidden from listings.
    #[error("begins with a dot")]
    LeadingDot,
    /// `NAME.__info` is where the media info of package `NAME` lies.
    #[error("ends in `.__info`, which is kept for media info")]
    InfoSuffix,
}

/// Title of an application: what its installations are grouped by. `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Title(String);

/// Label for what a machine can run, e.g. `linux-amd64`. `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Profile(String);

/// Name that an application is published under: 1 to 8 segments joined by `/`, each
/// `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(String);

/// Name of an object in the binary repository: segments of 1 to 255 bytes UTF-8 joined by `/`, 1,024
/// bytes in all, no control character, no segment `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

/// Local name of a package within an application: one path component of 1 to 200 bytes UTF-8 without
/// control characters; does not begin with `.` and does not end in `.__info`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageName(String);

impl Profile {
    /// The profile that every machine has, and that comes last: `any`.
    pub fn any() -> Profile {
        Profile("any".to_owned())
    }
}

impl FromStr for Title {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        segment(text).map(|()| Title(text.to_owned())).map_err(refusing("title", text))
    }
}

impl FromStr for Profile {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        segment(text).map(|()| Profile(text.to_owned())).map_err(refusing("profile", text))
    }
}

impl FromStr for AppName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let check = || {
            if text.split('/').count() > APP_SEGMENTS {
                return Err(NameFault::TooDeep { limit: APP_SEGMENTS });
            }
            text.split('/').try_for_each(segment)
        };
        check().map(|()| AppName(text.to_owned())).map_err(refusing("application name", text))
    }
}

impl FromStr for ObjectName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let check = || {
            if text.len() > OBJECT_BYTES {
                return Err(NameFault::TooLong { limit: OBJECT_BYTES });
            }
            if text.chars().any(char::is_control) {
                return Err(NameFault::Control);
            }
            text.split('/').try_for_each(|part| match part {
                "" => Err(NameFault::Empty),
                "." | ".." => Err(NameFault::Dots),
                long if long.len() > OBJECT_SEGMENT_BYTES => {
                    Err(NameFault::TooLong { limit: OBJECT_SEGMENT_BYTES })
                }
                _ => Ok(()),
            })
        };
        check().map(|()| ObjectName(text.to_owned())).map_err(refusing("object name", text))
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let check = || {
            if text.is_empty() {
                return Err(NameFault::Empty);
            }
            if text.len() > PACKAGE_BYTES {
                return Err(NameFault::TooLong { limit: PACKAGE_BYTES });
            }
            if text.starts_with('.') {
                return Err(NameFault::LeadingDot);
            }
            if text.contains('/') {
                return Err(NameFault::Slash);
            }
            if text.chars().any(char::is_control) {
                return Err(NameFault::Control);
            }
            if text.ends_with(INFO_SUFFIX) {
                return Err(NameFault::InfoSuffix);
            }
            Ok(())
        };
        check().map(|()| PackageName(text.to_owned())).map_err(refusing("package name", text))
    }
}

macro_rules! text_of {
    ($($type:ty),*) => {$(
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        string_form!($type);
    )*};
}

text_of!(Title, Profile, AppName, ObjectName, PackageName);

/// `[a-z0-9][a-z0-9._-]{0,62}`. It cannot be `.` or `..`, so it is safe as a path component too.
pub(crate) fn segment(text: &str) -> Result<(), NameFault> {
    let Some(first) = text.bytes().next() else { return Err(NameFault::Empty) };
    if text.len() > SEGMENT_BYTES {
        return Err(NameFault::TooLong { limit: SEGMENT_BYTES });
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let legal = plain(first) && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
    legal.then_some(()).ok_or(NameFault::Alphabet)
}

fn refusing<'a>(kind: &'static str, name: &'a str) -> impl Fn(NameFault) -> InvalidName + 'a {
    move |fault| InvalidName { kind, name: name.to_owned(), fault }
}

/// A refused name may hold anything: it is shown with control characters escaped, and not endlessly.
fn printable(name: &str) -> String {
    let mut shown = String::new();
    for c in name.chars().take(SHOWN_CHARS) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if name.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

const SEGMENT_BYTES: usize = 63;
const APP_SEGMENTS: usize = 8;
const OBJECT_SEGMENT_BYTES: usize = 255;
const OBJECT_BYTES: usize = 1024;
const PACKAGE_BYTES: usize = 200;
const INFO_SUFFIX: &str = ".__info";
const SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_title_is_a_lower_case_word_that_begins_with_a_letter_or_digit() {
        for good in ["a", "0", "weather", "node-manager", "x.y_z-1", &"a".repeat(63)] {
            assert!(good.parse::<Title>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", ".a", "A", "wéather", "a/b", "a b", &"a".repeat(64)] {
            assert!(bad.parse::<Title>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_application_name_has_one_to_eight_segments() {
        assert!("a/b/c/d/e/f/g/h".parse::<AppName>().is_ok());
        for bad in ["", "/a", "a/", "a//b", "a/../b", "a/b/c/d/e/f/g/h/i"] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_name_may_be_any_utf8_path_that_cannot_climb() {
        for good in ["a", "Größe/файл.tar.gz", "a b/c@d", &format!("{}/x", "s".repeat(255))] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good}");
        }
        for bad in ["", "/", "a/", "/a", "a/./b", "..", "a\0b", "a\nb", &"s".repeat(256)] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
        assert!(["s".repeat(255).as_str(); 5].join("/").parse::<ObjectName>().is_err());
    }

    #[test]
    fn a_package_name_is_one_path_component_that_cannot_collide_with_media_info() {
        for good in ["model", "Größe 1", "a.b", "…", &"p".repeat(200)] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "x.__info", "a\tb", &"p".repeat(201)] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_the_thing_and_the_rule_without_raw_control_characters() {
        let refusal = "a\u{1b}[2J".parse::<ObjectName>().unwrap_err().to_string();
        assert_eq!(refusal, "object name `a\\u{1b}[2J` has a control character");
    }

    proptest! {
        #[test]
        fn every_name_that_parses_prints_as_it_was_given(text in "\\PC{0,80}|[a-z0-9./_-]{0,80}") {
            if let Ok(name) = text.parse::<Title>() { prop_assert_eq!(name.to_string(), text.clone()); }
            if let Ok(name) = text.parse::<AppName>() { prop_assert_eq!(name.to_string(), text.clone()); }
            if let Ok(name) = text.parse::<ObjectName>() { prop_assert_eq!(name.to_string(), text.clone()); }
            if let Ok(name) = text.parse::<PackageName>() { prop_assert_eq!(name.to_string(), text); }
        }

        #[test]
        fn no_legal_name_climbs_out_of_a_directory(text in "[a-z./\\x00-\\x20_-]{0,30}") {
            use std::path::{Component, Path};
            let climbs = |text: &str| {
                Path::new(text).components().any(|part| !matches!(part, Component::Normal(_)))
            };
            if text.parse::<ObjectName>().is_ok() || text.parse::<AppName>().is_ok() {
                prop_assert!(!climbs(&text));
            }
            if text.parse::<PackageName>().is_ok() || text.parse::<Title>().is_ok() {
                prop_assert!(!climbs(&text) && Path::new(&text).components().count() == 1);
            }
        }
    }
}
