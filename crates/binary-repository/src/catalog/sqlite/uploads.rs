//! Uploads: what was announced, and which parts of it were received. The moves are asked of
//! [`UploadState::next`].

use model::lifecycle::{UploadEvent, UploadState};
use model::{ObjectName, Part, UploadId};
use rusqlite::{Connection, Row, Transaction, params};

use super::row::{self, OBJECT, int, number, parsed, part_number};
use super::{RowError, objects};
use crate::catalog::{Begun, NewUpload, UploadPart, UploadRecord, Verification};

pub(super) fn begin(tx: &Transaction<'_>, new: &NewUpload) -> Result<Begun, RowError> {
    let there = objects::find(tx, &new.object.name)?;
    let same = match there {
        Some(there) if !there.same_content(&new.object) => return Ok(Begun::NameTaken(there)),
        Some(there) => {
            if let (None, Some(measured)) = (there.measured, &new.object.measured) {
                objects::set_measured(tx, &there.name, measured)?;
            }
            new.bytes_are_here
        }
        None => false,
    };
    let known = of_caller(tx, new)?;
    if same {
        return match known {
            Some(known) => finish(tx, known.id).map(|()| Begun::There(known.id)),
            None => insert(tx, new, UploadState::Complete).map(|()| Begun::There(new.id)),
        };
    }
    match known {
        Some(known) if known.state == UploadState::Complete => {
            // Its object was removed, or its bytes were lost: it begins anew, under another id.
            forget(tx, known.id)?;
            open(tx, new, None)
        }
        Some(known) if parts_of(tx, known.id)? != new.parts.as_slice() => {
            forget(tx, known.id)?;
            open(tx, new, Some(known.id))
        }
        Some(known) => {
            update_media(tx, known.id, new)?;
            Ok(Begun::Open { id: known.id, dropped: None })
        }
        None => open(tx, new, None),
    }
}

pub(super) fn find(c: &Connection, id: UploadId) -> Result<Option<UploadRecord>, RowError> {
    let sql = format!("SELECT {OBJECT}, id, state FROM upload WHERE id = ?1");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(record).transpose()
}

pub(super) fn in_progress(
    c: &Connection,
    name: &ObjectName,
) -> Result<Option<UploadRecord>, RowError> {
    let sql = format!(
        "SELECT {OBJECT}, id, state FROM upload WHERE name = ?1 AND state <> ?2
         ORDER BY created DESC, id DESC LIMIT 1"
    );
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query([name.as_str(), UploadState::Complete.as_str()])?;
    rows.next()?.map(record).transpose()
}

pub(super) fn all_in_progress(c: &Connection) -> Result<Vec<UploadRecord>, RowError> {
    let sql = format!("SELECT {OBJECT}, id, state FROM upload WHERE state <> ?1");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query([UploadState::Complete.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row)?);
    }
    Ok(found)
}

pub(super) fn parts(c: &Connection, id: UploadId) -> Result<Vec<UploadPart>, RowError> {
    let mut statement = c.prepare_cached(
        "SELECT number, size, digest, start, received FROM upload_part WHERE upload = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([id.to_string()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(upload_part(row)?);
    }
    Ok(found)
}

pub(super) fn part(
    c: &Connection,
    id: UploadId,
    number: u32,
) -> Result<Option<UploadPart>, RowError> {
    let mut statement = c.prepare_cached(
        "SELECT number, size, digest, start, received FROM upload_part WHERE upload = ?1 AND number = ?2",
    )?;
    let mut rows = statement.query(params![id.to_string(), number])?;
    rows.next()?.map(upload_part).transpose()
}

pub(super) fn part_received(
    tx: &Transaction<'_>,
    id: UploadId,
    number: u32,
) -> Result<bool, RowError> {
    let updated = tx
        .prepare_cached("UPDATE upload_part SET received = 1 WHERE upload = ?1 AND number = ?2")?
        .execute(params![id.to_string(), number])?;
    Ok(updated == 1)
}

pub(super) fn begin_verifying(
    tx: &Transaction<'_>,
    id: UploadId,
) -> Result<Verification, RowError> {
    let Some(upload) = find(tx, id)? else { return Ok(Verification::Unknown) };
    let missing: Vec<u32> =
        parts(tx, id)?.iter().filter(|part| !part.received).map(|part| part.number).collect();
    let verify = UploadEvent::Verify { missing: u32::try_from(missing.len()).unwrap_or(u32::MAX) };
    match (upload.state, upload.state.next(verify)) {
        (UploadState::Complete, _) => Ok(Verification::Complete),
        (UploadState::Verifying, _) => Ok(Verification::Go),
        (_, Ok(to)) => set_state(tx, id, to).map(|()| Verification::Go),
        (_, Err(_)) => Ok(Verification::Missing(missing)),
    }
}

pub(super) fn want_all_parts(tx: &Transaction<'_>, id: UploadId) -> Result<(), RowError> {
    let Some(upload) = find(tx, id)? else { return Ok(()) };
    if let Ok(to) = upload.state.next(UploadEvent::Mismatch) {
        set_state(tx, id, to)?;
    }
    tx.prepare_cached("UPDATE upload_part SET received = 0 WHERE upload = ?1")?
        .execute([id.to_string()])?;
    Ok(())
}

/// The name is taken by it: the row stays, so that asking again gets the same answer; the parts go. Since
/// the bytes are here, nothing is missing, whichever way they came.
pub(super) fn finish(tx: &Transaction<'_>, id: UploadId) -> Result<(), RowError> {
    let Some(upload) = find(tx, id)? else { return Ok(()) };
    let nothing_missing = UploadEvent::Verify { missing: 0 };
    let verifying = upload.state.next(nothing_missing).unwrap_or(upload.state);
    if let Ok(to) = verifying.next(UploadEvent::Match) {
        set_state(tx, id, to)?;
        tx.prepare_cached("DELETE FROM upload_part WHERE upload = ?1")?
            .execute([id.to_string()])?;
    }
    Ok(())
}

pub(super) fn forget(tx: &Transaction<'_>, id: UploadId) -> Result<(), RowError> {
    tx.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([id.to_string()])?;
    Ok(())
}

pub(super) fn forget_complete(tx: &Transaction<'_>, name: &ObjectName) -> Result<(), RowError> {
    tx.prepare_cached("DELETE FROM upload WHERE name = ?1 AND state = ?2")?
        .execute([name.as_str(), UploadState::Complete.as_str()])?;
    Ok(())
}

fn of_caller(tx: &Transaction<'_>, new: &NewUpload) -> Result<Option<UploadRecord>, RowError> {
    let sql = format!(
        "SELECT {OBJECT}, id, state FROM upload WHERE name = ?1 AND created_by = ?2 AND digest = ?3"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let object = &new.object;
    let mut rows = statement.query([
        object.name.as_str(),
        &object.created_by.to_string(),
        &object.digest.to_string(),
    ])?;
    rows.next()?.map(record).transpose()
}

fn open(
    tx: &Transaction<'_>,
    new: &NewUpload,
    dropped: Option<UploadId>,
) -> Result<Begun, RowError> {
    insert(tx, new, UploadState::Receiving)?;
    let mut statement = tx.prepare_cached(
        "INSERT INTO upload_part (upload, number, size, digest, start, received)
         VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    )?;
    let id = new.id.to_string();
    for number in 1..=new.parts.count() {
        if let Some((part, range)) = new.parts.locate(number) {
            let (size, start) = (int(part.size), int(range.start));
            statement.execute(params![id, number, size, part.digest.to_string(), start])?;
        }
    }
    Ok(Begun::Open { id: new.id, dropped })
}

fn insert(tx: &Transaction<'_>, new: &NewUpload, state: UploadState) -> Result<(), RowError> {
    let object = &new.object;
    tx.prepare_cached(
        "INSERT INTO upload (id, name, type, encoding, size, digest, measured, created, created_by, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        new.id.to_string(),
        object.name.as_str(),
        object.media.media_type.as_str(),
        object.media.encoding.map(model::Encoding::as_str),
        int(object.size),
        object.digest.to_string(),
        object.measured.as_ref().map(row::measured_to_json),
        object.created.as_millis(),
        object.created_by.to_string(),
        state.as_str(),
    ])?;
    Ok(())
}

/// The caller's last word on what the bytes are.
fn update_media(tx: &Transaction<'_>, id: UploadId, new: &NewUpload) -> Result<(), RowError> {
    tx.prepare_cached("UPDATE upload SET type = ?2, encoding = ?3, measured = ?4 WHERE id = ?1")?
        .execute(params![
        id.to_string(),
        new.object.media.media_type.as_str(),
        new.object.media.encoding.map(model::Encoding::as_str),
        new.object.measured.as_ref().map(row::measured_to_json),
    ])?;
    Ok(())
}

fn parts_of(tx: &Transaction<'_>, id: UploadId) -> Result<Vec<Part>, RowError> {
    Ok(parts(tx, id)?.iter().map(|found| found.part).collect())
}

fn set_state(tx: &Transaction<'_>, id: UploadId, to: UploadState) -> Result<(), RowError> {
    tx.prepare_cached("UPDATE upload SET state = ?2 WHERE id = ?1")?
        .execute([id.to_string(), to.to_string()])?;
    Ok(())
}

fn record(row: &Row<'_>) -> Result<UploadRecord, RowError> {
    Ok(UploadRecord { object: row::object(row)?, id: parsed(row, 8)?, state: parsed(row, 9)? })
}

fn upload_part(row: &Row<'_>) -> Result<UploadPart, RowError> {
    Ok(UploadPart {
        number: part_number(row, 0)?,
        part: Part { size: number(row, 1)?, digest: parsed(row, 2)? },
        offset: number(row, 3)?,
        received: row.get(4)?,
    })
}
