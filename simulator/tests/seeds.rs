//! The simulator itself: it passes, it repeats itself, and it finds the bugs that it is given.

use clap::ValueEnum;
use simulator::bugs::Bug;
use simulator::seeds::{Plan, Report, run};

/// Within so many seeds every planted bug must be found. Most take ten, the slowest some hundreds.
const SEEDS_TO_FIND_A_BUG: u64 = 3_000;

fn simulate(seeds: u64, bug: Option<Bug>, check_determinism: bool) -> Report {
    run(&Plan { first: 1, seeds, jobs: 2, bug, check_determinism, stop_at_first: bug.is_some() })
}

#[test]
fn two_hundred_seeds_keep_every_promise_and_run_the_same_twice() {
    let report = simulate(200, None, true);
    assert_eq!(report.seeds, 200);
    assert_eq!(report.failures, [], "replay with: simulator --seed N --trace");
}

#[test]
fn every_planted_bug_is_found() {
    for &bug in Bug::value_variants() {
        let report = simulate(SEEDS_TO_FIND_A_BUG, Some(bug), false);
        assert!(report.failed > 0, "{bug:?} was not found in {SEEDS_TO_FIND_A_BUG} seeds");
    }
}
