//! A machine's clocks: they run a little too fast or too slow, and no two show the same time.

use replica::Now;

use crate::random::Random;
use crate::world::WALL_START_MS;

/// Both clocks of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Millionths by which it is fast; negative if it is slow.
    drift_ppm: i64,
    monotonic_start_ms: u64,
    wall_start_ms: i64,
}

impl Clock {
    /// Draws how wrong they are: up to `drift_ppm_max`, and some minutes apart on the wall.
    pub fn new(random: &mut Random, drift_ppm_max: u64) -> Clock {
        Clock {
            drift_ppm: random.between(0, 2 * drift_ppm_max) as i64 - drift_ppm_max as i64,
            monotonic_start_ms: random.between(1, 1_000_000),
            wall_start_ms: WALL_START_MS + random.below(600_000) as i64,
        }
    }

    /// What they show.
    pub fn now(&self, true_us: u64) -> Now {
        let passed_ms = self.drifted(true_us) / 1000;
        Now {
            monotonic_ms: self.monotonic_start_ms + passed_ms,
            wall_ms: self.wall_start_ms + passed_ms as i64,
        }
    }

    /// When the monotonic clock shows this, or now if it did before.
    pub fn true_us(&self, monotonic_ms: u64) -> u64 {
        let passed_us = monotonic_ms.saturating_sub(self.monotonic_start_ms) as i128 * 1000;
        // Rounded up, or the clock would not yet show it.
        (passed_us * 1_000_000 / i128::from(1_000_000 + self.drift_ppm)) as u64 + 1
    }

    fn drifted(&self, true_us: u64) -> u64 {
        (i128::from(true_us) * i128::from(1_000_000 + self.drift_ppm) / 1_000_000) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_at_which_the_clock_shows_a_time_is_found() {
        for seed in 0..50 {
            let clock = Clock::new(&mut Random::new(seed), 50_000);
            let start = clock.now(0).monotonic_ms;
            for later_ms in [1, 7, 999, 123_456] {
                let at_us = clock.true_us(start + later_ms);
                assert!(clock.now(at_us).monotonic_ms >= start + later_ms);
                assert!(clock.now(at_us.saturating_sub(2_000)).monotonic_ms <= start + later_ms);
            }
        }
    }
}
