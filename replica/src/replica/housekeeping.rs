//! What happens because time passes: sessions expire, containers and TTL nodes go.

use std::collections::VecDeque;

use protocol::{OpCode, SessionId, Xid};

use super::{Known, Replica, Standing, find};
use crate::input::Now;
use crate::limits;
use crate::output::Fact;

/// Finds containers and TTL nodes whose time is over (`ContainerManager`).
pub(super) struct Reaper {
    pub next_check_ms: u64,
    pub last_tick_ms: u64,
    pub candidates: VecDeque<String>,
}

impl Replica {
    pub(super) fn on_tick(&mut self, now: Now) {
        self.peer.on_tick(now.monotonic_ms, &mut self.actions);
        self.carry_out(now);
        self.note_learners();
        self.serve_reads_if_due(now);
        if !matches!(self.standing, Standing::Leading { .. }) {
            return self.expire_local_sessions(now);
        }
        let mut sessions = self.shared.sessions.lock();
        let expired = sessions.expired(now.monotonic_ms, limits::EXPIRED_PER_TICK, false);
        let is_local = |session| sessions.get(session).is_some_and(|tracked| tracked.local);
        let expired: Vec<_> = expired
            .into_iter()
            .map(|(session, timeout_ms)| (session, timeout_ms, is_local(session)))
            .collect();
        drop(sessions);
        for (session, timeout_ms, local) in expired {
            self.outputs.facts.push(Fact::SessionExpired { session, timeout_ms });
            match local {
                true => self.expire_local(session),
                false => self.close_expired(now, session),
            }
        }
        self.reap(now);
    }

    fn close_expired(&mut self, now: Now, session: SessionId) {
        let bound = self.shared.sessions.lock().get(session).and_then(|tracked| tracked.connection);
        if let Some(connection) = bound.and_then(|id| find(&mut self.connections, id)) {
            connection.closing = true;
        }
        let request = (Xid::new(0), OpCode::CloseSession.to_wire(), now.monotonic_ms);
        self.propose(now, (None, session, &[], Ok(Known::Everywhere)), request, |pending, context, out| {
            pending.prepare_close_session(context, out);
        });
    }

    fn reap(&mut self, now: Now) {
        let elapsed_ms = now.monotonic_ms.saturating_sub(self.reaper.last_tick_ms);
        self.reaper.last_tick_ms = now.monotonic_ms;
        if now.monotonic_ms >= self.reaper.next_check_ms && self.reaper.candidates.is_empty() {
            self.reaper.next_check_ms = now.monotonic_ms + self.settings.container_check_interval_ms;
            let never_used_max_ms = self.settings.container_never_used_max_ms;
            self.reaper.candidates =
                self.shared.tree().reap_candidates(now.wall_ms, never_used_max_ms).into();
        }
        let most = (elapsed_ms * self.settings.containers_per_minute / 60_000).max(1) as usize;
        for _ in 0..most {
            let Some(path) = self.reaper.candidates.pop_front() else { break };
            let request = (Xid::new(0), OpCode::DeleteContainer.to_wire(), now.monotonic_ms);
            self.propose(
                now,
                (None, SessionId::NONE, &[], Ok(Known::Everywhere)),
                request,
                |pending, context, out| {
                    // A refusal (somebody used the node meanwhile) takes its zxid like any other.
                    let _ = pending.prepare_delete_container(context, &path, out);
                },
            );
            self.outputs.facts.push(Fact::Reaping { path });
        }
    }
}
