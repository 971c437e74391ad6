//! Requests between servers: what learners ask of their leader for their clients (`LearnerHandler`, `Learner`,
//! `FollowerRequestProcessor`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use protocol::client::request::Request;
use protocol::jute::Reader;
use protocol::peer::{FromLeader, FromLearner};
use protocol::{ErrorCode, Id, OpCode, SessionId, Xid};
use zab::{Action, LinkId};

use super::doubts::Asker;
use super::{Known, Replica, Standing, find};
use crate::input::{ConnectionId, Now};
use crate::limits;
use crate::output::{Delivery, Fact};
use crate::pipeline::queue::Work;
use crate::sessions::Owner;

/// Who wants to take a session up again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Renewal {
    /// A client of this server, with this timeout.
    Client(ConnectionId, i32),
    /// An observer that this server serves, for a client of its own.
    Observer(LinkId),
}

/// Sessions that are to be taken up again, while the leader is asked whether they are alive. It answers for each session
/// in the order in which it was asked.
#[derive(Default)]
pub(super) struct Renewals {
    by_session: BTreeMap<SessionId, VecDeque<Renewal>>,
    count: usize,
}

impl Renewals {
    fn put(&mut self, session: SessionId, renewal: Renewal) {
        self.count += 1;
        self.by_session.entry(session).or_default().push_back(renewal);
    }

    fn take(&mut self, session: SessionId) -> Option<Renewal> {
        let waiting = self.by_session.get_mut(&session)?;
        let oldest = waiting.pop_front();
        if waiting.is_empty() {
            self.by_session.remove(&session);
        }
        self.count -= 1;
        oldest
    }

    /// A client that asks for the session now.
    fn client_of(&self, session: SessionId) -> Option<ConnectionId> {
        self.by_session.get(&session)?.iter().rev().find_map(|renewal| match renewal {
            Renewal::Client(connection, _) => Some(*connection),
            Renewal::Observer(_) => None,
        })
    }
}

impl Replica {
    /// Asks the leader for a write. Its transaction will complete the entry.
    pub(super) fn forward(
        &mut self,
        link: LinkId,
        (connection, session, ids): (Option<ConnectionId>, SessionId, Arc<[Id]>),
        request @ (xid, op, _): (Xid, i32, u64),
        body: &[u8],
    ) {
        self.ask(link, (session, ids), (xid, op), body);
        self.queue.push(self.queue.mark(), Work::Forwarded, connection, session, request);
    }

    fn ask(
        &mut self,
        link: LinkId,
        (session, ids): (SessionId, Arc<[Id]>),
        (xid, op): (Xid, i32),
        body: &[u8],
    ) {
        let body = Bytes::copy_from_slice(body);
        let message = FromLearner::Request { session, cxid: xid.get(), op, body, ids };
        self.emit(Action::ToLeader { link, message });
    }

    /// A client wants to see everything that was committed before now.
    pub(super) fn begin_sync(
        &mut self,
        now: Now,
        id: ConnectionId,
        session: SessionId,
        request @ (xid, op, _): (Xid, i32, u64),
        body: &[u8],
    ) {
        let mark = self.queue.mark();
        if Request::read(OpCode::Sync, body).is_err() {
            let refused = Work::Refused(ErrorCode::MarshallingError);
            return self.queue.push(mark, refused, Some(id), session, request);
        }
        self.syncs += 1;
        self.queue.buffer().extend_from_slice(body);
        self.queue.push(mark, Work::Sync(self.syncs), Some(id), session, request);
        match self.standing {
            Standing::Learning { link } => {
                let Some(connection) = find(&mut self.connections, id) else { return };
                let ids = Arc::clone(&connection.ids);
                self.proxied.note_sync();
                self.ask(link, (session, ids), (xid, op), body);
            }
            _ => self.peer.sync(now.monotonic_ms, self.syncs, &mut self.actions),
        }
    }

    /// Asks the leader whether the session is alive.
    pub(super) fn renew(&mut self, link: LinkId, id: ConnectionId, session: SessionId, timeout_ms: i32) {
        if let Some(earlier) = self.renewals.client_of(session).filter(|&earlier| earlier != id) {
            // The same client has given up its last attempt.
            self.outputs.deliveries.push(Delivery::Close { connection: earlier });
            self.forget(earlier);
        }
        self.ask_for_renewal(link, session, timeout_ms, Renewal::Client(id, timeout_ms));
    }

    pub(super) fn ask_for_renewal(
        &mut self,
        leader: LinkId,
        session: SessionId,
        timeout_ms: i32,
        renewal: Renewal,
    ) {
        if self.renewals.count >= limits::RENEWALS_MAX {
            // Whoever it is comes again. Of an observer's clients it is the observer that loses patience with us.
            if let Renewal::Client(connection, _) = renewal {
                self.outputs.deliveries.push(Delivery::Close { connection });
                self.forget(connection);
            }
            return;
        }
        self.renewals.put(session, renewal);
        // At once: what came over another way after this would reach the leader behind the question, and perhaps behind
        // the client's hearing that it is served elsewhere.
        let owner = match renewal {
            Renewal::Client(..) => Owner::Here,
            Renewal::Observer(link) => Owner::Learner(link),
        };
        let moved = self.shared.sessions.lock().set_owner(session, owner);
        if let Some(connection) = moved {
            self.outputs.deliveries.push(Delivery::Close { connection });
            self.forget(connection);
        }
        self.emit(Action::ToLeader {
            link: leader,
            message: FromLearner::Revalidate { session, timeout_ms },
        });
    }

    /// The leader's answer to [`Replica::ask_for_renewal`].
    pub(super) fn on_renewed(&mut self, now: Now, session: SessionId, alive: bool) {
        let (id, timeout_ms) = match self.renewals.take(session) {
            None => return,
            Some(Renewal::Client(id, timeout_ms)) => (id, timeout_ms),
            Some(Renewal::Observer(link)) if !self.peer.serves(link) => return,
            Some(Renewal::Observer(link)) if alive => return self.hand_to_learner(now, link, session),
            Some(Renewal::Observer(link)) => {
                let message = FromLeader::Revalidate { session, valid: false };
                return self.emit(Action::ToLearner { link, message });
            }
        };
        if find(&mut self.connections, id).is_none() {
            return;
        }
        if !alive {
            return self.refuse_session(id, session);
        }
        let mut sessions = self.shared.sessions.lock();
        if sessions.get(session).is_none() {
            // The leader is ahead: the transaction that opened the session is still on its way.
            sessions.add(session, timeout_ms, None, now.monotonic_ms);
        }
        drop(sessions);
        self.take_up_session(now, id, session, timeout_ms);
    }

    pub(super) fn forget_renewals(&mut self) {
        self.renewals = Renewals::default();
    }

    /// A learner asks whether a session is alive, to serve it from now on.
    pub(super) fn on_renewal_asked(&mut self, now: Now, link: LinkId, session: SessionId) {
        if self.is_alive(session) {
            return self.hand_to_learner(now, link, session);
        }
        self.ask_around(now, session, Asker::Learner(link));
    }

    /// The session is alive, and served by a learner from now on.
    pub(super) fn hand_to_learner(&mut self, now: Now, link: LinkId, session: SessionId) {
        let mut sessions = self.shared.sessions.lock();
        sessions.touch(session, now.monotonic_ms);
        let moved = sessions.set_owner(session, Owner::Learner(link));
        drop(sessions);
        if let Some(connection) = moved {
            self.outputs.deliveries.push(Delivery::Close { connection });
            self.forget(connection);
        }
        self.emit(Action::ToLearner { link, message: FromLeader::Revalidate { session, valid: true } });
    }

    /// Whether a session may ask for something over this server (`SessionTrackerImpl.checkSession`).
    pub(super) fn check_owner(&mut self, session: SessionId, owner: Owner) -> Result<Known, ErrorCode> {
        if self.standing == (Standing::Leading { alone: true }) {
            return Ok(Known::Everywhere);
        }
        let mut sessions = self.shared.sessions.lock();
        match sessions.get(session) {
            // Another server's local session, about which nobody else can say anything.
            None if self.settings.local_sessions && session.server() != self.settings.server => {
                Ok(Known::Here)
            }
            None => Err(ErrorCode::SessionExpired),
            Some(tracked) if tracked.local => Ok(Known::Here),
            Some(tracked) if tracked.closing => Err(ErrorCode::SessionExpired),
            Some(tracked) if tracked.owner == Owner::Unknown => {
                sessions.learn_owner(session, owner);
                Ok(Known::Everywhere)
            }
            Some(tracked) if tracked.owner != owner && !self.serves_moved => Err(ErrorCode::SessionMoved),
            Some(_) => Ok(Known::Everywhere),
        }
    }

    /// A learner forwards what its client asks for. Every request gets a transaction, a refusal's if need be: the
    /// learner waits for one.
    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        link: LinkId,
        (session, ids): (SessionId, &[Id]),
        (cxid, op): (i32, i32),
        body: &[u8],
    ) {
        if op == OpCode::Sync.to_wire() {
            return self.peer.sync_for(now.monotonic_ms, link, &mut self.actions);
        }
        let request = (Xid::new(cxid), op, now.monotonic_ms);
        if op == OpCode::CreateSession.to_wire() {
            let timeout_ms = Reader::new(body).i32().unwrap_or(self.settings.session_timeout_min_ms);
            self.propose(
                now,
                (None, session, ids, Ok(Known::Everywhere)),
                request,
                |pending, context, out| {
                    pending.prepare_create_session(context, timeout_ms, out);
                },
            );
            // A local session that becomes everybody's has more requests right behind this, and any other may have some
            // before this server applies what a quorum of others had first.
            let mut sessions = self.shared.sessions.lock();
            if sessions.get(session).is_none() {
                sessions.add(session, timeout_ms, None, now.monotonic_ms);
            }
            return;
        }
        let known = OpCode::from_wire(op).filter(|op| op.is_write() && *op != OpCode::DeleteContainer);
        let Some(known) = known else {
            self.propose(
                now,
                (None, session, ids, Ok(Known::Everywhere)),
                request,
                |pending, context, out| {
                    pending.refuse(context, ErrorCode::Unimplemented, out);
                },
            );
            return;
        };
        // The end of a session is not refused: whoever asks for it has nothing else to wait for.
        let closes = known == OpCode::CloseSession;
        let check =
            if closes { Ok(Known::Everywhere) } else { self.check_owner(session, Owner::Learner(link)) };
        if closes {
            self.shared.sessions.lock().set_closing(session);
        }
        self.propose_request(now, (None, session, ids, check), request, Request::read(known, body));
    }

    pub(super) fn bad_peer(&mut self, now: Now, link: LinkId, why: String) {
        self.outputs.facts.push(Fact::BadPeer { link, why });
        self.emit(Action::Close { link, why: "it sent what cannot be" });
        self.peer.on_link_closed(now.monotonic_ms, link, &mut self.actions);
    }
}
