//! The manifest's reader: it says that a manifest is whole only of one whose last line agrees.

use model::Digest;
use unpacker::ManifestReader;

/// Reads `data` as a manifest, then once more with the last line that it ought to have.
pub fn manifest(data: &[u8]) {
    if let Ok(lines) = read(data) {
        let body =
            data[..data.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (body, last) = data.split_at(body);
        assert_eq!(lines, body.iter().filter(|byte| **byte == b'\n').count() as u64);
        let last = String::from_utf8_lossy(last);
        let digest = Digest::of(body).hex();
        assert!(last.contains(&digest) || last.contains('\\'), "whole, with a wrong last line");
    }
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64;
    let whole = [data, &last_line(data, lines)].concat();
    if let Ok(read) = read(&whole) {
        assert_eq!(read, lines);
    }
}

fn read(data: &[u8]) -> Result<u64, ()> {
    let mut reader = ManifestReader::new(data);
    let mut lines = 0;
    for line in &mut reader {
        line.map_err(drop)?;
        lines += 1;
    }
    assert!(reader.next().is_none());
    Ok(lines)
}

fn last_line(body: &[u8], lines: u64) -> Vec<u8> {
    let digest = Digest::of(body).hex();
    format!("{{\"entries\":{lines},\"sha256\":\"{digest}\"}}\n").into_bytes()
}
