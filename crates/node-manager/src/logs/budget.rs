//! What has to go for a stream to be within its budget, and when to look again. Pure.
//!
//! The oldest goes first: whole files of old runs, then whole blocks at the beginning of the oldest one that
//! stays. The end of the newest run always stays, so that whoever failed can be read.

use std::time::Duration;

use model::policy::LogPolicy;

use super::space::Space;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Remove the file of the run with this base.
    Remove { base: u64 },
    /// Release the beginning of the file of the run with this base up to this position, a multiple of a block.
    Release { base: u64, to: u64 },
}

/// What has to go. An eighth of the budget more than what is over it, so that a stream at its bound is not
/// released at every line.
pub(super) fn plan(space: &Space, budget: u64, block: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let (held, runs) = (space.held(), space.runs());
    let mut over = if held > budget { held - (budget - budget / 8) } else { 0 };
    let mut surplus = runs.len().saturating_sub(MOST_RUNS);
    for (at, run) in runs.iter().enumerate() {
        let is_newest = at + 1 == runs.len();
        let to = (run.hole + over).next_multiple_of(block);
        let goes_whole = over > 0 && to >= run.length || surplus > 0;
        if !is_newest && goes_whole {
            steps.push(Step::Remove { base: run.base });
            over = over.saturating_sub(run.held());
            surplus = surplus.saturating_sub(1);
            continue;
        }
        // Something always stays: a beginning that is all cannot be taken out of a file.
        let to = to.min(run.length.saturating_sub(1) / block * block);
        if over > 0 && to > run.hole {
            steps.push(Step::Release { base: run.base, to });
        }
        break;
    }
    steps
}

/// How long to wait before a stream is looked at again that grew by `grown` bytes within `within` and may
/// grow by `room` more: long where there is room, so that a program that prints does not wake the manager
/// more than a few times a second, and short where the bound would be passed meanwhile.
pub(super) fn pause(room: u64, grown: u64, within: Duration) -> Duration {
    if grown == 0 {
        return LONGEST;
    }
    let seconds = room as f64 * within.as_secs_f64() / grown as f64 / 2.0;
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
}

/// The smallest budget, in bytes.
pub(super) const LEAST: u64 = LogPolicy::LEAST_BUDGET.bytes();
/// Runs of a stream that keep a file, whatever the budget.
const MOST_RUNS: usize = 64;
/// Between two looks at a stream that is written to all the time.
const LONGEST: Duration = Duration::from_millis(250);
const SHORTEST: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::space::Run;
    use super::*;

    fn run(base: u64, hole: u64, length: u64) -> Run {
        Run { base, moved: 0, hole, length, written: 0 }
    }

    #[test]
    fn the_oldest_goes_first_and_nothing_goes_within_the_budget() {
        let runs = vec![run(0, 0, 100), run(100, 0, 50_000), run(50_100, 0, 90_000)];
        let space = Space::new(runs);
        assert_eq!(plan(&space, 140_100, 4096), []);
        assert_eq!(
            plan(&space, 131_072, 4096),
            [Step::Remove { base: 0 }, Step::Release { base: 100, to: 28_672 }]
        );
    }

    #[test]
    fn runs_are_counted_too() {
        let space = Space::new((0..70).map(|n| run(n, 0, 1)).collect());
        let expected: Vec<Step> = (0..6).map(|base| Step::Remove { base }).collect();
        assert_eq!(plan(&space, LEAST, 4096), expected);
    }

    #[test]
    fn a_quiet_program_is_looked_at_a_few_times_a_second_and_a_fast_one_before_it_passes_the_bound()
    {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1 << 21, 100_000, second), LONGEST);
        assert_eq!(pause(1 << 21, 1 << 30, second), SHORTEST);
        assert_eq!(pause(1 << 21, 1 << 24, second), Duration::from_micros(62_500));
        assert_eq!(pause(0, 1, second), SHORTEST);
    }

    proptest! {
        #[test]
        fn afterwards_it_is_within_the_budget_and_the_end_of_the_newest_is_there(
            lengths in prop::collection::vec(0u64..300_000, 1..80),
            hole in 0u64..10, budget in LEAST..400_000, block in prop::sample::select(vec![4096u64, 65_536]),
        ) {
            let mut base = 0;
            let mut runs: Vec<Run> = lengths.iter().map(|length| {
                base += length;
                run(base - length, 0, *length)
            }).collect();
            // As a release leaves it: never all of the file.
            runs[0].hole = (hole * block).min(runs[0].length.saturating_sub(1) / block * block);
            let before = Space::new(runs.clone());
            let steps = plan(&before, budget, block);
            let newest = *runs.last().unwrap();
            for step in &steps {
                match *step {
                    Step::Remove { base } => {
                        prop_assert!(base == runs[0].base && runs.len() > 1);
                        runs.remove(0);
                    }
                    Step::Release { base, to } => {
                        prop_assert!(base == runs[0].base && to % block == 0 && to < runs[0].length);
                        prop_assert!(to > runs[0].hole);
                        runs[0].hole = to;
                    }
                }
            }
            let after = Space::new(runs);
            prop_assert!(after.runs().len() <= MOST_RUNS);
            prop_assert!(after.held() <= budget);
            if before.held() <= budget {
                prop_assert!(before.runs().len() > MOST_RUNS || steps.is_empty());
            } else {
                // No more goes than has to, but for a block and the eighth.
                let kept = budget - budget / 8;
                prop_assert!(after.held() + block > kept || before.runs().len() > MOST_RUNS, "{}", after.held());
            }
            prop_assert!(newest.length == 0 || after.newest().unwrap().held() > 0);
        }
    }
}
