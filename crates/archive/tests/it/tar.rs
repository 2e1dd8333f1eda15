//! The forms of tar, and the encodings around them.

use archive::{
    Ambiguity, Encoding, Entries, EntryKind, Error, Feature, Flaw, Limit, Limits, Modified,
    TarReader, measure,
};

use crate::build::{Header, Tar, bzip2, gzip, paths, read_tar, read_tar_as};

fn small() -> Vec<u8> {
    Tar::new().directory("d/").file("d/f", "hello").symlink("d/l", "f").hard_link("h", "d/f").end()
}

#[test]
fn a_size_that_pax_tells_differently_is_refused() {
    // Readers that go by the header would take the content for headers, and so see `evil`.
    let hidden = Tar::new().file("evil", "").0;
    let tar = Tar::new()
        .pax(b'x', &[("size", hidden.len().to_string().as_bytes())])
        .header(&Header::new(b'0', "nested.tar"))
        .content(&hidden)
        .file("after", "x")
        .end();
    let Err(Error::Ambiguous { what, entry }) = read_tar(&tar) else { panic!() };
    assert_eq!(what, Ambiguity::SizeTwice { field: 0, record: 512 });
    assert_eq!(entry, "nested.tar");
}

#[test]
fn a_size_that_only_pax_can_tell_is_taken_from_it() {
    for field in [&b"00000000000"[..], b"77777777777", b"\x80\0\0\0\0\0\0\x02\0\0\0\0"] {
        let mut header = Header::new(b'0', "huge");
        header.size = field.to_vec();
        let tar = Tar::new().pax(b'x', &[("size", b"8589934592")]).header(&header).0;
        let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
        let entry = reader.next_entry().unwrap().unwrap();
        assert!(matches!(entry.kind, EntryKind::File { size: 0x2_0000_0000, .. }));
        assert!(matches!(reader.next_entry(), Err(Error::Truncated)));
    }
}

#[test]
fn names_come_from_wherever_the_form_keeps_them() {
    let long = "n".repeat(150);
    let mut prefixed = Header::new(b'0', "name");
    prefixed.prefix = b"prefix/of".to_vec();
    let mut old = prefixed.clone();
    old.magic = *b"ustar  \0";
    let mut oldest = Header::new(0, "v7");
    oldest.magic = [0; 8];
    let tar = Tar::new()
        .header(&prefixed)
        .header(&old)
        .header(&oldest)
        .sized(b'L', b"././@LongLink", format!("gnu/{long}\0").as_bytes())
        .file("cut", "")
        .pax(b'x', &[("path", format!("pax/{long}").as_bytes())])
        .file("cut", "")
        .file([b'f'; 100], "")
        .end();
    let expected = [
        "prefix/of/name",
        "name",
        "v7",
        &format!("gnu/{long}"),
        &format!("pax/{long}"),
        &"f".repeat(100),
    ];
    assert_eq!(paths(&read_tar(&tar).unwrap()), expected);
}

#[test]
fn old_directories_and_odd_types_are_what_posix_says() {
    let mut old = Header::new(0, "dir/");
    old.magic = [0; 8];
    let tar = Tar::new()
        .header(&old)
        .sized(b'7', b"contiguous", b"abc")
        .header(&Header::new(b'7', "contiguous directory/"))
        .sized(b'Z', b"vendor", b"de")
        .sized(b'V', b"label", b"")
        .directory("./")
        .end();
    let contents = read_tar(&tar).unwrap();
    assert_eq!(paths(&contents), ["dir", "contiguous", "contiguous directory", "vendor"]);
    assert_eq!(contents[0].0.kind, EntryKind::Directory);
    assert_eq!(contents[2].0.kind, EntryKind::Directory);
    assert_eq!((&contents[1].1[..], &contents[3].1[..]), (&b"abc"[..], &b"de"[..]));
}

#[test]
fn times_come_from_the_nearest_place() {
    let mut plain = Header::new(b'0', "plain");
    plain.modified = b"00000000012".to_vec();
    let mut negative = Header::new(b'0', "negative");
    negative.modified = vec![0xff; 12];
    let tar = Tar::new()
        .header(&plain)
        .header(&negative)
        .pax(b'g', &[("mtime", b"-1.5"), ("comment", b"x")])
        .header(&plain)
        .pax(b'x', &[("mtime", b"7.25")])
        .header(&plain)
        .end();
    let times: Vec<Option<Modified>> =
        read_tar(&tar).unwrap().into_iter().map(|(entry, _)| entry.modified).collect();
    let at = |seconds, nanos| Some(Modified { seconds, nanos });
    assert_eq!(times, [at(10, 0), at(-1, 0), at(-2, 500_000_000), at(7, 250_000_000)]);
}

#[test]
fn any_execute_bit_makes_a_file_executable_and_special_bits_are_noted() {
    let mut header = Header::new(b'0', "f");
    for (mode, executable) in [("0000644", false), ("0000654", true), ("0004711", true)] {
        header.mode = mode.as_bytes().to_vec();
        let tar = Tar::new().pax(b'x', &[("SCHILY.xattr.user.a", b"b")]).header(&header).end();
        let contents = read_tar(&tar).unwrap();
        assert_eq!(contents[0].0.kind, EntryKind::File { size: 0, executable, sparse: None });
        let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
        let dropped = measure(&mut reader).unwrap().dropped;
        assert_eq!(dropped.special_bits, u64::from(mode == "0004711"));
        assert_eq!(dropped.attributes, 1);
    }
}

#[test]
fn what_readers_disagree_about_is_refused() {
    let twice = Tar::new().pax(b'x', &[("path", b"a")]).pax(b'x', &[("path", b"b")]);
    let both = Tar::new().sized(b'L', b"L", b"a").pax(b'x', &[("path", b"b")]);
    let table = [
        (Ambiguity::SizeWithoutContent, Tar::new().sized(b'5', b"d", b"x")),
        (Ambiguity::SizeWithoutContent, Tar::new().file("d/", "x")),
        (Ambiguity::SizeWithoutContent, Tar::new().file("f", "").sized(b'1', b"h", b"x")),
        (Ambiguity::SizeWithoutContent, Tar::new().sized(b'V', b"label", b"x")),
        (Ambiguity::ExtendedTwice, twice.file("f", "")),
        (Ambiguity::ExtendedTwice, both.file("f", "")),
        (Ambiguity::GlobalIdentity, Tar::new().pax(b'g', &[("size", b"512")]).file("f", "")),
        (Ambiguity::GlobalIdentity, Tar::new().pax(b'g', &[("path", b"x")]).file("f", "")),
        (Ambiguity::GlobalIdentity, Tar::new().pax(b'g', &[("GNU.sparse.size", b"1")])),
    ];
    for (expected, tar) in table {
        let error = read_tar(&tar.end()).unwrap_err();
        assert!(matches!(error, Error::Ambiguous { what, .. } if what == expected), "{error}");
    }
}

#[test]
fn star_keeps_times_where_ustar_has_the_end_of_the_prefix() {
    let mut header = Header::new(b'0', "name");
    header.prefix = vec![b'p'; 155];
    let mut star = header.block();
    star[508..512].copy_from_slice(b"tar\0");
    let sum: u32 = star.iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - star[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * 32;
    star[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let contents = read_tar(&[&star[..], &header.block(), &[0; 1024]].concat()).unwrap();
    let prefixes = [131, 155].map(|length| format!("{}/name", "p".repeat(length)));
    assert_eq!(paths(&contents), prefixes);
}

#[test]
fn owners_and_locked_directories_are_counted() {
    let block = |kind, mode: &[u8], account: &[u8], group: &[u8]| {
        let mut header = Header::new(kind, "x");
        // The mode is followed by the two numbers of the owner.
        header.mode = [mode, b"\0", account, b"\0", group].concat();
        header
    };
    let dropped = |tar: Tar| {
        let tar = tar.end();
        let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
        measure(&mut reader).unwrap().dropped
    };
    let (zero, other) = (b"0000000", b"0001750");
    for (account, group, owners) in [(zero, zero, 0), (other, zero, 1), (zero, other, 1)] {
        let tar = Tar::new().header(&block(b'0', b"0000644", account, group));
        assert_eq!(dropped(tar).owners, owners);
    }
    let told = Tar::new().pax(b'x', &[("uid", b"0"), ("gid", b"0")]);
    assert_eq!(dropped(told.header(&block(b'0', b"0000644", other, other))).owners, 0);
    let told = Tar::new().pax(b'g', &[("gid", b"4294967295")]);
    assert_eq!(dropped(told.header(&block(b'0', b"0000644", zero, zero))).owners, 1);
    for (mode, locked) in [(b"0000755", 0), (b"0000500", 0), (b"0000655", 1), (b"0000311", 1)] {
        let tar = Tar::new().header(&block(b'5', mode, zero, zero));
        assert_eq!(dropped(tar).directory_modes, locked);
    }
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_delivered_as_one() {
    let contents = read_tar(&Tar::new().symlink("l", "f").hard_link("h", "l").end()).unwrap();
    let EntryKind::HardLink { original } = &contents[1].0.kind else { panic!() };
    assert_eq!(original.as_bytes(), b"l");
}

#[test]
fn what_is_not_supported_is_named() {
    let table = [
        (Feature::Sparse, Tar::new().sized(b'S', b"f", b"x")),
        (Feature::Sparse, Tar::new().pax(b'x', &[("GNU.sparse.major", b"1")]).file("f", "")),
        (Feature::Sparse, Tar::new().pax(b'x', &[("SCHILY.realsize", b"9")]).file("f", "")),
        (Feature::OldLongNames, Tar::new().sized(b'N', b"f", b"x")),
        (Feature::Volumes, Tar::new().sized(b'M', b"f", b"x")),
        (Feature::Incremental, Tar::new().sized(b'D', b"f", b"x")),
    ];
    for (expected, tar) in table {
        let error = read_tar(&tar.end()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what, .. } if what == expected), "{error}");
    }
}

#[test]
fn an_archive_may_end_in_every_way_that_tar_accepts() {
    let whole = Tar::new().file("f", "x");
    assert_eq!(paths(&read_tar(&whole.0).unwrap()), ["f"]);
    assert_eq!(paths(&read_tar(&[&whole.0[..], &[0; 512]].concat()).unwrap()), ["f"]);
    assert_eq!(paths(&read_tar(&[&whole.clone().end()[..], b"junk"].concat()).unwrap()), ["f"]);
    assert!(read_tar(&[0; 10240]).unwrap().is_empty());
}

#[test]
fn a_lone_zero_block_between_entries_is_refused() {
    let tar = [&Tar::new().file("f", "x").0[..], &[0; 512], &small()].concat();
    let error = read_tar(&tar).unwrap_err();
    assert!(matches!(error, Error::Malformed { at: 1024, what: Flaw::LoneZeroBlock }), "{error}");
}

#[test]
fn an_extended_header_without_entry_is_refused() {
    let error = read_tar(&Tar::new().pax(b'x', &[("path", b"a")]).end()).unwrap_err();
    assert!(matches!(error, Error::Malformed { what: Flaw::ExtendedAlone, .. }), "{error}");
}

#[test]
fn an_extended_header_is_bounded() {
    let mut header = Header::new(b'x', "x");
    header.size = b"77777777777".to_vec();
    let error = read_tar(&Tar::new().header(&header).end()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: Limit::ExtendedHeader, .. }), "{error}");
}

#[test]
fn several_members_are_one_archive() {
    let tar = small();
    let (first, second) = tar.split_at(700);
    let expected = read_tar(&tar).unwrap();
    let members = [gzip(first), gzip(b""), gzip(second)].concat();
    assert_eq!(read_tar_as(&members, Encoding::Gzip).unwrap(), expected);
    let streams = [bzip2(first), bzip2(b""), bzip2(second)].concat();
    assert_eq!(read_tar_as(&streams, Encoding::Bzip2).unwrap(), expected);
}

#[test]
fn behind_gzip_only_zeros_are_padding() {
    let packed = gzip(&small());
    assert!(read_tar_as(&[&packed[..], &[0; 100_000]].concat(), Encoding::Gzip).is_ok());
    for garbage in [&b"x"[..], b"\0\0\0x", b"\x1f\x8bxx"] {
        let bytes = [&packed[..], garbage].concat();
        assert!(read_tar_as(&bytes, Encoding::Gzip).is_err(), "{garbage:?}");
    }
}

#[test]
fn a_wrong_checksum_at_the_end_of_the_encoding_is_an_error() {
    for (packed, encoding) in [(gzip(&small()), Encoding::Gzip), (bzip2(&small()), Encoding::Bzip2)]
    {
        let mut packed = packed;
        let at = packed.len() - 6;
        packed[at] ^= 1;
        let error = read_tar_as(&packed, encoding).unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{error}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_never_complete() {
    let tar = small();
    let plain = |length| read_tar(&tar[..length]);
    for length in 0..tar.len() - 1024 {
        // A plain tar may end between entries; see the module's documentation.
        if ![512, 1536, 2048].contains(&length) {
            let error = plain(length).unwrap_err();
            assert!(matches!(error, Error::Truncated), "{length}: {error}");
        }
    }
    for (packed, encoding) in [(gzip(&tar), Encoding::Gzip), (bzip2(&tar), Encoding::Bzip2)] {
        for length in 0..packed.len() {
            assert!(read_tar_as(&packed[..length], encoding).is_err(), "{encoding} {length}");
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let limits = Limits { unpacked_bytes: 1 << 20, entries: 10, ..Limits::default() };
    let stopped = |packed: &[u8]| {
        let mut reader = TarReader::new(packed, Encoding::Gzip, limits).unwrap();
        match measure(&mut reader).unwrap_err() {
            Error::TooLarge { limit, .. } => limit,
            other => panic!("{other}"),
        }
    };
    let file = |size: usize| Tar::new().header(&Header::new(b'0', "f").size(size)).0;
    assert_eq!(stopped(&gzip(&file((1 << 20) + 1))), Limit::UnpackedBytes);
    let many = (0..11).fold(Tar::new(), |tar, n| tar.file(format!("{n}"), "")).end();
    assert_eq!(stopped(&gzip(&many)), Limit::Entries);
    let nothing = (0..11).fold(Tar::new(), |tar, _| tar.directory("./")).end();
    assert_eq!(stopped(&gzip(&nothing)), Limit::Entries);
    assert_eq!(stopped(&gzip(&vec![0; 80 << 20])), Limit::BesideContent);
    let headers = Tar::new().pax(b'g', &[("comment", &vec![b'c'; 900_000])]).0.repeat(100);
    assert_eq!(stopped(&gzip(&headers)), Limit::BesideContent);
}

/// What the publisher measures, and the node with those figures for limits, judge alike: also of bytes
/// behind the end, of headers that nobody needs, and of padding.
#[test]
fn what_was_measured_is_unpacked_and_what_will_not_be_is_not_measured() {
    let judge = |tar: &[u8], limits: Limits| {
        let mut reader = TarReader::new(tar, Encoding::Gzip, limits).unwrap();
        measure(&mut reader)
    };
    let entries = |count: usize| {
        (0..count).fold(Tar::new(), |tar, n| tar.file(format!("{n}"), "content")).end()
    };
    let comment = Tar::new().pax(b'g', &[("comment", &vec![b'c'; 900_000])]).0;
    let mut accepted = Vec::new();
    for mebibytes in [0, 60, 66, 70, 80] {
        let filler = mebibytes << 20;
        let behind = [entries(4), vec![0; filler]].concat();
        let before = [comment.repeat(filler / comment.len()), entries(4)].concat();
        for (place, tar) in [("behind", behind), ("before", before)] {
            let tar = gzip(&tar);
            match judge(&tar, Limits::default()) {
                Ok(summary) => {
                    let measured = summary.measured;
                    let limits = Limits {
                        entries: measured.entries,
                        unpacked_bytes: measured.unpacked_bytes,
                        largest_file: measured.largest_file,
                        inodes: measured.inodes,
                        ..Limits::default()
                    };
                    assert_eq!(judge(&tar, limits).unwrap(), summary, "{place} {mebibytes}");
                    accepted.push((place, mebibytes));
                }
                Err(Error::TooLarge { limit: Limit::BesideContent, .. }) => {}
                Err(other) => panic!("{place} {mebibytes}: {other}"),
            }
        }
    }
    let wanted = [("behind", 0), ("before", 0), ("behind", 60), ("before", 60), ("behind", 66)];
    assert_eq!(accepted, wanted);
}

#[test]
fn a_huge_size_neither_overflows_nor_allocates() {
    let tar = Tar::new().pax(b'x', &[("size", b"18446744073709551615")]).file("f", "").end();
    assert!(matches!(read_tar(&tar), Err(Error::TooLarge { .. })));
    let limits = Limits { unpacked_bytes: u64::MAX, largest_file: u64::MAX, ..Limits::default() };
    let mut reader = TarReader::new(&tar[..], Encoding::Identity, limits).unwrap();
    assert!(matches!(measure(&mut reader), Err(Error::Truncated)));
}

#[test]
fn after_an_error_nothing_more_is_told() {
    let tar = Tar::new().file("../f", "").file("g", "").end();
    let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
    assert!(matches!(reader.next_entry(), Err(Error::Unsafe { .. })));
    assert!(matches!(reader.next_entry(), Err(Error::Ended)));
    assert!(reader.summary().is_none());
}

#[test]
fn content_that_is_cut_off_does_not_just_end() {
    let tar = Tar::new().file("f", vec![1; 1000]).0;
    let mut reader =
        TarReader::new(&tar[..512 + 999], Encoding::Identity, Limits::default()).unwrap();
    reader.next_entry().unwrap();
    assert_eq!(reader.read_content(&mut [0; 2000]).unwrap(), 999);
    assert!(matches!(reader.read_content(&mut [0; 2000]), Err(Error::Truncated)));
}

#[test]
fn a_checksum_may_be_a_sum_of_signed_bytes() {
    let header = Header::new(b'0', "größe");
    let mut block = header.block();
    let unsigned: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let blanks = unsigned - block[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>() + 256;
    let high = header.name.iter().filter(|byte| **byte >= 0x80).count() as u32;
    let mut with_sum = |sum: u32| {
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        read_tar(&[&block[..], &[0; 1024]].concat())
    };
    assert!(with_sum(blanks).is_ok());
    assert!(with_sum(blanks - 256 * high).is_ok());
    let error = with_sum(blanks + 1).unwrap_err();
    assert!(matches!(error, Error::Malformed { at: 0, what: Flaw::HeaderChecksum }), "{error}");
}

#[test]
fn content_that_was_not_read_is_passed_over() {
    let tar = Tar::new().file("a", vec![1; 5000]).file("b", "x").end();
    let mut reader = TarReader::new(&tar[..], Encoding::Identity, Limits::default()).unwrap();
    reader.next_entry().unwrap();
    assert_eq!(reader.read_content(&mut [0; 700]).unwrap(), 700);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.path.as_bytes(), b"b");
}

#[test]
fn an_input_that_fails_is_told_from_a_damaged_archive() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    for encoding in ENCODINGS {
        let mut reader = TarReader::new(Failing, encoding, Limits::default()).unwrap();
        assert!(matches!(reader.next_entry(), Err(Error::Read { .. })), "{encoding}");
    }
    for encoding in &ENCODINGS[1..] {
        let error = read_tar_as(b"not compressed at all", *encoding).unwrap_err();
        assert!(matches!(error, Error::Decode { .. }), "{encoding}: {error}");
        assert!(matches!(read_tar_as(b"", *encoding), Err(Error::Truncated)), "{encoding}");
    }
}

const ENCODINGS: [Encoding; 5] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Bzip2, Encoding::Zstd, Encoding::Xz];
