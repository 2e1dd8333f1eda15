//! Bodies about the store of a node: what it has and nothing needs.

use serde::{Deserialize, Serialize};

/// Wants something done with the whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRequest {}

/// Something that the store has and nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarbageLine {
    /// What it is.
    pub kind: GarbageKind,
    /// Its digest; of a tree, with how it was unpacked.
    pub name: String,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// A kind of thing in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GarbageKind {
    /// Downloaded bytes.
    Blob,
    /// An unpacked archive.
    Tree,
    /// A blob that was received in part.
    Partial,
}

/// What was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedBody {
    /// What it took on the disk.
    pub bytes: u64,
    /// How many blobs.
    pub blobs: u64,
    /// How many trees.
    pub trees: u64,
    /// How many blobs that were received in part.
    pub partial: u64,
}

/// What a look at the whole store gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedBody {
    /// Bytes that were read.
    pub bytes: u64,
    /// Blobs that were looked at, missing ones included.
    pub blobs: u64,
    /// Trees that were looked at, missing ones included.
    pub trees: u64,
    /// How many things are not what they should be.
    pub damaged: u64,
    /// Which, and in which way: the first thousand.
    pub damages: Vec<DamageBody>,
}

/// What mending the store gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairedBody {
    /// Blobs that were fetched again.
    pub blobs: u64,
    /// Names of blobs, and links of installations and instances, that lead to what is right again.
    pub names: u64,
    /// Trees in which something was mended.
    pub trees: u64,
    /// Entries of trees that were replaced, removed, or got their mode back.
    pub entries: u64,
    /// How many things are still not what they should be.
    pub damaged: u64,
    /// Which, and why: the first thousand.
    pub damages: Vec<DamageBody>,
}

/// One thing that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageBody {
    /// Of what.
    pub kind: DamageKind,
    /// The digest of the blob, or the name of the tree, the installation or the instance.
    pub name: String,
    /// Of a tree: the entry, relative to its files. Else what is damaged, relative to the root of the
    /// node. `null` if it is about the whole.
    pub path: Option<String>,
    /// In which way it is wrong.
    pub what: String,
}

/// A kind of thing that can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DamageKind {
    /// Downloaded bytes.
    Blob,
    /// An unpacked archive.
    Tree,
    /// An installation: its records and links.
    Installation,
    /// An instance: its record and links.
    Instance,
}

impl DamageKind {
    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            DamageKind::Blob => "blob",
            DamageKind::Tree => "tree",
            DamageKind::Installation => "installation",
            DamageKind::Instance => "instance",
        }
    }
}

impl std::fmt::Display for DamageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl GarbageKind {
    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            GarbageKind::Blob => "blob",
            GarbageKind::Tree => "tree",
            GarbageKind::Partial => "partial",
        }
    }
}

impl std::fmt::Display for GarbageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
