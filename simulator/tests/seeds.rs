//! The simulator itself: it passes, it repeats itself, and it finds the bugs that it is given.

use clap::ValueEnum;
use simulator::bugs::Bug;
use simulator::seeds::{Plan, Report, run};
use simulator::tally::ServerFigures;
use simulator::world::World;

/// Within so many seeds every planted bug must be found. Most take ten, the slowest some hundreds.
const SEEDS_TO_FIND_A_BUG: u64 = 3_000;

fn simulate(seeds: u64, bug: Option<Bug>, check_determinism: bool) -> Report<ServerFigures> {
    run::<World>(&Plan { first: 1, seeds, jobs: 2, bug, check_determinism, stop_at_first: bug.is_some() })
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

/// Seeds that once showed a bug, by its symptom. What a seed does changes with the simulator, so that one may lose its
/// meaning; it costs nothing to keep it.
const SEEDS_OF_FIXED_BUGS: &[(u64, &str)] = &[
    (12_222, "a plain node that took a container's place was reaped"),
    (35_305, "a plain node that took a container's place was reaped"),
    (50_026, "rot in acknowledged records beside a torn batch was taken for a torn tail"),
    (159_576, "rot in acknowledged records beside a torn batch was taken for a torn tail"),
    (58, "records that were readable but not on the disk were built on, and the next power loss took them"),
];

#[test]
fn seeds_of_fixed_bugs_stay_clean() {
    for &(seed, symptom) in SEEDS_OF_FIXED_BUGS {
        let report = run::<World>(&Plan {
            first: seed,
            seeds: 1,
            jobs: 1,
            bug: None,
            check_determinism: false,
            stop_at_first: true,
        });
        assert_eq!(report.failures, [], "seed {seed}: {symptom}");
    }
}
