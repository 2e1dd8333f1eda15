//! From the files of an instance's streams, and the record of what was taken out of them, to their address
//! spaces. Owns the names of the files and the record.
//!
//! The files lie in `logs/`, where the program may put files too and do what it likes. So nothing there is
//! trusted but that it is read as what it is: names that are not ours, links and everything that is no
//! regular file are passed over. How much was taken out of a file stands in the record `log-index` beside
//! `info`, which the program has no business with.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use durable::record::{self, Read};
use durable::{Disk, DiskError, Kind};
use model::InstanceId;
use serde::{Deserialize, Serialize};
use wire::v1::LogStream;

use super::space::{Run, Space};
use crate::layout;

/// `log-index`: what was taken out of the beginning of the oldest file of each stream. Absent: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIndexRecord {
    /// Of standard output.
    pub(crate) stdout: Option<Moved>,
    /// Of standard error.
    pub(crate) stderr: Option<Moved>,
}

/// What was taken out of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moved {
    /// Which: the address at which it began.
    pub(crate) base: u64,
    /// How many bytes.
    pub(crate) moved: u64,
    /// The hole at its beginning that is being taken out, in bytes. Whether that has happened is seen by
    /// whether the hole is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) collapsing: Option<u64>,
}

/// What the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Index {
    Known(LogIndexRecord),
    /// A newer fettle wrote it: it is not to be overwritten.
    TooNew,
}

/// The address spaces of both streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Streams {
    pub(super) stdout: Space,
    pub(super) stderr: Space,
    pub(super) index: Index,
}

impl Streams {
    pub(super) fn read(disk: &Disk, id: &InstanceId) -> Result<Streams, DiskError> {
        let names = disk.list_where(&layout::logs(id), MOST_NAMES, |name| parse(name).is_some())?;
        // An instance that never ran has no record either.
        let index = if names.is_empty() {
            Index::Known(LogIndexRecord::default())
        } else {
            read_index(disk, id)?
        };
        let mut found = [Vec::new(), Vec::new()];
        for (stream, base) in names.iter().filter_map(|name| parse(name)) {
            let stat = disk.metadata(&path(id, stream, base))?;
            let Some(stat) = stat.filter(|stat| stat.kind == Kind::File) else { continue };
            let since = stat.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            let written = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            let run = Run { base, moved: 0, hole: 0, length: stat.size, written };
            found[usize::from(stream == LogStream::Stderr)].push(run);
        }
        let [stdout, stderr] = found;
        Ok(Streams {
            stdout: space(disk, id, LogStream::Stdout, stdout, index)?,
            stderr: space(disk, id, LogStream::Stderr, stderr, index)?,
            index,
        })
    }

    pub(super) fn of(&self, stream: LogStream) -> &Space {
        match stream {
            LogStream::Stdout => &self.stdout,
            LogStream::Stderr => &self.stderr,
        }
    }
}

impl Index {
    /// What was taken out of the file of this run.
    pub(super) fn moved(self, stream: LogStream, base: u64) -> Moved {
        let known = match self {
            Index::Known(record) => record.of(stream),
            Index::TooNew => None,
        };
        known.filter(|known| known.base == base).unwrap_or(Moved {
            base,
            moved: 0,
            collapsing: None,
        })
    }
}

impl LogIndexRecord {
    fn of(self, stream: LogStream) -> Option<Moved> {
        match stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        }
    }

    pub(super) fn with(self, stream: LogStream, moved: Moved) -> LogIndexRecord {
        match stream {
            LogStream::Stdout => LogIndexRecord { stdout: Some(moved), ..self },
            LogStream::Stderr => LogIndexRecord { stderr: Some(moved), ..self },
        }
    }
}

impl Moved {
    /// How many bytes were taken out in truth, by what the beginning of the file is: the hole was made and
    /// synced before the record said that it is being taken out.
    pub(super) fn in_truth(self, first_data: u64) -> u64 {
        match self.collapsing {
            Some(hole) if first_data < hole => self.moved.saturating_add(hole),
            _ => self.moved,
        }
    }
}

/// The file of a run. The first one's name has no address: so was the only file of earlier versions called.
pub(super) fn path(id: &InstanceId, stream: LogStream, base: u64) -> PathBuf {
    match base {
        0 => layout::log(id, stream),
        _ => layout::logs(id).join(format!("{}.{base}", stream.as_str())),
    }
}

fn parse(name: &OsStr) -> Option<(LogStream, u64)> {
    let name = name.to_str()?;
    let (word, base) = match name.split_once('.') {
        None => (name, 0),
        Some((word, base)) => {
            let number: u64 = base.parse().ok()?;
            // One name for each: no sign, no leading zero, and room to add to it.
            let is_ours = number > 0 && number <= HIGHEST && number.to_string() == base;
            (word, is_ours.then_some(number)?)
        }
    };
    let streams = [LogStream::Stdout, LogStream::Stderr];
    Some((streams.into_iter().find(|stream| stream.as_str() == word)?, base))
}

fn read_index(disk: &Disk, id: &InstanceId) -> Result<Index, DiskError> {
    match record::read(disk, &layout::log_index(id)) {
        Ok(Read::Present(record)) => Ok(Index::Known(record)),
        Ok(Read::Absent) => Ok(Index::Known(LogIndexRecord::default())),
        Ok(Read::TooNew { .. }) => Ok(Index::TooNew),
        Ok(Read::Damaged { why }) => {
            // A log is worth more with wrong addresses than not at all.
            tracing::error!(instance = %id, %why, "the record of what its logs lost is damaged");
            Ok(Index::Known(LogIndexRecord::default()))
        }
        Err(record::RecordError::Disk(error)) => Err(error),
        // Only writing has other errors.
        Err(_) => Ok(Index::TooNew),
    }
}

/// Only the oldest file ever loses its beginning without going as a whole.
fn space(
    disk: &Disk,
    id: &InstanceId,
    stream: LogStream,
    mut runs: Vec<Run>,
    index: Index,
) -> Result<Space, DiskError> {
    if let Some(oldest) = runs.iter_mut().min_by_key(|run| run.base)
        && oldest.length > 0
        && let Some(first_data) = disk.first_data(&path(id, stream, oldest.base))?
    {
        oldest.hole = first_data.min(oldest.length);
        oldest.moved = index.moved(stream, oldest.base).in_truth(first_data);
    }
    Ok(Space::new(runs))
}

/// Names of ours that are looked at; many more than [`super::budget`] leaves there.
const MOST_NAMES: usize = 1024;
/// No file of ours begins at a higher address.
const HIGHEST: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_name_is_that_of_a_run() {
        let parse = |name: &str| parse(OsStr::new(name));
        assert_eq!(parse("stdout"), Some((LogStream::Stdout, 0)));
        assert_eq!(parse("stderr.17"), Some((LogStream::Stderr, 17)));
        for other in ["stdout.0", "stdout.007", "stdout.+7", "stdout.7.gz", "stdout.", "out.7", ""]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        assert_eq!(parse("stdout.18446744073709551615"), None);
    }

    #[test]
    fn whether_a_hole_was_taken_out_is_seen_by_whether_it_is_there() {
        let moved = Moved { base: 0, moved: 100, collapsing: Some(4096) };
        assert_eq!(moved.in_truth(4096), 100);
        assert_eq!(moved.in_truth(9000), 100);
        assert_eq!(moved.in_truth(0), 4196);
        assert_eq!(Moved { collapsing: None, ..moved }.in_truth(0), 100);
    }
}
