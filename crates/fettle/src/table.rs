//! Text for people: tables whose columns are aligned, lists of fields, sizes, and how long ago
//! something was. Owns how it looks; nothing depends on colour, and a reader that is no terminal sees the same.

use std::fmt;
use std::time::{Duration, SystemTime};

use model::Timestamp;

/// A table. One without rows prints nothing, not even its heads.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub(crate) fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// One row more, with a cell for each head.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.rows.len() > 1 { &self.rows[..] } else { &[] };
        write_aligned(f, rows)
    }
}

/// Names and values below each other, without the last line feed.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> =
        fields.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    Aligned(&rows).to_string().trim_end().to_owned()
}

/// Bytes as people read them: `312 B`, `4.1 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// How long ago something was, by this machine's clock: `12s`, `3m`, `5h`, `9d`.
pub(crate) fn ago(then: Timestamp) -> String {
    coarse(Timestamp::from(SystemTime::now()).since(then))
}

/// A value or a dash.
pub(crate) fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn coarse(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

struct Aligned<'a>(&'a [Vec<String>]);

impl fmt::Display for Aligned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_aligned(f, self.0)
    }
}

fn write_aligned(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["größe/1/1".into(), "running".into()]);
        table.row(vec!["b".into(), "-".into()]);
        assert_eq!(table.to_string(), "NAME       STATE\ngröße/1/1  running\nb          -\n");
        assert_eq!(Table::new(&["NAME"]).to_string(), "");
    }

    #[test]
    fn sizes_have_one_digit_after_the_point_and_never_1024_of_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (4_300_000, "4.1 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn spans_have_one_unit() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")]
        {
            assert_eq!(coarse(Duration::from_secs(seconds)), text);
        }
    }
}
