//! The media info of a local file: from the `.__info` file beside it, else from its name. Owns the
//! reading of `.__info` files; `model` owns their writing.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use model::{Encoding, InvalidMediaType, MediaInfo, UnknownEncoding};

use super::error::TransferError;

/// Why a `.__info` file says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInfoFile {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is too large to be one.
    #[error("it is larger than {INFO_BYTES} bytes")]
    TooLarge,
    /// It is no JSON object.
    #[error("it is no JSON object")]
    Json(#[source] serde_json::Error),
    /// A key is missing, stands twice (in different case), or is no text.
    #[error("it has no `{key}`, or several, or one that is no text")]
    Key {
        /// `Type` or `Encoding`.
        key: &'static str,
    },
    /// The type is none.
    #[error("its `Type` is wrong")]
    Type(#[source] InvalidMediaType),
    /// The encoding is unknown.
    #[error("its `Encoding` is wrong")]
    Encoding(#[source] UnknownEncoding),
}

/// What the bytes at `path` are: for a directory, the tar that it is packed as; for a file, what
/// `PATH.__info` says, else what its name suggests.
///
/// # Errors
/// [`TransferError::Read`] if nothing is there, [`TransferError::Info`].
pub fn media_of(path: &Path) -> Result<MediaInfo, TransferError> {
    let facts = std::fs::metadata(path)
        .map_err(|source| TransferError::Read { path: path.to_owned(), source })?;
    if facts.is_dir() {
        return Ok(MediaInfo::packed_directory());
    }
    if let Some(stated) = stated_media(path)? {
        return Ok(stated);
    }
    let name = path.file_name().unwrap_or_default();
    Ok(MediaInfo::from_file_name(&name.to_string_lossy()))
}

/// What `PATH.__info` says; `None` if there is no such file.
pub(crate) fn stated_media(path: &Path) -> Result<Option<MediaInfo>, TransferError> {
    let beside = info_path(path);
    let read = || {
        let file = match File::open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(InvalidInfoFile::Read)?,
        };
        let mut text = Vec::new();
        file.take(INFO_BYTES + 1).read_to_end(&mut text).map_err(InvalidInfoFile::Read)?;
        parse_info(&text).map(Some)
    };
    read().map_err(|source| TransferError::Info { path: beside.clone(), source })
}

/// Reads the text of a `.__info` file: `{"Type":"…","Encoding":"…"}`. The case of the keys does not
/// matter, a missing encoding means none, other keys are passed over.
///
/// # Errors
/// See [`InvalidInfoFile`].
pub fn parse_info(text: &[u8]) -> Result<MediaInfo, InvalidInfoFile> {
    if text.len() as u64 > INFO_BYTES {
        return Err(InvalidInfoFile::TooLarge);
    }
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(InvalidInfoFile::Json)?;
    let value = |key: &'static str| {
        let mut hits = object.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        match (hits.next(), hits.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => {
                value.as_str().map(Some).ok_or(InvalidInfoFile::Key { key })
            }
            (Some(_), Some(_)) => Err(InvalidInfoFile::Key { key }),
        }
    };
    let media_type = value("Type")?.ok_or(InvalidInfoFile::Key { key: "Type" })?;
    let encoding = value("Encoding")?.unwrap_or_default();
    Ok(MediaInfo {
        media_type: media_type.parse().map_err(InvalidInfoFile::Type)?,
        encoding: Encoding::parse_stated(encoding).map_err(InvalidInfoFile::Encoding)?,
    })
}

/// Where the media info of the file at `path` lies.
pub(crate) fn info_path(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".__info");
    PathBuf::from(beside)
}

const INFO_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_taken_in_any_case_and_a_missing_encoding_is_none() {
        for text in [
            r#"{"Type":"application/x-tar","Encoding":"gzip"}"#,
            r#"{"type":"Application/X-Tar","ENCODING":"GZIP","more":[1]}"#,
        ] {
            assert_eq!(parse_info(text.as_bytes()).unwrap(), MediaInfo::from_file_name("a.tgz"));
        }
        let plain = parse_info(br#"{"Type":"text/plain"}"#).unwrap();
        assert_eq!(plain, MediaInfo::from_file_name("a.txt"));
    }

    #[test]
    fn what_says_nothing_or_two_things_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"Encoding":"gzip"}"#,
            r#"{"Type":1}"#,
            r#"{"Type":"a/b","type":"c/d"}"#,
            r#"{"Type":"tar"}"#,
            r#"{"Type":"a/b","Encoding":"br"}"#,
        ] {
            assert!(parse_info(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(parse_info(&[b' '; 65537]), Err(InvalidInfoFile::TooLarge)));
    }

    #[test]
    fn a_file_is_what_is_stated_beside_it_and_else_what_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        std::fs::write(&path, b"x").unwrap();
        assert_eq!(media_of(&path).unwrap(), MediaInfo::from_file_name("a.zip"));
        std::fs::write(info_path(&path), r#"{"Type":"text/plain"}"#).unwrap();
        assert_eq!(media_of(&path).unwrap(), MediaInfo::from_file_name("a.txt"));
        assert_eq!(media_of(dir.path()).unwrap(), MediaInfo::packed_directory());
        assert!(matches!(media_of(&dir.path().join("b")), Err(TransferError::Read { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}", bytes: Vec<u8>) {
            let _ = parse_info(text.as_bytes());
            let _ = parse_info(&bytes);
        }

        #[test]
        fn what_model_writes_is_read_back(name in "[a-z.]{1,12}") {
            let media = MediaInfo::from_file_name(&name);
            prop_assert_eq!(parse_info(media.to_info_file().as_bytes()).unwrap(), media);
        }
    }
}
