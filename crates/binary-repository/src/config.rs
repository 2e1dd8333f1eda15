//! What a repository is told when it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use model::Timestamp;

use crate::layout;

/// Where the repository keeps what.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of blobs and uploads; made if it is missing. One server at a time.
    pub data: PathBuf,
    /// The SQLite file of the catalog.
    pub database: PathBuf,
    /// What time it is.
    pub clock: Clock,
}

/// A clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Config {
    /// Everything under one directory, with the clock of the system.
    pub fn new(data: &Path) -> Config {
        Config {
            data: data.to_path_buf(),
            database: data.join(layout::DATABASE),
            clock: Clock::system(),
        }
    }
}

impl Clock {
    /// The clock of the system.
    pub fn system() -> Clock {
        Clock::new(|| SystemTime::now().into())
    }

    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// What it says.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
