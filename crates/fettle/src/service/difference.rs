//! The difference of two short texts, line by line, as `diff` shows it: ` ` stays, `-` is there, `+` would come.
//! Owns the longest common subsequence by the plain table, whose size is the product of both: for files of a
//! few dozen lines; longer ones are compared by their first [`MOST`].

/// From `old` to `new`; lines that stay are shown only beside those that do not.
pub(super) fn lines(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.lines().take(MOST).collect();
    let new: Vec<&str> = new.lines().take(MOST).collect();
    // common[i][j]: how many lines of old[i..] and new[j..] are the same.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            all.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            all.push(('-', old[i]));
            i += 1;
        } else {
            all.push(('+', new[j]));
            j += 1;
        }
    }
    let near = |at: usize| {
        all[at.saturating_sub(1)..all.len().min(at + 2)].iter().any(|(mark, _)| *mark != ' ')
    };
    let shown =
        (0..all.len()).filter(|at| near(*at)).map(|at| format!("{}{}", all[at].0, all[at].1));
    shown.collect::<Vec<_>>().join("\n")
}

const MOST: usize = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_goes_and_what_comes_stands_beside_what_stays() {
        let old = "a\nb\nRestart=no\nc\nd\n";
        assert_eq!(
            lines(old, "a\nb\nRestart=always\nc\nd\n"),
            " b\n-Restart=no\n+Restart=always\n c"
        );
        assert_eq!(lines(old, old), "");
        assert_eq!(lines("", "x"), "+x");
    }

    proptest! {
        #[test]
        fn a_difference_has_every_line_that_only_one_of_them_has(
            old in "([abc]\n){0,8}", new in "([bcd]\n){0,8}",
        ) {
            let shown = lines(&old, &new);
            prop_assert_eq!(shown.is_empty(), old == new);
            let count = |mark| shown.lines().filter(|line| line.starts_with(mark)).count();
            let difference = old.lines().count() as i64 - new.lines().count() as i64;
            prop_assert_eq!(count('-') as i64 - count('+') as i64, difference);
            for only in old.lines().filter(|line| *line == "a") {
                prop_assert!(shown.lines().any(|line| line.strip_prefix('-') == Some(only)));
            }
        }
    }
}
