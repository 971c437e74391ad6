//! When a snapshot is due.

use crate::settings::ReplicaSettings;

/// When the next snapshot is due (`SyncRequestProcessor`): somewhere between half and all of the limits.
pub(super) struct SnapshotPace {
    pub(super) running: bool,
    pub(super) transactions: u64,
    pub(super) bytes: u64,
    transactions_limit: u64,
    bytes_limit: u64,
    random: u64,
}

impl SnapshotPace {
    pub(super) fn new(settings: &ReplicaSettings) -> SnapshotPace {
        let mut pace = SnapshotPace {
            running: false,
            transactions: 0,
            bytes: 0,
            transactions_limit: 0,
            bytes_limit: 0,
            random: settings.seed | 1,
        };
        pace.restart(settings);
        pace
    }

    pub(super) fn restart(&mut self, settings: &ReplicaSettings) {
        self.transactions = 0;
        self.bytes = 0;
        self.transactions_limit = self.between_half_and_all(settings.snapshot_transactions);
        self.bytes_limit = self.between_half_and_all(settings.snapshot_bytes);
    }

    fn between_half_and_all(&mut self, limit: u64) -> u64 {
        // xorshift64: all that is asked of it is that servers differ.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        limit / 2 + self.random % (limit / 2).max(1)
    }

    pub(super) fn is_due(&self, settings: &ReplicaSettings) -> bool {
        !self.running
            && (self.transactions > self.transactions_limit
                || (settings.snapshot_bytes > 0 && self.bytes > self.bytes_limit))
    }
}
