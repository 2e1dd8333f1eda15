//! The catalog in SQLite, in the file of the binary repository with a connection and a table of its own.
//! Power cuts and kills are SQLite's promise; a change is one transaction.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{AppName, Profile, Timestamp, Version};
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior, params};

use super::schema::{self, Found};
use super::{Catalog, CatalogError, Entry, Removal};
use crate::envelope::{self, Published};

/// The catalog in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    connection: Mutex<Connection>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenCatalogError {
    /// SQLite refused.
    #[error("the catalog `{}` cannot be opened", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// A newer fettle wrote it.
    #[error(
        "the catalog `{}` has version {found}, this fettle knows {known}",
        path.display(), known = schema::VERSION
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

impl Sqlite {
    /// Opens the file, and makes it and its table if they are missing. The file may hold tables of others.
    ///
    /// # Errors
    /// See [`OpenCatalogError`].
    pub fn open(path: &Path) -> Result<Sqlite, OpenCatalogError> {
        let database = |source| OpenCatalogError::Database { path: path.to_path_buf(), source };
        let mut connection = connect(path).map_err(database)?;
        match schema::prepare(&mut connection).map_err(database)? {
            Found::Known => Ok(Sqlite { connection: Mutex::new(connection) }),
            Found::TooNew(found) => {
                Err(OpenCatalogError::TooNew { path: path.to_path_buf(), found })
            }
        }
    }

    /// One transaction; nothing happens if `work` fails.
    fn run<T>(
        &self,
        doing: &'static str,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<Outcome<T>, RowError>,
    ) -> Result<T, CatalogError> {
        let database = |source| CatalogError::Database { doing, source };
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = connection.transaction_with_behavior(behavior).map_err(database)?;
        match work(&tx) {
            Ok(Outcome::Keep(answer)) => tx.commit().map_err(database).map(|()| answer),
            Ok(Outcome::Undo(answer)) => Ok(answer),
            Err(RowError::Database(source)) => Err(database(source)),
            Err(RowError::Damaged(what)) => Err(CatalogError::Damaged { what }),
        }
    }
}

impl Catalog for Sqlite {
    fn version(
        &self,
        application: &AppName,
        version: &Version,
    ) -> Result<Vec<Published>, CatalogError> {
        self.run("look up a version", TransactionBehavior::Deferred, |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT body, created, created_by, removed FROM envelope
                 WHERE application = ?1 AND version = ?2 ORDER BY profile",
            )?;
            let mut rows = statement.query([application.as_str(), &version.to_string()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(published(row)?);
            }
            Ok(Outcome::Keep(found))
        })
    }

    fn entries(&self, application: &AppName) -> Result<Option<Vec<Entry>>, CatalogError> {
        self.run("look up an application", TransactionBehavior::Deferred, |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT version, profile, title, removed FROM envelope WHERE application = ?1",
            )?;
            let mut rows = statement.query([application.as_str()])?;
            let (mut known, mut found) = (false, Vec::new());
            while let Some(row) = rows.next()? {
                known = true;
                if !row.get::<_, bool>(3)? {
                    let (version, profile) = (parsed(row, 0)?, parsed(row, 1)?);
                    found.push(Entry { version, profile, title: parsed(row, 2)? });
                }
            }
            Ok(Outcome::Keep(known.then_some(found)))
        })
    }

    fn envelope(
        &self,
        application: &AppName,
        version: &Version,
        profile: &Profile,
    ) -> Result<Option<Published>, CatalogError> {
        self.run("look up an envelope", TransactionBehavior::Deferred, |tx| {
            let found = find(tx, application, version, profile)?;
            Ok(Outcome::Keep(found.filter(|published| !published.removed)))
        })
    }

    fn publish(&self, envelopes: &[Published]) -> Result<bool, CatalogError> {
        self.run("publish a version", TransactionBehavior::Immediate, |tx| {
            for new in envelopes {
                if !publish(tx, new)? {
                    return Ok(Outcome::Undo(false));
                }
            }
            Ok(Outcome::Keep(true))
        })
    }

    fn remove(&self, application: &AppName, version: &Version) -> Result<Removal, CatalogError> {
        self.run("remove a version", TransactionBehavior::Immediate, |tx| {
            let name = application.as_str();
            let removed = tx
                .prepare_cached(
                    "UPDATE envelope SET removed = 1 WHERE application = ?1 AND version = ?2
                     RETURNING profile",
                )?
                .query_map([name, &version.to_string()], |row| row.get::<_, String>(0))?
                .collect::<Result<Vec<_>, _>>()?;
            if !removed.is_empty() {
                let mut profiles =
                    removed.iter().map(|p| parse(p)).collect::<Result<Vec<_>, _>>()?;
                profiles.sort();
                return Ok(Outcome::Keep(Removal::Removed(profiles)));
            }
            let known = tx
                .prepare_cached("SELECT 1 FROM envelope WHERE application = ?1 LIMIT 1")?
                .exists([name])?;
            Ok(Outcome::Keep(if known { Removal::NoVersion } else { Removal::NoApplication }))
        })
    }

    fn applications(
        &self,
        prefix: &str,
        after: Option<&AppName>,
        limit: u32,
    ) -> Result<Vec<AppName>, CatalogError> {
        self.run("list applications", TransactionBehavior::Deferred, |tx| {
            // The names with a prefix lie together: from the prefix on, until one has it no more.
            let mut statement = tx.prepare_cached(
                "SELECT DISTINCT application FROM envelope
                 WHERE application >= ?1 AND application > ?2 AND removed = 0
                 ORDER BY application LIMIT ?3",
            )?;
            let after = after.map_or("", AppName::as_str);
            let mut rows = statement.query(params![prefix, after, limit])?;
            let mut found: Vec<AppName> = Vec::new();
            while let Some(row) = rows.next()? {
                let name: AppName = parsed(row, 0)?;
                if !name.as_str().starts_with(prefix) {
                    break;
                }
                found.push(name);
            }
            Ok(Outcome::Keep(found))
        })
    }
}

/// Inserts one envelope, or brings the same one back; `false` if another one is or was there.
fn publish(tx: &Transaction<'_>, new: &Published) -> Result<bool, RowError> {
    let Published { envelope, created, created_by, .. } = new;
    let (application, profile) = (envelope.application.as_str(), envelope.profile.as_str());
    let version = envelope.version.to_string();
    match find(tx, &envelope.application, &envelope.version, &envelope.profile)? {
        Some(there) if !there.envelope.differences(envelope).is_empty() => return Ok(false),
        Some(_) => tx
            .prepare_cached(
                "UPDATE envelope SET removed = 0
                 WHERE application = ?1 AND version = ?2 AND profile = ?3",
            )?
            .execute([application, &version, profile])?,
        None => tx
            .prepare_cached(
                "INSERT INTO envelope
                    (application, version, profile, title, body, created, created_by, removed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
            )?
            .execute(params![
                application,
                version,
                profile,
                envelope.title.as_str(),
                envelope::to_json(envelope),
                created.as_millis(),
                created_by.to_string(),
            ])?,
    };
    Ok(true)
}

fn find(
    tx: &Transaction<'_>,
    application: &AppName,
    version: &Version,
    profile: &Profile,
) -> Result<Option<Published>, RowError> {
    let mut statement = tx.prepare_cached(
        "SELECT body, created, created_by, removed FROM envelope
         WHERE application = ?1 AND version = ?2 AND profile = ?3",
    )?;
    let version = version.to_string();
    let mut rows = statement.query([application.as_str(), &version, profile.as_str()])?;
    rows.next()?.map(published).transpose()
}

/// What a transaction answers, and whether what it did stays.
enum Outcome<T> {
    Keep(T),
    Undo(T),
}

enum RowError {
    Database(rusqlite::Error),
    Damaged(String),
}

impl From<rusqlite::Error> for RowError {
    fn from(source: rusqlite::Error) -> RowError {
        RowError::Database(source)
    }
}

fn published(row: &Row<'_>) -> Result<Published, RowError> {
    let json: String = row.get(0)?;
    let envelope = envelope::from_json(&json);
    Ok(Published {
        envelope: envelope
            .ok_or_else(|| RowError::Damaged("a row holds no envelope".to_owned()))?,
        created: Timestamp::from_millis(row.get(1)?),
        created_by: parsed(row, 2)?,
        removed: row.get(3)?,
    })
}

fn parsed<T: FromStr<Err: fmt::Display>>(row: &Row<'_>, column: usize) -> Result<T, RowError> {
    parse(&row.get::<_, String>(column)?)
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, RowError> {
    text.parse().map_err(|why: T::Err| RowError::Damaged(why.to_string()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: a path stays a path whatever it looks like.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// The binary repository writes to the same file; its transactions are short.
const BUSY: Duration = Duration::from_secs(10);
