//! What observers ask of the follower that serves them: it asks the leader and hands the answers on
//! (`ObserverMaster`, `FollowerZooKeeperServer.processObserverRequest`).
//!
//! The leader knows nothing of these observers: to it their clients are the follower's. So what a leader does for its
//! learners is done here: who serves a session is remembered, and a request that comes late over another way is refused.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use protocol::peer::{FromLeader, FromLearner};
use protocol::{OpCode, SessionId};
use zab::{Action, LinkId};

use super::forwarded::Renewal;
use super::{Replica, Standing};
use crate::input::Now;
use crate::limits;
use crate::sessions::Owner;

/// Whose sync the leader is to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SyncFor {
    /// A client of this server's.
    Client,
    /// An observer's.
    Observer(LinkId),
}

/// Requests of one observer that wait for the answer to a sync of its.
#[derive(Default)]
struct Held {
    requests: VecDeque<FromLearner>,
    bytes: usize,
}

/// What is under way between the leader and this server's observers.
#[derive(Default)]
pub(super) struct Proxied {
    /// Syncs that the leader has still to answer, in the order in which it will: its answers bear no names. Those of
    /// clients are bounded with all their requests, those of observers by [`limits::OBSERVER_SYNCS_MAX`].
    syncs: VecDeque<SyncFor>,
    syncs_of_observers: usize,
    /// A Java observer waits for ever if the answer to a sync comes behind the commit of a later request, or before that of
    /// an earlier one, whatever sessions they belong to (`CommitProcessor.queuedWriteRequests`); and this server takes
    /// answers that do. So what comes behind a sync only leaves when its answer is there.
    held: BTreeMap<LinkId, Held>,
    /// Sessions heard by observers since the leader last asked, with their timeouts. Only sessions that exist.
    heard: BTreeMap<SessionId, i32>,
}

impl Proxied {
    /// A client of this server's has asked the leader for a sync.
    pub fn note_sync(&mut self) {
        self.syncs.push_back(SyncFor::Client);
    }

    /// The observer is gone. The leader will answer its syncs all the same.
    pub fn forget(&mut self, link: LinkId) {
        self.held.remove(&link);
    }

    /// Nobody is served any more.
    pub fn clear(&mut self) {
        *self = Proxied::default();
    }
}

impl Replica {
    /// An observer in sync has said something. What concerns agreement comes back.
    pub(super) fn on_observer_message(
        &mut self,
        now: Now,
        (leader, link): (LinkId, LinkId),
        message: FromLearner,
    ) -> Option<FromLearner> {
        match &message {
            FromLearner::Request { .. } => {
                self.hold_or_pass_on(now, (leader, link), message);
                None
            }
            FromLearner::Revalidate { session, timeout_ms } => {
                self.ask_for_renewal(leader, *session, *timeout_ms, Renewal::Observer(link));
                None
            }
            FromLearner::Ping { sessions, .. } => {
                let tracker = self.shared.sessions.lock();
                for &(session, _) in sessions {
                    if let Some(tracked) = tracker.get(session) {
                        self.proxied.heard.insert(session, tracked.timeout_ms);
                    }
                }
                drop(tracker);
                Some(message)
            }
            _ => Some(message),
        }
    }

    /// The sessions that were heard since the leader last asked, here and by observers.
    pub(super) fn take_heard(&mut self) -> Vec<(SessionId, i32)> {
        let mut heard = std::mem::take(&mut self.proxied.heard);
        heard.extend(self.shared.sessions.lock().heard_since(self.last_ping_ms));
        heard.into_iter().collect()
    }

    fn hold_or_pass_on(&mut self, now: Now, (leader, link): (LinkId, LinkId), request: FromLearner) {
        let Some(held) = self.proxied.held.get_mut(&link) else {
            return self.pass_request_on(now, (leader, link), request);
        };
        held.bytes += weight(&request);
        held.requests.push_back(request);
        if held.bytes > limits::HELD_BYTES_MAX {
            self.part_with_observer(now, link, "too many of its requests wait for answers to syncs");
        }
    }

    fn pass_request_on(&mut self, now: Now, (leader, link): (LinkId, LinkId), mut request: FromLearner) {
        let FromLearner::Request { session, op, body, .. } = &mut request else { return };
        if *op == OpCode::Sync.to_wire() {
            if self.proxied.syncs_of_observers >= limits::OBSERVER_SYNCS_MAX {
                return self.part_with_observer(now, link, "too many syncs of observers are under way");
            }
            self.proxied.syncs.push_back(SyncFor::Observer(link));
            self.proxied.syncs_of_observers += 1;
            if !self.peer.takes_late_syncs(link) {
                self.proxied.held.insert(link, Held::default());
            }
        } else if !self.serves_session(link, *session, *op) {
            // It waits for a transaction all the same: the leader makes one of what nobody can read.
            (*op, *body) = (OpCode::SetData.to_wire(), Bytes::new());
        }
        self.emit(Action::ToLeader { link: leader, message: request });
    }

    /// Whether the client is still there, as far as this server knows: the leader cannot tell one of its observers from
    /// another.
    fn serves_session(&self, link: LinkId, session: SessionId, op: i32) -> bool {
        let whatever = [OpCode::CreateSession, OpCode::CloseSession].map(OpCode::to_wire);
        let mut sessions = self.shared.sessions.lock();
        match sessions.get(session).map(|tracked| tracked.owner) {
            Some(Owner::Unknown) => {
                sessions.learn_owner(session, Owner::Learner(link));
                true
            }
            Some(owner) => owner == Owner::Learner(link) || whatever.contains(&op) || self.serves_moved,
            // The transaction that opened it is on its way here.
            None => true,
        }
    }

    /// The leader has answered the oldest sync that it was asked for. Everything committed before has been passed on to
    /// observers when it came.
    pub(super) fn on_sync_answered(&mut self, now: Now) {
        match self.proxied.syncs.pop_front() {
            Some(SyncFor::Client) => self.progress.syncs = (self.progress.syncs + 1).min(self.syncs),
            Some(SyncFor::Observer(link)) => {
                self.proxied.syncs_of_observers -= 1;
                if self.peer.serves(link) {
                    self.emit(Action::ToLearner { link, message: FromLeader::Sync });
                }
                self.release(now, link);
            }
            None => {}
        }
    }

    /// Passes on what has waited for an answer, up to the next sync.
    fn release(&mut self, now: Now, link: LinkId) {
        let Standing::Learning { link: leader } = self.standing else { return };
        let Some(mut held) = self.proxied.held.remove(&link) else { return };
        while let Some(request) = held.requests.pop_front() {
            held.bytes -= weight(&request);
            self.pass_request_on(now, (leader, link), request);
            if let Some(place) = self.proxied.held.get_mut(&link) {
                *place = held;
                return;
            }
        }
    }

    fn part_with_observer(&mut self, now: Now, link: LinkId, why: &'static str) {
        self.emit(Action::Close { link, why });
        self.peer.on_link_closed(now.monotonic_ms, link, &mut self.actions);
        self.proxied.forget(link);
    }
}

/// About what a request takes in memory.
fn weight(request: &FromLearner) -> usize {
    let body = if let FromLearner::Request { body, .. } = request { body.len() } else { 0 };
    size_of::<FromLearner>() + body
}
