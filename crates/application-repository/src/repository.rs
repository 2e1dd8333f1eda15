//! The repository as plain, blocking code: opening, finding, listing, removing. Publishing is in `publish`.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use model::{
    AppName, Candidate, Glob, NoMatch, Profile, Reference, Timestamp, Title, Version, select,
};

use crate::catalog::sqlite::{OpenCatalogError, Sqlite};
use crate::catalog::{Catalog, CatalogError, Entry, Removal};
use crate::envelope::Published;
use crate::holds::{HoldError, Holder, Holds};

/// An application repository that is open. All methods but those of the server block.
pub struct ApplicationRepository {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) holds: Arc<dyn Holds>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Held by whoever publishes or removes: what holds there are and which envelopes there are change
    /// one after the other.
    pub(crate) changing: Mutex<()>,
}

/// Why the repository cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalog's file cannot be used.
    #[error(transparent)]
    File(#[from] OpenCatalogError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The holds and the envelopes cannot be made to agree.
    #[error("what a crash left of publishing cannot be repaired")]
    Holds(#[source] HoldError),
}

/// Why no envelope was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There never was such an application.
    #[error("there is no application `{0}`")]
    NoApplication(AppName),
    /// No version of it is wanted.
    #[error("no version of `{}` is what `{reference}` wants{}", reference.application, having(newest.as_deref()))]
    NoVersion {
        /// What was wanted.
        reference: Reference,
        /// The newest that there is, pre-releases included.
        newest: Option<Box<Version>>,
    },
    /// The version is there for other profiles.
    #[error(
        "`{application}@{version}` is there for {}, not for {}",
        joined(available),
        joined(wanted)
    )]
    NoProfile {
        /// The application.
        application: AppName,
        /// The newest version that is wanted.
        version: Box<Version>,
        /// The profiles that it is there for, sorted.
        available: Vec<Profile>,
        /// The profiles that were wanted.
        wanted: Vec<Profile>,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Why a version was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There never was such an application.
    #[error("there is no application `{0}`")]
    NoApplication(AppName),
    /// It never had this version.
    #[error("`{application}` has no version {version}")]
    NoVersion {
        /// The application.
        application: AppName,
        /// The version.
        version: Box<Version>,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The version is removed, but what it held is held until the next start.
    #[error("the objects of the removed version are still held")]
    Holds(#[source] HoldError),
}

/// An application in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationLine {
    /// Its name.
    pub application: AppName,
    /// Its versions, the newest first.
    pub versions: Vec<VersionLine>,
}

/// A version in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLine {
    /// The version.
    pub version: Version,
    /// The profiles that it is there for, sorted.
    pub profiles: Vec<Profile>,
    /// Its title.
    pub title: Title,
}

impl ApplicationRepository {
    /// Opens the repository in a SQLite file, which may be that of the binary repository, and gives back
    /// the holds of envelopes that are not there. Nobody else may publish meanwhile.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        database: &Path,
        holds: Arc<dyn Holds>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Arc<ApplicationRepository>, OpenError> {
        ApplicationRepository::open_on(Arc::new(Sqlite::open(database)?), holds, clock)
    }

    /// Like [`ApplicationRepository::open`], on a catalog that is open already.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(
        catalog: Arc<dyn Catalog>,
        holds: Arc<dyn Holds>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Arc<ApplicationRepository>, OpenError> {
        let changing = Mutex::new(());
        let repository = ApplicationRepository { catalog, holds, clock: Box::new(clock), changing };
        repository.release_strays()?;
        Ok(Arc::new(repository))
    }

    /// The envelope for a reference and the ordered profiles of a machine.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn find(
        &self,
        reference: &Reference,
        profiles: &[Profile],
    ) -> Result<Published, FindError> {
        let application = &reference.application;
        loop {
            let entries = self.entries(application)?;
            let candidates: Vec<Candidate> = entries
                .iter()
                .map(|Entry { version, profile, .. }| Candidate {
                    version: version.clone(),
                    profile: profile.clone(),
                })
                .collect();
            let chosen =
                select(&candidates, &reference.wanted, profiles).map_err(|no| match no {
                    NoMatch::Version => no_version(reference, &entries),
                    NoMatch::Profile { available, version } => {
                        no_profile(application, version, available, profiles)
                    }
                })?;
            // Removed between the two questions: then choose again.
            if let Some(found) =
                self.catalog.envelope(application, &chosen.version, &chosen.profile)?
            {
                return Ok(found);
            }
        }
    }

    /// The envelopes of the newest version that a reference wants, sorted by profile; with `profile` that
    /// one alone.
    ///
    /// # Errors
    /// See [`FindError`].
    pub fn show(
        &self,
        reference: &Reference,
        profile: Option<&Profile>,
    ) -> Result<Vec<Published>, FindError> {
        let application = &reference.application;
        let entries = self.entries(application)?;
        let wanted = entries.iter().map(|entry| &entry.version);
        let newest = wanted.filter(|version| reference.wanted.admits(version)).max();
        let newest = newest.ok_or_else(|| no_version(reference, &entries))?;
        let mut found = self.catalog.version(application, newest)?;
        found.retain(|published| !published.removed);
        let available = || found.iter().map(|p| p.envelope.profile.clone()).collect();
        match profile {
            None => Ok(found),
            Some(one) if found.iter().all(|p| p.envelope.profile != *one) => {
                Err(no_profile(application, newest.clone(), available(), std::slice::from_ref(one)))
            }
            Some(one) => {
                found.retain(|published| published.envelope.profile == *one);
                Ok(found)
            }
        }
    }

    /// At most `limit` applications after `after` whose names match, and the name to go on after; `None` at
    /// the end. Fewer than `limit`, even none, do not mean the end.
    pub(crate) fn list(
        &self,
        glob: &Glob,
        after: Option<&AppName>,
        limit: u32,
    ) -> Result<(Vec<ApplicationLine>, Option<AppName>), CatalogError> {
        let page = self.catalog.applications(glob.literal_prefix(), after, limit)?;
        let last = page.last().filter(|_| page.len() == limit as usize).cloned();
        let mut lines = Vec::new();
        for application in page {
            if glob.matches(application.as_str())
                && let Some(entries) = self.catalog.entries(&application)?.filter(|e| !e.is_empty())
            {
                lines.push(ApplicationLine { application, versions: versions(entries) });
            }
        }
        Ok((lines, last))
    }

    /// Removes a version for all its profiles; removed again is fine. Its number stays taken.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub fn remove(&self, application: &AppName, version: &Version) -> Result<(), RemoveError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.catalog.remove(application, version)? {
            Removal::NoApplication => Err(RemoveError::NoApplication(application.clone())),
            Removal::NoVersion => {
                let (application, version) = (application.clone(), Box::new(version.clone()));
                Err(RemoveError::NoVersion { application, version })
            }
            Removal::Removed(profiles) => profiles.into_iter().try_for_each(|profile| {
                let (application, version) = (application.clone(), version.clone());
                let holder = Holder { application, version, profile };
                self.holds.release(&holder).map_err(RemoveError::Holds)
            }),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Gives back the holds of an envelope, unless it is there.
    pub(crate) fn release_unless_there(&self, holder: &Holder) -> Result<(), HoldError> {
        let Holder { application, version, profile } = holder;
        match self.catalog.envelope(application, version, profile) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => self.holds.release(holder),
            Err(error) => Err(HoldError::Failed(Box::new(error))),
        }
    }

    /// Gives back the holds that a crash left between hold and envelope.
    fn release_strays(&self) -> Result<(), OpenError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.holds.holders(after.as_deref(), PAGE).map_err(OpenError::Holds)?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            // Holders of another kind are none of ours.
            for holder in page.iter().filter_map(|text| text.parse::<Holder>().ok()) {
                self.release_unless_there(&holder).map_err(OpenError::Holds)?;
            }
            after = Some(last);
        }
    }

    fn entries(&self, application: &AppName) -> Result<Vec<Entry>, FindError> {
        let entries = self.catalog.entries(application)?;
        entries.ok_or_else(|| FindError::NoApplication(application.clone()))
    }
}

impl fmt::Debug for ApplicationRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApplicationRepository")
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

/// Groups the entries of one application by version, the newest first.
fn versions(mut entries: Vec<Entry>) -> Vec<VersionLine> {
    entries.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.profile.cmp(&b.profile)));
    let mut versions: Vec<VersionLine> = Vec::new();
    for Entry { version, profile, title } in entries {
        match versions.last_mut().filter(|last| last.version == version) {
            Some(last) => last.profiles.push(profile),
            None => versions.push(VersionLine { version, profiles: vec![profile], title }),
        }
    }
    versions
}

fn no_version(reference: &Reference, entries: &[Entry]) -> FindError {
    let newest = entries.iter().map(|entry| &entry.version).max().cloned().map(Box::new);
    FindError::NoVersion { reference: reference.clone(), newest }
}

fn no_profile(
    application: &AppName,
    version: Version,
    available: Vec<Profile>,
    wanted: &[Profile],
) -> FindError {
    let (application, version) = (application.clone(), Box::new(version));
    FindError::NoProfile { application, version, available, wanted: wanted.to_vec() }
}

fn having(newest: Option<&Version>) -> String {
    newest.map_or("; it has none".to_owned(), |newest| format!("; the newest is {newest}"))
}

fn joined(profiles: &[Profile]) -> String {
    match profiles {
        [] => "`any`".to_owned(),
        some => some.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", "),
    }
}

/// Holders that are looked at in one go.
const PAGE: u32 = 500;
