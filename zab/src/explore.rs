//! Everything that three servers can do within bounds: every order of arrivals, syncs, crashes, broken connections,
//! proposals and elections, each followed by a look at all invariants. Elections may name anybody, as safety must not
//! rest on them.
//!
//! `walk` goes through the states; a broken invariant comes with the shortest way to it. The tests below say from where
//! the walks go and how far, and that they find each mistake that [`Breakage`] makes on purpose.

mod walk;

use crate::breakage::Breakage;
use crate::harness::{Ensemble, Plan, SAW_EVERYTHING};
use walk::{Bounds, Walked, walk, wander};

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Three servers that have never run.
    Fresh,
    /// 1 leads, 2 and 3 follow, and so many transactions are committed everywhere.
    Serving { committed: usize },
    /// Nobody leads; 1 has logged three transactions, 2 the first two, which are committed, 3 one.
    Tails,
    /// The same, and committed transactions are on the disk only.
    Forgetful,
    /// 1 leads, 2 and 3 follow, and epochs have only two zxids, so that every second transaction begins another one.
    Turning,
}

fn ensemble(start: Start, breakage: Option<Breakage>) -> Ensemble {
    let mut plan = Plan::new(&[1, 2, 3], &[]);
    (plan.settings.finalize_wait_ms, plan.breakage) = (0, breakage);
    if let Start::Turning = start {
        plan.settings.counter_max = 2;
    }
    if let Start::Forgetful = start {
        plan.settings.history_entries_max = 0;
    }
    let mut ensemble = Ensemble::new(plan);
    ensemble.has_mesh = false;
    ensemble.ids().into_iter().for_each(|id| ensemble.start(id));
    let committed = match start {
        Start::Fresh => return ensemble,
        Start::Serving { committed } => committed,
        Start::Tails | Start::Forgetful => 1,
        Start::Turning => 0,
    };
    for id in 1..=3 {
        ensemble.force_election(id, 1);
    }
    settle(&mut ensemble, &[1, 2, 3]);
    for _ in 0..committed {
        ensemble.propose(1, "").unwrap();
        settle(&mut ensemble, &[1, 2, 3]);
    }
    if let Start::Tails | Start::Forgetful = start {
        ensemble.crash(3, false);
        ensemble.propose(1, "").unwrap();
        settle(&mut ensemble, &[1, 2]);
        ensemble.propose(1, "").unwrap();
        ensemble.sync(1, None);
        ensemble.drop_connections(1, 2);
        ensemble.crash(1, false);
        ensemble.start(1);
        ensemble.start(3);
    }
    assert_eq!(ensemble.complaint(), None);
    // What the walks see counts, not what led up to them.
    ensemble.sights = 0;
    ensemble
}

/// Everything arrives and is synced.
fn settle(ensemble: &mut Ensemble, ids: &[i64]) {
    loop {
        if let Some(at) = (0..ensemble.flights.len()).find(|&at| ensemble.can_arrive(at)) {
            ensemble.deliver(at);
        } else if let Some(&id) = ids.iter().find(|&&id| ensemble.needs_sync(id)) {
            ensemble.sync(id, None);
        } else {
            return;
        }
    }
}

/// What may happen: elections, attempts to follow, proposals, crashes, losses of patience.
type Numbers = [u8; 5];

fn bounds([leads, follows, proposals, crashes, give_ups]: Numbers) -> Bounds {
    Bounds { leads, follows, proposals, crashes, give_ups }
}

fn go(start: Start, breakage: Option<Breakage>, numbers: Numbers) -> Walked {
    let walked = walk(ensemble(start, breakage), known(start), bounds(numbers));
    let Walked { states, steps, depth, .. } = walked;
    println!("{start:?} {breakage:?} {numbers:?}: {states} states, {steps} steps, {depth} deep");
    walked
}

/// How many servers differ: those that have not run yet are as good as each other.
fn known(start: Start) -> i64 {
    if let Start::Fresh = start { 0 } else { 3 }
}

/// Everything within the bounds is visited, and all of it holds. Returns what was seen.
#[track_caller]
fn check(start: Start, numbers: Numbers) -> u32 {
    let walked = go(start, None, numbers);
    if let Some(found) = walked.found {
        panic!("{found}");
    }
    assert!(walked.complete, "there are too many states from {start:?} within {numbers:?}");
    walked.sights
}

#[track_caller]
fn check_finds(breakage: Breakage, start: Start, numbers: Numbers, name: &str) {
    let found = go(start, Some(breakage), numbers).found;
    let what = found.map_or("nothing".to_owned(), |found| found.to_string());
    assert!(what.starts_with(name), "{breakage:?} leads to {what}");
}

#[test]
fn nothing_is_lost_whatever_three_servers_do() {
    let mut sights = 0;
    for (start, numbers) in [
        (Start::Fresh, [1, 2, 2, 0, 0]),
        (Start::Fresh, [2, 3, 1, 0, 1]),
        (Start::Fresh, [2, 3, 1, 1, 0]),
        (Start::Fresh, [2, 3, 0, 0, 2]),
        (Start::Serving { committed: 0 }, [0, 2, 1, 1, 1]),
        (Start::Serving { committed: 1 }, [0, 2, 2, 0, 1]),
        (Start::Serving { committed: 1 }, [1, 2, 1, 1, 0]),
        (Start::Serving { committed: 1 }, [1, 2, 1, 0, 1]),
        (Start::Serving { committed: 1 }, [1, 1, 2, 1, 0]),
        (Start::Tails, [1, 2, 1, 1, 0]),
        (Start::Tails, [2, 2, 1, 0, 1]),
        (Start::Tails, [2, 3, 0, 1, 0]),
        (Start::Tails, [2, 3, 1, 0, 0]),
        (Start::Turning, [0, 0, 3, 0, 0]),
        (Start::Turning, [0, 1, 2, 0, 1]),
        (Start::Turning, [0, 1, 2, 1, 0]),
        (Start::Turning, [1, 1, 2, 1, 0]),
        (Start::Turning, [1, 1, 1, 0, 1]),
        (Start::Forgetful, [1, 2, 1, 1, 0]),
        (Start::Forgetful, [1, 3, 1, 0, 1]),
    ] {
        sights |= check(start, numbers);
    }
    assert_eq!(sights, SAW_EVERYTHING, "the walks are too short to see everything");
}

#[test]
fn nothing_is_lost_on_long_ways_either() {
    for seed in 0..1_500 {
        let serving = Start::Serving { committed: 1 };
        for start in [Start::Fresh, serving, Start::Tails, Start::Forgetful, Start::Turning] {
            let numbers = bounds([12, 40, 12, 8, 8]);
            if let Some(found) = wander(ensemble(start, None), known(start), numbers, seed) {
                panic!("seed {seed} from {start:?}: {found}");
            }
        }
    }
}

#[test]
fn every_mistake_is_found() {
    let serving = Start::Serving { committed: 0 };
    check_finds(Breakage::CommitWithoutQuorum, serving, [0, 0, 1, 0, 0], "Z6");
    check_finds(Breakage::KeepCutAcks, serving, [0, 1, 1, 0, 1], "Z6");
    check_finds(Breakage::EpochBeforeHistory, Start::Tails, [1, 2, 0, 0, 0], "Z8");
    check_finds(Breakage::LeaderEpochBeforeHistory, serving, [1, 2, 1, 1, 0], "Z8");
    check_finds(Breakage::EpochBeforeHistory, Start::Turning, [0, 0, 1, 0, 0], "Z8");
    check_finds(Breakage::LeaderEpochBeforeHistory, Start::Turning, [0, 0, 1, 0, 0], "Z8");
    check_finds(Breakage::AckBeforeSync, Start::Tails, [1, 2, 0, 0, 0], "Z8");
    check_finds(Breakage::LeadBehind, Start::Tails, [1, 1, 0, 0, 0], "Z6");
    check_finds(Breakage::KeepTail, Start::Tails, [1, 2, 0, 0, 0], "Z2");
    check_finds(Breakage::CountSecondPromise, Start::Fresh, [2, 3, 0, 0, 2], "Z1");
}
