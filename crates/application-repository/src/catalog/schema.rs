//! The tables, and which version of them this program knows. Columns are added by a further step, never
//! changed in place.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Version 1. Times are milliseconds since 1970; `body` is the envelope as JSON.
const TABLES: &str = "
CREATE TABLE envelope (
    application TEXT NOT NULL,
    version     TEXT NOT NULL,
    profile     TEXT NOT NULL,
    title       TEXT NOT NULL,
    body        TEXT NOT NULL,
    created     INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    removed     INTEGER NOT NULL,
    PRIMARY KEY (application, version, profile)
) STRICT;
";

/// What was found when the tables were looked for.
#[derive(Debug)]
pub(super) enum Found {
    /// The tables of this version; they were made if there were none.
    Known,
    /// Those of a newer program.
    TooNew(i64),
}

/// Makes the tables if there are none, and says what is there.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Found> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT;",
    )?;
    let version: Option<i64> = tx
        .query_row("SELECT value FROM meta WHERE key = ?1", [KEY], |row| row.get(0))
        .optional()?;
    match version {
        Some(VERSION) => {}
        Some(other) => return Ok(Found::TooNew(other)), // 1 is the oldest
        None => {
            tx.execute_batch(TABLES)?;
            tx.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (KEY, VERSION))?;
        }
    }
    tx.commit()?;
    Ok(Found::Known)
}

/// The row of `meta` that is this crate's; the binary repository has its own in the same file.
const KEY: &str = "application-repository schema";
/// The newest version that this program knows.
pub(super) const VERSION: i64 = 1;
