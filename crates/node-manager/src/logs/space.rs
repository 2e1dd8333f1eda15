//! The address space of one stream: which byte of which run's file has which address. Pure.
//!
//! Addresses count the bytes that a stream ever had, over all runs, and a byte keeps its address for as long
//! as it exists. A run's file is named by the address at which it begins. What is taken out of the beginning
//! of the oldest file moves its positions (`moved`), what is only punched leaves a hole.

/// The file of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The address at which it began.
    pub(super) base: u64,
    /// Bytes that were taken out of its beginning.
    pub(super) moved: u64,
    /// The first position that is no hole.
    pub(super) hole: u64,
    /// Its length, in bytes.
    pub(super) length: u64,
    /// When it was written to last, in milliseconds since 1970.
    pub(super) written: i64,
}

/// All runs of a stream that have a file, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Space {
    runs: Vec<Run>,
}

/// Where a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its address.
    pub(super) address: u64,
    /// In the file of which run.
    pub(super) base: u64,
    /// At which position of the file.
    pub(super) position: u64,
    /// How many bytes there are from here on in this file; at least one.
    pub(super) bytes: u64,
    /// What came right before it in this run is gone: it may be in the middle of a line.
    pub(super) cut: bool,
}

impl Run {
    /// The address of its position 0.
    pub(super) fn shift(&self) -> u64 {
        self.base.saturating_add(self.moved)
    }

    fn first(&self) -> u64 {
        self.shift().saturating_add(self.hole.min(self.length))
    }

    fn end(&self) -> u64 {
        self.shift().saturating_add(self.length)
    }

    /// Bytes that it still has.
    pub(super) fn held(&self) -> u64 {
        self.length.saturating_sub(self.hole)
    }
}

impl Space {
    pub(super) fn new(mut runs: Vec<Run>) -> Space {
        runs.sort_by_key(|run| run.base);
        Space { runs }
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The run that is written to.
    pub(super) fn newest(&self) -> Option<&Run> {
        self.runs.last()
    }

    /// The address that the next byte gets.
    pub(super) fn end(&self) -> u64 {
        self.newest().map_or(0, Run::end)
    }

    /// Bytes that the files have.
    pub(super) fn held(&self) -> u64 {
        self.runs.iter().map(Run::held).sum()
    }

    /// Where the next run begins: a run that printed nothing leaves its file to the next one.
    pub(super) fn next_run(&self) -> u64 {
        match self.newest() {
            Some(run) if run.length == 0 => run.base,
            _ => self.end(),
        }
    }

    /// Where the first byte lies that has this address or a higher one; `None` if there is none.
    pub(super) fn at(&self, address: u64) -> Option<Place> {
        self.pieces().find_map(|(run, end)| {
            let address = address.max(run.first());
            (address < end).then(|| Place {
                address,
                base: run.base,
                position: address - run.shift(),
                bytes: end - address,
                cut: address == run.first() && address > run.base,
            })
        })
    }

    /// Where the last byte lies that has a lower address than this one, and the first of its file.
    pub(super) fn before(&self, address: u64) -> Option<(Place, u64)> {
        let found = self.pieces().filter(|(run, end)| run.first() < address.min(*end)).last();
        found.map(|(run, end)| {
            let last = address.min(end) - 1;
            let place = Place {
                address: last,
                base: run.base,
                position: last - run.shift(),
                bytes: end - last,
                cut: false,
            };
            (place, run.first())
        })
    }

    /// Runs with the address at which each ends. What a process that outlived its run printed after the
    /// next one had begun has no address: it would be the same as that of another byte.
    fn pieces(&self) -> impl Iterator<Item = (&Run, u64)> {
        let nexts = self.runs.iter().skip(1).map(|next| next.base).chain([u64::MAX]);
        self.runs.iter().zip(nexts).map(|(run, next)| (run, run.end().min(next)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(base: u64, moved: u64, hole: u64, length: u64) -> Run {
        Run { base, moved, hole, length, written: 0 }
    }

    #[test]
    fn a_run_that_printed_nothing_leaves_its_file_to_the_next() {
        assert_eq!(Space::default().next_run(), 0);
        assert_eq!(Space::new(vec![run(0, 0, 0, 0)]).next_run(), 0);
        assert_eq!(Space::new(vec![run(0, 8, 0, 4)]).next_run(), 12);
        assert_eq!(Space::new(vec![run(0, 0, 0, 4), run(4, 0, 0, 0)]).next_run(), 4);
    }

    #[test]
    fn what_outlived_its_run_has_no_address_and_what_a_power_cut_took_is_a_gap() {
        let space = Space::new(vec![run(0, 0, 0, 9), run(4, 0, 0, 3), run(10, 0, 0, 1)]);
        assert_eq!(space.at(3).unwrap().bytes, 1);
        assert_eq!((space.at(4).unwrap().base, space.at(4).unwrap().position), (4, 0));
        assert_eq!((space.at(7).unwrap().address, space.at(7).unwrap().cut), (10, false));
        assert_eq!(space.before(10).unwrap().0.address, 6);
        assert_eq!(space.before(0), None);
    }

    /// What may happen to the files of a stream.
    #[derive(Debug, Clone)]
    enum Step {
        Append(u8),
        NewRun,
        Punch(u8),
        Collapse(u8),
        RemoveOldest,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u8..40).prop_map(Step::Append),
            1 => Just(Step::NewRun),
            1 => (1u8..40).prop_map(Step::Punch),
            1 => (1u8..40).prop_map(Step::Collapse),
            1 => Just(Step::RemoveOldest),
        ]
    }

    /// A file as the kernel keeps it, apart from the code above.
    struct File {
        base: u64,
        moved: u64,
        bytes: Vec<Option<u64>>,
    }

    proptest! {
        /// Each byte of the model is its own address: a byte that is found anywhere else is wrong.
        #[test]
        fn a_byte_keeps_its_address_for_as_long_as_it_exists(steps in prop::collection::vec(step(), 0..60)) {
            let mut files: Vec<File> = Vec::new();
            let mut printed = 0u64;
            for step in steps {
                let space = space_of(&files);
                match step {
                    Step::NewRun => {
                        let base = space.next_run();
                        prop_assert!(base == printed);
                        if files.last().is_none_or(|file| file.base != base) {
                            files.push(File { base, moved: 0, bytes: Vec::new() });
                        }
                    }
                    Step::Append(count) => {
                        if let Some(file) = files.last_mut() {
                            file.bytes.extend((0..u64::from(count)).map(|n| Some(printed + n)));
                            printed += u64::from(count);
                        }
                    }
                    Step::Punch(count) => if let Some(file) = files.first_mut() {
                        file.bytes.iter_mut().take(count.into()).for_each(|byte| *byte = None);
                    },
                    Step::Collapse(count) => if let Some(file) = files.first_mut() {
                        let count = usize::from(count).min(file.bytes.len().saturating_sub(1));
                        file.bytes.drain(..count);
                        file.moved += count as u64;
                    },
                    Step::RemoveOldest => if files.len() > 1 { drop(files.remove(0)); },
                }
                let space = space_of(&files);
                prop_assert_eq!(space.end(), files.last().map_or(0, |_| printed));
                let alive: Vec<u64> = files.iter().flat_map(|file| file.bytes.iter().flatten().copied()).collect();
                let mut found = Vec::new();
                let mut at = 0;
                while let Some(place) = space.at(at) {
                    let file = files.iter().find(|file| file.base == place.base).unwrap();
                    let from = usize::try_from(place.position).unwrap();
                    for byte in &file.bytes[from..from + usize::try_from(place.bytes).unwrap()] {
                        found.push(byte.unwrap());
                    }
                    prop_assert_eq!(found[found.len() - usize::try_from(place.bytes).unwrap()], place.address);
                    at = place.address + place.bytes;
                }
                prop_assert_eq!(&found, &alive);
                prop_assert_eq!(space.held(), alive.len() as u64);
                for address in 0..=printed {
                    let before = space.before(address).map(|(place, _)| place.address);
                    prop_assert_eq!(before, alive.iter().copied().rfind(|byte| *byte < address));
                    prop_assert_eq!(space.at(address).map(|place| place.address), alive.iter().copied().find(|byte| *byte >= address));
                }
            }
        }
    }

    fn space_of(files: &[File]) -> Space {
        let of = |file: &File| {
            let hole = file.bytes.iter().take_while(|byte| byte.is_none()).count() as u64;
            run(file.base, file.moved, hole, file.bytes.len() as u64)
        };
        Space::new(files.iter().map(of).collect())
    }
}
