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

    pub(super) fn is_due(&self, settings: &ReplicaSettings, nodes: u64) -> bool {
        let growth = if settings.snapshot_waits_for_growth { nodes / 2 } else { 0 };
        !self.running
            && (self.transactions > self.transactions_limit.max(growth)
                || (settings.snapshot_bytes > 0 && self.bytes > self.bytes_limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(snapshot_waits_for_growth: bool) -> ReplicaSettings {
        ReplicaSettings {
            tick_ms: 1000,
            session_timeout_min_ms: 2000,
            session_timeout_max_ms: 20_000,
            snapshot_transactions: 100,
            snapshot_waits_for_growth,
            snapshot_bytes: 1000,
            container_check_interval_ms: 1000,
            container_never_used_max_ms: 0,
            ..ReplicaSettings::default()
        }
    }

    #[test]
    fn a_snapshot_comes_between_half_and_all_of_the_limit() {
        let settings = settings(false);
        let mut pace = SnapshotPace::new(&settings);
        for _ in 0..50 {
            pace.restart(&settings);
            pace.transactions = 49;
            assert!(!pace.is_due(&settings, 1_000_000));
            pace.transactions = 101;
            assert!(pace.is_due(&settings, 1_000_000));
        }
    }

    #[test]
    fn a_snapshot_of_a_large_tree_waits_for_half_as_many_transactions_as_it_has_nodes_or_for_its_bytes() {
        let settings = settings(true);
        let mut pace = SnapshotPace::new(&settings);
        pace.transactions = 5_000;
        assert!(!pace.is_due(&settings, 10_000));
        assert!(pace.is_due(&settings, 9_999));
        pace.bytes = 1_001;
        assert!(pace.is_due(&settings, 10_000));
    }
}
