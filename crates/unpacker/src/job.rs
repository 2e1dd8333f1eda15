//! What the two processes say to each other: a job as an argument, a report as one line of JSON.

use archive::{Container, Dropped, Encoding, Limits};
use serde::{Deserialize, Serialize};

use crate::UnpackError;

/// How bytes are to be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    /// The format that holds the entries.
    #[serde(with = "ContainerWord")]
    pub container: Container,
    /// What is around it.
    #[serde(with = "EncodingWord")]
    pub encoding: Encoding,
    /// What it may amount to.
    #[serde(with = "LimitsWords")]
    pub limits: Limits,
    /// Threads that write files, beside the one that reads the archive; 0 writes them on that one.
    pub writers: usize,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the archive holds and the tree does not.
    #[serde(with = "DroppedWords")]
    pub dropped: Dropped,
    /// How the process was confined.
    pub sandbox: Sandbox,
}

/// How far a process that unpacks was confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// To its directory: Landlock with all that fettle asks of it.
    Full,
    /// To its directory, by a kernel that knows a part of what fettle asks of Landlock, or filters no
    /// system calls.
    Partial,
    /// By lowered privileges and resource limits only: this kernel has no Landlock.
    NoLandlock,
    /// Not at all: it ran in the caller's process.
    None,
}

/// A job for a process: the directory is its working directory, the bytes are its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) how: How,
    /// The process that is to outlive this one.
    pub(crate) parent: u32,
    /// Use Landlock? Not so behaves as on a kernel without it.
    pub(crate) landlock: bool,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Report {
    Done(Outcome),
    Failed(UnpackError),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Container", rename_all = "kebab-case")]
enum ContainerWord {
    Tar,
    Zip,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Encoding", rename_all = "kebab-case")]
enum EncodingWord {
    Identity,
    Gzip,
    Bzip2,
    Zstd,
    Xz,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Limits")]
struct LimitsWords {
    entries: u64,
    unpacked_bytes: u64,
    largest_file: u64,
    metadata_bytes: u64,
    inodes: u64,
    longest_path: u32,
    disk_bytes: u64,
    window: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Dropped")]
struct DroppedWords {
    owners: u64,
    special_bits: u64,
    attributes: u64,
    directory_modes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_and_reports_survive_the_way_through_a_pipe() {
        let how = How {
            container: Container::Zip,
            encoding: Encoding::Zstd,
            limits: Limits { largest_file: u64::MAX, ..Limits::default() },
            writers: 3,
        };
        let job = Job { how, parent: 7, landlock: true };
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);

        let dropped = Dropped { owners: 1, special_bits: 2, attributes: 3, directory_modes: 4 };
        let error = UnpackError::Write {
            entry: "a\nb".into(),
            size: Some(1),
            message: "full".into(),
            errno: Some(28),
        };
        assert!(error.is_no_space());
        for report in
            [Report::Done(Outcome { dropped, sandbox: Sandbox::Partial }), Report::Failed(error)]
        {
            let text = serde_json::to_string(&report).unwrap();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        }
    }
}
