//! Counts that operators ask for. Relaxed atomics: each is written by few and read seldom.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

mod histogram;

pub use histogram::Histogram;

/// How long requests took, in whole milliseconds as in Java.
#[derive(Debug)]
pub struct Latency {
    count: AtomicU64,
    sum_ms: AtomicU64,
    min_ms: AtomicU64,
    max_ms: AtomicU64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            count: AtomicU64::new(0),
            sum_ms: AtomicU64::new(0),
            min_ms: AtomicU64::new(u64::MAX),
            max_ms: AtomicU64::new(0),
        }
    }
}

impl Latency {
    /// Adds `count` requests that took `sum_ms` together and `max_ms` at most.
    pub fn add(&self, count: u64, sum_ms: u64, max_ms: u64) {
        if count == 0 {
            return;
        }
        self.count.fetch_add(count, Relaxed);
        self.sum_ms.fetch_add(sum_ms, Relaxed);
        if max_ms > self.max_ms.load(Relaxed) {
            self.max_ms.fetch_max(max_ms, Relaxed);
        }
        // Only the extremes of a batch are known; its smallest is at most its mean.
        let low_ms = sum_ms / count;
        if low_ms < self.min_ms.load(Relaxed) {
            self.min_ms.fetch_min(low_ms, Relaxed);
        }
    }

    /// How many requests.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// The shortest, 0 if there were none.
    pub fn min_ms(&self) -> u64 {
        match self.min_ms.load(Relaxed) {
            u64::MAX => 0,
            min_ms => min_ms,
        }
    }

    /// The longest.
    pub fn max_ms(&self) -> u64 {
        self.max_ms.load(Relaxed)
    }

    /// All together.
    pub fn sum_ms(&self) -> u64 {
        self.sum_ms.load(Relaxed)
    }

    /// Starts again.
    pub fn reset(&self) {
        self.count.store(0, Relaxed);
        self.sum_ms.store(0, Relaxed);
        self.min_ms.store(u64::MAX, Relaxed);
        self.max_ms.store(0, Relaxed);
    }
}

/// [`Latency`] and how it is distributed.
#[derive(Debug, Default)]
pub struct LatencyDistribution {
    latency: Latency,
    histogram: Histogram,
}

impl LatencyDistribution {
    /// Adds `count` requests that took `sum_ms` together and `max_ms` at most. Of several, the longest is counted
    /// as what it is and the others as their mean.
    pub fn add(&self, count: u64, sum_ms: u64, max_ms: u64) {
        if count == 0 {
            return;
        }
        self.latency.add(count, sum_ms, max_ms);
        match count - 1 {
            // Reads answered at once come in batches of zeros.
            others if others > 0 && max_ms > 0 => {
                self.histogram.add(max_ms, 1);
                self.histogram.add(sum_ms.saturating_sub(max_ms) / others, others);
            }
            _ => self.histogram.add(max_ms, count),
        }
    }

    /// Count, sum and extremes.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    /// The duration that so many of a thousand requests did not exceed, in milliseconds; 0 if there were none.
    pub fn quantile_ms(&self, per_mille: u64) -> u64 {
        self.histogram.quantile_ms(per_mille)
    }

    /// Starts again.
    pub fn reset(&self) {
        self.latency.reset();
        self.histogram.reset();
    }
}

/// The counts of one server.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// All requests.
    pub latency: Latency,
    /// Requests answered by the owner of their connection.
    pub read_latency: LatencyDistribution,
    /// Requests that went through the core.
    pub update_latency: LatencyDistribution,
    /// Frames read, four-letter words included.
    pub packets_received: AtomicU64,
    /// Frames written, watch events included.
    pub packets_sent: AtomicU64,
    /// Bytes read.
    pub bytes_received: AtomicU64,
    /// Bytes written.
    pub bytes_sent: AtomicU64,
    /// Connections refused by a limit.
    pub connections_rejected: AtomicU64,
    /// Connections that never said who they are in time.
    pub sessionless_expired: AtomicU64,
    /// Handshakes begun.
    pub connection_requests: AtomicU64,
    /// Connections closed because they did not read what they asked for.
    pub slow_readers_closed: AtomicU64,
    /// Frames that were longer than allowed.
    pub oversized_frames: AtomicU64,
    /// Auth packets that were refused.
    pub auth_failed: AtomicU64,
    /// Sessions that expired.
    pub sessions_expired: AtomicU64,
    /// How long syncs of the log took.
    pub fsync: Latency,
    /// How long snapshots took.
    pub snapshot: Latency,
    /// Snapshots that failed.
    pub snapshot_errors: AtomicU64,
    /// Whom this server last went to in order to learn: the leader, or an observer's follower.
    pub learns_from: AtomicI64,
    /// The zxid of the last snapshot, -1 if there was none since the start.
    pub last_snapshot_zxid: AtomicI64,
}

impl ServerStats {
    /// What `srst` resets: as in Java everything but the refused auth packets (`ServerStats.reset`).
    pub fn reset(&self) {
        self.latency.reset();
        self.read_latency.reset();
        self.update_latency.reset();
        self.fsync.reset();
        self.snapshot.reset();
        let counters = [
            &self.packets_received,
            &self.packets_sent,
            &self.bytes_received,
            &self.bytes_sent,
            &self.connections_rejected,
            &self.sessionless_expired,
            &self.connection_requests,
            &self.slow_readers_closed,
            &self.oversized_frames,
            &self.sessions_expired,
            &self.snapshot_errors,
        ];
        for counter in counters {
            counter.store(0, Relaxed);
        }
    }
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}

/// Reads a counter.
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_counts_as_its_longest_and_the_mean_of_the_others() {
        let distribution = LatencyDistribution::default();
        distribution.add(0, 0, 0);
        assert_eq!(distribution.latency().count(), 0);
        distribution.add(100, 0, 0);
        distribution.add(10, 28, 10);
        distribution.add(1, 20, 20);
        assert_eq!(distribution.latency().count(), 111);
        assert_eq!(distribution.latency().sum_ms(), 48);
        assert_eq!(distribution.latency().max_ms(), 20);
        assert_eq!(distribution.quantile_ms(900), 0);
        assert_eq!(distribution.quantile_ms(980), 2);
        assert_eq!(distribution.quantile_ms(990), 10);
        assert_eq!(distribution.quantile_ms(1000), 20);
    }

    #[test]
    fn a_reset_leaves_refused_auth_packets() {
        let stats = ServerStats::default();
        count(&stats.auth_failed, 3);
        count(&stats.bytes_received, 3);
        stats.update_latency.add(1, 5, 5);
        stats.reset();
        assert_eq!((read(&stats.auth_failed), read(&stats.bytes_received)), (3, 0));
        assert_eq!((stats.update_latency.latency().max_ms(), stats.update_latency.quantile_ms(990)), (0, 0));
    }
}
