//! What a peer is told once.

use protocol::ServerId;
use protocol::peer::LearnerKind;

/// The part of the configuration that agreement depends on.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Which server this is.
    pub me: ServerId,
    /// Whether it takes part or only observes, unless the membership says otherwise.
    pub kind: LearnerKind,
    /// Whether the membership may change (`reconfigEnabled`). All members must agree on it.
    pub reconfig_enabled: bool,
    /// The unit of `init_limit` and `sync_limit` (`tickTime`).
    pub tick_ms: u64,
    /// Ticks that a leader may need to gather a quorum, and a learner to be in sync (`initLimit`).
    pub init_limit: u64,
    /// Ticks without a word after which the other side is given up (`syncLimit`).
    pub sync_limit: u64,
    /// The wait for better votes at the end of an election (`finalizeWait` in Java: 200).
    pub finalize_wait_ms: u64,
    /// The first wait for notifications (`fastleader.minNotificationInterval`).
    pub notification_interval_min_ms: u64,
    /// The longest (`fastleader.maxNotificationInterval`).
    pub notification_interval_max_ms: u64,
    /// After two attempts in a row to join a leader that failed, how much longer the learner waits each time before it
    /// connects again, up to twenty times this; 0 for never.
    pub join_pause_ms: u64,
    /// Committed transactions kept in memory for learners that were away for a moment; older ones are read from the
    /// log or sent as a snapshot (`commitLogCount`).
    pub history_entries_max: usize,
    /// The same in bytes, so that large transactions do not fill the memory.
    pub history_bytes_max: usize,
    /// The last counter that an epoch gives to a transaction: 0xfffffffe, and less where its end is to be seen.
    pub counter_max: u32,
}

impl PeerSettings {
    /// As ZooKeeper does with the limits of its sample configuration, for a server that takes part.
    pub fn new(me: ServerId) -> PeerSettings {
        PeerSettings {
            me,
            kind: LearnerKind::Follower,
            reconfig_enabled: false,
            tick_ms: 2_000,
            init_limit: 10,
            sync_limit: 5,
            finalize_wait_ms: 200,
            notification_interval_min_ms: 200,
            notification_interval_max_ms: 60_000,
            join_pause_ms: 50,
            history_entries_max: 500,
            history_bytes_max: 1 << 20,
            counter_max: u32::MAX - 1,
        }
    }

    /// For a server that is no member of an ensemble: there is nobody to wait for, and nobody will ever ask for what was
    /// committed.
    pub(crate) fn alone(me: ServerId) -> PeerSettings {
        PeerSettings { history_entries_max: 0, history_bytes_max: 0, ..PeerSettings::new(me) }
    }

    /// How long a leader may take to gather a quorum.
    pub fn init_ms(&self) -> u64 {
        self.tick_ms * self.init_limit
    }

    /// How long a silent peer counts as alive.
    pub fn sync_ms(&self) -> u64 {
        self.tick_ms * self.sync_limit
    }
}
