//! Media info: what an object's bytes are. Owns the media type's grammar, the encodings, the table from
//! file names (used once, when a publisher states nothing else) and the exact text of a `.__info` file.
//! Refuses to look into bytes: the publisher's word, kept with the object, is what unpacking goes by.

use std::fmt;
use std::str::FromStr;

use crate::string_form::string_form;

/// What an object's bytes are: a media type, and how they were encoded on top of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaInfo {
    /// The type, e.g. `application/x-tar`.
    pub media_type: MediaType,
    /// The encoding around it; `None` if there is none.
    pub encoding: Option<Encoding>,
}

/// A media type: `type/subtype` of RFC 9110 §8.3.1, in lower case, with its parameters (if any) as they
/// were given, at most 255 bytes in this form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType(String);

/// A content encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the registered name of its format")]
pub enum Encoding {
    Gzip,
    Bzip2,
    Zstd,
    Xz,
}

/// Why a text is no media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no media type: `type/subtype` in ASCII, at most 255 bytes, is wanted")]
pub struct InvalidMediaType {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

/// An encoding that fettle does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the encoding `{text}` is unknown: gzip, bzip2, zstd, xz or none are")]
pub struct UnknownEncoding {
    /// The text as it was given, cut to 80 characters.
    pub text: String,
}

impl MediaInfo {
    /// The media info that a file's name suggests; case does not matter.
    pub fn from_file_name(name: &str) -> MediaInfo {
        let name = name.to_ascii_lowercase();
        let hit = BY_SUFFIX.iter().find(|(suffix, ..)| name.ends_with(suffix));
        let (_, media_type, encoding) = hit.unwrap_or(&("", OCTET_STREAM, None));
        MediaInfo { media_type: MediaType((*media_type).to_owned()), encoding: *encoding }
    }

    /// A directory that fettle packed itself: a reproducible tar without encoding.
    pub fn packed_directory() -> MediaInfo {
        MediaInfo { media_type: MediaType(TAR.to_owned()), encoding: None }
    }

    /// The text of the `.__info` file beside a downloaded object: `{"Type":"…","Encoding":"…"}` without
    /// a newline, the empty text for no encoding. The form is Veyron's of 2014.
    pub fn to_info_file(&self) -> String {
        let encoding = self.encoding.map(Encoding::as_str).unwrap_or_default();
        // A media type's grammar (parameters included) admits `"` and `\`, so both are escaped.
        let escaped = self.media_type.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        format!(r#"{{"Type":"{escaped}","Encoding":"{encoding}"}}"#)
    }
}

impl MediaType {
    /// The type with its parameters, as it is sent in `Content-Type`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `type/subtype` without parameters.
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_end()
    }

    /// Is this a tar archive?
    pub fn is_tar(&self) -> bool {
        self.essence() == TAR
    }

    /// Is this a zip archive?
    pub fn is_zip(&self) -> bool {
        self.essence() == ZIP
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;
    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let refusal = || InvalidMediaType { text: text.chars().take(80).collect() };
        let (essence, parameters) = match text.split_once(';') {
            Some((essence, parameters)) => (blank(essence), Some(blank(parameters))),
            None => (blank(text), None),
        };
        let (kind, subtype) = essence.split_once('/').ok_or_else(refusal)?;
        let token = |t: &str| !t.is_empty() && t.bytes().all(is_token_byte);
        let printable = |t: &str| t.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if !token(kind) || !token(subtype) || !parameters.is_none_or(printable) {
            return Err(refusal());
        }
        let essence = essence.to_ascii_lowercase();
        let whole = match parameters {
            Some(parameters) if !parameters.is_empty() => format!("{essence}; {parameters}"),
            _ => essence,
        };
        // Of what is kept, not of what was given: it must be readable again.
        if whole.len() > LONGEST {
            return Err(refusal());
        }
        Ok(MediaType(whole))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(MediaType);

impl Encoding {
    /// The name in `Content-Encoding`, in media info and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Bzip2 => "bzip2",
            Encoding::Zstd => "zstd",
            Encoding::Xz => "xz",
        }
    }

    /// Reads a stated encoding, where the empty text, `none` and `identity` mean none.
    ///
    /// # Errors
    /// An encoding that is not one of [`Encoding`].
    pub fn parse_stated(text: &str) -> Result<Option<Encoding>, UnknownEncoding> {
        match text.trim() {
            "" | "none" | "identity" => Ok(None),
            other => other.parse().map(Some),
        }
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;
    fn from_str(text: &str) -> Result<Self, UnknownEncoding> {
        match text.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Ok(Encoding::Gzip), // RFC 9110 §8.4.1.3 asks for both
            "bzip2" => Ok(Encoding::Bzip2),
            "zstd" => Ok(Encoding::Zstd),
            "xz" => Ok(Encoding::Xz),
            _ => Err(UnknownEncoding { text: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

string_form!(Encoding);

/// Optional white space of RFC 9110 §5.6.3: a line break is none of it.
fn blank(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 9110 §5.6.2.
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Bytes of a media type.
const LONGEST: usize = 255;
const TAR: &str = "application/x-tar";
const ZIP: &str = "application/zip";
const OCTET_STREAM: &str = "application/octet-stream";

/// Longer suffixes come before those that they end in.
const BY_SUFFIX: [(&str, &str, Option<Encoding>); 14] = [
    (".zip", ZIP, None),
    (".tar", TAR, None),
    (".tar.gz", TAR, Some(Encoding::Gzip)),
    (".tgz", TAR, Some(Encoding::Gzip)),
    (".tar.bz2", TAR, Some(Encoding::Bzip2)),
    (".tbz2", TAR, Some(Encoding::Bzip2)),
    (".tbz", TAR, Some(Encoding::Bzip2)),
    (".tb2", TAR, Some(Encoding::Bzip2)),
    (".tar.zst", TAR, Some(Encoding::Zstd)),
    (".tzst", TAR, Some(Encoding::Zstd)),
    (".tar.xz", TAR, Some(Encoding::Xz)),
    (".txz", TAR, Some(Encoding::Xz)),
    (".txt", "text/plain", None),
    ("", OCTET_STREAM, None),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_name_suggests_type_and_encoding_whatever_its_case() {
        for (name, info) in [
            ("a.zip", r#"{"Type":"application/zip","Encoding":""}"#),
            ("A.TAR.GZ", r#"{"Type":"application/x-tar","Encoding":"gzip"}"#),
            ("a.tgz", r#"{"Type":"application/x-tar","Encoding":"gzip"}"#),
            ("a.tb2", r#"{"Type":"application/x-tar","Encoding":"bzip2"}"#),
            ("a.tar.bz2", r#"{"Type":"application/x-tar","Encoding":"bzip2"}"#),
            ("a.tar.zst", r#"{"Type":"application/x-tar","Encoding":"zstd"}"#),
            ("a.txz", r#"{"Type":"application/x-tar","Encoding":"xz"}"#),
            ("a.tar", r#"{"Type":"application/x-tar","Encoding":""}"#),
            ("README.txt", r#"{"Type":"text/plain","Encoding":""}"#),
            ("tar", r#"{"Type":"application/octet-stream","Encoding":""}"#),
            ("a.gz", r#"{"Type":"application/octet-stream","Encoding":""}"#),
        ] {
            assert_eq!(MediaInfo::from_file_name(name).to_info_file(), info, "{name}");
        }
    }

    #[test]
    fn a_media_type_keeps_its_parameters_and_compares_in_lower_case() {
        let plain: MediaType = "Text/Plain;charset=UTF-8".parse().unwrap();
        assert_eq!(plain.as_str(), "text/plain; charset=UTF-8");
        assert_eq!(plain.essence(), "text/plain");
        assert!("application/x-tar; a=b".parse::<MediaType>().unwrap().is_tar());
    }

    #[test]
    fn the_longest_media_type_is_measured_as_it_is_kept() {
        let subtype = "t".repeat(LONGEST - "x/; a=1".len());
        let longest: MediaType = format!("x/{subtype};a=1").parse().unwrap();
        assert_eq!(longest.as_str().len(), LONGEST);
        assert_eq!(longest.as_str().parse(), Ok(longest.clone()));
        assert!(format!("x/{subtype};a=12").parse::<MediaType>().is_err());
        // Blanks that are not kept do not count.
        assert_eq!(format!("x/{subtype}  ;  a=1").parse(), Ok(longest));
    }

    #[test]
    fn what_could_break_a_header_is_no_media_type() {
        let long = format!("a/{}", "b".repeat(300));
        for bad in ["", "tar", "a/", "/b", "a/b\r\nX: y", "a b/c", "a/b; x\n", "ä/b", &long] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_encoding_may_be_stated_as_none_in_three_ways() {
        for none in ["", "none", "identity"] {
            assert_eq!(Encoding::parse_stated(none), Ok(None));
        }
        assert_eq!(Encoding::parse_stated("x-gzip"), Ok(Some(Encoding::Gzip)));
        assert!(Encoding::parse_stated("br").is_err());
    }

    proptest! {
        #[test]
        fn a_media_type_that_parses_parses_again_to_itself(text in "[ -~]{0,40}/[ -~]{0,40}") {
            if let Ok(parsed) = text.parse::<MediaType>() {
                prop_assert_eq!(parsed.as_str().parse::<MediaType>(), Ok(parsed.clone()));
            }
        }
    }
}
