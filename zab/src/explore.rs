//! Everything that three servers can do within bounds: every order of arrivals, syncs, crashes, broken connections, proposals and
//! elections, each followed by a look at all invariants. Elections may name anybody, as safety must not rest on them.
//!
//! `walk` goes through the states; a broken invariant comes with the shortest way to it. The tests below say how far the
//! walks go, and that they find the mistakes that [`Breakage`] makes on purpose.

mod walk;

use crate::breakage::Breakage;
use crate::harness::{Ensemble, Plan};
use walk::{Bounds, walk};

fn three(breakage: Option<Breakage>) -> Ensemble {
    let mut plan = Plan::new(&[1, 2, 3], &[]);
    plan.finalize_wait_ms = 0;
    plan.breakage = breakage;
    let mut ensemble = Ensemble::new(plan);
    ensemble.has_mesh = false;
    ensemble.ids().into_iter().for_each(|id| ensemble.start(id));
    ensemble
}

#[test]
fn nothing_breaks_from_the_first_start() {
    for (leads, follows, proposals, crashes, give_ups) in [(1, 2, 2, 0, 0), (2, 3, 1, 0, 1), (2, 3, 1, 1, 0), (2, 4, 1, 1, 1), (2, 4, 2, 1, 1), (3, 5, 1, 1, 1)]
    {
        let bounds = Bounds { leads, follows, proposals, crashes, give_ups, states_max: 600_000 };
        let began = std::time::Instant::now();
        let walked = walk(three(None), 0, bounds);
        eprintln!(
            "{bounds:?}: {} states, {} steps, depth {}, complete {} in {:?}, sights {:b}",
            walked.states,
            walked.steps,
            walked.depth,
            walked.complete,
            began.elapsed(),
            walked.sights
        );
        if let Some(found) = walked.found {
            panic!("{found}");
        }
    }
}

#[test]
fn the_walk_finds_mistakes() {
    use Breakage::*;
    for breakage in [
        CommitWithoutQuorum,
        KeepCutAcks,
        EpochBeforeHistory,
        LeaderEpochBeforeHistory,
        AckBeforeSync,
        LeadBehind,
        KeepTail,
        CountSecondPromise,
    ] {
        let bounds =
            Bounds { leads: 3, follows: 4, proposals: 2, crashes: 1, give_ups: 2, states_max: 1_000_000 };
        let began = std::time::Instant::now();
        let walked = walk(three(Some(breakage)), 0, bounds);
        eprintln!(
            "{breakage:?}: {} states, {} steps, depth {}, complete {} in {:?}, sights {:b} {}",
            walked.states,
            walked.steps,
            walked.depth,
            walked.complete,
            began.elapsed(),
            walked.sights,
            walked.found.map_or("NOT FOUND".into(), |found| found.what)
        );
    }
}
