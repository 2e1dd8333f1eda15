//! One flat TOML file of settings, key by key. Owns how a wrong line is refused: with the file, the line, the
//! column, and what would be right. A key that nobody asks for is refused, so the keys that are read are the
//! keys that there are. Knows no key by itself and touches no disk.

use std::path::{Path, PathBuf};

use model::ByteSize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use tracing_subscriber::EnvFilter;

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, line {line}, column {column}: {message}", .path.display())]
pub(crate) struct FileError {
    /// The file.
    path: PathBuf,
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// What is wrong there.
    message: String,
    /// What would be right.
    pub(crate) hint: String,
}

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct KeyFile<'t> {
    path: &'t Path,
    text: &'t str,
    table: DeTable<'t>,
    asked: Vec<&'static str>,
}

impl<'t> KeyFile<'t> {
    /// Any TOML.
    pub(crate) fn parse(text: &'t str, path: &'t Path) -> Result<KeyFile<'t>, FileError> {
        match DeTable::parse(text) {
            Ok(table) => Ok(KeyFile { path, text, table: table.into_inner(), asked: Vec::new() }),
            Err(error) => {
                let at = error.span().map_or(text.len(), |span| span.start);
                let hint =
                    "a line is `key = value`, text stands in double quotes; `#` begins a comment";
                Err(refusal(path, text, at, one_line(error.message()), hint.to_owned()))
            }
        }
    }

    /// Text.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, FileError> {
        self.take(key, "text in double quotes", |text| Ok(text.to_owned()))
    }

    /// An absolute path: a service has no directory of its own that a relative one could begin at.
    pub(crate) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, FileError> {
        self.take(key, "an absolute path in double quotes", |text| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err(format!("`{}` is not absolute", text.escape_debug())),
        })
    }

    /// A size like `64MiB`.
    pub(crate) fn size(&mut self, key: &'static str) -> Result<Option<ByteSize>, FileError> {
        let wanted = "a size in double quotes, like \"64MiB\"";
        self.take(key, wanted, |text| {
            text.parse().map_err(|error: model::InvalidSize| error.to_string())
        })
    }

    /// What is logged: a level, or a filter by module.
    pub(crate) fn log_filter(&mut self, key: &'static str) -> Result<Option<String>, FileError> {
        let wanted = "\"off\", \"warn\", \"info\", \"debug\", or a filter by module";
        self.take(key, wanted, |text| match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(one_line(&error.to_string())),
        })
    }

    /// `true` or `false`.
    pub(crate) fn switch(&mut self, key: &'static str) -> Result<Option<bool>, FileError> {
        self.asked.push(key);
        let Some(value) = self.find(key) else { return Ok(None) };
        let switched = value.get_ref().as_bool().map(Some);
        switched.ok_or_else(|| self.wrong_type(key, value, "true or false, without quotes"))
    }

    /// Refuses what nobody asked for; to be called last.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        let strangers = self.table.keys().filter(|key| !self.asked.contains(&&**key.get_ref()));
        let Some(key) = strangers.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref();
        let hint = match nearest(name, &self.asked) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("there are: {}", self.asked.join(", ")),
        };
        let message = format!("unknown key `{}`", name.escape_debug());
        Err(refusal(self.path, self.text, key.span().start, message, hint))
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FileError> {
        self.asked.push(key);
        let Some(value) = self.find(key) else { return Ok(None) };
        let Some(text) = value.get_ref().as_str() else {
            return Err(self.wrong_type(key, value, wanted));
        };
        parse(text).map(Some).map_err(|why| {
            let message = format!("`{key}`: {why}");
            refusal(self.path, self.text, value.span().start, message, wants(key, wanted))
        })
    }

    fn find(&self, key: &str) -> Option<&Spanned<DeValue<'t>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) -> FileError {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{key}` is {found}");
        refusal(self.path, self.text, value.span().start, message, wants(key, wanted))
    }
}

fn wants(key: &str, wanted: &str) -> String {
    format!("`{key}` takes {wanted}")
}

fn refusal(path: &Path, text: &str, at: usize, message: String, hint: String) -> FileError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    FileError {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
        hint,
    }
}

/// The known key that a reader most likely meant, by the measure that clap has for flags.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.replace('_', "-").to_lowercase();
    let scored = known.iter().map(|known| (strsim::jaro(&name, known), *known));
    let (score, best) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.7).then_some(best)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{NodeSettings, ServerSettings, parse};

    fn refused(text: &str) -> (String, String) {
        let error = parse::<NodeSettings>(text, Path::new("/etc/fettle/node.toml")).unwrap_err();
        (error.to_string(), error.hint)
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest_known_one() {
        let (message, hint) = refused("root = \"/r\"\n# ä\n  lisen = \"x\"\n");
        assert_eq!(message, "/etc/fettle/node.toml, line 3, column 3: unknown key `lisen`");
        assert_eq!(hint, "did you mean `listen`?");
        assert_eq!(refused("allow_loopback = true").1, "did you mean `allow-loopback`?");
        let (_, hint) = refused("zzz = 1");
        assert!(hint.starts_with("there are: root, listen, server,"), "{hint}");
        let (message, hint) = refused("[reserves]\nx = 1\n");
        assert!(message.contains("line 1, column 2"), "{message}");
        assert_eq!(hint, "did you mean `reserve`?");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_place_and_the_right_one() {
        let (message, hint) = refused("\nreserve = 64\n");
        assert_eq!(message, "/etc/fettle/node.toml, line 2, column 11: `reserve` is a number");
        assert_eq!(hint, "`reserve` takes a size in double quotes, like \"64MiB\"");
        for (text, says) in [
            ("allow-loopback = \"yes\"", "`allow-loopback` is text"),
            ("root = \"here\"", "`here` is not absolute"),
            ("root = [\"/a\"]", "`root` is a list"),
            ("max-window = \"much\"", "`max-window`: "),
            ("log = \"a=b=c\"", "`log`: "),
        ] {
            let (message, _) = refused(text);
            assert!(message.contains("line 1, column") && message.contains(says), "{message}");
        }
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        let (message, _) = refused("root = \"/r\"\nlisten\n");
        assert!(message.starts_with("/etc/fettle/node.toml, line 2, column "), "{message}");
        assert!(!message.contains("\n"), "{message}");
        assert!(refused("root = \"/a\"\nroot = \"/b\"\n").0.contains("line 2"));
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down_and_every_refusal_has_a_place(text in "\\PC{0,60}|([a-z]{1,4} ?= ?(\"[a-z/]*\"|[0-9]|true)\n){0,4}") {
            if let Err(error) = parse::<ServerSettings>(&text, Path::new("/f")) {
                let lines = text.split('\n').count();
                prop_assert!((1..=lines).contains(&error.line) && error.column >= 1);
                prop_assert!(!error.hint.is_empty());
            }
        }
    }
}
