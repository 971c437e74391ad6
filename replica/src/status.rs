//! What a replica knows about itself that operators ask for.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Zxid;

/// Numbers that the replica keeps up to date and anybody may read.
#[derive(Default)]
pub struct Status {
    outstanding: AtomicU64,
    transactions: AtomicU64,
    applied: AtomicU64,
    digest_mismatches: AtomicU64,
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
