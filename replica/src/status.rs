//! What a replica knows about itself that operators ask for.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use protocol::Zxid;
use zab::LearnerCounts;

/// What a server is to its clients and its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ServerRole {
    /// Alone.
    #[default]
    Standalone,
    /// Without a leader: it serves nobody.
    Looking,
    /// Leading.
    Leader,
    /// Following.
    Follower,
    /// Observing.
    Observer,
    /// Without a leader: it serves reads to whoever is content with that.
    ReadOnly,
}

/// Numbers that the replica keeps up to date and anybody may read.
#[derive(Default)]
pub struct Status {
    outstanding: AtomicU64,
    transactions: AtomicU64,
    applied: AtomicU64,
    digest_mismatches: AtomicU64,
    role: AtomicU8,
    learners: Mutex<Option<LearnerCounts>>,
    observers_served: AtomicU64,
    role_since_ms: AtomicU64,
}

impl Status {
    /// Requests that were sent along and are not answered yet.
    pub fn outstanding(&self) -> u64 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Transactions applied since the start.
    pub fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Transactions after which the tree did not have the digest that it should have.
    pub fn digest_mismatches(&self) -> u64 {
        self.digest_mismatches.load(Ordering::Relaxed)
    }

    /// The last transaction applied, as of the last batch.
    pub fn applied(&self) -> Zxid {
        Zxid::from_wire(self.applied.load(Ordering::Relaxed) as i64)
    }

    /// What the server is now.
    pub fn role(&self) -> ServerRole {
        match self.role.load(Ordering::Relaxed) {
            1 => ServerRole::Looking,
            2 => ServerRole::Leader,
            3 => ServerRole::Follower,
            4 => ServerRole::Observer,
            5 => ServerRole::ReadOnly,
            _ => ServerRole::Standalone,
        }
    }

    /// The learners of this leader, as of the last tick; `None` if it does not lead an ensemble.
    pub fn learners(&self) -> Option<LearnerCounts> {
        *self.learners.lock()
    }

    /// The observers in sync that this follower serves, as of the last tick; 0 if it does not follow.
    pub fn observers_served(&self) -> u64 {
        self.observers_served.load(Ordering::Relaxed)
    }

    /// Since when the server is what it is, by the monotonic clock.
    pub fn role_since_ms(&self) -> u64 {
        self.role_since_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_role(&self, role: ServerRole, now_ms: u64) {
        self.role.store(role as u8, Ordering::Relaxed);
        self.role_since_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(crate) fn set_learners(&self, learners: Option<LearnerCounts>) {
        *self.learners.lock() = learners;
    }

    pub(crate) fn set_observers_served(&self, count: usize) {
        self.observers_served.store(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_applied(&self, zxid: Zxid) {
        self.applied.store(zxid.to_wire() as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_outstanding(&self, count: usize) {
        self.outstanding.store(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_transactions(&self, count: u64) {
        self.transactions.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn count_digest_mismatch(&self) {
        self.digest_mismatches.fetch_add(1, Ordering::Relaxed);
    }
}
