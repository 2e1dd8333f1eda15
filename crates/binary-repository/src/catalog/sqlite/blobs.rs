//! Blobs: which bytes are in place, and how long somebody relies on them. The moves are asked of
//! [`BlobState::next`]; nothing here knows them by heart.

use model::lifecycle::{BlobEvent, BlobState};
use model::{Digest, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::RowError;
use super::row::{int, number, parsed};
use crate::catalog::CatalogError;

pub(super) fn extend_lease(
    tx: &Transaction<'_>,
    digest: &Digest,
    size: u64,
    until: Timestamp,
) -> Result<bool, RowError> {
    let extended = tx
        .prepare_cached(
            "UPDATE blob SET lease_until = max(coalesce(lease_until, ?3), ?3)
             WHERE digest = ?1 AND size = ?2 AND state = 'present'",
        )?
        .execute(params![digest.to_string(), int(size), until.as_millis()])?;
    Ok(extended == 1)
}

/// Somebody does not rely on the lease any more that ends at `own`. Unless somebody else extended it, it
/// ends at `then`; with `None` the blob is wanted, and no sweep needs to look at it.
pub(super) fn end_lease(
    tx: &Transaction<'_>,
    digest: &Digest,
    own: Timestamp,
    then: Option<Timestamp>,
) -> Result<(), RowError> {
    tx.prepare_cached("UPDATE blob SET lease_until = ?3 WHERE digest = ?1 AND lease_until = ?2")?
        .execute(params![digest.to_string(), own.as_millis(), then.map(Timestamp::as_millis)])?;
    Ok(())
}

/// Something that wanted the blob is gone: the next sweep looks at it, when its lease ends or `now`.
pub(super) fn look_at_again(
    tx: &Transaction<'_>,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), RowError> {
    tx.prepare_cached("UPDATE blob SET lease_until = coalesce(lease_until, ?2) WHERE digest = ?1")?
        .execute(params![digest.to_string(), now.as_millis()])?;
    Ok(())
}

pub(super) fn state(c: &Connection, digest: &Digest) -> Result<BlobState, RowError> {
    let mut statement = c.prepare_cached("SELECT state FROM blob WHERE digest = ?1")?;
    let mut rows = statement.query([digest.to_string()])?;
    rows.next()?.map_or(Ok(BlobState::Absent), |row| parsed(row, 0))
}

pub(super) fn begin(
    tx: &Transaction<'_>,
    digest: &Digest,
    size: u64,
    until: Timestamp,
) -> Result<(), RowError> {
    match state(tx, digest)? {
        BlobState::Writing | BlobState::Present => {
            tx.prepare_cached(
                "UPDATE blob SET lease_until = max(coalesce(lease_until, ?2), ?2) WHERE digest = ?1",
            )?
            .execute(params![digest.to_string(), until.as_millis()])?;
        }
        from @ (BlobState::Absent | BlobState::Doomed) => {
            let to = next(digest, from, BlobEvent::Begin)?;
            tx.prepare_cached(
                "INSERT INTO blob (digest, size, key, state, lease_until) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                digest.to_string(),
                int(size),
                digest.hex(),
                to.as_str(),
                until.as_millis()
            ])?;
        }
    }
    Ok(())
}

pub(super) fn publish(tx: &Transaction<'_>, digest: &Digest) -> Result<(), RowError> {
    let to = next(digest, state(tx, digest)?, BlobEvent::Publish)?;
    set_state(tx, digest, to)
}

pub(super) fn abort(tx: &Transaction<'_>, digest: &Digest) -> Result<(), RowError> {
    let to = next(digest, state(tx, digest)?, BlobEvent::Abort)?;
    set_state(tx, digest, to)
}

pub(super) fn remove(tx: &Transaction<'_>, digest: &Digest) -> Result<(), RowError> {
    let to = next(digest, state(tx, digest)?, BlobEvent::Remove)?;
    set_state(tx, digest, to)
}

/// Goes through the blobs whose lease has ended, the oldest first. One that is wanted loses the lease, and
/// is not looked at again until something that wanted it is gone.
pub(super) fn doom_one(tx: &Transaction<'_>, now: Timestamp) -> Result<Option<Digest>, RowError> {
    while let Some(digest) = ended_lease(tx, now)? {
        let doom = BlobEvent::Doom { wanted_by: wanted_by(tx, &digest)? };
        if let Ok(to) = state(tx, &digest)?.next(doom) {
            set_state(tx, &digest, to)?;
        }
        tx.prepare_cached("UPDATE blob SET lease_until = NULL WHERE digest = ?1")?
            .execute([digest.to_string()])?;
        if state(tx, &digest)? == BlobState::Doomed {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

pub(super) fn all_in(c: &Connection, wanted: BlobState) -> Result<Vec<(Digest, u64)>, RowError> {
    let mut statement = c.prepare_cached("SELECT digest, size FROM blob WHERE state = ?1")?;
    let mut rows = statement.query([wanted.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((parsed(row, 0)?, number(row, 1)?));
    }
    Ok(found)
}

pub(super) fn next_lease_end(c: &Connection) -> Result<Option<Timestamp>, RowError> {
    let mut statement = c.prepare_cached(
        "SELECT min(lease_until) FROM blob WHERE lease_until IS NOT NULL AND state = 'present'",
    )?;
    let millis: Option<i64> = statement.query_row([], |row| row.get(0))?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) fn is_present(c: &Connection, digest: &Digest) -> Result<bool, RowError> {
    Ok(state(c, digest)? == BlobState::Present)
}

fn ended_lease(tx: &Transaction<'_>, now: Timestamp) -> Result<Option<Digest>, RowError> {
    let mut statement = tx.prepare_cached(
        "SELECT digest FROM blob WHERE lease_until <= ?1 AND state = 'present'
         ORDER BY lease_until LIMIT 1",
    )?;
    let mut rows = statement.query([now.as_millis()])?;
    rows.next()?.map(|row| parsed(row, 0)).transpose()
}

/// How many objects and holds want the blob; its lease has ended.
fn wanted_by(tx: &Transaction<'_>, digest: &Digest) -> Result<u32, RowError> {
    let mut statement = tx.prepare_cached(
        "SELECT (SELECT count(*) FROM object WHERE digest = ?1) + (SELECT count(*) FROM hold WHERE digest = ?1)",
    )?;
    let wanted: Option<i64> =
        statement.query_row([digest.to_string()], |row| row.get(0)).optional()?;
    Ok(u32::try_from(wanted.unwrap_or(0)).unwrap_or(u32::MAX))
}

fn next(digest: &Digest, from: BlobState, event: BlobEvent) -> Result<BlobState, RowError> {
    let moved = from.next(event);
    Ok(moved.map_err(|source| CatalogError::Illegal { digest: *digest, source })?)
}

/// `absent` is no row.
fn set_state(tx: &Transaction<'_>, digest: &Digest, to: BlobState) -> Result<(), RowError> {
    if to == BlobState::Absent {
        tx.prepare_cached("DELETE FROM blob WHERE digest = ?1")?.execute([digest.to_string()])?;
    } else {
        tx.prepare_cached("UPDATE blob SET state = ?2 WHERE digest = ?1")?
            .execute([digest.to_string(), to.to_string()])?;
    }
    Ok(())
}
