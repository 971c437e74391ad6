//! The simulator of ensembles itself: it passes, it repeats itself, and it finds the bugs that it is given.

use clap::ValueEnum;
use simulator::ensemble::bugs::Bug;
use simulator::ensemble::tally::EnsembleFigures;
use simulator::ensemble::world::World;
use simulator::seeds::{Plan, Report, run};

/// Within so many seeds a planted bug must be found. They take ten.
const SEEDS_TO_FIND_A_BUG: u64 = 200;

/// Needs a crash within a few microseconds, which takes 500 seeds: `simulator ensemble --break epoch-before-history`. The
/// explorer in `zab` finds it in every run of the tests.
const FOUND_BY_THE_EXPLORER: Bug = Bug::EpochBeforeHistory;

fn simulate(seeds: u64, bug: Option<Bug>, check_determinism: bool) -> Report<EnsembleFigures> {
    run::<World>(&Plan { first: 1, seeds, jobs: 2, bug, check_determinism, stop_at_first: bug.is_some() })
}

#[test]
fn forty_ensembles_keep_every_promise_and_run_the_same_twice() {
    let report = simulate(40, None, true);
    assert_eq!(report.seeds, 40);
    assert_eq!(report.failures, [], "replay with: simulator ensemble --seed N --trace");
}

#[test]
fn every_planted_bug_is_found() {
    for &bug in Bug::value_variants().iter().filter(|&&bug| bug != FOUND_BY_THE_EXPLORER) {
        let report = simulate(SEEDS_TO_FIND_A_BUG, Some(bug), false);
        assert!(report.failed > 0, "{bug:?} was not found in {SEEDS_TO_FIND_A_BUG} seeds");
    }
}
