//! The tree that an archive describes, in few bytes: what a billion-entry bomb may cost is decided
//! here.
//!
//! A name costs its bytes (one component, kept once), a node of 20 bytes and a slot or two of four.
//! Children are found through one open-addressing table over all names; its hash is keyed at
//! random, so that names cannot be made to collide.

use std::hash::{BuildHasher, RandomState};

use crate::EntryPath;

/// The most names that a tree can hold.
pub(super) const MOST_NAMES: u32 = u32::MAX / 4;

/// A name in the tree.
pub(super) type NodeId = u32;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory; implied if only names below it were seen.
    Directory { implied: bool },
    /// A regular file; hard links are not told apart.
    File,
    /// The symbolic link of this number.
    Symlink(u32),
}

/// Names under a root.
pub(super) struct Tree {
    names: Vec<Name>,
    links: Vec<Link>,
    bytes: Vec<u8>,
    /// Node ids at the place of their hash; `EMPTY` elsewhere. The root is not in it.
    slots: Vec<NodeId>,
    hasher: RandomState,
}

struct Name {
    parent: NodeId,
    text: Span,
    node: Node,
}

struct Link {
    id: NodeId,
    target: Span,
}

#[derive(Clone, Copy)]
struct Span {
    at: u32,
    len: u16,
}

impl Tree {
    pub(super) const ROOT: NodeId = 0;

    pub(super) fn new() -> Self {
        let root = Name {
            parent: Self::ROOT,
            text: Span { at: 0, len: 0 },
            node: Node::Directory { implied: false },
        };
        Self {
            names: vec![root],
            links: Vec::new(),
            bytes: Vec::new(),
            slots: vec![EMPTY; 16],
            hasher: RandomState::new(),
        }
    }

    /// Names in the tree, without the root.
    pub(super) fn names(&self) -> usize {
        self.names.len() - 1
    }

    /// Bytes of names and link targets.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn node(&self, id: NodeId) -> Node {
        self.names[id as usize].node
    }

    pub(super) fn parent(&self, id: NodeId) -> NodeId {
        self.names[id as usize].parent
    }

    /// The name in a directory.
    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        let id = self.slots[self.slot(directory, name)];
        (id != EMPTY).then_some(id)
    }

    /// The name under the root, if all of its parents are directories.
    pub(super) fn find(&self, path: &EntryPath) -> Option<NodeId> {
        // Only directories have children, so this follows no link.
        path.components().try_fold(Self::ROOT, |id, component| self.child(id, component))
    }

    /// The path of a name, components joined by `/`.
    pub(super) fn path(&self, mut id: NodeId) -> Vec<u8> {
        let mut components = Vec::new();
        while id != Self::ROOT {
            components.push(self.text(self.names[id as usize].text));
            id = self.parent(id);
        }
        components.reverse();
        components.join(&b'/')
    }

    /// How many symbolic links there are; they are numbered from 0.
    pub(super) fn links(&self) -> u32 {
        self.links.len() as u32
    }

    /// The name of a link.
    pub(super) fn link_id(&self, link: u32) -> NodeId {
        self.links[link as usize].id
    }

    /// The target of a link.
    pub(super) fn target(&self, link: u32) -> &[u8] {
        self.text(self.links[link as usize].target)
    }

    /// Adds a name that is not there. The caller has seen to it that it fits.
    pub(super) fn insert(&mut self, directory: NodeId, name: &[u8], node: Node) -> NodeId {
        if (self.names.len() + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let slot = self.slot(directory, name);
        let id = self.names.len() as NodeId;
        let text = self.keep(name);
        self.names.push(Name { parent: directory, text, node });
        self.slots[slot] = id;
        id
    }

    /// As [`insert`](Self::insert), for a symbolic link.
    pub(super) fn insert_link(&mut self, directory: NodeId, name: &[u8], target: &[u8]) {
        let id = self.insert(directory, name, Node::Symlink(self.links.len() as u32));
        let target = self.keep(target);
        self.links.push(Link { id, target });
    }

    /// As [`insert_link`](Self::insert_link), with the target that another link has.
    pub(super) fn insert_same_link(&mut self, directory: NodeId, name: &[u8], same: u32) {
        let id = self.insert(directory, name, Node::Symlink(self.links.len() as u32));
        let target = self.links[same as usize].target;
        self.links.push(Link { id, target });
    }

    /// Gives a link the target that another one has.
    pub(super) fn retarget_same(&mut self, link: u32, same: u32) {
        self.links[link as usize].target = self.links[same as usize].target;
    }

    /// Gives a link another target.
    pub(super) fn retarget(&mut self, link: u32, target: &[u8]) {
        self.links[link as usize].target = self.keep(target);
    }

    /// An implied directory has got an entry of its own.
    pub(super) fn make_explicit(&mut self, id: NodeId) {
        self.names[id as usize].node = Node::Directory { implied: false };
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let span = Span { at: self.bytes.len() as u32, len: text.len() as u16 };
        self.bytes.extend_from_slice(text);
        span
    }

    fn text(&self, span: Span) -> &[u8] {
        &self.bytes[span.at as usize..][..usize::from(span.len)]
    }

    /// Where a name is, or would be. The table is never full, so this ends.
    fn slot(&self, directory: NodeId, name: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one((directory, name)) as usize & mask;
        loop {
            let id = self.slots[slot];
            if id == EMPTY {
                return slot;
            }
            let there = &self.names[id as usize];
            if there.parent == directory && self.text(there.text) == name {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; self.slots.len() * 2];
        for id in 1..self.names.len() {
            let Name { parent, text, .. } = self.names[id];
            let slot = self.slot(parent, self.text(text));
            self.slots[slot] = id as NodeId;
        }
    }
}

const EMPTY: NodeId = NodeId::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_their_own_directory_only() {
        let mut tree = Tree::new();
        let directory = Node::Directory { implied: false };
        let a = tree.insert(Tree::ROOT, b"a", directory);
        let b = tree.insert(a, b"b", Node::File);
        assert_eq!(tree.child(Tree::ROOT, b"a"), Some(a));
        assert_eq!(tree.child(a, b"b"), Some(b));
        assert_eq!(tree.child(Tree::ROOT, b"b"), None);
        assert_eq!(tree.path(b), b"a/b");
    }

    #[test]
    fn a_tree_that_grows_loses_nothing() {
        let mut tree = Tree::new();
        let names: Vec<String> = (0..10_000).map(|n| format!("name-{n}")).collect();
        let ids: Vec<NodeId> =
            names.iter().map(|name| tree.insert(Tree::ROOT, name.as_bytes(), Node::File)).collect();
        for (name, id) in names.iter().zip(ids) {
            assert_eq!(tree.child(Tree::ROOT, name.as_bytes()), Some(id));
        }
        assert_eq!(tree.child(Tree::ROOT, b"name-10000"), None);
    }

    #[test]
    fn a_name_is_small() {
        assert!(size_of::<Name>() <= 20);
    }
}
