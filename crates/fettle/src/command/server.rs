//! `fettle server`: both repositories under one address. Owns which directory and database they get, and the
//! adapter by which envelopes hold objects; the repositories know nothing of each other.
//!
//! A crash is a restart: both repair themselves when they are opened, behind a lock on the data directory.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use application_repository::ApplicationRepository;
use binary_repository::{BinaryRepository, Clock};
use durable::{Disk, DiskError, LockMode};
use model::Policy;
use tokio::sync::oneshot;
use wire::route;
use wire::serve::{Json, Service, blocking};
use wire::v1::StatusBody;

use super::daemon::{self, Ending, ListenError};
use crate::error::{Exit, Failure};
use crate::holds::OwnObjects;
use crate::places::{NoPlace, Surroundings};
use crate::reach::Context;
use crate::settings::{Loaded, ServerSettings};

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// There is no directory to fall back on.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// A URL that is none, or whose path is relative.
    #[error("`{flag} {}` is no {wanted}", .url.escape_debug())]
    Url {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        url: String,
        /// What it should look like.
        wanted: &'static str,
    },
    /// A URL of something that comes later.
    #[error("`{flag} {}`: {kind} cannot be used yet", .url.escape_debug())]
    Unsupported {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        url: String,
        /// What it names.
        kind: &'static str,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another server is at work on the data directory.
    #[error("another server has {} open", .data.display())]
    Locked {
        /// The directory.
        data: PathBuf,
    },
    /// The directory is somebody else's: opening it would empty its `staging` and `trash`.
    #[error("`{}` is not a server's directory, and not empty: `{entry}` is in it", .data.display())]
    Foreign {
        /// The directory.
        data: PathBuf,
        /// One of the things that lie there.
        entry: String,
    },
    /// The directory cannot be looked at.
    #[error("cannot list {}", .data.display())]
    List {
        /// The directory.
        data: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The objects cannot be opened.
    #[error("cannot open the objects in {}", .data.display())]
    Objects {
        /// Their directory.
        data: PathBuf,
        /// Why not.
        source: binary_repository::OpenError,
    },
    /// The applications cannot be opened.
    #[error("cannot open the applications in {}", .database.display())]
    Applications {
        /// The catalog.
        database: PathBuf,
        /// Why not.
        source: application_repository::OpenError,
    },
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Where a server keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    data: PathBuf,
    database: PathBuf,
    blobs: PathBuf,
}

/// `fettle server`
pub(crate) async fn server(
    context: &Context,
    loaded: Loaded<ServerSettings>,
) -> Result<Exit, Failure> {
    Ok(run(context, loaded).await.map(|()| Exit::Done)?)
}

async fn run(context: &Context, loaded: Loaded<ServerSettings>) -> Result<(), ServerError> {
    // It has a file open for each download and upload; and it starts nothing that would mind.
    let _ = launcher::raise_limit_of_files();
    let ending = Ending::new()?;
    let Loaded { settings, file } = loaded;
    let address = daemon::address(settings.listen.as_deref().unwrap_or(USUAL_ADDRESS))?;
    let places = places(&settings, &Surroundings::of_this_process())?;
    let data = places.data.clone();
    let opened = blocking(move || open(&places)).await?;
    let listener = daemon::bind(&address).await?;
    tracing::warn!("{OPEN_TO_ALL}");
    let (end, ended) = oneshot::channel::<()>();
    let swept = tokio::spawn(opened.objects.clone().run_sweeper(async {
        let _ = ended.await; // however the other end goes away, it is over
    }));
    let served =
        daemon::run(context.output, listener, opened.service(&data, file.as_deref()), ending).await;
    drop(end);
    let _ = swept.await; // a panic in there was logged
    Ok(served?)
}

/// Both repositories, behind the lock of their directory.
struct Opened {
    objects: Arc<BinaryRepository>,
    applications: Arc<ApplicationRepository>,
    _lock: durable::Lock,
}

fn open(places: &Places) -> Result<Opened, ServerError> {
    refuse_foreign(&places.data)?;
    let disk = Disk::create(&places.data)?;
    // The objects have a lock of their own, which lies with them: they may be elsewhere.
    let lock = disk.try_lock(Path::new(LOCK), LockMode::Exclusive)?;
    let lock = lock.ok_or_else(|| ServerError::Locked { data: places.data.clone() })?;
    let clock = Clock::system();
    let config = binary_repository::Config {
        data: places.blobs.clone(),
        database: places.database.clone(),
        clock: clock.clone(),
    };
    let objects = BinaryRepository::open(&config)
        .map_err(|source| ServerError::Objects { data: places.blobs.clone(), source })?;
    let holds = Arc::new(OwnObjects(objects.clone()));
    let applications =
        ApplicationRepository::open(&places.database, holds, move || clock.now()).map_err(
            |source| ServerError::Applications { database: places.database.clone(), source },
        )?;
    Ok(Opened { objects, applications, _lock: lock })
}

/// A directory is a server's if it has a server's lock, or nothing but what a start that was cut off leaves.
fn refuse_foreign(data: &Path) -> Result<(), ServerError> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        // Not there yet, or no directory: making one says why.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(source) => return Err(ServerError::List { data: data.to_owned(), source }),
    };
    let mut other = None;
    for entry in entries {
        let entry = entry.map_err(|source| ServerError::List { data: data.to_owned(), source })?;
        let name = entry.file_name();
        match name.to_str() {
            Some(LOCK) => return Ok(()),
            Some("lost+found") => {} // the root of a file system
            Some("staging" | "trash") if is_empty(&entry.path()) => {}
            _ => other = Some(name.to_string_lossy().into_owned()),
        }
    }
    other.map_or(Ok(()), |entry| Err(ServerError::Foreign { data: data.to_owned(), entry }))
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

impl Opened {
    fn service(&self, data: &Path, config: Option<&Path>) -> Service<()> {
        let policy = Policy::OpenToThisMachine;
        status(policy, data, config)
            .merge(self.objects.service(policy))
            .merge(self.applications.service(policy))
    }
}

fn status(policy: Policy, data: &Path, config: Option<&Path>) -> Service<()> {
    let body = StatusBody {
        kind: "server".to_owned(),
        fettle: env!("CARGO_PKG_VERSION").to_owned(),
        data: data.display().to_string(),
        config: config.map(|file| file.display().to_string()),
        server: None,
        profiles: None,
        enforced: None,
        warnings: vec![OPEN_TO_ALL.to_owned()],
    };
    let answer = move || std::future::ready(Json(body.clone()));
    Service::new(policy).route(&route::STATUS, answer)
}

/// Where the settings put things; what they leave open lies in the data directory.
fn places(settings: &ServerSettings, surroundings: &Surroundings) -> Result<Places, ServerError> {
    let data = match &settings.data {
        Some(data) => data.clone(),
        None => surroundings.server_data()?,
    };
    // A relative path would mean something else in an error message than here.
    let data = std::path::absolute(&data).unwrap_or(data);
    let database = match settings.database.as_deref() {
        None => data.join("catalog.sqlite"),
        Some(url) => database(url)?,
    };
    let blobs = match settings.blobs.as_deref() {
        None => data.clone(),
        Some(url) => blobs(url)?,
    };
    Ok(Places { data, database, blobs })
}

fn database(url: &str) -> Result<PathBuf, ServerError> {
    let flag = "--database";
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Err(ServerError::Unsupported { flag, url: url.to_owned(), kind: "PostgreSQL" });
    }
    path_of(flag, url, "sqlite://", "sqlite:///path/to/file")
}

fn blobs(url: &str) -> Result<PathBuf, ServerError> {
    let flag = "--blobs";
    if url.starts_with("s3://") {
        return Err(ServerError::Unsupported { flag, url: url.to_owned(), kind: "a bucket" });
    }
    path_of(flag, url, "file://", "file:///path/to/directory")
}

fn path_of(
    flag: &'static str,
    url: &str,
    scheme: &str,
    wanted: &'static str,
) -> Result<PathBuf, ServerError> {
    let path = url.strip_prefix(scheme).map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or_else(|| ServerError::Url { flag, url: url.to_owned(), wanted })
}

const USUAL_ADDRESS: &str = "127.0.0.1:7420";
const LOCK: &str = "server.lock";
const OPEN_TO_ALL: &str =
    "any account of this machine may read and write here: identity does not exist yet";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(database: Option<&str>, blobs: Option<&str>) -> Result<Places, ServerError> {
        let settings = ServerSettings {
            data: Some("/data".into()),
            database: database.map(str::to_owned),
            blobs: blobs.map(str::to_owned),
            ..ServerSettings::default()
        };
        places(&settings, &Surroundings::default())
    }

    #[test]
    fn what_no_flag_names_lies_in_the_data_directory() {
        let data = Path::new("/data");
        let (database, blobs) = (data.join("catalog.sqlite"), data.to_owned());
        assert_eq!(of(None, None).unwrap(), Places { data: data.to_owned(), database, blobs });
        let elsewhere = of(Some("sqlite:///db/c"), Some("file:///blobs")).unwrap();
        assert_eq!(elsewhere.database, Path::new("/db/c"));
        assert_eq!(elsewhere.blobs, Path::new("/blobs"));
    }

    #[test]
    fn what_comes_later_is_told_from_what_is_no_url() {
        for later in [of(Some("postgres://db/x"), None), of(None, Some("s3://bucket/prefix"))] {
            assert!(matches!(later, Err(ServerError::Unsupported { .. })));
        }
        for bad in [of(Some("sqlite://relative"), None), of(None, Some("/blobs"))] {
            assert!(matches!(bad, Err(ServerError::Url { .. })));
        }
    }
}
