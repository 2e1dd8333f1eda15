//! Records: three answers, whatever the bytes are.

mod common;

use common::{Scratch, disk, p};
use durable::record::{self, Damage, Read, Record, RecordError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// The second version of a note; the first one called `text` something else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
    count: u64,
}

impl Record for Note {
    const KIND: &'static str = "note";
    const VERSION: u32 = 2;

    fn upgrade(version: u32, mut json: serde_json::Value) -> Option<serde_json::Value> {
        if version != 1 {
            return None;
        }
        let old = json.as_object_mut()?.remove("words")?;
        json["text"] = old;
        Some(json)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct OldNote {
    words: String,
    count: u64,
}

impl Record for OldNote {
    const KIND: &'static str = "note";
    const VERSION: u32 = 1;
}

#[derive(Debug, Serialize, Deserialize)]
struct NewerNote {
    anything: u8,
}

impl Record for NewerNote {
    const KIND: &'static str = "note";
    const VERSION: u32 = 3;
}

#[test]
fn a_record_is_a_line_and_json_that_a_person_can_read() {
    let bytes = record::encode(&Note { text: "hello".into(), count: 3 }).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (line, body) = text.split_once('\n').unwrap();
    assert_eq!(
        line,
        "fettle note 2 sha256:77ed4280754d3053b0ea21f39d6672c150b3bd286281c9b00100b1222a6e1efa"
    );
    assert_eq!(body, "{\n  \"text\": \"hello\",\n  \"count\": 3\n}\n");
}

#[test]
fn absent_damaged_and_too_new_are_three_answers() {
    let scratch = Scratch::new();
    let disk = disk(&scratch);
    let read = || record::read::<Note>(&disk, p("note")).unwrap();
    assert!(matches!(read(), Read::Absent));

    let note = Note { text: "hello".into(), count: 3 };
    record::write(&disk, p("note"), &note).unwrap();
    assert!(matches!(read(), Read::Present(found) if found == note));

    record::write_unsynced(&disk, p("note"), &NewerNote { anything: 1 }).unwrap();
    assert!(matches!(read(), Read::TooNew { found: 3, known: 2 }));

    for (bytes, expected) in [
        (&b""[..], "its first line is not that of a record"),
        (b"{}", "its first line is not that of a record"),
        (b"fettle note 2 sha256:00\n{}\n", "its digest does not match its content"),
    ] {
        disk.replace(p("note"), bytes, 0o600).unwrap();
        assert!(matches!(read(), Read::Damaged { why } if why.to_string() == expected));
    }

    disk.replace(p("note"), &vec![b'x'; record::LIMIT as usize + 1], 0o600).unwrap();
    assert!(matches!(read(), Read::Damaged { why: Damage::TooLarge }));

    disk.discard(p("note")).unwrap();
    disk.make_dir(p("note"), 0o700).unwrap();
    assert!(matches!(record::read::<Note>(&disk, p("note")), Err(RecordError::Disk(_))));
}

#[test]
fn an_older_version_is_converted() {
    let bytes = record::encode(&OldNote { words: "hello".into(), count: 3 }).unwrap();
    let Read::Present(note) = record::decode::<Note>(&bytes) else { panic!("{bytes:?}") };
    assert_eq!(note, Note { text: "hello".into(), count: 3 });
}

#[test]
fn a_record_of_another_kind_is_not_taken_for_this_one() {
    #[derive(Serialize, Deserialize)]
    struct Other {
        text: String,
        count: u64,
    }
    impl Record for Other {
        const KIND: &'static str = "other";
        const VERSION: u32 = 2;
    }
    let bytes = record::encode(&Other { text: String::new(), count: 0 }).unwrap();
    let read = record::decode::<Note>(&bytes);
    assert!(
        matches!(&read, Read::Damaged { why: Damage::Kind { found } } if found == "other"),
        "{read:?}"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(text in ".*", count: u64) {
        let note = Note { text, count };
        let read = record::decode::<Note>(&record::encode(&note).unwrap());
        prop_assert!(matches!(read, Read::Present(found) if found == note));
    }

    #[test]
    fn arbitrary_bytes_are_damaged(bytes: Vec<u8>) {
        let damaged = matches!(record::decode::<Note>(&bytes), Read::Damaged { .. });
        prop_assert!(damaged);
    }

    #[test]
    fn arbitrary_bytes_behind_a_right_beginning_are_damaged(bytes: Vec<u8>) {
        let bytes = [b"fettle note 2 sha256:".as_slice(), &bytes].concat();
        let damaged = matches!(record::decode::<Note>(&bytes), Read::Damaged { .. });
        prop_assert!(damaged);
    }

    #[test]
    fn a_changed_byte_is_never_another_record(at: prop::sample::Index, change in 1..=u8::MAX) {
        let note = Note { text: "some text to damage".into(), count: 12345 };
        let mut bytes = record::encode(&note).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let damaged = matches!(record::decode::<Note>(&bytes), Read::Damaged { .. });
        prop_assert!(damaged, "byte {at}");
    }

    #[test]
    fn a_cut_record_is_damaged(len: prop::sample::Index) {
        let bytes = record::encode(&Note { text: "some text".into(), count: 1 }).unwrap();
        let cut = &bytes[..len.index(bytes.len())];
        let damaged = matches!(record::decode::<Note>(cut), Read::Damaged { .. });
        prop_assert!(damaged);
    }
}
