//! What happened to the product's client.

use std::fmt;

use crate::ensemble::tally::EnsembleFigures;
use crate::tally::Figures;

/// What happened to clients and their ensembles.
pub type Tally = crate::tally::Tally<ClientFigures>;

/// The figures of clients.
#[derive(Clone, Default)]
pub struct ClientFigures {
    /// Those of the servers beneath.
    pub ensemble: EnsembleFigures,
    /// Calls that were made.
    pub calls: u64,
    /// Those that have a server's answer.
    pub answers: u64,
    /// What watches were told.
    pub notes: u64,
}

impl Figures for ClientFigures {
    const SOMETIMES: &[&str] = &[
        "session opened",
        "session taken up again",
        "session expired",
        "session closed",
        "session overdue, and taken up again",
        "connection refused or in vain",
        "connection lost",
        "connection lost in the middle of a request",
        "answers lost with their connection",
        "connection left half open",
        "slept",
        "moved to other servers",
        "write refused",
        "lost write was done",
        "lost write was not done",
        "call failed that was never sent",
        "call timed out",
        "too many calls waited",
        "one-shot watch fired",
        "one-shot watch fired for what was missed",
        "one-shot watch set again",
        "persistent watch told",
        "persistent watch resumed",
        "watch dropped",
        "watch removed by its path",
        "credentials accepted",
        "sync answered",
    ];
    const RARELY: &[&str] = &[];

    fn add(&mut self, other: &ClientFigures) {
        self.ensemble.add(&other.ensemble);
        self.calls += other.calls;
        self.answers += other.answers;
        self.notes += other.notes;
    }
}

impl fmt::Display for ClientFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ensemble)?;
        writeln!(f, "calls                 {}", self.calls)?;
        writeln!(f, "answers               {}", self.answers)?;
        writeln!(f, "told by watches       {}", self.notes)
    }
}
