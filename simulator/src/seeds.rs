//! Runs seeds, one after the other or side by side, and adds up what happened.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::checkers::{Verdict, Violation};
use crate::tally::{Figures, Tally};
use crate::trace::Trace;

/// Violations that are kept with their seeds; the others are only counted.
const VIOLATIONS_SHOWN: usize = 20;

/// One run of a simulator: everything in it follows from its seed.
pub trait Simulation {
    /// Bugs that its shell can be given.
    type Bug: Copy + Sync;
    /// What is measured.
    type Figures: Figures + Send;

    /// Draws everything about a run from its seed.
    fn new(seed: u64, bug: Option<Self::Bug>, trace: Trace) -> Self;

    /// Runs to the end.
    ///
    /// # Errors
    /// The first promise that was not kept.
    fn run(&mut self) -> Verdict;

    /// What happened.
    fn tally(&self) -> Tally<Self::Figures>;
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan<B> {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// How many at once.
    pub jobs: usize,
    /// A bug of the shell.
    pub bug: Option<B>,
    /// Run each seed twice and compare the traces.
    pub check_determinism: bool,
    /// Stop at the first violation.
    pub stop_at_first: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Report<F> {
    /// Seeds run.
    pub seeds: u64,
    /// What happened in them.
    pub tally: Tally<F>,
    /// Seeds that failed, with the reason, by seed.
    pub failures: Vec<(u64, Violation)>,
    /// How many failed in all.
    pub failed: u64,
    /// Wall clock, seconds.
    pub seconds: f64,
}

/// Runs one seed; a panic of the product counts as a violation.
pub fn run_seed<S: Simulation>(
    seed: u64,
    bug: Option<S::Bug>,
    trace: &Trace,
) -> (Verdict, Tally<S::Figures>) {
    let mut world = S::new(seed, bug, trace.clone());
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
pub fn run<S: Simulation>(plan: &Plan<S::Bug>) -> Report<S::Figures> {
    let start = Instant::now();
    let next = AtomicU64::new(plan.first);
    let end = plan.first.saturating_add(plan.seeds);
    let report = Mutex::new(Report::<S::Figures>::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let (result, tally) = run_planned::<S>(seed, plan);
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

fn run_planned<S: Simulation>(seed: u64, plan: &Plan<S::Bug>) -> (Verdict, Tally<S::Figures>) {
    if !plan.check_determinism {
        return run_seed::<S>(seed, plan.bug, &Trace::off());
    }
    let (first, second) = (Trace::hashed(), Trace::hashed());
    let (result, tally) = run_seed::<S>(seed, plan.bug, &first);
    let _ = run_seed::<S>(seed, plan.bug, &second);
    let same = first.fingerprint() == second.fingerprint();
    let different = || {
        let (a, b) = (first.fingerprint(), second.fingerprint());
        Violation::new("determinism", format!("two runs gave the traces {a:x?} and {b:x?}"))
    };
    (if same { result } else { Err(different()) }, tally)
}
