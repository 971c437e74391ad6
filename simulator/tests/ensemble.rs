//! The simulator of ensembles itself: it passes, it repeats itself, and it finds the bugs that it is given.

use clap::ValueEnum;
use simulator::ensemble::bugs::Bug;
use simulator::ensemble::tally::EnsembleFigures;
use simulator::ensemble::world::World;
use simulator::seeds::{Plan, Report, run};

/// Within so many seeds a planted bug must be found. Most take ten, the slowest fifty.
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

/// Seeds that once showed a bug, by its symptom. What a seed does changes with the simulator, so that one may lose its
/// meaning; it costs nothing to keep it.
const SEEDS_OF_FIXED_BUGS: &[(u64, &str)] = &[
    (39, "a server that votes only in the proposed membership waited in a round that nobody else came to"),
    (150, "a server that votes only in the proposed membership waited in a round that nobody else came to"),
    (1_165, "a server stayed away from the leader for a proposed membership that came to nothing"),
    (1_014, "a leader that others had outrun did not know a session that they had opened"),
    (1_516, "a leader that others had outrun did not know a session that they had opened"),
    (
        1_019_636,
        "an observer that was to vote went to followers that waited for the leader, who waited for it",
    ),
    (
        1_021_040,
        "an observer that was to vote went to followers that waited for the leader, who waited for it",
    ),
    (1_000_284, "a mark that could not be written came back after the end of the log had been cut"),
    (
        1_000_554,
        "a leader sent its log from the first epoch that was left: older files had gone since it had looked",
    ),
    (
        1_003_534,
        "a server without a vote any more cut what it had acknowledged, for a follower that had not heard of its commit",
    ),
    (1_005_008, "a server that joined forgot the members in force for the next ones"),
    (
        1_027_674,
        "an observer that was to vote supported the only candidate, and who had heard of that did not count it",
    ),
    (
        1_027_993,
        "two who had not heard of a proposed membership were elected in turns, and each missed the other",
    ),
    (
        1_037_413,
        "a sync waited for a voter that a reconfiguration had made an observer, and so did all behind it",
    ),
    (1_048_961, "a quorum of the old membership alone began an epoch that the new one had already"),
    (
        1_048_832,
        "a crash behind a leader's tree and before the membership in it left that without force for ever",
    ),
    (1_047_873, "who was to vote in a newer membership and knew more kept the others from going on"),
    (333, "a server that left its role had forgotten watches while it still answered"),
];

#[test]
fn seeds_of_fixed_bugs_stay_clean() {
    for &(seed, symptom) in SEEDS_OF_FIXED_BUGS {
        let plan =
            Plan { first: seed, seeds: 1, jobs: 1, bug: None, check_determinism: false, stop_at_first: true };
        assert_eq!(run::<World>(&plan).failures, [], "seed {seed}: {symptom}");
    }
}
