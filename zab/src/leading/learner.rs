//! What the leader knows of a learner.

use std::collections::VecDeque;

use protocol::peer::LearnerKind;
use protocol::{ServerId, Zxid};

/// How far a learner has come. Later stages are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Stage {
    /// It has not said who it is.
    Connected,
    /// It has, and waits for the new epoch.
    Introduced,
    /// The epoch was proposed to it.
    Promising,
    /// It has accepted the epoch.
    Promised,
    /// It misses more than is in memory, and the log on disk is asked whether it has that.
    Consulting,
    /// It was sent what it misses, and hears of everything from now on.
    Synchronizing,
    /// It has that on stable storage.
    Synchronized,
    /// It was told to serve.
    Active,
}

/// What the answer to a ping tells, besides that the learner lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum PingFor {
    /// Nothing.
    Life,
    /// That this server leads, for a barrier's round.
    Round(u64),
    /// That it knows which membership is in force.
    Former,
}

/// One learner.
#[derive(Clone, Hash, Debug)]
pub(super) struct Learner {
    pub server: Option<ServerId>,
    pub kind: LearnerKind,
    pub stage: Stage,
    /// Whether answers to sync may come behind commits of later requests.
    pub late_syncs: bool,
    /// Whether it goes along when its leader begins another epoch.
    pub turns_epochs: bool,
    /// Epochs that it was asked to promise itself to while it was in sync, and has not answered.
    pub promises_awaited: u32,
    /// Whether nothing else than a whole tree will do.
    pub needs_tree: bool,
    /// Whether it was sent a whole tree, or a part of the log on disk: more than fits into a moment.
    pub takes_long: bool,
    /// When the log was asked about it.
    pub asked_ms: u64,
    /// When it last said something.
    pub heard_ms: u64,
    /// The end of its log when it accepted the epoch.
    pub last_zxid: Zxid,
    /// A proposal that it is to acknowledge, whether that is still needed or not, and since when.
    pub awaited: Option<(Zxid, u64)>,
    /// The pings under way, oldest first.
    pub pings: VecDeque<PingFor>,
}

impl Learner {
    pub fn new(now_ms: u64) -> Learner {
        Learner {
            server: None,
            kind: LearnerKind::Follower,
            stage: Stage::Connected,
            late_syncs: false,
            turns_epochs: false,
            promises_awaited: 0,
            takes_long: false,
            asked_ms: 0,
            needs_tree: false,
            heard_ms: now_ms,
            last_zxid: Zxid::ZERO,
            awaited: None,
            pings: VecDeque::new(),
        }
    }

    /// Who votes by this learner's acknowledgements; the electorate decides whether that has weight.
    pub fn voter(&self) -> Option<ServerId> {
        self.server.filter(|_| self.kind == LearnerKind::Follower)
    }

    /// Whether it hears of proposals and commits.
    pub fn is_forwarded_to(&self) -> bool {
        self.stage >= Stage::Synchronizing
    }

    /// A proposal goes to it; what it is sent before it is in sync it may have by a snapshot, and not acknowledge.
    pub fn await_ack(&mut self, zxid: Zxid, now_ms: u64) {
        if self.stage >= Stage::Synchronized {
            self.awaited.get_or_insert((zxid, now_ms));
        }
    }

    /// It has acknowledged a proposal, and everything before it.
    pub fn on_ack(&mut self, zxid: Zxid, last_proposed: Zxid, now_ms: u64) {
        if self.awaited.is_some_and(|(awaited, _)| awaited <= zxid) {
            self.awaited = (zxid < last_proposed).then_some((last_proposed, now_ms));
        }
    }
}
