//! Holds: who needs which object.

use model::ObjectName;
use rusqlite::{Connection, Transaction, params};

use super::{RowError, blobs, objects};
use crate::catalog::{Claim, Holding};

pub(super) fn hold(tx: &Transaction<'_>, claims: &[Claim]) -> Result<Holding, RowError> {
    let mut absent = Vec::new();
    for pin in claims.iter().flat_map(|claim| &claim.pins) {
        match objects::find(tx, &pin.object)? {
            Some(there)
                if there.digest != pin.digest
                    || there.size != pin.size
                    || there.media != pin.media =>
            {
                let (pinned, there) = (Box::new(pin.clone()), Box::new(there));
                return Ok(Holding::Differs { pinned, there });
            }
            Some(there) if blobs::is_present(tx, &there.digest)? => {}
            _ => absent.push(pin.object.clone()),
        }
    }
    if !absent.is_empty() {
        absent.sort();
        absent.dedup();
        return Ok(Holding::Absent(absent));
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO hold (holder, object, digest) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    for claim in claims {
        for pin in &claim.pins {
            insert.execute([
                claim.holder.as_str(),
                pin.object.as_str(),
                &pin.digest.to_string(),
            ])?;
        }
    }
    Ok(Holding::Held)
}

pub(super) fn release(tx: &Transaction<'_>, holder: &str) -> Result<(), RowError> {
    tx.prepare_cached("DELETE FROM hold WHERE holder = ?1")?.execute([holder])?;
    Ok(())
}

pub(super) fn of_object(c: &Connection, name: &ObjectName) -> Result<Vec<String>, RowError> {
    let mut statement =
        c.prepare_cached("SELECT holder FROM hold WHERE object = ?1 ORDER BY holder")?;
    let found = statement.query_map([name.as_str()], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn holders(
    c: &Connection,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, RowError> {
    let mut statement = c.prepare_cached(
        "SELECT DISTINCT holder FROM hold WHERE holder > ?1 ORDER BY holder LIMIT ?2",
    )?;
    let found = statement.query_map(params![after.unwrap_or_default(), limit], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}
