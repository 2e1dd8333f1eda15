//! Where reading begins: at an address, a number of lines before the end, or at a time.

use model::{InstanceId, Timestamp};
use wire::v1::LogStream;

use super::index::Streams;
use super::marks::Mark;
use super::reader::{LogError, PIECE_BYTES};
use super::space::{Place, Space};
use super::{Logs, millis};

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At this address.
    Address(u64),
    /// This many lines before the end.
    Tail(u64),
    /// At the last mark before this time.
    Since(Timestamp),
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) address: u64,
    /// Everything from this time on follows; where a time was asked for and a mark was found.
    pub(super) since: Option<Timestamp>,
}

impl Logs {
    pub(super) fn start(
        &self,
        id: &InstanceId,
        stream: LogStream,
        from: From,
    ) -> Result<Start, LogError> {
        match from {
            From::Address(address) => Ok(Start { address, since: None }),
            From::Tail(lines) => {
                let _still = self.still(id);
                let streams = Streams::read(&self.inner.disk, id)?;
                let space = streams.of(stream);
                // A line feed at the very end begins no line.
                let at = LinesBack { address: space.end(), behind: space.end(), wanted: lines };
                Ok(Start { address: self.back(id, stream, space, at)?, since: None })
            }
            From::Since(time) => {
                let _still = self.still(id);
                let streams = Streams::read(&self.inner.disk, id)?;
                let space = streams.of(stream);
                let marks = self.marks().get(&(id.clone(), stream)).cloned().unwrap_or_default();
                let Some(mark) = marks.since(marks_of(space), millis(time)) else {
                    return Ok(Start { address: 0, since: None });
                };
                // A program may have been in the middle of a line then.
                let at = LinesBack { address: mark.address, behind: u64::MAX, wanted: 1 };
                let address = self.back(id, stream, space, at)?;
                Ok(Start { address, since: Some(Timestamp::from_millis(mark.at)) })
            }
        }
    }

    /// The address of the line that is `wanted` before another one; 0 if there are not so many. With the lock
    /// shared.
    fn back(
        &self,
        id: &InstanceId,
        stream: LogStream,
        space: &Space,
        from: LinesBack,
    ) -> Result<u64, LogError> {
        let LinesBack { mut address, mut behind, mut wanted } = from;
        while wanted > 0 {
            let Some((last, first)) = space.before(address) else { return Ok(0) };
            let from = first.max((last.address + 1).saturating_sub(PIECE_BYTES));
            let bytes = last.address + 1 - from;
            let place = Place { address: from, position: last.position + 1 - bytes, bytes, ..last };
            let Some(piece) = self.bytes(id, stream, place)? else { return Ok(0) };
            for (at, _) in piece.bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n')
            {
                let begins = from + at as u64 + 1;
                if begins != behind {
                    wanted -= 1;
                    if wanted == 0 {
                        return Ok(begins);
                    }
                }
                behind = u64::MAX;
            }
            if from == first {
                // Where the beginning of a run is gone, it is the reader that finds the first whole line.
                if first > last.base {
                    return Ok(0);
                }
                wanted -= 1;
                behind = from;
            }
            address = from;
        }
        Ok(address)
    }
}

/// A search for the beginnings of lines, backwards.
#[derive(Debug, Clone, Copy)]
struct LinesBack {
    /// Before this address.
    address: u64,
    /// This one does not count.
    behind: u64,
    /// How many.
    wanted: u64,
}

/// All that a run printed was printed before it was written to last.
fn marks_of(space: &Space) -> Vec<Mark> {
    let ends = space.runs().iter().map(|run| (run.written, run.shift().saturating_add(run.length)));
    ends.map(|(at, address)| Mark { at, address }).collect()
}
