//! A directory as a tree of text, so that a person sees what the node made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The tree below `root`, at most `depth` levels. Links are shown with their target; those among the first
/// two levels are looked into, which is where the node links packages.
pub(super) fn draw(root: &Path, depth: usize) -> io::Result<String> {
    let mut text = String::new();
    draw_level(root, "", depth, 2, &mut text)?;
    Ok(text)
}

/// The directories that match `pattern` below `root`; a component that ends in `*` stands for all that begin so.
pub(super) fn find(root: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    for component in pattern.split('/') {
        let mut next = Vec::new();
        for dir in &found {
            match component.strip_suffix('*') {
                None => next.push(dir.join(component)),
                Some(start) => next.extend(
                    names(dir)?
                        .into_iter()
                        .filter(|name| name.starts_with(start))
                        .map(|name| dir.join(name)),
                ),
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

fn draw_level(
    dir: &Path,
    indent: &str,
    depth: usize,
    follow: usize,
    text: &mut String,
) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(&name);
        let facts = fs::symlink_metadata(&path)?;
        let target = match facts.is_symlink() {
            true => format!(" -> {}", shortened(&fs::read_link(&path)?)),
            false => String::new(),
        };
        let is_dir = facts.is_dir() || (facts.is_symlink() && follow > 0 && path.is_dir());
        let slash = if is_dir { "/" } else { "" };
        text.push_str(&format!("{indent}{name}{slash}{target}\n"));
        if is_dir && depth > 1 {
            draw_level(&path, &format!("{indent}  "), depth - 1, follow.saturating_sub(1), text)?;
        }
    }
    Ok(())
}

/// A target with its digests cut to a few digits.
fn shortened(target: &Path) -> String {
    let cut = |name: &str| match name.split_at_checked(DIGEST) {
        Some((digest, rest)) if digest.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("{}…{rest}", &digest[..8])
        }
        _ => name.to_owned(),
    };
    target.to_string_lossy().split('/').map(cut).collect::<Vec<_>>().join("/")
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
    let mut names: Vec<String> = entries
        .map(|name: io::Result<_>| Ok(name?.to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Hexadecimal digits of a SHA-256.
const DIGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_in_a_target_are_cut_and_other_names_are_not() {
        let digest = "0123456789abcdef".repeat(4);
        let target = format!("../trees/01/{digest}.zip/files");
        assert_eq!(shortened(Path::new(&target)), "../trees/01/01234567….zip/files");
        assert_eq!(shortened(Path::new("../größe")), "../größe");
    }
}
