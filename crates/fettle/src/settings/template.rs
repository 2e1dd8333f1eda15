//! The commented file of settings that a new service gets: every key with what it means; those that were given
//! are set, the others stand in comments. Pure: it makes text.

use super::{NodeSettings, ServerSettings, Settings};

/// A `node.toml`.
pub(crate) fn node(settings: &NodeSettings) -> String {
    written(settings, "fettle node", NODE)
}

/// A `server.toml`.
pub(crate) fn server(settings: &ServerSettings) -> String {
    written(settings, "fettle server", SERVER)
}

fn written<S: Settings>(settings: &S, command: &str, about: &[(&str, &str, &str)]) -> String {
    let mut text = format!(
        "# Settings of `{command}`. Each has a flag of the same name (`{command} --help`); a flag beats the\n\
         # environment, the environment beats this file. They are read once, at the start.\n"
    );
    for (key, value) in settings.keys() {
        let about = about.iter().find(|(name, ..)| *name == key);
        let (_, about, example) = about.copied().unwrap_or((key, "", "\"\""));
        text.push_str(&format!("\n# {}\n", about.replace('\n', "\n# ")));
        match value {
            Some(value) => text.push_str(&format!("{key} = {value}\n")),
            None => text.push_str(&format!("#{key} = {example}\n")),
        }
    }
    text
}

const LOG: &str = "What is logged to standard error (the journal): off, warn, info, debug, or a filter by\n\
                   module. Environment: FETTLE_LOG.";

/// Key, meaning, example: the default where there is one.
const NODE: &[(&str, &str, &str)] = &[
    ("root", "Where everything of this node lies.", "\"/var/lib/fettle/node\""),
    (
        "listen",
        "Where it listens: a Unix socket, or an address of this machine's loopback. Without this line\n\
         it is node.sock in the root, where the command line looks for it.",
        "\"unix:/run/fettle-node.sock\"",
    ),
    (
        "server",
        "The repositories that it installs from; needed to install and to update only.",
        "\"http://127.0.0.1:7420\"",
    ),
    ("allow-loopback", "Lets every account of this machine change this node over TCP.", "false"),
    (
        "reserve",
        "Room on the disk that no install takes. Without this line: 64 MiB, or a fiftieth of a small\n\
         file system.",
        "\"64MiB\"",
    ),
    (
        "max-unpacked",
        "Most bytes that an archive may unpack to if nobody has measured it.",
        "\"1TiB\"",
    ),
    (
        "max-window",
        "Largest decompression window that an archive may need: memory that unpacking it takes.",
        "\"128MiB\"",
    ),
    (
        "log-budget",
        "How much of what a program prints is kept, of each stream, where its manifest does not say;\n\
         at least 64 KiB.",
        "\"16MiB\"",
    ),
    ("log", LOG, "\"info\""),
];

const SERVER: &[(&str, &str, &str)] = &[
    ("data", "Where objects and catalog lie.", "\"/var/lib/fettle/server\""),
    (
        "listen",
        "Where it listens: an address of this machine's loopback, or a Unix socket.",
        "\"127.0.0.1:7420\"",
    ),
    (
        "database",
        "The catalog. Without this line it is catalog.sqlite in the data directory.",
        "\"sqlite:///var/lib/fettle/server/catalog.sqlite\"",
    ),
    (
        "blobs",
        "The objects' bytes. Without this line they lie in the data directory.",
        "\"file:///var/lib/fettle/server\"",
    ),
    ("log", LOG, "\"info\""),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::parse;

    #[test]
    fn a_new_file_says_what_was_given_and_nothing_else() {
        let given = NodeSettings {
            root: Some("/srv/no de".into()),
            allow_loopback: Some(true),
            ..NodeSettings::default()
        };
        assert_eq!(parse::<NodeSettings>(&node(&given), Path::new("/f")).unwrap(), given);
        let none = ServerSettings::default();
        assert_eq!(parse::<ServerSettings>(&server(&none), Path::new("/f")).unwrap(), none);
    }

    #[test]
    fn every_key_is_explained_and_every_example_can_be_used_as_it_stands() {
        let uncommented = |text: String| {
            text.replace("\n#", "\n#\u{0}").replace("\n#\u{0} ", "\n# ").replace("\n#\u{0}", "\n")
        };
        let all: NodeSettings =
            parse(&uncommented(node(&NodeSettings::default())), Path::new("/f")).unwrap();
        assert!(all.keys().iter().all(|(_, value)| value.is_some()), "{all:?}");
        let all: ServerSettings =
            parse(&uncommented(server(&ServerSettings::default())), Path::new("/f")).unwrap();
        assert!(all.keys().iter().all(|(_, value)| value.is_some()), "{all:?}");
        let explained = |table: &[(&str, &str, &str)]| {
            table.iter().map(|(key, ..)| key.to_string()).collect::<Vec<_>>()
        };
        let keys = |keys: Vec<(&str, Option<String>)>| {
            keys.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(explained(NODE), keys(NodeSettings::default().keys()));
        assert_eq!(explained(SERVER), keys(ServerSettings::default().keys()));
    }

    /// The file of docs/operate.md that begins with this comment.
    fn documented(first: &str) -> &'static str {
        let page = include_str!("../../../../docs/operate.md");
        let (_, text) = page.split_once(&format!("```toml\n# {first}")).unwrap();
        text.split_once('\n').unwrap().1.split_once("```").unwrap().0
    }

    /// Key and variable of every line.
    fn pairs(text: &str) -> Vec<(&str, &str)> {
        let lines = text.lines();
        lines
            .map(|line| (line.split_once(" = ").unwrap().0, line.rsplit_once("# ").unwrap().1))
            .collect()
    }

    #[test]
    fn the_page_for_operators_shows_every_key_with_the_flag_and_the_variable_that_it_has() {
        use clap::CommandFactory as _;
        let node: NodeSettings =
            parse(documented("/etc/fettle/node.toml"), Path::new("/f")).unwrap();
        let server: ServerSettings =
            parse(documented("/etc/fettle/server.toml"), Path::new("/f")).unwrap();
        let whole = crate::args::Arguments::command();
        for (word, keys) in [("node", node.keys()), ("server", server.keys())] {
            assert!(keys.iter().all(|(_, value)| value.is_some()), "{keys:?}");
            let shown = pairs(documented(&format!("/etc/fettle/{word}.toml")));
            assert_eq!(shown.len(), keys.len());
            let command = whole.find_subcommand(word).unwrap();
            for (key, variable) in shown {
                let flags = command.get_arguments().chain(whole.get_arguments());
                let flag = flags.into_iter().find(|flag| flag.get_long() == Some(key));
                let named = flag.map(|flag| flag.get_env().unwrap().to_str().unwrap());
                // What is logged has a variable alone, which every command has.
                assert_eq!(named.unwrap_or("FETTLE_LOG"), variable, "{key}");
                assert_eq!(named.is_none(), key == "log", "{key}");
            }
        }
    }
}
