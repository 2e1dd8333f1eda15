//! Rows as values. What is in the database was written by us; a row that cannot be read is damage, and
//! says so.

use std::fmt;
use std::str::FromStr;

use model::{Digest, Measured, MediaInfo, Part, Timestamp};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::RowError;
use crate::catalog::{CatalogError, ObjectRecord};

/// The columns that [`object`] reads, of `object` and of `upload`.
pub(super) const OBJECT: &str = "name, type, encoding, size, digest, measured, created, created_by";

/// The first eight columns of a row.
pub(super) fn object(row: &Row<'_>) -> Result<ObjectRecord, RowError> {
    let encoding: Option<String> = row.get(2)?;
    Ok(ObjectRecord {
        name: parsed(row, 0)?,
        media: MediaInfo {
            media_type: parsed(row, 1)?,
            encoding: encoding.map(|text| parse(&text)).transpose()?,
        },
        size: number(row, 3)?,
        digest: parsed(row, 4)?,
        measured: row.get::<_, Option<String>>(5)?.map(|json| measured(&json)).transpose()?,
        created: Timestamp::from_millis(row.get(6)?),
        created_by: parsed(row, 7)?,
    })
}

/// A column in the spelling of its type.
pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
    row: &Row<'_>,
    column: usize,
) -> Result<T, RowError> {
    parse(&row.get::<_, String>(column)?)
}

/// A column that is no negative number.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64, RowError> {
    let found: i64 = row.get(column)?;
    u64::try_from(found).map_err(|_| damaged(format_args!("a size is {found}")))
}

/// A part number.
pub(super) fn part_number(row: &Row<'_>, column: usize) -> Result<u32, RowError> {
    let found: i64 = row.get(column)?;
    u32::try_from(found).map_err(|_| damaged(format_args!("a part has number {found}")))
}

/// A size as SQLite keeps it. Objects have at most `model::MAX_OBJECT` bytes, so it always fits.
pub(super) fn int(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn parts_to_json(parts: &[Part]) -> String {
    let rows: Vec<PartRow> =
        parts.iter().map(|part| PartRow { size: part.size, digest: part.digest }).collect();
    json(&rows)
}

pub(super) fn parts_from_json(text: &str) -> Result<Vec<Part>, RowError> {
    let rows: Vec<PartRow> =
        serde_json::from_str(text).map_err(|why| damaged(format_args!("parts: {why}")))?;
    Ok(rows.into_iter().map(|row| Part { size: row.size, digest: row.digest }).collect())
}

pub(super) fn measured_to_json(measured: &Measured) -> String {
    let Measured {
        entries,
        unpacked_bytes,
        largest_file,
        inodes,
        deepest_path,
        disk_bytes,
        window,
    } = *measured;
    json(&MeasuredRow {
        entries,
        unpacked_bytes,
        largest_file,
        inodes,
        deepest_path,
        disk_bytes,
        window,
    })
}

fn measured(text: &str) -> Result<Measured, RowError> {
    let MeasuredRow {
        entries,
        unpacked_bytes,
        largest_file,
        inodes,
        deepest_path,
        disk_bytes,
        window,
    } = serde_json::from_str(text).map_err(|why| damaged(format_args!("measures: {why}")))?;
    Ok(Measured { entries, unpacked_bytes, largest_file, inodes, deepest_path, disk_bytes, window })
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, RowError> {
    text.parse().map_err(|why| damaged(format_args!("{why}")))
}

fn damaged(what: fmt::Arguments<'_>) -> RowError {
    CatalogError::Damaged { what: what.to_string() }.into()
}

fn json<T: Serialize>(value: &T) -> String {
    // Numbers and texts in memory have no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
struct PartRow {
    size: u64,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct MeasuredRow {
    entries: u64,
    unpacked_bytes: u64,
    largest_file: u64,
    inodes: u64,
    deepest_path: u32,
    #[serde(default)] // younger than the other figures, as is the next one
    disk_bytes: u64,
    #[serde(default)]
    window: u64,
}
