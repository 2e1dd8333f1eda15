//! The tables, and which version of them this program knows. Columns are added by a further step, never
//! changed in place.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Version 1. Times are milliseconds since 1970, digests and names are in their one spelling, lists and
/// measures are JSON.
const TABLES: &str = "
CREATE TABLE object (
    name        TEXT NOT NULL PRIMARY KEY,
    type        TEXT NOT NULL,
    encoding    TEXT,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    parts       TEXT NOT NULL,
    measured    TEXT,
    created     INTEGER NOT NULL,
    created_by  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX object_digest ON object (digest);

CREATE TABLE upload (
    id          TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    type        TEXT NOT NULL,
    encoding    TEXT,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    measured    TEXT,
    created     INTEGER NOT NULL,
    created_by  TEXT NOT NULL,
    state       TEXT NOT NULL,
    UNIQUE (name, created_by, digest)
) STRICT;

CREATE TABLE upload_part (
    upload      TEXT NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    digest      TEXT NOT NULL,
    start       INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    digest      TEXT NOT NULL PRIMARY KEY,
    size        INTEGER NOT NULL,
    key         TEXT NOT NULL,
    state       TEXT NOT NULL,
    lease_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_lease ON blob (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX blob_state ON blob (state) WHERE state <> 'present';

CREATE TABLE hold (
    holder      TEXT NOT NULL,
    object      TEXT NOT NULL REFERENCES object (name),
    digest      TEXT NOT NULL,
    PRIMARY KEY (holder, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_object ON hold (object);
CREATE INDEX hold_digest ON hold (digest);
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

/// The row of `meta` that is this crate's; the application repository has its own in the same file.
const KEY: &str = "binary-repository schema";
/// The newest version that this program knows.
pub(super) const VERSION: i64 = 1;
