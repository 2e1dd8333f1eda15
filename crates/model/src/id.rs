//! Identifiers: of operations, uploads, requests and launches (random), of installations and instances
//! (counted). Owns their spelling; refuses to make the random ones up: whoever needs
//! one passes the bytes in.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::name::Title;
use crate::string_form::string_form;

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: {wanted} is wanted")]
pub struct InvalidId {
    /// What it was meant to be.
    pub kind: &'static str,
    /// The text as it was given, cut to 80 characters.
    pub text: String,
    /// What it should look like.
    pub wanted: &'static str,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> $name {
                $name(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let uuid = Uuid::try_parse(text).ok().filter(|uuid| uuid.as_hyphenated().to_string() == text);
                uuid.map($name).ok_or_else(|| invalid($kind, text, "a UUID in lower case with hyphens"))
            }
        }

        string_form!($name);
    )*};
}

uuid_ids! {
    /// A change that a node was asked for. The client makes it (UUIDv7), so that a request sent twice is done once.
    OperationId, "operation";
    /// An upload in progress.
    UploadId, "upload";
    /// One HTTP request, as it is found in the server's log.
    RequestId, "request";
    /// One start of one process: recorded before the process is made, so that a repeat starts nothing twice.
    LaunchId, "launch";
}

/// An installation on a node, `TITLE/N`: N is counted up for each title and never used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstallationId {
    /// The application's title.
    pub title: Title,
    /// From 1.
    pub number: u32,
}

/// An instance on a node, `TITLE/N/M`: M is counted up for each installation and never used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId {
    /// The installation that it is an instance of.
    pub installation: InstallationId,
    /// From 1.
    pub number: u32,
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.title, self.number)
    }
}

impl FromStr for InstallationId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (title, number) = text.split_once('/')?;
            Some(InstallationId { title: title.parse().ok()?, number: counted(number)? })
        };
        parse().ok_or_else(|| invalid("installation", text, "TITLE/N"))
    }
}

string_form!(InstallationId);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.installation, self.number)
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parse = || {
            let (installation, number) = text.rsplit_once('/')?;
            Some(InstanceId { installation: installation.parse().ok()?, number: counted(number)? })
        };
        parse().ok_or_else(|| invalid("instance", text, "TITLE/N/M"))
    }
}

string_form!(InstanceId);

/// A decimal number from 1 in its one spelling: no sign, no leading zero.
fn counted(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

fn invalid(kind: &'static str, text: &str, wanted: &'static str) -> InvalidId {
    InvalidId { kind, text: text.chars().take(80).collect(), wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn installations_and_instances_have_one_spelling() {
        assert!("weather/1".parse::<InstallationId>().is_ok());
        assert!("weather/1/2".parse::<InstanceId>().is_ok());
        for bad in [
            "weather",
            "weather/0",
            "weather/01",
            "weather/+1",
            "weather/1/2",
            "/1",
            "W/1",
            "weather/",
        ] {
            assert!(bad.parse::<InstallationId>().is_err(), "{bad}");
        }
        for bad in
            ["weather/1", "weather/1/0", "weather/1/2/3", "weather//2", "weather/1/4294967296"]
        {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operation_has_one_spelling() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(id.parse::<OperationId>().unwrap().to_string(), id);
        for bad in ["", "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057"]
        {
            assert!(bad.parse::<OperationId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_instance_prints_and_parses_to_itself(title in "[a-z0-9][a-z0-9._-]{0,20}", n in 1u32.., m in 1u32..) {
            let installation = InstallationId { title: title.parse().unwrap(), number: n };
            let instance = InstanceId { installation, number: m };
            prop_assert_eq!(instance.to_string().parse(), Ok(instance));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
            let _ = (text.parse::<InstanceId>(), text.parse::<InstallationId>(), text.parse::<OperationId>());
        }
    }
}
