//! The manifest in the archive's order, whatever finishes when: lines wait until all before them are
//! complete.

use std::collections::VecDeque;
use std::io::Write;

use archive::Entry;
use model::Digest;

use crate::error::UnpackError;
use crate::manifest::{Line, ManifestWriter};

/// The lines that were begun and not written yet.
pub(super) struct Order<W: Write> {
    manifest: ManifestWriter<W>,
    waiting: VecDeque<Waiting>,
    /// The number of the first one that waits.
    first: u64,
}

struct Waiting {
    entry: Entry,
    state: State,
}

enum State {
    Pending,
    Complete(Option<Digest>),
}

impl<W: Write> Order<W> {
    pub(super) fn new(manifest: ManifestWriter<W>) -> Order<W> {
        Order { manifest, waiting: VecDeque::new(), first: 0 }
    }

    /// A file that is on its way; the number is given back when it is complete.
    pub(super) fn begin(&mut self, entry: Entry) -> u64 {
        self.waiting.push_back(Waiting { entry, state: State::Pending });
        self.first + self.waiting.len() as u64 - 1
    }

    /// An entry that is complete already.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), UnpackError> {
        self.waiting.push_back(Waiting { entry, state: State::Complete(None) });
        self.write_complete()
    }

    /// The file of this number is complete.
    pub(super) fn complete(&mut self, number: u64, digest: Digest) -> Result<(), UnpackError> {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(waiting) = at.and_then(|at| self.waiting.get_mut(at)) {
            waiting.state = State::Complete(Some(digest));
        }
        self.write_complete()
    }

    /// How many lines wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The manifest with its last line; everything is complete.
    pub(super) fn finish(self) -> Result<W, UnpackError> {
        self.manifest.finish().map_err(|error| UnpackError::manifest(&error))
    }

    fn write_complete(&mut self) -> Result<(), UnpackError> {
        while let Some(Waiting { entry, state: State::Complete(digest) }) = self.waiting.front() {
            let line = Line::new(entry, *digest);
            self.manifest.add(&line).map_err(|error| UnpackError::manifest(&error))?;
            self.waiting.pop_front();
            self.first += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::{EntryKind, EntryPath};
    use proptest::prelude::*;

    fn file(name: &str) -> Entry {
        let path = EntryPath::parse(name.as_bytes()).unwrap();
        let kind = EntryKind::File { size: 1, executable: false, sparse: None };
        Entry { path, kind, modified: None, replaces: false }
    }

    proptest! {
        #[test]
        fn lines_keep_the_order_in_which_they_were_begun(shuffled in Just((0u64..20).collect::<Vec<_>>()).prop_shuffle()) {
            let mut order = Order::new(ManifestWriter::new(Vec::new()));
            for number in 0..20 {
                prop_assert_eq!(order.begin(file(&format!("f{number}"))), number);
            }
            for number in shuffled {
                order.complete(number, Digest::of(&[number as u8])).unwrap();
            }
            prop_assert_eq!(order.len(), 0);
            let bytes = order.finish().unwrap();
            let lines = crate::ManifestReader::new(&bytes[..]).map(|line| line.unwrap());
            for (number, line) in lines.enumerate() {
                let name = format!("f{number}");
                prop_assert_eq!(line.path.as_bytes(), name.as_bytes());
            }
        }
    }
}
