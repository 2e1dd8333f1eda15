//! The one mouth: everything that fettle prints goes through here. Standard output is data: with
//! `--json` one value, or one object per line, else text for people; standard error is talk, and with
//! `--json` nothing but the one line of an error. Owns the shapes; refuses to know what is said.

use std::io::{self, Write as _};

use serde::Serialize;
use wire::ErrorBody;

use crate::table::Table;

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

/// Standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct Unwritten {
    source: io::Error,
}

impl Unwritten {
    /// Is what it leads to full?
    pub(crate) fn is_no_space(&self) -> bool {
        self.source.kind() == io::ErrorKind::StorageFull
    }

    /// Has the reader gone away? Then nobody misses anything.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

impl Output {
    /// Prints JSON if `json`, else text for people.
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Does it print JSON?
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one value; `human` says it to people, without the last line feed.
    pub(crate) fn value<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), Unwritten> {
        let mut text = if self.json { to_json(value) } else { human(value) };
        text.push('\n');
        self.data(&text)
    }

    /// Prints a listing: an object per line, or a table.
    pub(crate) fn listing<T: Serialize>(
        self,
        items: &[T],
        human: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Unwritten> {
        if !self.json {
            return self.data(&human(items).to_string());
        }
        let lines = items.iter().map(|item| to_json(item) + "\n");
        self.data(&lines.collect::<String>())
    }

    /// Prints text as it is, at once.
    pub(crate) fn data(self, text: &str) -> Result<(), Unwritten> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|source| Unwritten { source })
    }

    /// Tells a person something, on standard error. Silent with `--json`.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            self.tell(text);
        }
    }

    /// Tells something on standard error that is worth a line even with `--json`.
    pub(crate) fn tell(self, text: &str) {
        // Where standard error is gone there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says what failed.
    pub(crate) fn failure(self, error: &ErrorBody) {
        match self.json {
            true => self.tell(&to_json(&ErrorLine { error })),
            false => self.tell(&describe(error)),
        }
    }
}

/// An error for people: what failed, why, and what to do next.
fn describe(error: &ErrorBody) -> String {
    let mut text = format!("error: {}", error.message);
    for cause in &error.causes {
        text.push_str(&format!("\n  caused by: {}", cause.replace('\n', "\n    ")));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a ErrorBody,
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the bodies have string keys and no failing field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Code;

    #[test]
    fn an_error_says_what_failed_then_why_then_what_to_do() {
        let mut error = ErrorBody::new(Code::Damaged, "cannot install `weather`").hint("try again");
        error.causes = vec!["the disk is full".into(), "two\nlines".into()];
        assert_eq!(
            describe(&error),
            "error: cannot install `weather`\n  caused by: the disk is full\n  caused by: two\n    \
             lines\nhint: try again"
        );
    }

    #[test]
    fn an_error_in_json_is_one_line_with_every_key() {
        let error = ErrorBody::new(Code::Internal, "two\nlines");
        let line = to_json(&ErrorLine { error: &error });
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let keys: Vec<&String> = value["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["causes", "code", "hint", "message", "operation", "request"]);
    }
}
