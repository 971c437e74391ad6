//! Requests between servers: what learners ask of their leader for their clients (`LearnerHandler`, `Learner`,
//! `FollowerRequestProcessor`).

use std::collections::BTreeMap;
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
use crate::output::{Delivery, Fact};
use crate::pipeline::queue::Work;
use crate::sessions::Owner;

/// Sessions that clients want to take up again here, while the leader is asked whether they are alive. At most one per
/// connection.
#[derive(Default)]
pub(super) struct Renewals(BTreeMap<SessionId, (ConnectionId, i32)>);

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
                self.ask(link, (session, ids), (xid, op), body);
            }
            _ => self.peer.sync(now.monotonic_ms, self.syncs, &mut self.actions),
        }
    }

    /// Asks the leader whether the session is alive.
    pub(super) fn renew(&mut self, link: LinkId, id: ConnectionId, session: SessionId, timeout_ms: i32) {
        if let Some((earlier, _)) = self.renewals.0.insert(session, (id, timeout_ms)) {
            // The same client has given up its last attempt.
            self.outputs.deliveries.push(Delivery::Close { connection: earlier });
            self.forget(earlier);
        }
        self.emit(Action::ToLeader { link, message: FromLearner::Revalidate { session, timeout_ms } });
    }

    /// The leader's answer to [`Replica::renew`].
    pub(super) fn on_renewed(&mut self, now: Now, session: SessionId, alive: bool) {
        let Some((id, timeout_ms)) = self.renewals.0.remove(&session) else { return };
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
        self.renewals.0.clear();
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
                sessions.set_owner(session, owner);
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
