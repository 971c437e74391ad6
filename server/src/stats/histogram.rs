//! How durations are distributed: counts in buckets that grow with what they count.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Durations below are counted exactly.
const EXACT_MS: u64 = 32;
/// Above, every doubling is divided into so many buckets: a value is known to within a sixteenth.
const BUCKETS_PER_DOUBLING: usize = 16;
/// Doublings from [`EXACT_MS`] on: up to 2^32 ms, which are 49 days; what is longer counts as that.
const DOUBLINGS: usize = 27;
const BUCKETS: usize = EXACT_MS as usize + DOUBLINGS * BUCKETS_PER_DOUBLING;

/// Counts of durations in milliseconds; 3.6 KiB, recording is one relaxed addition.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Histogram {
    /// Counts `count` durations of `duration_ms` each.
    pub fn add(&self, duration_ms: u64, count: u64) {
        self.buckets[bucket(duration_ms)].fetch_add(count, Relaxed);
    }

    /// The duration that so many of a thousand do not exceed, in milliseconds; 0 if there are none. Above 32 ms
    /// it is the middle of its bucket and so wrong by 3 % at most.
    pub fn quantile_ms(&self, per_mille: u64) -> u64 {
        // A copy, so that what is added meanwhile does no harm.
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = (u128::from(total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut passed = 0;
        for (bucket, &count) in counts.iter().enumerate() {
            passed += u128::from(count);
            if passed >= rank {
                return middle_ms(bucket);
            }
        }
        0
    }

    /// Starts again.
    pub fn reset(&self) {
        for count in &self.buckets {
            count.store(0, Relaxed);
        }
    }
}

fn bucket(duration_ms: u64) -> usize {
    if duration_ms < EXACT_MS {
        return duration_ms as usize;
    }
    let exponent = duration_ms.ilog2();
    let doubling = (exponent - EXACT_MS.ilog2()) as usize;
    let part = (duration_ms >> (exponent - BUCKETS_PER_DOUBLING.ilog2())) as usize % BUCKETS_PER_DOUBLING;
    (EXACT_MS as usize + doubling * BUCKETS_PER_DOUBLING + part).min(BUCKETS - 1)
}

fn middle_ms(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(EXACT_MS as usize) else {
        return bucket as u64;
    };
    let (doubling, part) = (above / BUCKETS_PER_DOUBLING, above % BUCKETS_PER_DOUBLING);
    let width = (EXACT_MS << doubling) / BUCKETS_PER_DOUBLING as u64;
    (EXACT_MS << doubling) + part as u64 * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_near_it() {
        let mut previous = 0;
        for duration_ms in (0..5_000).chain([1 << 20, (1 << 20) + 1, (1 << 32) - 1]) {
            let bucket = bucket(duration_ms);
            assert!(bucket >= previous, "buckets are in order");
            previous = bucket;
            let error_ms = middle_ms(bucket).abs_diff(duration_ms);
            assert!(error_ms * 32 <= duration_ms, "{duration_ms} ms is taken for {}", middle_ms(bucket));
        }
        assert_eq!(bucket(1 << 32), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_what_so_many_do_not_exceed() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(500), 0);
        for duration_ms in 1..=10 {
            histogram.add(duration_ms, 10);
        }
        assert_eq!(histogram.quantile_ms(500), 5);
        assert_eq!(histogram.quantile_ms(501), 6);
        assert_eq!(histogram.quantile_ms(950), 10);
        histogram.add(1_000, 1);
        assert_eq!(histogram.quantile_ms(990), 10);
        assert_eq!(histogram.quantile_ms(999), 1_008);
        histogram.reset();
        assert_eq!(histogram.quantile_ms(999), 0);
    }
}
