//! Archives of the real world: the tree that we unpack, confined and in a process of its own, is the one
//! that every other reader at hand extracts: same paths, kinds, sizes, content, times, links.
//!
//! Always: archives with one of everything, and a part of the packages in cargo's cache. With `FETTLE_CORPORA=<directory>`: all of them, and
//! every archive and Debian package in that directory (`.ci/long corpora` fills one).
//! What we refuse and others take is listed in `refused.rs` with the rule; anything else is a failure.
#![expect(clippy::disallowed_methods, reason = "trees of a test need not outlast a power cut")]
#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]
#![expect(clippy::print_stdout, reason = "what was seen is for the page of proofs")]

mod archives;
mod peers;
mod refused;
mod tree;

use std::fs::File;

use archive::Limits;
use durable::Tree;
use unpacker::{How, Isolation, Sandbox, Source, UnpackError, Unpacker};

use archives::Archive;
use tree::{Listing, Node, differences, list, removable};

/// Packages of cargo's cache that are read where nobody asked for all.
const SAMPLE: usize = 40;

#[test]
fn real_archives_become_the_trees_that_other_readers_extract() {
    let mut archives = archives::of_seeds();
    match std::env::var_os("FETTLE_CORPORA") {
        Some(dir) => {
            archives.extend(archives::of_cargo(usize::MAX));
            archives.extend(archives::below(dir.as_ref()));
        }
        None => archives.extend(archives::of_cargo(SAMPLE)),
    }
    let (mut report, mut wrong) = (Report::default(), Vec::new());
    for archive in &archives {
        if let Err(what) = one(archive, &mut report) {
            println!("WRONG {}: {what}", archive.name);
            wrong.push(format!("{}: {what}", archive.name));
        }
    }
    report.print();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), archives.len());
    assert!(report.compared > 0, "no other reader is installed");
}

/// What was seen, for the page of proofs.
#[derive(Default)]
struct Report {
    archives: u64,
    entries: u64,
    bytes: u64,
    compared: u64,
    refused: Vec<String>,
}

impl Report {
    fn print(&self) {
        let Report { archives, entries, bytes, compared, refused } = self;
        println!(
            "CORPORA {archives} archives unpacked ({entries} names, {bytes} bytes), \
             {compared} comparisons with other readers, {} refused",
            refused.len()
        );
        for refusal in refused {
            println!("REFUSED {refusal}");
        }
    }
}

fn one(archive: &Archive, report: &mut Report) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let outcome = ours(archive, dir.path());
    let ours = match (outcome, refused::reason(&archive.name)) {
        (Ok(listing), None) => listing,
        (Ok(_), Some(reason)) => {
            return Err(format!("was unpacked, and is listed as refused: {reason}"));
        }
        (Err(error), Some(reason)) if error.to_string().contains(reason) => {
            report.refused.push(format!("{}: {error}", archive.name));
            return Ok(());
        }
        (Err(error), _) => return Err(format!("refused: {error}")),
    };
    report.archives += 1;
    report.entries += ours.len() as u64;
    report.bytes += ours.values().map(Node::size).sum::<u64>();
    let mut all = Vec::new();
    for peer in peers::of(archive.container) {
        let Some(theirs) = peer.read(&archive.path)? else { continue };
        report.compared += 1;
        let differences = differences(&ours, &theirs);
        all.extend(differences.iter().map(|what| format!("we / {}: {what}", peer.name)));
    }
    if all.is_empty() { Ok(()) } else { Err(format!("{all:#?}")) }
}

fn ours(archive: &Archive, dir: &std::path::Path) -> Result<Listing, UnpackError> {
    let unpacker = Unpacker::new(Isolation::Process {
        program: env!("CARGO_BIN_EXE_unpack-archive").into(),
        arguments: vec!["unpack".into()],
        landlock: true,
    });
    let how = How {
        container: archive.container,
        encoding: archive.encoding,
        limits: Limits::default(),
        writers: 2,
    };
    let mut tree = Tree::beneath(dir).unwrap();
    let source = Source::File(File::open(&archive.path).unwrap());
    let outcome = unpacker.unpack(&mut tree, how, source);
    let listing = outcome.map(|outcome| {
        assert_ne!(outcome.sandbox, Sandbox::None);
        let mut listing = list(&dir.join(unpacker::FILES));
        tree::forget_unsaid_times(&mut listing, &dir.join(unpacker::MANIFEST));
        listing
    });
    removable(dir);
    listing
}
