//! What is said about arguments that cannot be parsed, and to those who ask for help or the version.
//! Owns the way from clap's words to ours: an error, a hint, one line of JSON where that was asked for.

use clap::error::ErrorKind;
use wire::{Code, ErrorBody};

use crate::error::Exit;
use crate::output::Output;

/// Is `--version` all that is asked for? Scripts ask often, and all the words of the command line need not be
/// known for the answer.
pub(crate) fn asks_for_version(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let asked = arguments.nth(1).is_some_and(|asked| asked == "--version" || asked == "-V");
    asked && arguments.next().is_none()
}

/// The answer.
pub(crate) fn version() -> Exit {
    // A reader that has gone away has seen enough.
    let _ = Output::new(false).data(concat!("fettle ", env!("CARGO_PKG_VERSION"), "\n"));
    Exit::Done
}

/// Prints what clap has to say, and how that ends.
pub(crate) fn answer(error: &clap::Error) -> Exit {
    let output = Output::new(wants_json(std::env::args_os()));
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that has gone away has seen enough.
            let _ = output.data(&text);
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !output.is_json() => {
            output.say(text.trim_end());
            Exit::Usage
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            let body = ErrorBody::new(Code::Usage, "a command is missing");
            output.failure(&body.hint("`fettle --help` lists the commands"));
            Exit::Usage
        }
        _ => {
            output.failure(&body(&text));
            Exit::Usage
        }
    }
}

/// Was `--json` among the arguments? They could not be parsed, so this looks at them as they are; what
/// follows `--` is no flag.
fn wants_json(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    arguments.skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// clap's text has paragraphs: what is wrong, tips, the usage, and where help is.
fn body(text: &str) -> ErrorBody {
    let mut paragraphs = text.split("\n\n").map(one_line);
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let hints: Vec<String> = paragraphs
        .filter_map(|paragraph| {
            let tip = paragraph.strip_prefix("tip: ").map(str::to_owned);
            tip.or_else(|| Some(format!("usage: {}", form(paragraph.strip_prefix("Usage: ")?))))
        })
        .collect();
    let body = ErrorBody::new(Code::Usage, message);
    match hints.is_empty() {
        true => body.hint("`fettle --help` lists the commands and flags"),
        false => body.hint(hints.join("; ")),
    }
}

/// clap counts flags that were given, also by the environment, as part of the form of the command; these are
/// of every command, and never wanted.
fn form(usage: &str) -> String {
    let everywhere = [" --json", " --server <URL>", " --node <URL>"];
    everywhere.iter().fold(usage.to_owned(), |usage, flag| usage.replace(flag, ""))
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn refusal(arguments: &[&str]) -> ErrorBody {
        let all = ["fettle"].iter().chain(arguments);
        body(&crate::args::Arguments::try_parse_from(all).unwrap_err().render().to_string())
    }

    #[test]
    fn what_is_missing_and_how_it_is_used_is_said_in_one_line_each() {
        let body = refusal(&["object", "upload", "x"]);
        assert!(body.message.contains("<PATH>"), "{}", body.message);
        assert!(!body.message.contains('\n') && !body.message.starts_with("error"));
        assert!(body.hint.unwrap().starts_with("usage: fettle object upload"));
    }

    #[test]
    fn the_form_of_a_command_has_no_flag_that_only_happens_to_be_given() {
        let given = ["--json", "--server", "http://[::1]", "--node", "n", "object", "upload", "x"];
        let hint = refusal(&given).hint.unwrap();
        assert_eq!(hint, "usage: fettle object upload <NAME> <PATH>");
    }

    #[test]
    fn a_word_that_is_nearly_right_is_told_so() {
        let body = refusal(&["object", "uplaod"]);
        assert!(body.hint.unwrap().contains("upload"));
    }

    #[test]
    fn json_is_wanted_only_by_a_flag_before_the_double_dash() {
        let wants = |text: &str| wants_json(text.split(' ').map(Into::into));
        assert!(wants("fettle ps --json") && wants("fettle --json"));
        assert!(!wants("fettle ps -- --json") && !wants("fettle ps"));
    }
}
