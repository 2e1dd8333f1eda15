//! Runs a workload on a scratch disk, breaks it, recovers, and compares what is there.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use durable::faults::{Log, PowerCut, Recorder, Script, State};
use durable::{Disk, DiskError, Kind};

use crate::SEED;
use crate::common::Scratch;

pub(crate) type Step = Box<dyn Fn(&Disk) -> Result<(), DiskError>>;

/// Steps, and how to look at what they left.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What is there, and lasts, before the first step.
    pub(crate) setup: fn(&Disk),
    pub(crate) steps: Vec<Step>,
    /// What a process that starts does first.
    pub(crate) recover: fn(&Disk) -> Result<(), DiskError>,
    pub(crate) observe: fn(&Disk) -> String,
    /// A failed sync throws away what earlier steps staged: the next attempt begins at the start.
    pub(crate) starts_over: bool,
}

/// A workload on a disk of its own.
pub(crate) struct Run<'a> {
    workload: &'a Workload,
    pub(crate) scratch: Scratch,
    pub(crate) recorder: Recorder,
    disk: Disk,
}

#[derive(Debug)]
pub(crate) struct Failed {
    /// How many steps had returned `Ok`.
    pub(crate) done: usize,
    pub(crate) error: DiskError,
}

impl Workload {
    /// What is seen before the first step and after each.
    pub(crate) fn expected(&self) -> Vec<String> {
        let run = Run::prepare(self);
        let mut seen = vec![run.observe()];
        for step in &self.steps {
            step(&run.disk).expect("undisturbed");
            seen.push(run.observe());
        }
        seen
    }
}

impl<'a> Run<'a> {
    pub(crate) fn prepare(workload: &'a Workload) -> Run<'a> {
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        (workload.setup)(&create_fast(&root));
        let recorder = Recorder::new(scratch.path()).expect("snapshot");
        let disk = Disk::open_recorded(&root, &recorder).expect("open");
        recorder.start_over(scratch.path()).expect("snapshot");
        Run { workload, scratch, recorder, disk }
    }

    /// All steps, undisturbed, and how long the log was after each.
    pub(crate) fn whole(workload: &'a Workload) -> (Run<'a>, Vec<usize>) {
        let run = Run::prepare(workload);
        let mut ends = Vec::new();
        for step in &workload.steps {
            step(&run.disk).expect("undisturbed");
            ends.push(run.recorder.len());
        }
        (run, ends)
    }

    pub(crate) fn go_on_from(&self, done: usize) -> Result<usize, Failed> {
        for (done, step) in self.workload.steps.iter().enumerate().skip(done) {
            step(&self.disk).map_err(|error| Failed { done, error })?;
        }
        Ok(self.workload.steps.len())
    }

    /// What the next process does.
    pub(crate) fn reopen(self) -> Run<'a> {
        let Run { workload, scratch, recorder, disk } = self;
        let root = disk.root().to_path_buf();
        drop(disk);
        let disk = Disk::open_recorded(&root, &recorder).expect("reopen");
        Run { workload, scratch, recorder, disk }
    }

    /// What happens after the disk failed a process that lives on: it recovers, finds no less than is
    /// promised, and goes on; the step where it does.
    pub(crate) fn assert_survived(&self, expected: &[String], done: usize, when: &str) -> usize {
        if self.workload.starts_over {
            (self.workload.recover)(&self.disk).expect("recovery");
            let found = self.observe();
            assert!(expected[..=done + 1].contains(&found), "{}, {when}", self.workload.name);
            return 0;
        }
        self.assert_recovered(expected, done, when);
        done
    }

    pub(crate) fn observe(&self) -> String {
        (self.workload.observe)(&self.disk)
    }

    pub(crate) fn assert_recovered(&self, expected: &[String], done: usize, when: &str) {
        (self.workload.recover)(&self.disk).expect("recovery");
        let found = self.observe();
        if let Some(why) = wrong(expected, done, true, &found) {
            panic!("{}, {when}: {why}", self.workload.name);
        }
        let residue = self.disk.list(Path::new("trash")).expect("trash");
        assert!(residue.is_empty(), "{}, {when}: {residue:?}", self.workload.name);
    }

    /// The remaining steps succeed, and what they promise lasts.
    pub(crate) fn assert_completes(&self, expected: &[String], done: usize, when: &str) {
        if let Err(failed) = self.go_on_from(done) {
            panic!("{}, {when}: {:?}", self.workload.name, failed.error);
        }
        (self.workload.recover)(&self.disk).expect("recovery");
        assert_eq!(&self.observe(), expected.last().expect("a state"), "{when}");
        self.assert_lasts(expected, &self.recorder.log(), when);
    }

    pub(crate) fn assert_lasts(&self, expected: &[String], log: &Log, when: &str) {
        assert!(!self.lost_at_end(expected, log), "{}, {when}: lost", self.workload.name);
    }

    pub(crate) fn lost_at_end(&self, expected: &[String], log: &Log) -> bool {
        let last = expected.last().expect("a state");
        let states = PowerCut::new(log.clone(), SEED, 4).states_at_end();
        states.iter().any(|state| &observe_state(self.workload, state) != last)
    }
}

/// Goes through the power cuts of a log, and reports each state that recovery does not hold on until
/// the report says stop. The number of states.
pub(crate) fn violations(
    workload: &Workload,
    expected: &[String],
    log: Log,
    ends: &[usize],
    mut report: impl FnMut(String) -> bool,
) -> usize {
    let mut seen = HashSet::new();
    // From the end: what a verb promised and lost shows once it has returned.
    let states: Vec<_> = PowerCut::new(log, SEED, 24).states().collect();
    for (prefix, state) in states.into_iter().rev() {
        let done = ends.iter().filter(|&&end| end <= prefix).count();
        let between = done < ends.len();
        if !seen.insert((state.clone(), done)) {
            continue;
        }
        let found = observe_state(workload, &state);
        if let Some(why) = wrong(expected, done, between, &found)
            && !report(format!("power cut after {prefix} operations: {why}"))
        {
            break;
        }
    }
    seen.len()
}

/// What recovery makes of a state.
pub(crate) fn observe_state(workload: &Workload, state: &State) -> String {
    let scratch = Scratch::new();
    // It is only there to keep the syncs away from the real disk, so that it may start from nothing.
    let recorder = Recorder::new(scratch.path()).expect("snapshot");
    state.materialise(scratch.path()).expect("materialise");
    let disk = Disk::open_recorded(&scratch.path().join("root"), &recorder).expect("open");
    (workload.recover)(&disk).expect("recovery");
    (workload.observe)(&disk)
}

fn wrong(expected: &[String], done: usize, between: bool, found: &str) -> Option<String> {
    let next = expected.get(done + 1).filter(|_| between);
    if found == expected[done] || next.is_some_and(|next| next == found) {
        return None;
    }
    Some(format!("after {done} steps\n{}or {next:?}\nfound\n{found}", expected[done]))
}

/// The whole tree but `staging/` and `trash/`, in words.
pub(crate) fn everything(disk: &Disk) -> String {
    let mut text = String::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for entry in disk.list(&dir).expect("list") {
            let path = dir.join(&entry.name);
            if path == Path::new("staging") || path == Path::new("trash") {
                continue;
            }
            let stat = disk.metadata(&path).expect("stat").expect("listed");
            let what = match entry.kind {
                Kind::Link => format!("{:?}", disk.read_link(&path).expect("link")),
                Kind::File => {
                    let content = disk.read(&path, u64::MAX).expect("read").expect("listed");
                    format!("{:?}", String::from_utf8_lossy(&content))
                }
                Kind::Directory | Kind::Other => String::new(),
            };
            writeln!(text, "{} {:o} {what}", path.display(), stat.mode).expect("text");
            if entry.kind == Kind::Directory {
                waiting.push(path);
            }
        }
    }
    text
}

pub(crate) fn empty_both(disk: &Disk) -> Result<(), DiskError> {
    disk.empty_staging()?;
    disk.empty_trash()
}

/// A disk whose syncs are not real: the setup lasts because the snapshot says so.
fn create_fast(root: &Path) -> Disk {
    let recorder = Recorder::new(root.parent().expect("a parent")).expect("snapshot");
    recorder.play(Script::Nothing);
    Disk::create_recorded(root, &recorder).expect("create")
}
