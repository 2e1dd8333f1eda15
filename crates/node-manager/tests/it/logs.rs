//! What programs print, read by line while they print it.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use client::Lines;
use model::InstanceId;
use wire::v1::{LogLine, LogStream, LogsQuery};

use crate::machine::{Machine, delete, eventually, start, stop};
use crate::world::World;

async fn all(machine: &Machine, id: &InstanceId, query: LogsQuery) -> Vec<(u64, String)> {
    let mut lines = machine.node.node().logs(id, &query).await.unwrap();
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        assert_eq!(line.instance, *id);
        all.push((line.offset, line.line));
    }
    all
}

async fn next(lines: &mut Lines<LogLine>) -> String {
    lines.next_line().await.unwrap().unwrap().line
}

fn stdout() -> LogsQuery {
    LogsQuery::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_from_any_offset_over_all_runs_and_without_a_last_line_feed() {
    let world = World::start().await;
    world
        .publish_script(
            "p",
            "1.0.0",
            "echo one; echo err >&2; printf 'två\\nlast'; exec sleep 1000",
        )
        .await;
    let machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let log = machine.instance_dir(&id).join("logs/stdout");
    eventually("it printed", || log.metadata().unwrap().len() == 13).await;
    let first = [(0, "one".to_owned()), (4, "två".to_owned()), (9, "last".to_owned())];
    assert_eq!(all(&machine, &id, stdout()).await, first);
    let stderr = LogsQuery { stream: Some(LogStream::Stderr), ..stdout() };
    assert_eq!(all(&machine, &id, stderr).await, [(0, "err".to_owned())]);
    let later = LogsQuery { offset: Some(4), ..stdout() };
    assert_eq!(all(&machine, &id, later).await, first[1..]);
    let beyond = LogsQuery { offset: Some(1 << 40), ..stdout() };
    assert_eq!(all(&machine, &id, beyond).await, []);
    machine.done(stop(&id)).await;
    machine.done(start(&id)).await;
    let second = log.with_extension("13");
    eventually("it printed again", || second.metadata().is_ok_and(|log| log.len() == 13)).await;
    let both = all(&machine, &id, stdout()).await;
    assert_eq!(both[2..4], [(9, "last".to_owned()), (13, "one".to_owned())]);
    assert_eq!(both[5], (22, "last".to_owned()));
    for (tail, from) in [(0, 6), (1, 5), (2, 4), (4, 2), (6, 0), (99, 0)] {
        let query = LogsQuery { tail: Some(tail), ..stdout() };
        assert_eq!(all(&machine, &id, query).await, both[from..], "{tail}");
    }
    let both_ways = LogsQuery { tail: Some(1), offset: Some(1), ..stdout() };
    let refused = machine.node.node().logs(&id, &both_ways).await.unwrap_err();
    assert_eq!(refused.code(), wire::Code::Usage);
}

/// Prints `$1` lines of 64 bytes, each with the address that it has if it is the first run.
const COUNTING: &str = r#"awk -v n="$N" 'BEGIN { pad = sprintf("%47s", ""); gsub(/ /, ".", pad); for (i = 0; i < n; i++) printf "%016d%s\n", i * 64, pad }'"#;

fn budget(machine: &mut Machine, budget: u64) {
    machine.config.log_budget = budget;
}

async fn counting(machine: &Machine, world: &World, lines: u64) -> InstanceId {
    let script = format!("N={lines}; {COUNTING}; exec sleep 1000");
    world.publish_script("p", "1.0.0", &script).await;
    machine.running("p").await
}

fn held(log: &Path) -> u64 {
    log.metadata().map_or(0, |log| log.blocks() * 512)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_each_line_that_is_there_once_and_whole_and_is_told_what_is_gone() {
    let world = World::start().await;
    let mut machine = Machine::off(&world.dir.path().join("node"), &world.address);
    budget(&mut machine, 256 * 1024);
    machine.turn_on().await;
    let lines = 400_000;
    let id = counting(&machine, &world, lines).await;
    let query = LogsQuery { follow: true, ..stdout() };
    let mut following = machine.node.node().logs(&id, &query).await.unwrap();
    let (mut next, mut gone, mut seen) = (0, 0, 0);
    while next < lines * 64 {
        let line = following.next_line().await.unwrap().unwrap();
        let dropped = line.dropped.unwrap_or(0);
        assert_eq!(line.offset, next + dropped);
        assert_eq!(line.line.len(), 63);
        assert_eq!(line.line[..16].parse(), Ok(line.offset));
        gone += dropped;
        seen += 1;
        next = line.offset + 64;
    }
    assert_eq!(gone + seen * 64, lines * 64);
    let log = machine.instance_dir(&id).join("logs/stdout");
    eventually("it is within its budget", || held(&log) <= 256 * 1024).await;
    let last = all(&machine, &id, LogsQuery { tail: Some(3), ..stdout() }).await;
    assert_eq!(last.len(), 3);
    assert_eq!(last[2].0, (lines - 1) * 64);
    let mut whole = machine.node.node().logs(&id, &stdout()).await.unwrap();
    let first = whole.next_line().await.unwrap().unwrap();
    assert_eq!(first.dropped, Some(first.offset));
    assert_eq!(first.line[..16].parse(), Ok(first.offset));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grew_while_no_manager_was_there_is_released_when_one_starts() {
    let world = World::start().await;
    let mut machine = Machine::off(&world.dir.path().join("node"), &world.address);
    budget(&mut machine, 128 * 1024);
    machine.turn_on().await;
    let id = counting(&machine, &world, 10).await;
    let log = machine.instance_dir(&id).join("logs/stdout");
    eventually("it printed", || log.metadata().unwrap().len() == 640).await;
    machine.turn_off().await;
    let mut printing = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    for n in 10..10_000 {
        writeln!(printing, "{:063}", n * 64).unwrap();
    }
    assert!(held(&log) > 600_000);
    machine.turn_on().await;
    eventually("it is within its budget", || held(&log) <= 128 * 1024).await;
    let lines = all(&machine, &id, stdout()).await;
    assert!(lines.iter().all(|(offset, line)| line.parse() == Ok(*offset)));
    assert_eq!(lines.last().unwrap().0, 9999 * 64);
    // And what comes now is attended to as well.
    for n in 10_000..20_000 {
        writeln!(printing, "{:063}", n * 64).unwrap();
    }
    eventually("it is within its budget again", || held(&log) <= 128 * 1024).await;
    assert_eq!(all(&machine, &id, stdout()).await.last().unwrap().0, 19_999 * 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn since_shows_all_that_was_printed_since_and_says_from_when_on() {
    let world = World::start().await;
    let script = "echo one; while ! test -e go; do sleep 0.02; done; echo two; exec sleep 1000";
    world.publish_script("p", "1.0.0", script).await;
    let machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let dir = machine.instance_dir(&id);
    let log = dir.join("logs/stdout");
    eventually("it printed", || log.metadata().unwrap().len() == 4).await;
    let now = || model::Timestamp::from(std::time::SystemTime::now());
    let since = |time| LogsQuery { since: Some(time), ..stdout() };
    // The clock of files is a tick behind.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let between = now();
    assert_eq!(all(&machine, &id, since(between)).await, []);
    // Let the look at the first line be over, whose mark tells the two apart.
    tokio::time::sleep(Duration::from_millis(700)).await;
    std::fs::write(dir.join("root/go"), "").unwrap();
    eventually("it printed", || log.metadata().unwrap().len() == 8).await;
    let mut lines = machine.node.node().logs(&id, &since(between)).await.unwrap();
    let line = lines.next_line().await.unwrap().unwrap();
    // Rather more than less: with a late look the first line comes too.
    match line.offset {
        0 => assert_eq!(line.since, None),
        _ => assert!(line.line == "two" && line.since.unwrap() <= between),
    }
    assert_eq!(all(&machine, &id, since(model::Timestamp::from_millis(0))).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_each_line_when_it_is_whole_and_ends_with_the_instance() {
    let world = World::start().await;
    world.publish_script("p", "1.0.0", "echo ready; exec sleep 1000").await;
    let machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let query = LogsQuery { follow: true, ..stdout() };
    let mut lines = machine.node.node().logs(&id, &query).await.unwrap();
    assert_eq!(next(&mut lines).await, "ready");
    let log = machine.instance_dir(&id).join("logs/stdout");
    let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    for (piece, line) in
        [("half ", None), ("a line\nand", Some("half a line")), (" more\n", Some("and more"))]
    {
        log.write_all(piece.as_bytes()).unwrap();
        if let Some(line) = line {
            assert_eq!(next(&mut lines).await, line);
        }
    }
    machine.done(delete(&id, true)).await;
    assert_eq!(lines.next_line().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_and_bytes_that_are_no_text_come_in_bounded_pieces() {
    let world = World::start().await;
    let lines = "head -c 300000 /dev/zero | tr '\\0' x; printf '\\n\\377\\n'; yes '' | head -n 100000; echo end; exec sleep 1000";
    world.publish_script("p", "1.0.0", lines).await;
    let machine = Machine::start(&world).await;
    let id = machine.running("p").await;
    let log = machine.instance_dir(&id).join("logs/stdout");
    eventually("it printed", || log.metadata().unwrap().len() == 400_007).await;
    let lines = all(&machine, &id, stdout()).await;
    let long: Vec<_> = lines.iter().take_while(|(_, line)| line.starts_with('x')).collect();
    assert_eq!(long.iter().map(|(_, line)| line.len()).sum::<usize>(), 300_000);
    assert!(long.iter().all(|(_, line)| line.len() <= 128 * 1024));
    assert_eq!(lines[long.len()], (300_001, "\u{fffd}".to_owned()));
    assert_eq!(lines.len(), long.len() + 100_002);
    assert_eq!(lines.last().unwrap(), &(400_003, "end".to_owned()));
}
