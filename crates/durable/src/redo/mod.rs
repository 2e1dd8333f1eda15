//! The log of small writes: what makes many small files last with one short sync each.
//!
//! A file that is replaced by itself costs two syncs that wait for the journal of the file system: of its
//! content, then of its name. With a log, its content is written there first, into room that the log has had
//! all along, so that one `fdatasync` of a few blocks is enough; then the file is replaced without a sync.
//! The files are what readers see, and they lie where they always do; the log says what they have to be
//! made again after a power cut. It is written over from its beginning when it is full, after a `syncfs`
//! has made all files last by themselves.
//!
//! A small directory that is published whole is made to last in the same way: the log says all that it began
//! with.
//!
//! What happens to such a file by other verbs is settled with the log (see `Disk::settling`), so that nothing
//! is made again that was replaced or removed since. Owns the log and its order; refuses to know what the
//! files say. A crash leaves frames that were not acknowledged: each is whole or not there.

mod frame;
mod replay;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{self, Mode, OFlags};
use rustix::rand::{GetRandomFlags, getrandom};

use self::frame::{Change, Generation, last_words};
use crate::disk::{Disk, Making, Replacement};
use crate::error::{DiskError, Refused, Verb, same};
use crate::place::At;
use crate::resolve::if_there;
use crate::stage::{Published, StagedFile};
use crate::tree::{Seal, StagedDir};

pub use frame::TooNew;
pub(crate) use frame::{Content, Item};

/// The log of one disk.
#[derive(Debug)]
pub(crate) struct Redo {
    file: File,
    /// Bytes.
    room: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    position: Position,
    /// The files and directories that the log speaks of.
    live: BTreeSet<PathBuf>,
}

/// Where the next frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// To the beginning: all files last by themselves.
    Beginning,
    /// Behind the last one of this generation.
    Behind { generation: Generation, number: u32, end: u64 },
    /// Nobody knows what a failure left in the log: first all files have to last by themselves.
    InDoubt,
}

impl Disk {
    /// Keeps a log of small writes in the file `path`, which has `room` bytes from the first time on: from
    /// now on [`Disk::replace`] and [`Disk::replace_all`] promise what they always do, at the price of one
    /// sync of the log. What an earlier log still says is done first. One process at a time may do this;
    /// a second call changes nothing.
    ///
    /// # Errors
    /// [`TooNew`] is the source if a newer program wrote the log; nothing is changed then.
    pub fn keep_log(&self, path: &Path, room: u64) -> Result<(), DiskError> {
        if self.log().is_some() {
            return Ok(());
        }
        let open = || self.making(|making| self.open_log(path, room, making));
        let file = self.on(Verb::Log, path, open)?;
        let room = self.on(Verb::Log, path, || Ok(file.metadata()?.len()))?;
        let words = self.on(Verb::Log, path, || {
            let mut log = vec![0; usize::try_from(room.min(MOST_ROOM)).unwrap_or(0)];
            file.read_exact_at(&mut log, 0)?;
            last_words(&log).map_err(io::Error::other)
        })?;
        if replay::redo(self, &words)? {
            self.on(Verb::Log, path, || self.gate().sync_fs(self.staging()))?;
        }
        let trees = words.trees.into_iter().map(|(path, _)| path);
        let live = trees.chain(words.files.into_keys()).collect();
        let state = Mutex::new(State { position: Position::Beginning, live });
        self.set_log(Redo { file, room, state });
        Ok(())
    }

    /// Does what makes something else of `path`, or of what is below it, and lasts; then what was said of it
    /// before is no longer to be made. Nothing new is said of it meanwhile.
    pub(crate) fn settling<T>(
        &self,
        path: &Path,
        work: impl FnOnce() -> Result<(T, Became), DiskError>,
    ) -> Result<T, DiskError> {
        let Some(log) = self.log() else { return work().map(|(done, _)| done) };
        let mut state = log.state();
        let (done, became) = work()?;
        let is_settled = match became {
            Became::Other => false,
            Became::LinkAgain => state.position != Position::InDoubt && !state.live.contains(path),
            Became::Same => true,
        };
        if !is_settled {
            self.on(Verb::Log, path, || log.settle(self, &mut state, [path]))?;
        }
        Ok(done)
    }

    /// [`Disk::settling`] for several paths that are gone.
    pub(crate) fn settling_all<T>(
        &self,
        paths: &[PathBuf],
        work: impl FnOnce() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let (Some(log), Some(first)) = (self.log(), paths.first()) else { return work() };
        let mut state = log.state();
        let done = work()?;
        let all = paths.iter().map(PathBuf::as_path);
        self.on(Verb::Log, first, || log.settle(self, &mut state, all))?;
        Ok(done)
    }

    /// The directory that `path` is in lasts by itself too: for what is made in it without the log.
    pub(crate) fn make_parent_last(&self, path: &Path) -> Result<(), DiskError> {
        path.parent().map_or(Ok(()), |parent| self.make_last(parent))
    }

    /// What lasts only by the log, `path` or a directory that it is in, lasts by itself too: for those who
    /// need its inode and not its name.
    pub(crate) fn make_last(&self, path: &Path) -> Result<(), DiskError> {
        let Some(log) = self.log() else { return Ok(()) };
        let mut state = log.state();
        if state.position == Position::Beginning || !state.speaks_of(path) {
            return Ok(());
        }
        self.on(Verb::Log, path, || self.gate().sync_fs(self.staging()))?;
        state.position = Position::Beginning;
        Ok(())
    }

    /// The log as it is, made with all its room if there is none or not a whole one.
    fn open_log(&self, path: &Path, room: u64, making: &mut Making) -> io::Result<File> {
        let (dir, name) = self.open_parent(path)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::openat(dir.as_fd(), name, flags, Mode::empty());
        if let Some(file) = if_there(opened.map_err(io::Error::from))? {
            let file = File::from(file);
            let found = file.metadata()?;
            if !found.is_file() {
                return Err(Refused::NotAFile.into());
            }
            if found.len() >= LEAST_ROOM {
                return Ok(file);
            }
        }
        // Zeros that were written, not a hole: room that is there already needs no journal later on.
        let zeros = vec![0; usize::try_from(room.clamp(LEAST_ROOM, MOST_ROOM)).unwrap_or(0)];
        let staged = self.stage_bytes(&zeros)?;
        let file = staged.handle()?;
        self.gate().sync_file(file.as_fd())?;
        staged.rename_to(path)?;
        making.sync_name(dir.as_fd(), self.gate())?;
        Ok(file)
    }
}

/// What a verb made of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Became {
    /// Something else than the log may say.
    Other,
    /// A symbolic link, and it was one before: if the log says that it is one, nothing is made of that while
    /// one is there.
    LinkAgain,
    /// What it was.
    Same,
}

impl State {
    /// Of it, or of something below it, or of a directory that it is in.
    fn concerns(&self, path: &Path) -> bool {
        let below = self.live.range(path.to_owned()..).next();
        below.is_some_and(|below| below.starts_with(path)) || self.speaks_of(path)
    }

    /// Of it, or of a directory that it is in.
    fn speaks_of(&self, path: &Path) -> bool {
        path.ancestors().any(|known| self.live.contains(known))
    }
}

impl Redo {
    /// Puts a directory under `to`, unless something is there, or gives it back: it may be too large for
    /// the log.
    pub(crate) fn publish(
        &self,
        disk: &Disk,
        mut staged: StagedDir,
        to: &Path,
    ) -> io::Result<Result<Published, StagedDir>> {
        let Some(items) = staged.take_recipe() else { return Ok(Err(staged)) };
        let changes = [Change::Tree { path: to, items: &items }];
        if frame::size_of(&changes) as u64 > self.room / 4 {
            return Ok(Err(staged));
        }
        let (parent, name) = disk.open_parent(to)?;
        let at = At { dir: parent.as_fd(), name };
        let mut state = self.state();
        if at.is_taken()? {
            // Whoever made it may not have come to a sync of its own, nor to the log.
            disk.gate().sync_fs(parent.as_fd())?;
            return Ok(Ok(Published::Kept));
        }
        staged.close(Seal::Writable).map_err(DiskError::into_source)?;
        self.append(disk, &mut state, &changes)?;
        let moved = staged.move_to(at);
        match moved {
            Ok(true) => drop(state.live.insert(to.to_owned())),
            Ok(false) | Err(_) => self.take_back(disk, &mut state),
        }
        Ok(Ok(if moved? { Published::New } else { Published::Kept }))
    }

    /// Replaces each file, and answers for each; what is too large for the log is replaced by itself.
    pub(crate) fn replace_all(
        &self,
        disk: &Disk,
        all: &[Replacement<'_>],
    ) -> Vec<Result<(), DiskError>> {
        let mut answers = Vec::with_capacity(all.len());
        let mut waiting = all;
        while let Some(one) = waiting.first() {
            if self.is_too_large(one) {
                let by_itself = || Ok((disk.replace_by_itself(one)?, Became::Other));
                let may_follow =
                    disk.on(Verb::Replace, one.path, || one.may_follow(answers.last()));
                let parent_lasts = may_follow.and_then(|()| disk.make_parent_last(one.path));
                answers.push(parent_lasts.and_then(|()| disk.settling(one.path, by_itself)));
                waiting = &waiting[1..];
                continue;
            }
            let mut size = 0;
            let fit = waiting.iter().take_while(|one| {
                size += frame::size_of([&change_of(one)]) as u64;
                !self.is_too_large(one) && size <= self.room / 2
            });
            let (together, rest) = waiting.split_at(fit.count().max(1));
            let written = self.replace_together(disk, together, answers.last());
            answers.extend(written);
            waiting = rest;
        }
        answers
    }

    fn replace_together(
        &self,
        disk: &Disk,
        all: &[Replacement<'_>],
        before: Option<&Result<(), DiskError>>,
    ) -> Vec<Result<(), DiskError>> {
        // Aside first: a disk that is full says so before anything is promised.
        let mut staged: Vec<Result<StagedFile, DiskError>> = Vec::with_capacity(all.len());
        for one in all {
            staged.push(disk.on(Verb::Replace, one.path, || {
                staged.last().map_or(one.may_follow(before), |last| one.may_follow(Some(last)))?;
                disk.stage_whole(one.bytes, one.mode)
            }));
        }
        let whole = all.iter().zip(&staged).filter(|(_, staged)| staged.is_ok());
        let changes: Vec<Change<'_>> = whole.map(|(one, _)| change_of(one)).collect();
        if changes.is_empty() {
            return staged.into_iter().map(|staged| staged.map(drop)).collect();
        }
        let mut state = self.state();
        let logged = self.append(disk, &mut state, &changes);
        let mut is_void = false;
        let mut moved: Vec<Result<(), DiskError>> = Vec::with_capacity(all.len());
        for (staged, one) in staged.into_iter().zip(all) {
            let previous = moved.last();
            let outcome = staged.and_then(|staged| {
                disk.on(Verb::Replace, one.path, || {
                    logged.as_ref().map_err(same)?;
                    let renamed =
                        one.may_follow(previous).and_then(|()| staged.rename_to(one.path));
                    renamed.inspect_err(|_| is_void = true)
                })
            });
            if outcome.is_ok() {
                state.live.insert(one.path.to_owned());
            }
            moved.push(outcome);
        }
        if is_void {
            self.take_back(disk, &mut state);
        }
        moved
    }

    /// What is said to have failed must not be made after a power cut: the log begins again without it.
    fn take_back(&self, disk: &Disk, state: &mut State) {
        state.position = Position::InDoubt;
        // If that fails it is still in doubt, and the next one who writes comes to it.
        let _ = self.append(disk, state, &[]);
    }

    /// What was said of these paths, and of all below them, is no longer to be made.
    fn settle<'a>(
        &self,
        disk: &Disk,
        state: &mut State,
        paths: impl IntoIterator<Item = &'a Path>,
    ) -> io::Result<()> {
        let concerned: Vec<&Path> = paths.into_iter().filter(|path| state.concerns(path)).collect();
        for some in concerned.chunks(SETTLED_TOGETHER) {
            let changes: Vec<_> = some.iter().map(|path| Change::Settled { path }).collect();
            self.append(disk, state, &changes)?;
            state.live.retain(|live| !some.iter().any(|path| live.starts_with(path)));
        }
        Ok(())
    }

    /// Writes a frame and syncs it. A log without room begins again.
    fn append(&self, disk: &Disk, state: &mut State, changes: &[Change<'_>]) -> io::Result<()> {
        let size = frame::size_of(changes) as u64;
        let has_room = match state.position {
            Position::Beginning => true,
            Position::Behind { end, .. } => end + size <= self.room,
            Position::InDoubt => false,
        };
        if !has_room {
            disk.gate().sync_fs(disk.staging())?;
            state.position = Position::Beginning;
        }
        let (generation, number, offset, bytes) = match state.position {
            Position::Behind { generation, number, end } => {
                (generation, number, end, frame::of_changes(&generation, number, changes))
            }
            Position::Beginning | Position::InDoubt => {
                let mut generation = Generation::default();
                getrandom(&mut generation[..], GetRandomFlags::empty())?;
                let mut bytes = frame::first(&generation);
                bytes.extend(frame::of_changes(&generation, 1, changes));
                (generation, 1, 0, bytes)
            }
        };
        let written = disk.gate().write_at(&self.file, offset, &bytes);
        let written = written.and_then(|()| disk.gate().sync_data(&self.file));
        if let Err(error) = written {
            state.position = Position::InDoubt;
            return Err(error);
        }
        if offset == 0 {
            state.live.clear();
        }
        let end = offset + bytes.len() as u64;
        state.position = Position::Behind { generation, number: number + 1, end };
        Ok(())
    }

    /// Files this large would leave no room for others.
    fn is_too_large(&self, one: &Replacement<'_>) -> bool {
        frame::size_of([&change_of(one)]) as u64 > self.room / 4
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change_of<'a>(one: &Replacement<'a>) -> Change<'a> {
    Change::Put { path: one.path, mode: one.mode & 0o777, bytes: one.bytes }
}

/// Bytes; the longest path fits in more than once.
const LEAST_ROOM: u64 = 16 * 1024;
/// What is read into memory at the start, at most.
const MOST_ROOM: u64 = 64 * 1024 * 1024;
/// Paths of one frame: as many of the longest as the least room has.
const SETTLED_TOGETHER: usize = 3;
