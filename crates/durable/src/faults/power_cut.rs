//! From a log to the disk states that a power cut may leave, and from a state to a real directory.
//!
//! For every prefix of the log: nothing that was not synced; everything; each single unsynced change
//! missing from everything, and there by itself, with its torn and zero-filled forms; and a number of
//! subsets drawn from a seed. The same log and seed give the same states.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Log;
use super::model::{Change, Id, InodeKind, Model, collapse, punch, put_name, write};

/// All power cuts of one log.
#[derive(Debug, Clone)]
pub struct PowerCut {
    log: Log,
    seed: u64,
    random: usize,
}

/// A tree that a power cut may leave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Entry {
    File { id: Id, mode: u32, data: Vec<u8> },
    Dir { mode: u32 },
    Link { target: OsString },
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Missing,
    There,
    /// The first half of a write or of what is punched.
    Torn,
    /// The length of a write without its data.
    Zeros,
}

impl PowerCut {
    /// With so many random subsets for each prefix.
    pub fn new(log: Log, seed: u64, random: usize) -> PowerCut {
        PowerCut { log, seed, random }
    }

    /// The states of every prefix, with its length; each prefix has each state once.
    pub fn states(&self) -> impl Iterator<Item = (usize, State)> {
        let mut model = Model::new(&self.log.start);
        (0..=self.log.ops.len()).flat_map(move |prefix| {
            if let Some(last) = prefix.checked_sub(1) {
                model.apply(&self.log.ops[last]);
            }
            self.states_of(&model, prefix).into_iter().map(move |state| (prefix, state))
        })
    }

    /// The states after the whole log.
    pub fn states_at_end(&self) -> Vec<State> {
        let mut model = Model::new(&self.log.start);
        self.log.ops.iter().for_each(|op| model.apply(op));
        self.states_of(&model, self.log.ops.len())
    }

    fn states_of(&self, model: &Model, prefix: usize) -> Vec<State> {
        let count = model.pending.len();
        let mut draws = vec![vec![Fate::Missing; count], vec![Fate::There; count]];
        for at in 0..count {
            for others in [Fate::There, Fate::Missing] {
                for &fate in fates(&model.pending[at].change) {
                    if fate != others {
                        let mut draw = vec![others; count];
                        draw[at] = fate;
                        draws.push(draw);
                    }
                }
            }
        }
        if count > 1 {
            let mut random = SplitMix(self.seed ^ (prefix as u64).wrapping_mul(GOLDEN));
            for _ in 0..self.random {
                let draw = model.pending.iter().map(|pending| {
                    let fates = fates(&pending.change);
                    fates[random.below(fates.len())]
                });
                draws.push(draw.collect());
            }
        }
        let mut seen = HashSet::new();
        let states = draws.iter().map(|draw| State::of(model, draw));
        states.filter(|state| seen.insert(state.clone())).collect()
    }
}

impl State {
    /// Builds the tree in `base`, an empty directory.
    pub fn materialise(&self, base: &Path) -> io::Result<()> {
        let mut made: HashMap<Id, PathBuf> = HashMap::new();
        for (path, entry) in &self.entries {
            let path = base.join(path);
            match entry {
                Entry::Dir { .. } => fs::create_dir_all(&path)?,
                Entry::Link { target } => symlink(target, &path)?,
                Entry::File { id, mode, data } => {
                    if let Some(other) = made.get(id) {
                        fs::hard_link(other, &path)?;
                    } else {
                        write_sparse(&path, data)?;
                        fs::set_permissions(&path, Permissions::from_mode(*mode))?;
                        made.insert(*id, path);
                    }
                }
            }
        }
        // Bottom up: an ordinary user adds nothing to a closed directory.
        for (path, entry) in self.entries.iter().rev() {
            if let Entry::Dir { mode } = entry {
                fs::set_permissions(base.join(path), Permissions::from_mode(*mode))?;
            }
        }
        Ok(())
    }

    fn of(model: &Model, draw: &[Fate]) -> State {
        let happened: HashSet<usize> = model
            .pending
            .iter()
            .zip(draw)
            .filter(|(_, fate)| **fate != Fate::Missing)
            .map(|(pending, _)| pending.number)
            .collect();
        let settled = |number: usize| !model.pending.iter().any(|other| other.number == number);
        let mut names = model.names.clone();
        let mut contents: HashMap<Id, Vec<u8>> = HashMap::new();
        let mut modes: HashMap<Id, u32> = HashMap::new();
        for (pending, &fate) in model.pending.iter().zip(draw) {
            if fate == Fate::Missing {
                continue;
            }
            match &pending.change {
                Change::Names { set, needs } => {
                    if needs.is_none_or(|needs| happened.contains(&needs) || settled(needs)) {
                        for (dir, name, id) in set {
                            put_name(&mut names, *dir, name.clone(), pending.number, *id);
                        }
                    }
                }
                Change::Write { file, offset, data } => {
                    let content = content_of(model, &mut contents, *file);
                    match fate {
                        Fate::Torn => write(content, *offset, &data[..data.len() / 2]),
                        Fate::Zeros => {
                            let end = offset + data.len();
                            content.resize(content.len().max(end), 0);
                        }
                        Fate::There | Fate::Missing => write(content, *offset, data),
                    }
                }
                Change::SetLen { file, len } => {
                    content_of(model, &mut contents, *file).resize(*len, 0);
                }
                Change::Punch { file, len } => {
                    let len = if fate == Fate::Torn { len / 2 } else { *len };
                    punch(content_of(model, &mut contents, *file), len);
                }
                Change::Collapse { file, len } => {
                    collapse(content_of(model, &mut contents, *file), *len);
                }
                Change::Mode { file, mode } => {
                    modes.insert(*file, *mode);
                }
            }
        }
        let mut children: HashMap<Id, Vec<(OsString, Id)>> = HashMap::new();
        for ((dir, name), (_, id)) in names {
            if let Some(id) = id {
                children.entry(dir).or_default().push((name, id));
            }
        }
        // Only what is reached from the base is there.
        let mut state = State { entries: BTreeMap::new() };
        let mut waiting = vec![(PathBuf::new(), model.base)];
        let mut reached = HashSet::new();
        while let Some((path, id)) = waiting.pop() {
            let mode = modes.get(&id).copied().unwrap_or(model.inodes[id].mode);
            let entry = match &model.inodes[id].kind {
                InodeKind::Link(target) => Entry::Link { target: target.clone() },
                InodeKind::File(content) => {
                    let data = contents.get(&id).unwrap_or(content).clone();
                    Entry::File { id, mode, data }
                }
                InodeKind::Dir => {
                    if !reached.insert(id) {
                        continue;
                    }
                    for (name, child) in children.get(&id).into_iter().flatten() {
                        waiting.push((path.join(name), *child));
                    }
                    Entry::Dir { mode }
                }
            };
            state.entries.insert(path, entry);
        }
        state
    }
}

fn content_of<'a>(
    model: &Model,
    contents: &'a mut HashMap<Id, Vec<u8>>,
    file: Id,
) -> &'a mut Vec<u8> {
    contents.entry(file).or_insert_with(|| match &model.inodes[file].kind {
        InodeKind::File(content) => content.clone(),
        InodeKind::Dir | InodeKind::Link(_) => Vec::new(),
    })
}

/// Writes a file with holes where there are pages of zeros: a head that was released reads as a hole.
fn write_sparse(path: &Path, data: &[u8]) -> io::Result<()> {
    let file = fs::File::create(path)?;
    file.set_len(data.len() as u64)?;
    for (number, page) in data.chunks(PAGE).enumerate() {
        if page.iter().any(|&byte| byte != 0) {
            file.write_all_at(page, (number * PAGE) as u64)?;
        }
    }
    Ok(())
}

fn fates(change: &Change) -> &'static [Fate] {
    match change {
        Change::Write { .. } => &[Fate::Missing, Fate::There, Fate::Torn, Fate::Zeros],
        Change::Punch { .. } => &[Fate::Missing, Fate::There, Fate::Torn],
        Change::Names { .. }
        | Change::SetLen { .. }
        | Change::Collapse { .. }
        | Change::Mode { .. } => &[Fate::Missing, Fate::There],
    }
}

/// Sebastiano Vigna's SplitMix64: small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or(0)
    }
}

/// Bytes; no smaller block is used by any of the file systems.
const PAGE: usize = 4096;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
