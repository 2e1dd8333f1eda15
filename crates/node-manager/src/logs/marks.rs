//! When a stream had come how far. Programs write their logs themselves, so lines have no times; the manager
//! notes now and then how far a stream had come, and `--since` begins at such a mark. Pure.
//!
//! A mark says: all that was printed before this address was printed before this time. The rule is rather
//! more than less: what is answered has everything that was printed since the time asked for, and begins up
//! to one mark earlier. Marks are memory of the manager; what the system notes of the files (when a run was
//! written to last) are marks that outlive it.

/// How far a stream had come at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// The address of the next byte then.
    pub(super) address: u64,
}

/// The marks of one stream, in the order in which they were made. Never more than [`MOST`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// Notes how far the stream has come. Of two with the same address the later one says more, and after a
    /// clock was set back no mark is earlier than the one before it.
    pub(super) fn note(&mut self, mark: Mark) {
        let at = self.0.last().map_or(mark.at, |last| last.at.max(mark.at));
        match self.0.last_mut() {
            Some(last) if last.address >= mark.address => *last = Mark { at, ..*last },
            _ => self.0.push(Mark { at, ..mark }),
        }
        if self.0.len() > MOST {
            self.thin();
        }
    }

    /// Forgets every second one of the older half: what is long ago is told less finely.
    fn thin(&mut self) {
        let half = self.0.len() / 2;
        let mut number = 0;
        self.0.retain(|_| {
            number += 1;
            number > half || number % 2 == 1
        });
    }

    /// The last mark before anything that may have been printed after `time`; `None` if there is none, and
    /// everything has to be shown. A clock that was set back makes it earlier, never later.
    pub(super) fn since(&self, others: impl IntoIterator<Item = Mark>, time: i64) -> Option<Mark> {
        let mut marks: Vec<Mark> = self.0.iter().copied().chain(others).collect();
        marks.sort_by_key(|mark| (mark.address, mark.at));
        let later = marks.iter().position(|mark| mark.at > time).unwrap_or(marks.len());
        marks[..later].last().copied()
    }
}

/// Sixteen bytes each.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_mark_everything_is_shown_and_with_one_what_came_after_it() {
        let mut marks = Marks::default();
        assert_eq!(marks.since([], 5), None);
        for (at, address) in [(10, 100), (20, 200), (30, 200), (40, 300)] {
            marks.note(Mark { at, address });
        }
        assert_eq!(marks.since([], 9), None);
        assert_eq!(marks.since([], 39), Some(Mark { at: 30, address: 200 }));
        assert_eq!(marks.since([], 40), Some(Mark { at: 40, address: 300 }));
        let file = Mark { at: 15, address: 150 };
        assert_eq!(marks.since([file], 19), Some(file));
    }

    proptest! {
        #[test]
        fn nothing_that_was_printed_since_is_left_out_whatever_the_clock_does(
            prints in prop::collection::vec((1u64..50, -20i64..60), 1..300), asked in 0i64..4000,
        ) {
            let (mut marks, mut printed) = (Marks::default(), Vec::new());
            let (mut at, mut address) = (0i64, 0u64);
            for (bytes, step) in prints {
                at += step;
                printed.push((address, at));
                address += bytes;
                marks.note(Mark { at, address });
                prop_assert!(marks.0.len() <= MOST);
            }
            let from = marks.since([], asked).map_or(0, |mark| mark.address);
            for (address, at) in printed {
                prop_assert!(address >= from || at <= asked, "{address} at {at} from {from}");
            }
        }
    }
}
