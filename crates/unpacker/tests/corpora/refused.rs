//! The real archives that we refuse although others take them, with the rule. One that is on this list
//! and is unpacked is a failure too: the list says what users will meet.

/// Beginnings of files' names, and words of the refusal. All of them are packages of a distribution,
/// made to be unpacked over `/`.
const REFUSED: [(&str, &str); 6] = [
    ("groff-base_", "its link target is absolute"),
    ("libc-bin_", "its link target is absolute"),
    ("ncurses-term_", "its link target is absolute"),
    ("openssl_", "its link target is absolute"),
    ("tar_", "its link target is absolute"),
    ("tzdata_", "its link target is absolute"),
];

/// Why an archive of that name is refused, if it is.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    let listed = REFUSED.iter().find(|(start, _)| name.starts_with(start));
    listed.map(|(_, reason)| *reason)
}
