//! Where the symbolic links of a finished tree lead.
//!
//! A link is followed as the kernel would: component by component, through other links, `..` from
//! the directory that was really reached. It leaves if any step climbs above the root. A link that
//! goes round in circles leads nowhere, and so not out. What is missing, or is a file, is taken for
//! an empty directory: a link that only stays inside because something is absent would lead out as
//! soon as a program creates it.
//!
//! Each link is followed once and its end remembered, so the work is linear in the bytes of all
//! targets, however they are entangled. Chains are followed on a stack of our own.

use super::tree::{Node, NodeId, Tree};

/// A link that leads out of the tree, if there is one.
pub(super) fn leaving(tree: &Tree) -> Option<NodeId> {
    let mut answers = vec![Answer::Unknown; tree.links() as usize];
    (0..tree.links()).find_map(|link| follow(tree, link, &mut answers))
}

/// Where a walk is: so many names below a directory of the tree that the tree does not have.
#[derive(Clone, Copy)]
struct Place {
    directory: NodeId,
    below: u32,
}

#[derive(Clone, Copy)]
enum Answer {
    Unknown,
    /// It is being followed, or it turned out that following it never ends.
    Walking,
    Ends(Place),
}

/// A link that is being followed.
struct Walk {
    link: u32,
    at: Place,
    /// How many bytes of the target are done.
    done: usize,
}

impl Walk {
    fn start(tree: &Tree, link: u32) -> Self {
        let directory = tree.parent(tree.link_id(link));
        Self { link, at: Place { directory, below: 0 }, done: 0 }
    }

    fn next_component<'t>(&mut self, tree: &'t Tree) -> Option<&'t [u8]> {
        let rest = tree.target(self.link).get(self.done..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        self.done += end + 1;
        Some(&rest[..end])
    }
}

fn follow(tree: &Tree, link: u32, answers: &mut [Answer]) -> Option<NodeId> {
    if !matches!(answers[link as usize], Answer::Unknown) {
        return None;
    }
    answers[link as usize] = Answer::Walking;
    let mut stack = vec![Walk::start(tree, link)];
    while let Some(walk) = stack.last_mut() {
        let at = walk.at;
        match walk.next_component(tree) {
            None => {
                answers[walk.link as usize] = Answer::Ends(at);
                stack.pop();
                if let Some(caller) = stack.last_mut() {
                    caller.at = at;
                }
            }
            Some(b"" | b".") => {}
            Some(b"..") if at.below > 0 => walk.at.below -= 1,
            Some(b"..") if at.directory == Tree::ROOT => return Some(tree.link_id(walk.link)),
            Some(b"..") => walk.at.directory = tree.parent(at.directory),
            Some(_) if at.below > 0 => walk.at.below += 1,
            Some(name) => match tree.child(at.directory, name).map(|id| (id, tree.node(id))) {
                None | Some((_, Node::File)) => walk.at.below = 1,
                Some((id, Node::Directory { .. })) => walk.at.directory = id,
                Some((_, Node::Symlink(next))) => match answers[next as usize] {
                    Answer::Ends(place) => walk.at = place,
                    Answer::Unknown => {
                        answers[next as usize] = Answer::Walking;
                        stack.push(Walk::start(tree, next));
                    }
                    // A circle. Everything on the stack waits for it, so none of it arrives.
                    Answer::Walking => return None,
                },
            },
        }
    }
    None
}
