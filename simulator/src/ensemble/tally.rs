//! What happened to the ensembles.

use std::fmt;

use protocol::peer::LearnerKind;
use zab::Role;

use crate::tally::Figures;

/// What happened to ensembles.
pub type Tally = crate::tally::Tally<EnsembleFigures>;

/// The figures of an ensemble.
#[derive(Clone, Default)]
pub struct EnsembleFigures {
    /// Virtual time that passed, milliseconds.
    pub simulated_ms: u64,
    /// Events of the world.
    pub events: u64,
    /// Committed transactions.
    pub transactions: u64,
    /// Replies whose content was checked.
    pub replies: u64,
    /// Epochs that had a leader.
    pub epochs: u64,
    /// Runs that came to their end.
    pub finished: u64,
    /// How long it took from the last fault until everybody served and wrote: the sum, milliseconds.
    pub recovery_sum_ms: u64,
    /// The longest.
    pub recovery_max_ms: u64,
}

impl EnsembleFigures {
    /// A run has come to its end; so long did it take to recover.
    pub fn note_recovery(&mut self, took_ms: u64) {
        self.finished += 1;
        self.recovery_sum_ms += took_ms;
        self.recovery_max_ms = self.recovery_max_ms.max(took_ms);
    }
}

impl Tally {
    /// A server's role has changed; it may have led before.
    pub fn note_role(&mut self, role: Role, led: bool) {
        match role {
            Role::Leading { .. } => self.note("leader established"),
            Role::Learning { kind: LearnerKind::Follower, .. } => self.note("follower in sync"),
            Role::Learning { kind: LearnerKind::Observer, .. } => self.note("observer in sync"),
            Role::Looking { why } => {
                self.note_if(why != "started", "server looks for a leader again");
                let handed_over = led && why == "a reconfiguration says who leads";
                self.note_if(handed_over, "leader handed over");
                self.note_if(why == "the epoch has no zxids left", "epoch without zxids left");
                self.note_if(why == "there is a later membership", "membership learned by gossip");
            }
            Role::Preparing | Role::Joining { .. } => {}
        }
    }
}

impl Figures for EnsembleFigures {
    const SOMETIMES: &[&str] = &[
        "leader established",
        "follower in sync",
        "observer in sync",
        "observer goes to a follower",
        "observer in sync with a follower",
        "server looks for a leader again",
        "DIFF sent",
        "TRUNC sent",
        "SNAP sent",
        "snapshot taken over",
        "log on disk has what a learner misses",
        "log on disk too long for a learner",
        "log on disk begins too late for a learner",
        "synced from the log on disk",
        "snapshot got stuck on its way",
        "uncommitted end of a log cut",
        "tree read anew after a cut",
        "snapshot written",
        "snapshot failed",
        "old files purged",
        "log replayed at a start",
        "crash by kill",
        "crash by power loss",
        "crash inside a disk operation",
        "disk error stops a server",
        "start repeated after a disk error",
        "session opened",
        "session expired",
        "session closed by its client",
        "session taken up again",
        "session taken elsewhere while its connection was open",
        "expired session told so",
        "write of a session that moved or ended refused",
        "client gave up a silent server",
        "client sent on to a server that is not behind",
        "ephemeral removed with its session",
        "container or TTL node reaped",
        "sequential node created",
        "write refused",
        "sync answered",
        "watch fired",
        "watch fired after reattach",
        "missed event told by setWatches",
        "reconfiguration committed",
        "reconfiguration lost with its leader",
        "reconfiguration refused for want of a quorum",
        "reconfiguration refused while another was under way",
        "reconfiguration refused for its version",
        "reconfiguration refused because it makes no sense",
        "leader handed over",
        "leader went on in another epoch",
        "epoch without zxids left",
        "voter became an observer",
        "observer became a voter",
        "server joined",
        "server removed",
        "membership learned by gossip",
        "members read by an operator",
    ];

    const RARELY: &[&str] = &[
        "snapshot came too late",
        "request refused because the session ends",
        "client told that its session has moved",
        "log could not be cut",
        "log on disk of no use",
        "log on disk failed half way",
        "members changed and the transaction lost",
    ];

    fn add(&mut self, other: &EnsembleFigures) {
        self.simulated_ms += other.simulated_ms;
        self.events += other.events;
        self.transactions += other.transactions;
        self.replies += other.replies;
        self.epochs += other.epochs;
        self.finished += other.finished;
        self.recovery_sum_ms += other.recovery_sum_ms;
        self.recovery_max_ms = self.recovery_max_ms.max(other.recovery_max_ms);
    }
}

impl fmt::Display for EnsembleFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulated time        {:.2} h", self.simulated_ms as f64 / 3_600_000.0)?;
        writeln!(f, "events                {}", self.events)?;
        writeln!(f, "committed             {}", self.transactions)?;
        writeln!(f, "replies checked       {}", self.replies)?;
        writeln!(f, "epochs with a leader  {}", self.epochs)?;
        writeln!(
            f,
            "recovery              {} ms on average, {} ms at most",
            self.recovery_sum_ms / self.finished.max(1),
            self.recovery_max_ms
        )
    }
}
