//! The deadlines of sessions (`SessionTrackerImpl`, `ExpiryQueue`).
//!
//! Hearing from a client is one store into a number that the owner of its connection holds; nobody moves anything
//! then. When the deadline of a session comes up, the tracker looks at that number and files the session under a
//! later deadline, or expires it. So pings cost nothing that anybody else could wait for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::SessionId;
use zab::LinkId;

use crate::input::ConnectionId;

/// What the tracker knows of one session.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The negotiated timeout.
    pub timeout_ms: i32,
    /// The connection that serves it now.
    pub connection: Option<ConnectionId>,
    /// Which server serves it, as far as the leader knows.
    pub owner: Owner,
    /// Whether its end is already under way.
    pub closing: bool,
    /// Whether only this server knows it: no transaction has opened it, and none will close it.
    pub local: bool,
    /// When the client was last heard, by the monotonic clock.
    pub heard_ms: Arc<AtomicU64>,
    deadline_ms: u64,
}

/// The server that a session's client is connected to. A request that comes over another one is late: the client has
/// gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody has asked for anything yet.
    Unknown,
    /// This server.
    Here,
    /// The learner at the other end.
    Learner(LinkId),
}

/// All sessions and their deadlines.
pub struct SessionTracker {
    tick_ms: u64,
    sessions: BTreeMap<SessionId, Tracked>,
    /// Session ids by deadline. An id may stand under a deadline that is no longer its own: then it is passed over.
    deadlines: BTreeMap<u64, Vec<SessionId>>,
}

impl SessionTracker {
    /// Deadlines are multiples of the tick.
    pub fn new(tick_ms: u64) -> SessionTracker {
        SessionTracker { tick_ms: tick_ms.max(1), sessions: BTreeMap::new(), deadlines: BTreeMap::new() }
    }

    /// The deadline of a session heard at `heard_ms`: between the timeout and a tick more.
    fn deadline(&self, heard_ms: u64, timeout_ms: i32) -> u64 {
        ((heard_ms + timeout_ms.max(0) as u64) / self.tick_ms + 1) * self.tick_ms
    }

    /// Starts to track a session as if it had been heard now.
    pub fn add(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        connection: Option<ConnectionId>,
        now_ms: u64,
    ) {
        let deadline_ms = self.deadline(now_ms, timeout_ms);
        let heard_ms = Arc::new(AtomicU64::new(now_ms));
        let owner = if connection.is_some() { Owner::Here } else { Owner::Unknown };
        self.sessions.insert(
            session,
            Tracked { timeout_ms, connection, owner, closing: false, local: false, heard_ms, deadline_ms },
        );
        self.deadlines.entry(deadline_ms).or_default().push(session);
    }

    /// Starts to track a session that only this server knows.
    pub fn add_local(&mut self, session: SessionId, timeout_ms: i32, connection: ConnectionId, now_ms: u64) {
        self.add(session, timeout_ms, Some(connection), now_ms);
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.local = true;
        }
    }

    /// A transaction makes a local session known to everybody.
    pub fn make_global(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.local = false;
        }
    }

    /// Forgets everything and tracks these sessions, all as if heard now: what a server does whose role has changed.
    pub fn restart(&mut self, sessions: impl Iterator<Item = (SessionId, i32)>, now_ms: u64) {
        self.sessions.clear();
        self.deadlines.clear();
        for (session, timeout_ms) in sessions {
            self.add(session, timeout_ms, None, now_ms);
        }
    }

    /// A learner has heard from the client.
    pub fn touch(&mut self, session: SessionId, now_ms: u64) {
        if let Some(tracked) = self.sessions.get(&session) {
            tracked.heard_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// The first request of a session shows which server its client is connected to.
    pub fn learn_owner(&mut self, session: SessionId, owner: Owner) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.owner = owner;
        }
    }

    /// The client connects to that server now. Returns the connection that it had here, which is one of before, also if it
    /// comes back to this server: what still arrives on it must not be done behind what the client does elsewhere.
    pub fn set_owner(&mut self, session: SessionId, owner: Owner) -> Option<ConnectionId> {
        let tracked = self.sessions.get_mut(&session)?;
        tracked.owner = owner;
        tracked.connection.take()
    }

    /// Sessions that all servers know, with a connection here, that were heard at or after `since_ms`, with their
    /// timeouts.
    pub fn heard_since(&self, since_ms: u64) -> Vec<(SessionId, i32)> {
        let here = self.sessions.iter().filter(|(_, tracked)| tracked.connection.is_some() && !tracked.local);
        here.filter(|(_, tracked)| tracked.heard_ms.load(Ordering::Relaxed) >= since_ms)
            .map(|(&session, tracked)| (session, tracked.timeout_ms))
            .collect()
    }

    /// Stops tracking a session.
    pub fn remove(&mut self, session: SessionId) -> Option<Tracked> {
        self.sessions.remove(&session)
    }

    /// A session.
    pub fn get(&self, session: SessionId) -> Option<&Tracked> {
        self.sessions.get(&session)
    }

    /// Binds a session to a connection and a timeout, as if heard now; returns the connection it had.
    pub fn resume(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        timeout_ms: i32,
        now_ms: u64,
    ) -> Option<ConnectionId> {
        let deadline_ms = self.deadline(now_ms, timeout_ms);
        let tracked = self.sessions.get_mut(&session)?;
        tracked.timeout_ms = timeout_ms;
        tracked.owner = Owner::Here;
        tracked.heard_ms.store(now_ms, Ordering::Relaxed);
        tracked.deadline_ms = deadline_ms;
        self.deadlines.entry(deadline_ms).or_default().push(session);
        tracked.connection.replace(connection)
    }

    /// The connection is gone; the session stays.
    pub fn detach(&mut self, session: SessionId, connection: ConnectionId) {
        if let Some(tracked) = self.sessions.get_mut(&session)
            && tracked.connection == Some(connection)
        {
            tracked.connection = None;
        }
    }

    /// Nothing more is accepted from the session.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.closing = true;
        }
    }

    /// Sessions whose time is over, at most `most` of them, now marked as closing. Call again on the next tick.
    ///
    /// Of the sessions that all servers know only a leader decides: `local_only` says that this server does not lead.
    pub fn expired(&mut self, now_ms: u64, most: usize, local_only: bool) -> Vec<(SessionId, i32)> {
        let mut expired = Vec::new();
        while let Some(entry) = self.deadlines.first_entry() {
            let filed_ms = *entry.key();
            if filed_ms > now_ms {
                break;
            }
            let mut ids = entry.remove();
            while let Some(session) = ids.pop() {
                if expired.len() == most {
                    ids.push(session);
                    self.deadlines.insert(filed_ms, ids);
                    return expired;
                }
                if !local_only || self.sessions.get(&session).is_some_and(|tracked| tracked.local) {
                    self.check_deadline(session, filed_ms, now_ms, &mut expired);
                }
            }
        }
        expired
    }

    fn check_deadline(
        &mut self,
        session: SessionId,
        filed_ms: u64,
        now_ms: u64,
        expired: &mut Vec<(SessionId, i32)>,
    ) {
        let Some(tracked) = self.sessions.get(&session) else { return };
        if tracked.closing || tracked.deadline_ms != filed_ms {
            return;
        }
        let heard_ms = tracked.heard_ms.load(Ordering::Relaxed);
        let deadline_ms = self.deadline(heard_ms, tracked.timeout_ms);
        let tracked = self.sessions.get_mut(&session).expect("looked up above");
        if deadline_ms > now_ms {
            tracked.deadline_ms = deadline_ms;
            self.deadlines.entry(deadline_ms).or_default().push(session);
        } else {
            tracked.closing = true;
            expired.push((session, tracked.timeout_ms));
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions by the deadline that they have as of now, for `dump`.
    pub fn by_deadline(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut sets: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (&session, tracked) in &self.sessions {
            let heard_ms = tracked.heard_ms.load(Ordering::Relaxed);
            sets.entry(self.deadline(heard_ms, tracked.timeout_ms)).or_default().push(session);
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId::new(1);

    fn tracker_with_a() -> SessionTracker {
        let mut tracker = SessionTracker::new(2000);
        tracker.add(A, 4000, None, 1000);
        tracker
    }

    #[test]
    fn a_silent_session_lives_for_its_timeout_and_at_most_a_tick_more() {
        let mut tracker = tracker_with_a();
        assert_eq!(tracker.expired(5000, 10, false), []);
        assert_eq!(tracker.expired(5999, 10, false), []);
        assert_eq!(tracker.expired(6000, 10, false), [(A, 4000)]);
        assert!(tracker.get(A).unwrap().closing);
        assert_eq!(tracker.expired(60_000, 10, false), []);
    }

    #[test]
    fn hearing_from_a_client_moves_its_deadline() {
        let mut tracker = tracker_with_a();
        tracker.get(A).unwrap().heard_ms.store(3500, Ordering::Relaxed);
        assert_eq!(tracker.expired(6000, 10, false), []);
        assert_eq!(tracker.expired(8000, 10, false), [(A, 4000)]);
    }

    #[test]
    fn a_shorter_timeout_after_a_reconnection_counts_at_once() {
        let mut tracker = SessionTracker::new(2000);
        tracker.add(A, 40_000, None, 0);
        assert_eq!(tracker.resume(A, ConnectionId::new(3, 1), 4000, 1000), None);
        assert_eq!(tracker.expired(6000, 10, false), [(A, 4000)]);
    }

    #[test]
    fn an_old_connection_does_not_detach_the_new_one() {
        let mut tracker = tracker_with_a();
        let (old, new) = (ConnectionId::new(1, 1), ConnectionId::new(2, 1));
        tracker.resume(A, old, 4000, 1000);
        assert_eq!(tracker.resume(A, new, 4000, 1000), Some(old));
        tracker.detach(A, old);
        assert_eq!(tracker.get(A).unwrap().connection, Some(new));
    }

    #[test]
    fn expiry_in_portions_forgets_nobody() {
        let mut tracker = SessionTracker::new(10);
        for id in 1..=25 {
            tracker.add(SessionId::new(id), 100, None, 0);
        }
        let mut seen = Vec::new();
        while let portion @ [_, ..] = &tracker.expired(1000, 10, false)[..] {
            assert!(portion.len() <= 10);
            seen.extend(portion.iter().map(|(session, _)| session.get()));
        }
        seen.sort();
        assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    }

    #[test]
    fn a_server_that_does_not_lead_only_expires_its_own() {
        let mut tracker = tracker_with_a();
        let local = SessionId::new(2);
        tracker.add_local(local, 4000, ConnectionId::new(1, 1), 1000);
        assert_eq!(tracker.heard_since(0), [], "the leader does not know it");
        assert_eq!(tracker.expired(60_000, 10, true), [(local, 4000)]);
    }

    #[test]
    fn a_local_session_can_become_everybodys() {
        let mut tracker = tracker_with_a();
        let local = SessionId::new(2);
        tracker.add_local(local, 4000, ConnectionId::new(1, 1), 1000);
        tracker.make_global(local);
        assert_eq!(tracker.heard_since(0), [(local, 4000)]);
        assert_eq!(tracker.expired(60_000, 10, true), []);
    }
}
