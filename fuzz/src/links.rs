//! Where a symbolic link of a tree leads, followed on paper, with an implementation of its own.

use std::collections::BTreeMap;

/// Does the link at `path` lead out of the tree with these links (path to target)? What is missing
/// counts as a directory; a chain of more than 100 links is taken for a circle.
pub(crate) fn leaves(links: &BTreeMap<Vec<u8>, Vec<u8>>, path: &[u8]) -> bool {
    let mut at: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    at.pop();
    let mut ahead = vec![];
    push(&mut ahead, &links[path]);
    let mut followed = 1;
    while let Some(name) = ahead.pop() {
        match &name[..] {
            b"" | b"." => {}
            b".." => {
                if at.pop().is_none() {
                    return true;
                }
            }
            _ => {
                at.push(name);
                if let Some(target) = links.get(&at.join(&b'/')) {
                    followed += 1;
                    if followed > 100 {
                        return false;
                    }
                    at.pop();
                    push(&mut ahead, target);
                }
            }
        }
    }
    false
}

/// Puts a target's components on top, the first one last.
fn push(ahead: &mut Vec<Vec<u8>>, target: &[u8]) {
    ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
}
