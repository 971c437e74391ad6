//! The clocks that the pure parts are told of.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use replica::Now;

/// Both clocks. The monotonic one starts a little after zero, so that "never" can be 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock.
    pub fn start() -> Clock {
        let now = Instant::now();
        Clock { start: now.checked_sub(Duration::from_millis(1)).unwrap_or(now) }
    }

    /// Both readings.
    pub fn now(&self) -> Now {
        Now { monotonic_ms: self.monotonic_ms(), wall_ms: wall_ms() }
    }

    /// Milliseconds since the start.
    pub fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// Milliseconds since 1970; 0 on a machine whose clock stands before that.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
