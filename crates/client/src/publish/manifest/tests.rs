//! What a manifest may say, and how a refusal says where it is wrong.

use super::*;
use proptest::prelude::*;

const WEATHER: &str = r#"
title = "weather"
name = "demo/weather"
version = "1.4.0"
args = ["--data", "packages/model"]
env = { LANG = "C.UTF-8" }

[program]
linux-amd64 = "target/release/weather"
any = { package = "app", path = "bin/weather.sh" }

[packages]
model = "build/model.tar.gz"
app = "dist/"
fonts = { object = "shared/fonts/3" }

[restart]
on = "failure"
limit = 5
window = "10s"
"#;

fn refusal(text: &str) -> (Option<Position>, String) {
    let (at, fault) = Manifest::parse(text, Path::new("/m")).unwrap_err();
    (at, fault.to_string())
}

#[test]
fn the_manifest_of_the_contract_is_read_whole() {
    let manifest = Manifest::parse(WEATHER, Path::new("/m")).unwrap();
    assert_eq!(manifest.name.as_str(), "demo/weather");
    assert_eq!(manifest.args, ["--data", "packages/model"]);
    assert_eq!(manifest.restart, RestartPolicy::default());
    let path = |path: &str| PackageSource::Path(path.into());
    let packages: Vec<_> = manifest
        .packages
        .iter()
        .map(|(name, entry)| (name.as_str(), entry.source.clone()))
        .collect();
    assert!(manifest.packages.values().all(|entry| !entry.writable));
    assert_eq!(
        packages,
        [
            ("app", path("/m/dist/")),
            ("fonts", PackageSource::Object("shared/fonts/3".parse().unwrap())),
            ("model", path("/m/build/model.tar.gz")),
        ]
    );
    let programs: Vec<_> = manifest.programs.into_values().collect();
    let (package, inner) = ("app".parse().unwrap(), "bin/weather.sh".parse().unwrap());
    assert_eq!(
        programs,
        [
            ProgramSource::InPackage { package, path: inner },
            ProgramSource::File("/m/target/release/weather".into())
        ]
    );
}

#[test]
fn a_refusal_says_what_is_wrong_and_where() {
    let cut = |from: &str, to: &str| {
        assert!(WEATHER.contains(from), "{from}");
        refusal(&WEATHER.replace(from, to))
    };
    for ((from, to), line, says) in [
        (("\"weather\"", "\"Weather\""), 2, "begins with a letter or digit"),
        (("1.4.0", "1.4"), 4, "`1.4` is no version"),
        (("title =", "titel ="), 2, "unknown field `titel`"),
        (("LANG", "FETTLE_X"), 6, "set by the node"),
        (("linux-amd64 =", "\"Linux amd64\" ="), 9, "a-z, 0-9"),
        (("\"app\"", "\"application\""), 10, "no package `application`"),
        (("bin/weather.sh", "../weather.sh"), 10, "no path inside a package"),
        (("\"dist/\"", "\"\""), 14, "the path is empty"),
        (("\"dist/\"", "7"), 14, "a path, or a table with `path` or `object`"),
        (("\"dist/\"", "{ path = \"\" }"), 14, "the path is empty"),
        (("\"dist/\"", "{ writable = true }"), 14, "either `path` or `object`"),
        (("\"dist/\"", "{ path = \"a\", object = \"b\" }"), 14, "either `path` or `object`"),
        (("\"dist/\"", "{ path = \"a\", writable = 1 }"), 14, "expected a boolean"),
        (("object =", "objekt ="), 15, "unknown field `objekt`"),
        (("model =", "\".hidden\" ="), 13, "begins with a dot"),
        (("\"10s\"", "\"soon\""), 20, "no duration"),
        (("\"failure\"", "\"sometimes\""), 18, "unknown variant `sometimes`"),
        (("\"--data\"", "\"a\\u0000\""), 5, "argument 1 has a NUL"),
        (("[packages]", "[packages"), 12, ""),
    ] {
        let (at, message) = cut(from, to);
        assert!(message.contains(says), "{from} -> {to}: {message}");
        assert_eq!(at.map(|at| at.line), Some(line), "{from} -> {to}: {message}");
    }
}

#[test]
fn a_package_that_instances_may_change_is_a_table_that_says_so() {
    let text = WEATHER
        .replace("\"dist/\"", "{ path = \"dist/\", writable = true }")
        .replace("\"shared/fonts/3\"", "\"shared/fonts/3\", writable = true");
    let manifest = Manifest::parse(&text, Path::new("/m")).unwrap();
    let plain = Manifest::parse(WEATHER, Path::new("/m")).unwrap();
    let writable = |manifest: &Manifest| -> Vec<bool> {
        manifest.packages.values().map(|entry| entry.writable).collect()
    };
    assert_eq!(writable(&manifest), [true, true, false]);
    let sources = |manifest: Manifest| {
        manifest.packages.into_values().map(|entry| entry.source).collect::<Vec<_>>()
    };
    assert_eq!(sources(manifest), sources(plain));
}

#[test]
fn without_a_program_there_is_nothing_to_publish() {
    let head = "title = \"a\"\nname = \"a\"\nversion = \"1.0.0\"\n";
    assert_eq!(refusal(&format!("{head}[program]\n")).1, "`[program]` names no program");
    assert!(refusal(head).1.contains("missing field `program`"));
    let long = head.replace("1.0.0", &format!("1.0.0-{}", "a".repeat(200)));
    assert!(refusal(&format!("{long}[program]\nany = \"x\"")).1.contains("longer than"));
}

#[test]
fn a_column_counts_characters_from_one() {
    assert_eq!(Position::of("äö\nüx", 7), Position { line: 2, column: 2 });
    assert_eq!(Position::of("", 9), Position { line: 1, column: 1 });
    assert_eq!(Position::of("ä", 1), Position { line: 1, column: 2 });
}

#[test]
fn a_manifest_that_is_no_text_or_endless_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.toml");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        match Manifest::read(&path) {
            Err(ManifestError::Wrong { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(b"title = \"\xff\""), ManifestFault::NotText);
    assert_eq!(refused(&vec![b'#'; 1024 * 1024 + 1]), ManifestFault::TooLarge);
    assert_eq!(Manifest::read(&dir.path().join("none")).unwrap_err().code(), Code::NotFound);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Manifest::parse(&text, Path::new("/m"));
    }

    #[test]
    fn a_damaged_manifest_never_panics(
        at in 0..WEATHER.len(), remove in 0usize..30, insert in "[\\]\\[{}\"=.\\n\\PC]{0,6}"
    ) {
        let mut text = WEATHER.to_owned();
        text.replace_range(at..(at + remove).min(WEATHER.len()), &insert);
        let _ = Manifest::parse(&text, Path::new("/m"));
    }
}
