//! What happened in the runs: faults by kind, and the things that must happen now and then if the runs are to prove
//! anything.

use std::collections::BTreeMap;
use std::fmt;

/// What one simulator measures, beside the counts by name that all have.
pub trait Figures: Clone + Default + fmt::Display {
    /// Things that must be seen at least once in a thousand seeds.
    const SOMETIMES: &[&str];
    /// Things that are counted, and too rare to be demanded.
    const RARELY: &[&str];

    /// Adds those of another run.
    fn add(&mut self, other: &Self);
}

/// What happened: counts by name, and figures.
#[derive(Clone, Default)]
pub struct Tally<F> {
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// What else was measured.
    pub figures: F,
}

impl<F: Figures> Tally<F> {
    /// Something of [`Figures::SOMETIMES`] or [`Figures::RARELY`] happened.
    pub fn note(&mut self, what: &'static str) {
        self.note_times(what, 1);
    }

    /// Likewise, if it happened.
    pub fn note_if(&mut self, happened: bool, what: &'static str) {
        self.note_times(what, u64::from(happened));
    }

    /// Likewise, so often.
    pub fn note_times(&mut self, what: &'static str, times: u64) {
        debug_assert!(F::SOMETIMES.contains(&what) || F::RARELY.contains(&what), "{what} is in no list");
        *self.counts.entry(what).or_default() += times;
    }

    /// A fault was injected.
    pub fn fault(&mut self, what: &'static str, times: u64) {
        *self.faults.entry(what).or_default() += times;
    }

    /// The faults that were injected, and how often.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.faults.iter().map(|(&what, &times)| (what, times))
    }

    /// How often something happened.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        F::SOMETIMES.iter().copied().filter(|what| self.count(what) == 0).collect()
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Tally<F>) {
        for (&what, &times) in &other.counts {
            *self.counts.entry(what).or_default() += times;
        }
        for (&what, &times) in &other.faults {
            self.fault(what, times);
        }
        self.figures.add(&other.figures);
    }
}

impl<F: Figures> fmt::Display for Tally<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.faults.values().sum();
        write!(f, "{}", self.figures)?;
        writeln!(f, "faults injected       {total}")?;
        for (what, times) in &self.faults {
            writeln!(f, "  {times:>10}  {what}")?;
        }
        writeln!(f, "happened              times")?;
        for what in F::SOMETIMES.iter().chain(F::RARELY) {
            writeln!(f, "  {:>10}  {what}", self.count(what))?;
        }
        Ok(())
    }
}

/// The figures of one server's life.
#[derive(Clone, Default)]
pub struct ServerFigures {
    /// Virtual time that passed, milliseconds.
    pub simulated_ms: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Transactions that servers prepared.
    pub transactions: u64,
    /// Operations on the disk.
    pub disk_operations: u64,
    /// Replies whose content was checked.
    pub replies: u64,
}

impl Figures for ServerFigures {
    const SOMETIMES: &[&str] = &[
        "crash by kill",
        "crash by power loss",
        "crash inside a disk operation",
        "crash between append and sync",
        "crash between sync and answers",
        "crash during a snapshot",
        "crash during recovery",
        "recovery repeated after a disk error",
        "torn tail repaired",
        "empty log removed",
        "leftover of a snapshot removed",
        "prepared transactions lost in a crash",
        "recovery from a snapshot and log",
        "recovery from log alone behind the first snapshot",
        "snapshot written",
        "snapshot failed",
        "writes while a snapshot runs",
        "old files purged",
        "log error stops the server",
        "ENOSPC hit",
        "failed fsync",
        "rot refused",
        "rot survived",
        "session opened",
        "session closed by its client",
        "session expired",
        "expired session told so",
        "session reattached",
        "session reattached after a restart",
        "session stolen from its own old connection",
        "requests refused because the session is closing",
        "wrong password refused",
        "client authenticated",
        "answer relayed behind requests",
        "ephemeral removed with its session",
        "container or TTL node reaped",
        "sequential node created",
        "multi succeeded",
        "multi failed",
        "write refused",
        "reads carried behind writes",
        "reads answered at once",
        "read without permission refused",
        "watch fired",
        "recursive watch fired",
        "watch fired after reattach",
        "missed event told by setWatches",
        "event hidden by an ACL",
        "ping answered",
        "sync answered",
        "batch of several transactions",
    ];
    const RARELY: &[&str] = &[];

    fn add(&mut self, other: &ServerFigures) {
        self.simulated_ms += other.simulated_ms;
        self.steps += other.steps;
        self.transactions += other.transactions;
        self.disk_operations += other.disk_operations;
        self.replies += other.replies;
    }
}

impl fmt::Display for ServerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulated time        {:.0} s", self.simulated_ms as f64 / 1000.0)?;
        writeln!(f, "steps                 {}", self.steps)?;
        writeln!(f, "transactions          {}", self.transactions)?;
        writeln!(f, "replies checked       {}", self.replies)?;
        writeln!(f, "disk operations       {}", self.disk_operations)
    }
}
