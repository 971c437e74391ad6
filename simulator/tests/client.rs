//! The simulator of clients itself: it passes, it repeats itself, and it finds the bugs that it is given.

use clap::ValueEnum;
use simulator::ensemble::application::bugs::Bug;
use simulator::ensemble::application::world::ClientWorld;
use simulator::seeds::{Plan, run};

/// Within so many seeds a planted bug must be found.
const SEEDS_TO_FIND_A_BUG: u64 = 10;

/// Need a server that is behind, or a cut within one transaction's events, and more seeds than a test has time for.
const RARE: [Bug; 2] = [Bug::ZxidForgotten, Bug::WatchesSinceLastEvent];

#[test]
fn three_ensembles_of_clients_keep_every_promise_and_run_the_same_twice() {
    let plan = Plan { first: 1, seeds: 3, jobs: 2, bug: None, check_determinism: true, stop_at_first: false };
    let report = run::<ClientWorld>(&plan);
    assert_eq!(report.seeds, 3);
    assert_eq!(report.failures, [], "replay with: simulator client --seed N --trace");
}

#[test]
fn every_planted_bug_that_shows_soon_is_found() {
    for &bug in Bug::value_variants().iter().filter(|bug| !RARE.contains(bug)) {
        let plan = Plan {
            first: 1,
            seeds: SEEDS_TO_FIND_A_BUG,
            jobs: 2,
            bug: Some(bug),
            check_determinism: false,
            stop_at_first: true,
        };
        let report = run::<ClientWorld>(&plan);
        assert!(report.failed > 0, "{bug:?} was not found in {SEEDS_TO_FIND_A_BUG} seeds");
    }
}
