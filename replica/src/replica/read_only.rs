//! Serving reads without a leader, to clients that are content with what this server knows (`ReadOnlyZooKeeperServer`).
//!
//! Java's read-only server only opens sessions if local sessions are enabled; here they are local in this mode whatever
//! the setting is, because nobody else could open one.

use super::{Replica, Standing};
use crate::input::Now;
use crate::output::Fact;
use crate::status::ServerRole;

impl Replica {
    /// The server has begun to look for a leader: reads are served if that takes long.
    pub(super) fn plan_read_only(&mut self, now: Now) {
        self.read_only_at_ms = self.settings.read_only_after_ms.map(|after_ms| now.monotonic_ms + after_ms);
    }

    /// Serves reads from now on, if it is time.
    pub(super) fn serve_reads_if_due(&mut self, now: Now) {
        if self.standing != Standing::Out || self.read_only_at_ms.is_none_or(|at_ms| now.monotonic_ms < at_ms)
        {
            return;
        }
        self.read_only_at_ms = None;
        // Whoever had a session has it with the ensemble, and not here.
        self.shared.sessions.lock().restart(std::iter::empty(), now.monotonic_ms);
        self.standing = Standing::ReadOnly;
        self.shared.status.set_role(ServerRole::ReadOnly, now.monotonic_ms);
        self.outputs.facts.push(Fact::ServesReads);
    }

    /// There is a leader to be: nobody is served until it is established.
    pub(super) fn stop_serving_reads(&mut self) {
        self.read_only_at_ms = None;
        if self.standing == Standing::ReadOnly {
            self.leave_role();
        }
    }
}
