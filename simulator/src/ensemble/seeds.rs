//! Runs seeds, one after the other or side by side, and adds up what happened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::bugs::Bug;
use super::tally::Tally;
use super::world::World;
use crate::checkers::Violation;
use crate::trace::Trace;

/// Violations that are kept with their seeds; the others are only counted.
const VIOLATIONS_SHOWN: usize = 20;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// How many at once.
    pub jobs: usize,
    /// A bug of the shell.
    pub bug: Option<Bug>,
    /// Run each seed twice and compare the traces.
    pub check_determinism: bool,
    /// Stop at the first violation.
    pub stop_at_first: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// What happened in them.
    pub tally: Tally,
    /// Seeds that failed, with the reason, by seed.
    pub failures: Vec<(u64, Violation)>,
    /// How many failed in all.
    pub failed: u64,
    /// Wall clock, seconds.
    pub seconds: f64,
}

/// Runs one seed; a panic of the product counts as a violation.
pub fn run_seed(seed: u64, bug: Option<Bug>, trace: &Trace) -> (Result<(), Violation>, Tally) {
    let mut world = World::new(seed, bug, trace.clone());
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(Violation::new("no panic", text))
    });
    (result, world.tally())
}

/// Runs the plan.
pub fn run(plan: &Plan) -> Report {
    let start = Instant::now();
    let next = AtomicU64::new(plan.first);
    let end = plan.first.saturating_add(plan.seeds);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (result, tally) = run_planned(seed, plan);
                    let mut report = report.lock();
                    report.seeds += 1;
                    report.tally.add(&tally);
                    if let Err(violation) = result {
                        report.failed += 1;
                        if report.failures.len() < VIOLATIONS_SHOWN {
                            report.failures.push((seed, violation));
                        }
                        if plan.stop_at_first {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut report = report.into_inner();
    report.failures.sort_by_key(|(seed, _)| *seed);
    report.seconds = start.elapsed().as_secs_f64();
    report
}

fn run_planned(seed: u64, plan: &Plan) -> (Result<(), Violation>, Tally) {
    if !plan.check_determinism {
        return run_seed(seed, plan.bug, &Trace::off());
    }
    let (first, second) = (Trace::hashed(), Trace::hashed());
    let (result, tally) = run_seed(seed, plan.bug, &first);
    let _ = run_seed(seed, plan.bug, &second);
    let same = first.fingerprint() == second.fingerprint();
    let different = || {
        let (a, b) = (first.fingerprint(), second.fingerprint());
        Violation::new("determinism", format!("two runs gave the traces {a:x?} and {b:x?}"))
    };
    (if same { result } else { Err(different()) }, tally)
}
