//! What programs print, read by line while they print it.

use std::io::Write as _;

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
    eventually("it printed again", || log.metadata().unwrap().len() == 26).await;
    let both = all(&machine, &id, stdout()).await;
    assert_eq!(both[2], (9, "lastone".to_owned()));
    assert_eq!(both[4], (22, "last".to_owned()));
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
