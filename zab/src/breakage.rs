//! Mistakes on purpose: proofs that the explorer and the simulator find what they are there to find. Each was made by some release of
//! ZooKeeper, or by this crate before it was looked for. Nothing in production ever sets one.

/// One way for a peer to do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breakage {
    /// A leader commits as soon as anybody has acknowledged.
    CommitWithoutQuorum,
    /// A leader still counts what a follower acknowledged before its log was cut.
    KeepCutAcks,
    /// A learner stores the epoch when NEWLEADER comes, before its history is on stable storage (ZOOKEEPER-4643).
    EpochBeforeHistory,
    /// A leader stores its epoch before the history that it begins with is on stable storage.
    LeaderEpochBeforeHistory,
    /// A learner acknowledges NEWLEADER before its history is on stable storage (ZOOKEEPER-3911).
    AckBeforeSync,
    /// A leader goes on although a follower knows more.
    LeadBehind,
    /// A leader sends DIFF where TRUNC is needed.
    KeepTail,
    /// A leader counts the promise of a follower that had accepted the epoch before.
    CountSecondPromise,
    /// A leader commits a reconfiguration, and what comes behind it, when a quorum of the old membership has it.
    OldQuorumOnly,
}
