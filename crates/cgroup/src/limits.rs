//! What the processes of a group may take together, and what is written where for it.
//!
//! Pure: from a limit to the kernel's files (`Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/`).

use std::num::{NonZeroU32, NonZeroU64};

/// The bounds of a group. What is absent is not bounded by it, only by the groups above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes, page cache and swap included; the kernel rounds down to whole pages.
    pub memory: Option<NonZeroU64>,
    /// Time on processors in thousandths of one processor: 1500 is one and a half.
    pub cpu: Option<NonZeroU32>,
    /// Processes and threads.
    pub tasks: Option<NonZeroU32>,
}

/// Which rules a file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// One write to one control file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) file: &'static str,
    pub(crate) text: String,
    /// The file is missing where the kernel was built or started without it; that is no failure.
    pub(crate) may_be_missing: bool,
}

/// Writes that bound memory, or lift the bound. In an order that is legal whatever the bound was before.
pub(crate) fn memory(version: Version, bytes: Option<NonZeroU64>) -> Vec<Request> {
    match version {
        // Without swap a group that is over its bound ends, and does not take the disk of all others.
        Version::Two => vec![
            optional("memory.swap.max", if bytes.is_some() { "0".into() } else { "max".into() }),
            request("memory.max", word(bytes, "max")),
        ],
        // Memory with swap may never be below memory: lift it first, set it last.
        Version::One => vec![
            optional("memory.memsw.limit_in_bytes", "-1".into()),
            request("memory.limit_in_bytes", word(bytes, "-1")),
            optional("memory.memsw.limit_in_bytes", word(bytes, "-1")),
        ],
    }
}

/// Writes that bound processor time, or lift the bound.
pub(crate) fn cpu(version: Version, thousandths: Option<NonZeroU32>) -> Vec<Request> {
    // 100 ms is the kernel's default; a quota below its least, 1 ms, takes the longest period, 1 s.
    let split = thousandths.map(|share| {
        let period: u64 = if share.get() < 10 { 1_000_000 } else { 100_000 };
        (u64::from(share.get()) * period / 1000, period)
    });
    match (version, split) {
        (Version::Two, Some((quota, period))) => {
            vec![request("cpu.max", format!("{quota} {period}"))]
        }
        (Version::Two, None) => vec![request("cpu.max", "max".into())],
        // A new period is judged with the old quota: lift that first.
        (Version::One, Some((quota, period))) => vec![
            request("cpu.cfs_quota_us", "-1".into()),
            request("cpu.cfs_period_us", period.to_string()),
            request("cpu.cfs_quota_us", quota.to_string()),
        ],
        (Version::One, None) => vec![request("cpu.cfs_quota_us", "-1".into())],
    }
}

/// Writes that bound the number of tasks, or lift the bound. Both versions have the same file.
pub(crate) fn tasks(most: Option<NonZeroU32>) -> Vec<Request> {
    vec![request("pids.max", word(most, "max"))]
}

fn word<N: ToString>(bound: Option<N>, unbounded: &str) -> String {
    bound.map_or_else(|| unbounded.to_owned(), |number| number.to_string())
}

fn request(file: &'static str, text: String) -> Request {
    Request { file, text, may_be_missing: false }
}

fn optional(file: &'static str, text: String) -> Request {
    Request { file, text, may_be_missing: true }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(requests: &[Request]) -> Vec<(&str, &str)> {
        requests.iter().map(|request| (request.file, request.text.as_str())).collect()
    }

    #[test]
    fn each_limit_is_written_to_the_files_of_its_version() {
        let bytes = NonZeroU64::new(512 << 20);
        assert_eq!(
            words(&memory(Version::Two, bytes)),
            [("memory.swap.max", "0"), ("memory.max", "536870912")]
        );
        assert_eq!(
            words(&memory(Version::One, bytes)),
            [
                ("memory.memsw.limit_in_bytes", "-1"),
                ("memory.limit_in_bytes", "536870912"),
                ("memory.memsw.limit_in_bytes", "536870912"),
            ]
        );
        let share = NonZeroU32::new(1500);
        assert_eq!(words(&cpu(Version::Two, share)), [("cpu.max", "150000 100000")]);
        assert_eq!(
            words(&cpu(Version::One, share)),
            [
                ("cpu.cfs_quota_us", "-1"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_quota_us", "150000")
            ]
        );
        assert_eq!(words(&tasks(NonZeroU32::new(100))), [("pids.max", "100")]);
    }

    #[test]
    fn a_limit_is_lifted_by_the_words_of_its_version() {
        assert_eq!(
            words(&memory(Version::Two, None)),
            [("memory.swap.max", "max"), ("memory.max", "max")]
        );
        assert_eq!(words(&memory(Version::One, None))[1], ("memory.limit_in_bytes", "-1"));
        assert_eq!(words(&cpu(Version::Two, None)), [("cpu.max", "max")]);
        assert_eq!(words(&cpu(Version::One, None)), [("cpu.cfs_quota_us", "-1")]);
        assert_eq!(words(&tasks(None)), [("pids.max", "max")]);
    }

    proptest! {
        #[test]
        fn every_share_is_met_exactly_and_is_one_that_the_kernel_takes(share in prop_oneof![1_u32..20, any::<u32>().prop_map(|any| any.max(1))]) {
            let requests = cpu(Version::Two, NonZeroU32::new(share));
            let (quota, period) = requests[0].text.split_once(' ').unwrap();
            let (quota, period): (u64, u64) = (quota.parse().unwrap(), period.parse().unwrap());
            prop_assert!(quota >= 1000 && (1000..=1_000_000).contains(&period));
            prop_assert_eq!(quota * 1000 / period, u64::from(share));
        }
    }
}
