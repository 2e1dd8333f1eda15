//! What a header says about the entry behind it: PAX records (`x`, `g`) and GNU's long names
//! (`L`, `K`).
//!
//! Format: POSIX.1-2017 `pax`, "pax Extended Header". Unknown keys are passed over, as they must
//! be; `hdrcharset` too, since names are bytes here.
//!
//! Within one header the last of several records of a key holds, as POSIX has it. But an entry has at
//! most one header of each sort: where there are two, some readers take the first and some the last,
//! so such an archive is refused. The same holds for a global header that sets what only one entry can
//! have.

use super::sparse::Records;
use crate::{Ambiguity, Flaw, Modified};

/// What extended headers have set.
#[derive(Clone, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Modified>,
    /// Whether it belongs to another account than 0.
    pub(super) foreign_account: Option<bool>,
    /// Whether it belongs to another group than 0.
    pub(super) foreign_group: Option<bool>,
    pub(super) sparse: Records,
    /// Extended attributes or access lists.
    pub(super) attributes: bool,
}

/// All that precedes one entry.
#[derive(Default)]
pub(super) struct Preamble {
    pax: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Preamble {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    /// Takes an `x` header; the outer error is a flaw of its bytes.
    pub(super) fn pax(&mut self, records: &[u8]) -> Result<Result<(), Ambiguity>, Flaw> {
        let mut extended = Extended::default();
        extended.apply(records)?;
        Ok(once(&mut self.pax, extended))
    }

    /// Takes an `L` header.
    pub(super) fn long_name(&mut self, content: &[u8]) -> Result<(), Ambiguity> {
        once(&mut self.long_name, until_nul(content))
    }

    /// Takes a `K` header.
    pub(super) fn long_link(&mut self, content: &[u8]) -> Result<(), Ambiguity> {
        once(&mut self.long_link, until_nul(content))
    }

    /// Everything together, over what holds for all entries.
    pub(super) fn over(self, global: &Extended) -> Result<Extended, Ambiguity> {
        let local = self.pax.unwrap_or_default();
        Ok(Extended {
            path: agree(local.path, self.long_name)?,
            link: agree(local.link, self.long_link)?,
            size: local.size,
            modified: local.modified.or(global.modified),
            foreign_account: local.foreign_account.or(global.foreign_account),
            foreign_group: local.foreign_group.or(global.foreign_group),
            sparse: local.sparse,
            attributes: local.attributes,
        })
    }
}

impl Extended {
    /// Applies records; an empty value takes back what an earlier one set.
    pub(super) fn apply(&mut self, mut records: &[u8]) -> Result<(), Flaw> {
        while !records.is_empty() {
            let (key, value) = next_record(&mut records).ok_or(Flaw::ExtendedRecord)?;
            let text = || (!value.is_empty()).then(|| value.to_vec());
            match key {
                b"path" => self.path = text(),
                b"linkpath" => self.link = text(),
                b"size" if value.is_empty() => self.size = None,
                b"size" => self.size = Some(decimal(value).ok_or(Flaw::ExtendedRecord)?),
                b"uid" => self.foreign_account = text().map(|id| decimal(&id) != Some(0)),
                b"gid" => self.foreign_group = text().map(|id| decimal(&id) != Some(0)),
                b"mtime" if value.is_empty() => self.modified = None,
                b"mtime" => self.modified = Some(time(value).ok_or(Flaw::ExtendedRecord)?),
                _ if self.sparse.take(key, value).ok_or(Flaw::ExtendedRecord)? => {}
                _ if ATTRIBUTES.iter().any(|prefix| key.starts_with(prefix)) => {
                    self.attributes = true;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it sets what only a single entry can have.
    pub(super) fn identifies(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.present
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Ambiguity> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Ambiguity::ExtendedTwice),
    }
}

fn agree(pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Ambiguity> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(Ambiguity::ExtendedTwice),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}

fn until_nul(content: &[u8]) -> Vec<u8> {
    content.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// `length key=value\n`, where the length counts all of it.
fn next_record<'a>(records: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let record = records.get(..length)?;
    let (b'\n', record) = record.split_last()? else { return None };
    let record = record.get(space + 1..)?;
    *records = &records[length..];
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..]))
}

/// Digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `[-]seconds[.fraction]`; digits beyond nanoseconds are cut.
fn time(value: &[u8]) -> Option<Modified> {
    let (negative, value) = match value {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, value),
    };
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next() {
        let mut unit = 100_000_000;
        for digit in fraction {
            if !digit.is_ascii_digit() {
                return None;
            }
            nanos += u32::from(digit - b'0') * unit;
            unit /= 10;
        }
    }
    Some(match (negative, nanos) {
        (false, _) => Modified { seconds, nanos },
        (true, 0) => Modified { seconds: -seconds, nanos },
        (true, _) => Modified { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

const ATTRIBUTES: [&[u8]; 5] =
    [b"SCHILY.xattr.", b"SCHILY.acl.", b"LIBARCHIVE.xattr.", b"LIBARCHIVE.acl.", b"RHT.security."];

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(records: &[u8]) -> Result<Extended, Flaw> {
        let mut extended = Extended::default();
        extended.apply(records).map(|()| extended)
    }

    #[test]
    fn records_are_taken_by_their_length() {
        let extended = applied(b"14 path=a\nb=c\n8 size=9\n").err();
        assert_eq!(extended, Some(Flaw::ExtendedRecord));
        let extended = applied(b"14 path=a\nb=c\n9 size=12\n").err();
        assert_eq!(extended, Some(Flaw::ExtendedRecord));
        let extended = applied(b"14 path=a\nb=c\n11 size=12\n6 x=y\n").unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"a\nb=c"[..]));
        assert_eq!(extended.size, Some(12));
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            &b"x path=a\n"[..],
            b"10 path=a",
            b"0 path=a\n",
            b"3 path=a\n",
            b"99 path=a\n",
            b"9 path=ab\n",
            b"7 path\n",
            b"9 size=-\n",
            b"11 mtime=x\n",
            b"99999999999999999999999 path=a\n",
        ] {
            assert!(applied(records).is_err(), "{:?}", String::from_utf8_lossy(records));
        }
    }

    #[test]
    fn times_may_be_negative_and_have_fractions() {
        for (value, seconds, nanos) in [
            ("0", 0, 0),
            ("12.5", 12, 500_000_000),
            ("12.", 12, 0),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.000000001", -1, 999_999_999),
            ("1.0000000019", 1, 1),
        ] {
            assert_eq!(time(value.as_bytes()), Some(Modified { seconds, nanos }), "{value}");
        }
        assert_eq!(time(b"99999999999999999999"), None);
        assert_eq!(time(b"1.2.3"), None);
        assert_eq!(time(b""), None);
    }
}
