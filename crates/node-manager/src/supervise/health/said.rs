//! What a program says of itself through its `NOTIFY_SOCKET`: the words of sd_notify(3) that a node has a
//! use for. Pure; foreign bytes are read here and nowhere else, and what is not understood is skipped, as
//! that page asks for.

/// One word of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// `READY=1`
    Ready,
    /// `STOPPING=1`
    Stopping,
    /// `WATCHDOG=1`
    Alive,
    /// `WATCHDOG=trigger`: it has found itself not to work.
    NotAlive,
    /// `STATUS=`: for people, at most [`LONGEST_STATUS`] bytes on one line.
    Status(String),
    /// `EXTEND_TIMEOUT_USEC=`: it needs so many microseconds more to become ready or to end.
    Longer(u64),
}

/// The words of one datagram, in its order.
pub(super) fn parse(datagram: &[u8]) -> Vec<Said> {
    datagram.split(|byte| *byte == b'\n').filter_map(word).collect()
}

fn word(line: &[u8]) -> Option<Said> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&line[..equals], &line[equals + 1..]);
    Some(match (name, value) {
        (b"READY", b"1") => Said::Ready,
        (b"STOPPING", b"1") => Said::Stopping,
        (b"WATCHDOG", b"1") => Said::Alive,
        (b"WATCHDOG", b"trigger") => Said::NotAlive,
        (b"STATUS", text) => Said::Status(status(text)),
        (b"EXTEND_TIMEOUT_USEC", number) => {
            Said::Longer(std::str::from_utf8(number).ok()?.parse().ok()?)
        }
        _ => return None,
    })
}

/// A terminal shows it: no control characters.
fn status(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut status: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while status.len() > LONGEST_STATUS {
        status.pop();
    }
    status
}

/// Bytes of a status that are kept.
const LONGEST_STATUS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_words_of_a_datagram_come_in_its_order_and_others_are_skipped() {
        let datagram = b"STATUS=Opened 3 of 7\x1b[2J\nMAINPID=12\nREADY=1\nREADY=0\nWATCHDOG=trigger\nnonsense\n\
                         EXTEND_TIMEOUT_USEC=5000000\nWATCHDOG=1\nSTOPPING=1";
        let expected = [
            Said::Status("Opened 3 of 7 [2J".into()),
            Said::Ready,
            Said::NotAlive,
            Said::Longer(5_000_000),
            Said::Alive,
            Said::Stopping,
        ];
        assert_eq!(parse(datagram), expected);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_more_than_bounded_words(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for said in parse(&[b"STATUS=".as_slice(), &bytes].concat()) {
                if let Said::Status(text) = said {
                    prop_assert!(text.len() <= LONGEST_STATUS && !text.chars().any(char::is_control));
                }
            }
        }
    }
}
