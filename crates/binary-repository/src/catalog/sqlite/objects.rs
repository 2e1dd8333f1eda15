//! Objects: names that were taken.

use model::{Measured, ObjectName, Part, Timestamp, UploadId};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::row::{self, OBJECT, int};
use super::{RowError, blobs, holds, uploads};
use crate::catalog::{ObjectRecord, Removal, Taken};

pub(super) fn find(c: &Connection, name: &ObjectName) -> Result<Option<ObjectRecord>, RowError> {
    let sql = format!("SELECT {OBJECT} FROM object WHERE name = ?1");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(row::object).transpose()
}

pub(super) fn parts(c: &Connection, name: &ObjectName) -> Result<Vec<Part>, RowError> {
    let mut statement = c.prepare_cached("SELECT parts FROM object WHERE name = ?1")?;
    let json: Option<String> = statement.query_row([name.as_str()], |row| row.get(0)).optional()?;
    json.map_or(Ok(Vec::new()), |json| row::parts_from_json(&json))
}

pub(super) fn page(
    c: &Connection,
    prefix: &str,
    after: Option<&ObjectName>,
    limit: u32,
) -> Result<Vec<ObjectRecord>, RowError> {
    // The names with a prefix lie together: from the prefix on, until one has it no more.
    let sql = format!(
        "SELECT {OBJECT} FROM object WHERE name >= ?1 AND name > ?2 ORDER BY name LIMIT ?3"
    );
    let mut statement = c.prepare_cached(&sql)?;
    let after = after.map_or("", ObjectName::as_str);
    let mut rows = statement.query(params![prefix, after, limit])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        let object = row::object(row)?;
        if !object.name.as_str().starts_with(prefix) {
            break;
        }
        page.push(object);
    }
    Ok(page)
}

pub(super) fn take_name(
    tx: &Transaction<'_>,
    object: &ObjectRecord,
    parts: &[Part],
    own_lease: Timestamp,
    upload: Option<UploadId>,
) -> Result<Taken, RowError> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO object (name, type, encoding, size, digest, parts, measured, created, created_by)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
             WHERE EXISTS (SELECT 1 FROM blob WHERE digest = ?5 AND size = ?4 AND state = 'present')
             ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![
            object.name.as_str(),
            object.media.media_type.as_str(),
            object.media.encoding.map(model::Encoding::as_str),
            int(object.size),
            object.digest.to_string(),
            row::parts_to_json(parts),
            object.measured.as_ref().map(row::measured_to_json),
            object.created.as_millis(),
            object.created_by.to_string(),
        ])?;
    let taken = match (inserted, find(tx, &object.name)?) {
        (0, None) => return Ok(Taken::NoBytes),
        (0, Some(there)) if !there.same_content(object) => {
            blobs::end_lease(tx, &object.digest, own_lease, Some(object.created))?;
            return Ok(Taken::Other(there));
        }
        (0, Some(_)) => Taken::Same,
        _ => Taken::New,
    };
    blobs::end_lease(tx, &object.digest, own_lease, None)?;
    if let Some(upload) = upload {
        uploads::finish(tx, upload)?;
    }
    Ok(taken)
}

/// Notes what unpacking an object takes, which nobody had measured.
pub(super) fn set_measured(
    tx: &Transaction<'_>,
    name: &ObjectName,
    measured: &Measured,
) -> Result<(), RowError> {
    tx.prepare_cached("UPDATE object SET measured = ?2 WHERE name = ?1")?
        .execute(params![name.as_str(), row::measured_to_json(measured)])?;
    Ok(())
}

pub(super) fn remove(
    tx: &Transaction<'_>,
    name: &ObjectName,
    now: Timestamp,
) -> Result<Removal, RowError> {
    let Some(object) = find(tx, name)? else { return Ok(Removal::Absent) };
    let holders = holds::of_object(tx, name)?;
    if !holders.is_empty() {
        return Ok(Removal::Held(holders));
    }
    tx.prepare_cached("DELETE FROM object WHERE name = ?1")?.execute([name.as_str()])?;
    uploads::forget_complete(tx, name)?;
    blobs::look_at_again(tx, &object.digest, now)?;
    Ok(Removal::Removed)
}
