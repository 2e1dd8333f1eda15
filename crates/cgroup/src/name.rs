//! From a name to the directory of its group and back: the only way from one to the other.
//!
//! Every directory ends in `.group`, so that no name can meet a control file of the kernel (`memory.max`,
//! `cgroup.procs`), which share the directory with it.

/// Why a name cannot be that of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There must be something.
    #[error("the name of a group is empty")]
    Empty,
    /// Longer than a file name may be, after escaping.
    #[error("the name of a group is longer than a file name may be")]
    TooLong,
}

/// The directory for a name: letters, digits, `-`, `_` and `.` stay, any other byte becomes `%XX`.
pub(crate) fn directory(name: &str) -> Result<String, NameError> {
    let mut directory = escape(name)?;
    directory.push_str(SUFFIX);
    if directory.len() > LONGEST { Err(NameError::TooLong) } else { Ok(directory) }
}

/// A name as one plain component of a path, without the suffix.
pub(crate) fn escape(name: &str) -> Result<String, NameError> {
    use std::fmt::Write as _;
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    let mut escaped = String::with_capacity(name.len() + SUFFIX.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if plain || (byte == b'.' && at > 0) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02x}"); // a String takes all
        }
    }
    if escaped.len() > LONGEST { Err(NameError::TooLong) } else { Ok(escaped) }
}

/// The name that a directory was made for, unless it was not made by us.
pub(crate) fn of_directory(directory: &str) -> Option<String> {
    let escaped = directory.strip_suffix(SUFFIX)?.as_bytes();
    let mut name = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            name.push(first);
        }
    }
    let name = String::from_utf8(name).ok()?;
    // Only what escaping gives again is ours: one name, one directory.
    (self::directory(&name).ok()? == directory).then_some(name)
}

const SUFFIX: &str = ".group";
const LONGEST: usize = 255; // NAME_MAX

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_readable_directories() {
        assert_eq!(directory("weather.1.0").unwrap(), "weather.1.0.group");
        assert_eq!(directory("../x").unwrap(), "%2e.%2fx.group");
        assert_eq!(directory("é").unwrap(), "%c3%a9.group");
        assert_eq!(directory(""), Err(NameError::Empty));
        assert_eq!(directory(&"x".repeat(250)), Err(NameError::TooLong));
        assert_eq!(of_directory("memory.max"), None);
        assert_eq!(of_directory("a%2Fb.group"), None, "not as we write it");
        assert_eq!(of_directory(".group"), None);
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_is_one_plain_component(name in "\\PC{1,20}|[./%a-c]{1,20}") {
            let directory = directory(&name).unwrap();
            prop_assert!(!directory.contains(['/', '\0', '\n', ' ']) && !directory.starts_with('.'));
            prop_assert_eq!(of_directory(&directory), Some(name));
        }

        #[test]
        fn one_name_has_one_directory(directory in "[a-c%.0-9]{1,12}\\.group") {
            if let Some(name) = of_directory(&directory) {
                prop_assert_eq!(super::directory(&name).unwrap(), directory);
            }
        }
    }
}
