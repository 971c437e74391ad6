//! When the faults stop, there is a leader soon, everybody serves, and writes succeed.

use crate::checkers::{Verdict, Violation};

/// The world is calm since `calm_ms`; `waiting_for` says what has not happened yet.
pub fn check(calm_ms: u64, limit_ms: u64, waiting_for: impl FnOnce() -> String) -> Verdict {
    if calm_ms <= limit_ms {
        return Ok(());
    }
    Err(Violation::new("progress", format!("{calm_ms} ms after the last fault: {}", waiting_for())))
}
