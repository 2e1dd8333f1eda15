//! What the tables of policies may say, and where a refusal points.

use std::path::Path;

use model::policy::{LivenessBy, Probe, ReadyBy};
use proptest::prelude::*;

use super::*;
use crate::publish::{Manifest, ManifestFault};

const HEAD: &str = "title = \"a\"\nname = \"a\"\nversion = \"1.0.0\"\nprogram = { any = \"x\" }\n";

/// As `docs/manifest.md` has it.
const ALL: &str = r#"
[ready]
http = { port = "PORT", path = "/healthz" }
within = "2m"
every = "1s"
[alive]
command = ["packages/app/bin/check", "--fast"]
every = "5s"
timeout = "1s"
failures = 2
[stop]
signal = "SIGINT"
command = ["bin/quit"]
within = "5s"
[limits]
memory = "512MiB"
cpu = 1.5
tasks = 100
open_files = 4096
[logs]
budget = "16MiB"
[update]
probation = "30s"
"#;

/// The policies, or the line and column of the refusal (in `tables`) with its words.
fn read(tables: &str) -> Result<Policies, (usize, usize, String)> {
    let text = format!("{HEAD}{tables}");
    Manifest::parse(&text, Path::new("/m")).map(|manifest| manifest.policies).map_err(
        |(at, fault)| {
            let at = at.expect("a place");
            (at.line - HEAD.lines().count(), at.column, fault.to_string())
        },
    )
}

#[test]
fn without_tables_everything_is_as_usual() {
    assert_eq!(read(""), Ok(Policies::default()));
    assert_eq!(read("[stop]\n[limits]\n[logs]\n[update]\n"), Ok(Policies::default()));
}

#[test]
fn every_key_is_read() {
    let policies = read(ALL).unwrap();
    let span = |text: &str| text.parse::<Span>().unwrap();
    let ready = policies.ready.unwrap();
    assert_eq!(ready.within, span("2m"));
    let ReadyBy::Probe { probe: Probe::Http(http), every } = ready.by else { panic!("no http") };
    assert_eq!(
        (http.port.to_string(), http.path.as_str(), every),
        ("PORT".into(), "/healthz", span("1s"))
    );
    let LivenessBy::Probe { probe: Probe::Command(argv), every, timeout, failures } =
        policies.alive.unwrap().by
    else {
        panic!("no command")
    };
    assert_eq!(argv.words(), ["packages/app/bin/check", "--fast"]);
    assert_eq!((every, timeout, failures), (span("5s"), span("1s"), 2));
    let stop = policies.stop;
    assert_eq!((stop.signal, stop.within), (StopSignal::Int, span("5s")));
    assert_eq!(stop.command.unwrap().program(), "bin/quit");
    let limits = policies.limits;
    assert_eq!(limits.memory.unwrap().bytes(), 512 << 20);
    assert_eq!(limits.cpu.unwrap().thousandths(), 1500);
    assert_eq!((limits.tasks, limits.open_files), (Some(100), Some(4096)));
    assert_eq!(policies.logs.budget.unwrap().bytes(), 16 << 20);
    assert_eq!(policies.update.probation, Some(span("30s")));
}

#[test]
fn a_refusal_points_at_the_key_and_says_what_is_wanted() {
    for (tables, line, column, says) in [
        (
            "[ready]\nwithin = \"1s\"\n",
            1,
            2,
            "exactly one of `notify`, `http`, `tcp` and `command`, and has 0",
        ),
        ("[ready]\nnotify = true\n  tcp = { port = 80 }\n", 3, 3, "and has 2"),
        (
            "[ready]\nnotify = true\nevery = \"1s\"\n",
            3,
            1,
            "`ready.every` says nothing beside `ready.notify`",
        ),
        ("[ready]\nnotify = true\nwithin = \"0s\"\n", 3, 1, "`ready.within` is 0s: 1ms to"),
        ("ready = { tcp = { port = 0 } }\n", 1, 26, "1 to 65535"),
        ("[ready]\ntcp = { port = 80, host = \"a\" }\n", 2, 20, "unknown field `host`"),
        ("[ready]\nhttp = { port = 80 }\n", 2, 8, "missing field `path`"),
        ("[ready]\nhttp = { port = 80, path = \"a\" }\n", 2, 28, "no path of a URL"),
        ("[ready]\ncommand = []\n", 2, 11, "a program before its arguments"),
        ("[ready]\ngrpc = 1\n", 2, 1, "unknown field `grpc`"),
        (
            "[alive]\nwatchdog = \"30s\"\nfailures = 3\n",
            3,
            1,
            "says nothing beside `alive.watchdog`",
        ),
        ("[alive]\ntcp = { port = 80 }\nfailures = 0\n", 3, 1, "`alive.failures` is 0: 1 to 1000"),
        ("[alive]\nevery = \"1s\"\n", 1, 2, "`[alive]` wants exactly one of"),
        ("[stop]\nsignal = \"SIGKILL\"\n", 2, 10, "one of SIGHUP, SIGINT"),
        ("[stop]\nwithin = \"25h\"\n", 2, 1, "`stop.within`"),
        ("[limits]\ncpu = 0.0001\n", 2, 7, "at most three decimals"),
        ("[limits]\nmemory = \"1KiB\"\n", 2, 1, "`limits.memory` is 1KiB: 1MiB to"),
        ("[limits]\nmemory = \"lots\"\n", 2, 10, "no size"),
        ("[limits]\ntasks = -1\n", 2, 9, "-1"),
        ("[logs]\nbudget = \"1KiB\"\n", 2, 1, "64KiB to 1TiB"),
        ("[update]\nprobation = \"9999h\"\n", 2, 1, "`update.probation`"),
        ("[update]\nprobation = 30\n", 2, 13, "expected"),
    ] {
        let (at_line, at_column, message) = read(tables).unwrap_err();
        assert!(message.contains(says), "{tables}: {message}");
        assert_eq!((at_line, at_column), (line, column), "{tables}: {message}");
    }
}

#[test]
fn a_watchdog_needs_no_readiness() {
    assert!(read("[alive]\nwatchdog = \"30s\"\n").is_ok());
    assert!(read("[ready]\nnotify = true\n[alive]\nwatchdog = \"30s\"\n").is_ok());
}

proptest! {
    #[test]
    fn damaged_tables_never_panic_and_every_refusal_of_a_policy_has_a_place(
        at in 0..ALL.len(), remove in 0usize..40, insert in "[\\[\\]{}\"=.\\n0-9a-z]{0,6}"
    ) {
        let mut tables = ALL.to_owned();
        tables.replace_range(at..(at + remove).min(ALL.len()), &insert);
        let text = format!("{HEAD}{tables}");
        if let Err((at, ManifestFault::Policy(fault))) = Manifest::parse(&text, Path::new("/m")) {
            prop_assert!(at.is_some(), "{fault}");
        }
    }

    #[test]
    fn a_key_is_found_where_it_stands_or_nowhere(text in "\\PC{0,80}", key in "[a-z.]{0,12}") {
        if let Some(at) = place(&text, &key) {
            prop_assert!(at < text.len());
        }
    }
}
