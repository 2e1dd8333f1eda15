//! Extra fields: what writers add to the fixed fields of a record.
//!
//! Formats: PKWARE APPNOTE 6.3.10, section 4.5; Info-ZIP's `extrafld.txt`.

use crate::error::printable;
use crate::{Ambiguity, Error, Flaw, Modified};

/// zip64: sizes and offset with 64 bits.
pub(super) const ZIP64: u16 = 0x0001;
/// Info-ZIP's name in UTF-8.
pub(super) const UNICODE_PATH: u16 = 0x7075;

/// The extra fields of one record.
#[derive(Clone, Copy)]
pub(super) struct Extra<'a> {
    pub(super) fields: &'a [u8],
    /// The record's name, and where it is; for messages.
    pub(super) name: &'a [u8],
    pub(super) at: u64,
}

impl<'a> Extra<'a> {
    /// The field of that id. Fewer than four bytes at the end are padding.
    pub(super) fn find(&self, wanted: u16) -> Result<Option<&'a [u8]>, Error> {
        let mut found = None;
        let mut fields = self.fields;
        while fields.len() >= 4 {
            let (id, length) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
            let Some(field) = fields.get(4..4 + length) else {
                return Err(Error::Malformed { at: self.at, what: Flaw::ExtraField });
            };
            if id == wanted && found.replace(field).is_some() {
                let what = Ambiguity::ExtraTwice;
                return Err(Error::Ambiguous { entry: printable(self.name), what });
            }
            fields = &fields[4 + length..];
        }
        Ok(found)
    }

    /// The time of modification: the finest there is. All of these are UTC.
    pub(super) fn modified(&self) -> Result<Option<Modified>, Error> {
        if let Some(time) = self.find(NTFS)?.and_then(ntfs_time) {
            return Ok(Some(time));
        }
        let stamp = self.find(TIMESTAMP)?.filter(|field| field.len() >= 5 && field[0] & 1 != 0);
        let old = self.find(OLD_UNIX)?.filter(|field| field.len() >= 8);
        let seconds = match (stamp, old) {
            (Some(field), _) => u32_at(field, 1),
            (None, Some(field)) => u32_at(field, 4),
            (None, None) => return Ok(None),
        };
        Ok(Some(Modified { seconds: i64::from(seconds.cast_signed()), nanos: 0 }))
    }

    /// Whether a field says that the entry belongs to another account or group than 0. A field that
    /// makes no sense says nothing.
    pub(super) fn foreign_owner(&self) -> bool {
        let find = |id| self.find(id).ok().flatten();
        // Version, then twice a length and so many bytes.
        let sized = find(UNIX_OWNER).is_some_and(|field| match field {
            [1, rest @ ..] => {
                let (account, rest) = sized_number(rest);
                account || sized_number(rest).0
            }
            _ => false,
        });
        // Two numbers, only in front of the content; the older one has times before them.
        let short =
            find(UNIX_OWNER_16).is_some_and(|field| field.len() >= 4 && field[..4] != [0; 4]);
        let old = find(OLD_UNIX).is_some_and(|field| field.len() >= 12 && field[8..12] != [0; 4]);
        sized || short || old
    }
}

/// Whether the number is not 0, and what follows it.
fn sized_number(field: &[u8]) -> (bool, &[u8]) {
    let Some((length, rest)) = field.split_first() else { return (false, &[]) };
    match rest.split_at_checked(usize::from(*length)) {
        Some((number, rest)) => (number.iter().any(|byte| *byte != 0), rest),
        None => (false, &[]),
    }
}

/// Four reserved bytes, then attributes; that of number 1 has the times, modification first, in
/// units of 100 ns since 1601.
fn ntfs_time(field: &[u8]) -> Option<Modified> {
    let mut attributes = field.get(4..)?;
    while attributes.len() >= 4 {
        let (tag, length) = (u16_at(attributes, 0), usize::from(u16_at(attributes, 2)));
        let value = attributes.get(4..4 + length)?;
        if tag == 1 && length >= 8 {
            let ticks = u64_at(value, 0);
            // A writer that knows no time leaves 0.
            return (ticks > 0).then(|| Modified {
                seconds: (ticks / TICKS) as i64 - SECONDS_TO_1970,
                nanos: (ticks % TICKS) as u32 * 100,
            });
        }
        attributes = &attributes[4 + length..];
    }
    None
}

/// Seconds since 1970, the DOS time taken as UTC; `None` if there is no such day.
pub(super) fn from_dos(date: u16, time: u16) -> Option<i64> {
    let (year, month, day) = (1980 + i64::from(date >> 9), date >> 5 & 15, date & 31);
    if !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    // Days of the civil calendar, in years that begin with March.
    let (year, month) = match i64::from(month) {
        month @ 1..=2 => (year - 1, month + 9),
        month => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + i64::from(day) - 1 - DAYS_TO_1970;
    let (hours, minutes, pairs) = (time >> 11, time >> 5 & 63, time & 31);
    Some(days * 86_400 + i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(pairs) * 2)
}

/// Takes a number off the front.
pub(super) fn next_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*first))
}

/// The little-endian number at `at`, which the caller knows to be within `bytes`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// As [`u16_at`].
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

const NTFS: u16 = 0x000a;
const TIMESTAMP: u16 = 0x5455;
const OLD_UNIX: u16 = 0x5855;
const UNIX_OWNER_16: u16 = 0x7855;
const UNIX_OWNER: u16 = 0x7875;

/// Of 100 ns, in a second.
const TICKS: u64 = 10_000_000;
/// From 1 January 1601 to 1 January 1970.
const SECONDS_TO_1970: i64 = 11_644_473_600;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_taken_as_utc() {
        let dos = |y: u16, mo: u16, d: u16, h: u16, mi: u16, s: u16| {
            from_dos((y - 1980) * 512 + mo * 32 + d, h * 2048 + mi * 32 + s / 2)
        };
        assert_eq!(dos(1980, 1, 1, 0, 0, 0), Some(315_532_800));
        assert_eq!(dos(2000, 2, 29, 12, 34, 56), Some(951_827_696));
        assert_eq!(dos(2107, 12, 31, 23, 59, 58), Some(4_354_819_198));
        assert_eq!(dos(2024, 0, 1, 0, 0, 0), None);
        assert_eq!(dos(2024, 1, 0, 0, 0, 0), None);
    }

    #[test]
    fn ntfs_times_have_fractions_and_may_be_old() {
        let field =
            |ticks: u64| [&[0; 4][..], &[1, 0, 24, 0], &ticks.to_le_bytes(), &[0; 16]].concat();
        let time = |ticks| ntfs_time(&field(ticks)).map(|time| (time.seconds, time.nanos));
        assert_eq!(time(116_444_736_000_000_000), Some((0, 0)));
        assert_eq!(time(116_444_736_012_345_678), Some((1, 234_567_800)));
        assert_eq!(time(116_444_735_999_999_999), Some((-1, 999_999_900)));
        assert_eq!(time(u64::MAX).map(|(seconds, _)| seconds), Some(1_833_029_933_770));
        assert_eq!(time(0), None);
        assert_eq!(ntfs_time(&field(7)[..20]), None);
        assert_eq!(ntfs_time(&[0; 3]), None);
    }

    #[test]
    fn owners_are_found_in_all_their_fields() {
        let owner = |id: u16, field: &[u8]| {
            let fields =
                [&id.to_le_bytes()[..], &(field.len() as u16).to_le_bytes(), field].concat();
            Extra { fields: &fields, name: b"", at: 0 }.foreign_owner()
        };
        assert!(!owner(UNIX_OWNER, &[1, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0]));
        assert!(owner(UNIX_OWNER, &[1, 4, 0xe8, 3, 0, 0, 4, 0, 0, 0, 0]));
        assert!(owner(UNIX_OWNER, &[1, 2, 0, 0, 2, 0, 1]));
        for cut in [&[][..], &[1], &[1, 9, 1], &[2, 1, 1]] {
            assert!(!owner(UNIX_OWNER, cut), "{cut:?}");
        }
        assert!(owner(UNIX_OWNER_16, &[0, 0, 1, 0]) && !owner(UNIX_OWNER_16, &[0; 4]));
        assert!(!owner(UNIX_OWNER_16, &[]));
        assert!(owner(OLD_UNIX, &[9, 9, 9, 9, 9, 9, 9, 9, 1, 0, 0, 0]));
        assert!(!owner(OLD_UNIX, &[9; 8]));
    }
}
