//! Bugs that the simulated shell of a member can be given, to prove that the checkers find them.

/// A way for the shell to misbehave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Bug {
    /// The replica is told that the log is durable before it is.
    SyncedBeforeSync,
    /// `currentEpoch` is written when NEWLEADER comes, not when the history is durable.
    EpochBeforeHistory,
    /// `acceptedEpoch` is only written together with `currentEpoch`, after it was promised.
    AcceptedEpochLate,
    /// The first part of a snapshot for a learner is taken for all of it.
    HalfSnapshot,
    /// The first part of a log for a learner is taken for all of it.
    HalfLog,
    /// The log is not cut when the leader says so.
    SkipTruncation,
    /// After a cut the tree is not read anew.
    KeepTree,
    /// Every server believes that it alone decides: elects itself, and commits without a quorum.
    QuorumOfOne,
    /// A membership that was proposed is forgotten by the next start.
    ProposedMembersLost,
    /// A change of the ensemble is committed by a quorum of those before it alone.
    OldQuorumOnly,
    /// What is asked for over the connection that a session had before it was taken elsewhere is still done.
    MovedSessionServed,
    /// Reads are answered at once although a write of their session is under way.
    ReadsOvertakeWrites,
}
