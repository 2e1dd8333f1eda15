//! The rules of the repository that no compiler checks: who may use whom, that what the documents name is
//! there, that every file begins with its story and stays readable, and that docs/errors.md lists every code.
#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wire::Code;

#[test]
fn crates_use_only_those_that_the_architecture_names() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("model", &[][..]),
        ("archive", &[]),
        ("cgroup", &[]),
        ("durable", &[]),
        ("identity", &["model", "durable"]),
        ("launcher", &[]),
        ("unpacker", &["model", "archive", "durable"]),
        ("wire", &["model"]),
        ("client", &["model", "wire", "durable", "archive"]),
        ("binary-repository", &["model", "wire", "durable"]),
        ("application-repository", &["model", "wire", "durable"]),
        (
            "node-manager",
            &["model", "wire", "durable", "archive", "unpacker", "client", "launcher", "cgroup"],
        ),
        (
            "fettle",
            &[
                "model",
                "archive",
                "durable",
                "cgroup",
                "launcher",
                "unpacker",
                "wire",
                "client",
                "binary-repository",
                "application-repository",
                "node-manager",
                "identity",
            ],
        ),
    ]);
    let packages = packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(ours, allowed.keys().copied().collect(), "crates of the workspace");
    for (name, dependencies) in &packages {
        for dependency in dependencies.iter().filter(|name| ours.contains(name.as_str())) {
            let fine = allowed[name.as_str()].contains(&dependency.as_str());
            assert!(fine, "{name} may not use {dependency}");
        }
    }
}

#[test]
fn the_nouns_and_rules_know_no_runtime_no_http_and_no_sql() {
    let packages = packages();
    for banned in ["tokio", "axum", "hyper", "reqwest", "rusqlite", "durable", "wire"] {
        assert!(!packages["model"].contains(banned), "model uses {banned}");
    }
}

#[test]
fn what_the_documents_name_is_there() {
    let mut documents = vec![root().join("ARCHITECTURE.md"), root().join("README.md")];
    documents.extend(files_below(&root().join("docs"), "md"));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap_or_else(|error| {
            panic!("{} cannot be read: {error}", document.display());
        });
        for (number, line) in text.lines().enumerate() {
            for path in paths_in(line) {
                let there = root().join(path).exists();
                assert!(there, "{}:{}: `{path}` is not there", document.display(), number + 1);
            }
        }
    }
}

#[test]
fn every_test_that_the_page_of_complaints_names_is_there() {
    let page = fs::read_to_string(root().join("docs/elsewhere.md")).unwrap();
    let tests: String = sources().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let named = page.split('`').skip(1).step_by(2).filter_map(|word| word.rsplit_once("::"));
    let named: Vec<&str> = named.map(|(_, test)| test).collect();
    assert!(named.len() > 30, "{named:?}");
    for test in named {
        assert!(tests.contains(&format!("fn {test}()")), "`{test}` is no test");
    }
}

#[test]
fn every_file_begins_with_its_story_and_stays_readable() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not say what it owns", file.display());
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", file.display());
    }
}

#[test]
fn system_calls_without_a_safe_form_are_made_in_one_file() {
    let unsafe_code = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let is_built_in = path.components().any(|part| part.as_os_str() == "src");
        is_built_in
            && text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                ["unsafe {", "unsafe fn", "unsafe impl"].iter().any(|word| code.contains(word))
            })
    };
    let found: Vec<PathBuf> = sources().into_iter().filter(unsafe_code).collect();
    assert_eq!(found, [root().join("crates/launcher/src/sys.rs")]);
}

#[test]
fn the_page_of_errors_lists_exactly_the_codes_with_their_status() {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let listed: Vec<(String, u16)> = page.lines().filter_map(error_row).collect();
    let codes: Vec<(String, u16)> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), code.status().as_u16())).collect();
    assert_eq!(listed, codes);
}

#[test]
fn paths_of_the_repository_are_told_from_other_words_in_backticks() {
    let line = "`crates/wire/src` and `demo/weather`, `ls docs/` not, `docs/errors.md` and `.ci/run`; \
                `src/main.rs`, `/v1/objects`, `http://127.0.0.1:7420`, `crates/*/src`";
    assert_eq!(paths_in(line), ["crates/wire/src", "docs/errors.md", ".ci/run"]);
}

/// `| `code` | 400 | … |`
fn error_row(line: &str) -> Option<(String, u16)> {
    let mut cells = line.strip_prefix("| `")?.split('|');
    let code = cells.next()?.trim().strip_suffix('`')?;
    Some((code.to_owned(), cells.next()?.trim().parse().ok()?))
}

/// Words in backticks that begin like something in the repository and are no pattern or command.
fn paths_in(line: &str) -> Vec<&str> {
    let words = line.split('`').skip(1).step_by(2);
    let plain = |word: &str| !word.contains([' ', '*', '<', '>', '{', '…', '$', '\\']);
    let ours = ["crates/", "docs/", "fuzz/", ".ci/", "tests/"];
    let top = ["README.md", "ARCHITECTURE.md", "Cargo.toml", "clippy.toml", "rustfmt.toml"];
    words
        .filter(|word| plain(word))
        .filter(|word| ours.iter().any(|start| word.starts_with(start)) || top.contains(word))
        .collect()
}

/// Every crate of the workspace with its normal dependencies.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
    });
    packages.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Every source file of ours, tests included.
fn sources() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let mut files: Vec<PathBuf> = crates
        .flat_map(|entry| {
            let dir = entry.unwrap().path();
            [files_below(&dir.join("src"), "rs"), files_below(&dir.join("tests"), "rs")].concat()
        })
        .collect();
    files.extend(
        ["fuzz/src", "fuzz/targets"].iter().flat_map(|dir| files_below(&root().join(dir), "rs")),
    );
    files.sort();
    assert!(!files.is_empty());
    files
}

fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
