//! Counting what must not happen.

use std::collections::BTreeMap;
use std::fmt;

/// How many faults are kept in words; the others are only counted.
const EXAMPLES_MAX: usize = 5;

/// What a server can do wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// The reply carries another request's xid: an answer is lost, doubled or out of order.
    Order,
    /// The reply carries an error.
    Refused,
    /// The body cannot be decoded, or is longer or shorter than it should be.
    Body,
    /// The path in the reply is not the one that was asked for.
    Path,
    /// The data is not what was written.
    Data,
    /// The stat contradicts one that was seen before, the data, or the transaction.
    Stat,
    /// A zxid is lower than one that the session has seen.
    ZxidBackwards,
    /// A watch event that nobody asked for.
    UnexpectedEvent,
    /// A connection or a session ended.
    Connection,
    /// Requests or events that were due had not come when the run gave up waiting.
    Missing,
}

/// All faults of a run.
#[derive(Debug, Default)]
pub struct Faults {
    counts: BTreeMap<FaultKind, u64>,
    examples: Vec<String>,
}

impl Faults {
    /// Counts a fault; `words` is called for the first few only.
    pub fn add(&mut self, kind: FaultKind, words: impl FnOnce() -> String) {
        self.add_many(kind, 1, words);
    }

    /// Counts several faults of one kind with one description; none if `count` is 0.
    pub fn add_many(&mut self, kind: FaultKind, count: u64, words: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        *self.counts.entry(kind).or_default() += count;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{kind:?}: {}", words()));
        }
    }

    /// Adds those of another part of the run.
    pub fn absorb(&mut self, other: Faults) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.counts {
            writeln!(f, "fault {kind:?}: {count}")?;
        }
        for example in &self.examples {
            writeln!(f, "  {example}")?;
        }
        Ok(())
    }
}
