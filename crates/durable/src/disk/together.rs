//! Many small files replaced at once: what one sync of each would cost is paid once for all of them.
//!
//! All content is written aside, then everything is synced, then all names move, then everything is synced
//! again. Each file is its old self or its new one whatever happens, one by one; they are not one change.
//! The syncs are those of the file system: what others have written on it is waited for too, so a few files
//! are replaced one after the other instead. A disk that keeps a log needs neither; see `redo`.

use std::io;
use std::path::Path;

use super::Disk;
use crate::error::{DiskError, Verb, same};
use crate::stage::StagedFile;

/// One of the files that are replaced together.
#[derive(Debug, Clone, Copy)]
pub struct Replacement<'a> {
    /// Which.
    pub path: &'a Path,
    /// What it shall hold.
    pub bytes: &'a [u8],
    /// Its permission bits.
    pub mode: u32,
    /// Is it left alone unless the one before it has its new content? Whatever happens, the new content
    /// of the one before it is there then.
    pub after_previous: bool,
}

impl Replacement<'_> {
    /// Goes on unless it is to come after one that failed.
    pub(crate) fn may_follow<T>(&self, previous: Option<&Result<T, DiskError>>) -> io::Result<()> {
        let failed = previous.filter(|_| self.after_previous).and_then(|one| one.as_ref().err());
        failed.map_or(Ok(()), |failed| Err(failed.same_source()))
    }
}

impl Disk {
    /// [`Disk::replace`] for each, in their order, and an answer for each: one that fails does not keep
    /// the others from their new content, unless the disk as a whole fails.
    pub fn replace_all(&self, all: &[Replacement<'_>]) -> Vec<Result<(), DiskError>> {
        if let Some(log) = self.log() {
            return log.replace_all(self, all);
        }
        if all.len() <= FEW || all.iter().any(|one| one.after_previous) {
            return self.replace_in_turn(all);
        }
        let on = |one: &Replacement<'_>, work: &mut dyn FnMut() -> io::Result<()>| {
            self.on(Verb::Replace, one.path, work)
        };
        let staged: Vec<Result<StagedFile, DiskError>> = all
            .iter()
            .map(|one| self.on(Verb::Replace, one.path, || self.stage_whole(one.bytes, one.mode)))
            .collect();
        let written = self.sync_everything();
        let moved = staged.into_iter().zip(all).map(|(staged, one)| {
            let mut staged = Some(staged?);
            on(one, &mut || {
                again(&written)?;
                staged.take().map_or(Ok(()), |staged| staged.rename_to(one.path))
            })
        });
        let moved: Vec<Result<(), DiskError>> = moved.collect();
        if moved.iter().all(Result::is_err) {
            return moved;
        }
        let lasting = self.sync_everything();
        let answers = moved.into_iter().zip(all);
        answers.map(|(moved, one)| moved.and_then(|()| on(one, &mut || again(&lasting)))).collect()
    }

    fn replace_in_turn(&self, all: &[Replacement<'_>]) -> Vec<Result<(), DiskError>> {
        let mut answers = Vec::with_capacity(all.len());
        for one in all {
            let may_follow = self.on(Verb::Replace, one.path, || one.may_follow(answers.last()));
            answers.push(may_follow.and_then(|()| self.replace_by_itself(one)));
        }
        answers
    }

    fn sync_everything(&self) -> io::Result<()> {
        self.gate().sync_fs(self.staging())
    }
}

/// The same outcome, for another who waited for it.
fn again(outcome: &io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(same(error)),
    }
}

/// So many are replaced one by one: two syncs each, but of nothing else.
const FEW: usize = 3;
