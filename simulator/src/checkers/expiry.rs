//! A session is not expired before its timeout, and at the latest a tick after it.

use std::collections::BTreeMap;

use protocol::SessionId;

use super::{Verdict, Violation, ensure};

const PROMISE: &str = "expiry";

struct Tracked {
    heard_ms: u64,
    timeout_ms: u64,
    closing: bool,
}

/// When each session was last heard, by the virtual clock.
pub struct Expiry {
    tick_ms: u64,
    sessions: BTreeMap<SessionId, Tracked>,
}

impl Expiry {
    /// No sessions yet; all that is kept in units of milliseconds.
    pub fn new(tick_ms: u64) -> Expiry {
        Expiry { tick_ms, sessions: BTreeMap::new() }
    }

    /// A server starts with these sessions, each of which gets a full timeout.
    pub fn on_start(&mut self, sessions: &[(SessionId, i32)], now_ms: u64) {
        self.sessions.clear();
        for &(session, timeout_ms) in sessions {
            self.on_opened(session, timeout_ms, now_ms);
        }
    }

    /// A session was opened, or taken up again with another timeout.
    pub fn on_opened(&mut self, session: SessionId, timeout_ms: i32, now_ms: u64) {
        let tracked = Tracked { heard_ms: now_ms, timeout_ms: timeout_ms.max(0) as u64, closing: false };
        self.sessions.insert(session, tracked);
    }

    /// Bytes of the client were taken in.
    pub fn on_heard(&mut self, session: SessionId, now_ms: u64) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.heard_ms = tracked.heard_ms.max(now_ms);
        }
    }

    /// Whether somebody may take the session up again.
    pub fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|tracked| !tracked.closing)
    }

    /// The end of a session was asked for by its client, or decided by the server.
    pub fn on_closing(&mut self, session: SessionId, by_client: bool, now_ms: u64) -> Verdict {
        let Some(tracked) = self.sessions.get_mut(&session) else {
            return Err(Violation::new(PROMISE, format!("session {session} ends, and is not open")));
        };
        ensure(!tracked.closing, PROMISE, || format!("session {session} ends twice"))?;
        tracked.closing = true;
        let idle_ms = now_ms.saturating_sub(tracked.heard_ms);
        ensure(by_client || idle_ms >= tracked.timeout_ms, PROMISE, || {
            format!(
                "session {session} expired {idle_ms} ms after it was heard; its timeout is {} ms",
                tracked.timeout_ms
            )
        })
    }

    /// The end of a session is done.
    pub fn on_closed(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// The server was told that time passed and has said which sessions end: nobody is overdue.
    pub fn on_tick(&self, now_ms: u64) -> Verdict {
        for (session, tracked) in self.sessions.iter().filter(|(_, tracked)| !tracked.closing) {
            let idle_ms = now_ms.saturating_sub(tracked.heard_ms);
            ensure(idle_ms < tracked.timeout_ms + self.tick_ms, PROMISE, || {
                format!(
                    "session {session} is open {idle_ms} ms after it was heard; timeout {} ms, tick {} ms",
                    tracked.timeout_ms, self.tick_ms
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_late_and_double_ends_are_seen() {
        let mut expiry = Expiry::new(100);
        let (a, b) = (SessionId::new(1), SessionId::new(2));
        expiry.on_start(&[(a, 1000), (b, 1000)], 0);
        expiry.on_heard(a, 500);
        assert!(expiry.on_tick(1099).is_ok());
        assert!(expiry.on_closing(a, false, 1400).is_err());
        assert!(expiry.on_closing(a, true, 1400).is_err(), "it ends twice");
        assert!(expiry.on_tick(1100).is_err(), "the other one is overdue");
        assert!(expiry.on_closing(b, false, 1100).is_ok());
        assert!(expiry.on_tick(1100).is_ok());
    }
}
