//! `fettle logs`: what instances printed, as it was printed. With several instances each line says whose it
//! is. Following ends with Ctrl-C, which is its normal end; a restart of the node does not end it.

use std::time::{Duration, Instant, SystemTime};

use client::{ClientError, Connection};
use futures_util::stream::{BoxStream, SelectAll, StreamExt as _, try_unfold};
use model::{InstanceId, Timestamp};
use serde_json::json;
use wire::v1::{LogLine, LogStream, LogsQuery};

use super::several::Tally;
use crate::args::{LogsArgs, Since};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::names::{Takes, Target, expand};
use crate::output::Output;
use crate::reach::Context;
use crate::table::size;

/// `fettle logs`
pub(crate) async fn logs(context: &Context, args: &LogsArgs) -> Result<Exit, Failure> {
    let node = context.node()?;
    let targets = expand(&args.names, Takes::Instances, &node).await?;
    let instances: Vec<InstanceId> = targets.into_iter().filter_map(instance).collect();
    let stream = if args.stderr { LogStream::Stderr } else { LogStream::Stdout };
    let since = args.since.map(|since| match since {
        Since::At(time) => time,
        Since::Ago(span) => before(SystemTime::now(), span.as_duration()),
    });
    let query = LogsQuery {
        stream: Some(stream),
        offset: None,
        tail: args.tail,
        since,
        follow: args.follow,
    };
    let source = |id: InstanceId| Source::lines(node.clone(), id, query.clone());
    let printer = Printer { output: context.output, one: instances.len() == 1, since };
    match (&instances[..], args.follow) {
        ([id], false) => printer.print_all(source(id.clone())).await,
        ([_, ..], true) => {
            let all = instances.iter().cloned().map(source).collect();
            let mut interrupt = Interrupt::new().map_err(Failure::Signals)?;
            interrupt.or(printer.print_mixed(all)).await.unwrap_or(Ok(Exit::Done))
        }
        _ => printer.print_in_turn(instances.iter().cloned().map(source)).await,
    }
}

fn instance(target: Target) -> Option<InstanceId> {
    match target {
        Target::Instance(id) => Some(id),
        Target::Installation(_) => None,
    }
}

/// A line, or why there are none of this instance.
type Line = Result<LogLine, (InstanceId, ClientError)>;

#[derive(Clone, Copy)]
struct Printer {
    output: Output,
    /// Of one instance alone: its failure is the failure of the command.
    one: bool,
    /// The time that was asked for.
    since: Option<Timestamp>,
}

impl Printer {
    async fn print_all(self, mut lines: BoxStream<'_, Line>) -> Result<Exit, Failure> {
        while let Some(line) = lines.next().await {
            self.print(&line.map_err(|(_, error)| error)?)?;
        }
        Ok(Exit::Done)
    }

    async fn print_in_turn(
        self,
        sources: impl Iterator<Item = BoxStream<'_, Line>>,
    ) -> Result<Exit, Failure> {
        let mut tally = Tally::default();
        for mut lines in sources {
            let mut done = true;
            while let Some(line) = lines.next().await {
                done &= line.is_ok();
                self.print_either(line)?;
            }
            tally.count(done);
        }
        Ok(tally.exit())
    }

    async fn print_mixed(self, mut lines: SelectAll<BoxStream<'_, Line>>) -> Result<Exit, Failure> {
        let (instances, mut failed) = (lines.len(), 0);
        while let Some(line) = lines.next().await {
            match line {
                Err((_, error)) if self.one => return Err(error.into()),
                Err(_) => failed += 1,
                Ok(_) => {}
            }
            self.print_either(line)?;
        }
        Ok(Tally::of(instances - failed, failed).exit())
    }

    fn print_either(self, line: Line) -> Result<(), Failure> {
        let (id, error) = match line {
            Ok(line) => return self.print(&line),
            Err(failed) => failed,
        };
        let error = Failure::from(error).body();
        let keys =
            json!({ "instance": id, "stream": null, "offset": null, "line": null, "error": error });
        match self.output.is_json() {
            true => self.output.value(&keys, |_| String::new())?,
            false => self.output.failure(&error),
        }
        Ok(())
    }

    fn print(self, line: &LogLine) -> Result<(), Failure> {
        if !self.output.is_json() {
            self.note(line);
        }
        Ok(self.output.value(line, |line| match self.one {
            true => line.line.clone(),
            false => format!("{}: {}", line.instance, line.line),
        })?)
    }
}

impl Printer {
    /// What the text does not say: that something is gone, and from when on it is everything.
    fn note(self, line: &LogLine) {
        if let Some(bytes) = line.dropped {
            let gone = size(bytes);
            self.output.tell(&format!("{}: {gone} before this line are gone", line.instance));
        }
        if let (Some(asked), Some(since)) = (self.since, line.since)
            && asked.since(since) >= WORTH_SAYING
        {
            self.output.tell(&format!("{}: this is what it printed since {since}", line.instance));
        }
    }
}

fn before(now: SystemTime, span: Duration) -> Timestamp {
    now.checked_sub(span).map_or(Timestamp::from_millis(i64::MIN), Timestamp::from)
}

/// The log of one instance, opened again where it was when the node is away for a moment.
struct Source {
    node: Connection,
    id: InstanceId,
    query: LogsQuery,
    open: Option<client::Lines<LogLine>>,
    lost_since: Option<Instant>,
    ended: bool,
}

impl Source {
    fn lines(node: Connection, id: InstanceId, query: LogsQuery) -> BoxStream<'static, Line> {
        let (open, lost_since) = (None, None);
        let source = Source { node, id, query, open, lost_since, ended: false };
        let lines = try_unfold(source, |mut source| async move {
            if source.ended {
                return Ok(None);
            }
            match source.next().await {
                Ok(line) => Ok(line.map(|line| (line, source))),
                Err(error) => Err((source.id, error)),
            }
        });
        lines.boxed()
    }

    async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            match self.attempt().await {
                // The first line of a log that was opened again is the last one of before.
                Ok(Some(line)) if Some(line.offset) == self.query.offset => {}
                Ok(Some(line)) => {
                    self.query.offset = Some(line.offset);
                    (self.query.tail, self.query.since) = (None, None);
                    self.lost_since = None;
                    return Ok(Some(line));
                }
                Ok(None) => {
                    self.ended = true;
                    return Ok(None);
                }
                Err(error) if self.may_come_back(&error) => {
                    self.open = None;
                    tokio::time::sleep(LOST_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn attempt(&mut self) -> Result<Option<LogLine>, ClientError> {
        let lines = match self.open.take() {
            Some(lines) => lines,
            None => self.node.node().logs(&self.id, &self.query).await?,
        };
        self.open.insert(lines).next_line().await
    }

    /// Only a log that was read before is waited for: a node that was never there is an error at once.
    fn may_come_back(&mut self, error: &ClientError) -> bool {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        self.query.follow
            && self.query.offset.is_some()
            && error.is_transient()
            && since.elapsed() < LOST
    }
}

/// A mark this near to the time that was asked for is that time.
const WORTH_SAYING: Duration = Duration::from_secs(1);
/// Longer than a restart of the node takes.
const LOST: Duration = Duration::from_secs(30);
const LOST_PAUSE: Duration = Duration::from_millis(300);
