//! What an operator decides about a replica.

use protocol::ServerId;
use tree::Rules;

/// The settings of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// Goes into the top byte of session ids; 1 for a standalone server, as in Java.
    pub server: ServerId,
    /// The unit of time: sessions expire on its multiples.
    pub tick_ms: u64,
    /// No session has a shorter timeout.
    pub session_timeout_min_ms: i32,
    /// No session has a longer one.
    pub session_timeout_max_ms: i32,
    /// Between half and all of so many transactions, a snapshot is taken.
    pub snapshot_transactions: u64,
    /// Whether a snapshot also waits until half as many transactions came as there are nodes: writing a large tree
    /// again and again for a few changes would cost more than all the changes.
    pub snapshot_waits_for_growth: bool,
    /// Between half and all of so many bytes of transactions, a snapshot is taken; 0 for no such limit.
    pub snapshot_bytes: u64,
    /// How often containers and TTL nodes are looked at.
    pub container_check_interval_ms: u64,
    /// A container without children that was never used is deleted after so long; 0 for never.
    pub container_never_used_max_ms: i64,
    /// At most so many of them are deleted in a minute.
    pub containers_per_minute: u64,
    /// Whether new sessions of a member of an ensemble are known to their own server only (`localSessionsEnabled`).
    pub local_sessions: bool,
    /// Whether such a session becomes everybody's when it wants an ephemeral node (`localSessionsUpgradingEnabled`).
    pub local_sessions_upgrade: bool,
    /// A member that has looked for a leader for so long serves reads (`readonlymode.enabled`); `None` for never.
    pub read_only_after_ms: Option<u64>,
    /// A reconfiguration must leave at least so many voters: 2 where one server could also be standalone
    /// (`standaloneEnabled`), else 1.
    pub voters_min: usize,
    /// Seeds the choice of the moment for a snapshot, so that servers do not all choose the same.
    pub seed: u64,
    /// The rules by which requests are judged.
    pub rules: Rules,
}

impl Default for ReplicaSettings {
    /// What ZooKeeper does unless it is told otherwise.
    fn default() -> ReplicaSettings {
        ReplicaSettings {
            server: ServerId::new(1),
            tick_ms: 3_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 60_000,
            snapshot_transactions: 100_000,
            snapshot_waits_for_growth: false,
            snapshot_bytes: 4 << 30,
            container_check_interval_ms: 60_000,
            container_never_used_max_ms: 0,
            containers_per_minute: 10_000,
            local_sessions: false,
            local_sessions_upgrade: false,
            read_only_after_ms: None,
            voters_min: 2,
            seed: 1,
            rules: Rules::default(),
        }
    }
}
