//! Sessions that only this server knows (`LocalSessionTracker`, `UpgradeableSessionTracker`): they cost no transaction, end
//! with this server's role, and own no ephemeral nodes, unless they are made known to everybody for that.

use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::{ErrorCode, OpCode, SessionId, Xid};

use super::{Known, Replica, Standing, find};
use crate::input::{ConnectionId, Now};
use crate::output::{Delivery, Fact};
use crate::pipeline::queue::Work;

impl Replica {
    /// Whether new sessions are of that kind now.
    pub(super) fn opens_local_sessions(&self) -> bool {
        match self.standing {
            // Nobody else could be told.
            Standing::ReadOnly => true,
            Standing::Leading { alone: true } => false,
            _ => self.settings.local_sessions,
        }
    }

    pub(super) fn open_local_session(&mut self, now: Now, id: ConnectionId, timeout_ms: i32) {
        let session = self.take_session_id();
        if let Some(connection) = find(&mut self.connections, id) {
            connection.session = session;
        }
        self.shared.sessions.lock().add_local(session, timeout_ms, id, now.monotonic_ms);
        let request = (Xid::new(0), OpCode::CreateSession.to_wire(), now.monotonic_ms);
        self.queue.push(self.queue.mark(), Work::OpenLocal { timeout_ms }, Some(id), session, request);
    }

    /// Whether the session is one of them, and not at its end.
    pub(super) fn is_local_session(&self, session: SessionId) -> bool {
        let sessions = self.shared.sessions.lock();
        sessions.get(session).is_some_and(|tracked| tracked.local && !tracked.closing)
    }

    /// What becomes of a request because its session is local; `None` if it takes the way of all requests.
    pub(super) fn local_work(&mut self, now: Now, session: SessionId, request: &Request<'_>) -> Option<Work> {
        if !self.opens_local_sessions() || !self.is_local_session(session) {
            return None;
        }
        if *request == Request::CloseSession {
            return Some(Work::CloseLocal);
        }
        if !wants_ephemeral(request) {
            return None;
        }
        if !self.settings.local_sessions_upgrade {
            return Some(Work::Refused(ErrorCode::EphemeralOnLocalSession));
        }
        self.make_global(now, session);
        None
    }

    /// The request behind this wants an ephemeral node: the session's opening comes first.
    fn make_global(&mut self, now: Now, session: SessionId) {
        let mut sessions = self.shared.sessions.lock();
        let Some(timeout_ms) = sessions.get(session).map(|tracked| tracked.timeout_ms) else { return };
        sessions.make_global(session);
        drop(sessions);
        let request = (Xid::new(0), OpCode::CreateSession.to_wire(), now.monotonic_ms);
        if let Standing::Learning { link } = self.standing {
            return self.forward(link, (None, session, [].into()), request, &timeout_ms.to_be_bytes());
        }
        self.propose(now, (None, session, &[], Ok(Known::Everywhere)), request, |pending, context, out| {
            pending.prepare_create_session(context, timeout_ms, out);
        });
    }

    /// The time of a local session is over.
    pub(super) fn expire_local(&mut self, session: SessionId) {
        let tracked = self.shared.sessions.lock().remove(session);
        if let Some(connection) = tracked.and_then(|tracked| tracked.connection) {
            self.outputs.deliveries.push(Delivery::Close { connection });
            self.forget(connection);
        }
    }

    /// Expires sessions of a server that does not lead; the others are the leader's business.
    pub(super) fn expire_local_sessions(&mut self, now: Now) {
        if !self.opens_local_sessions() {
            return;
        }
        let most = crate::limits::EXPIRED_PER_TICK;
        let expired = self.shared.sessions.lock().expired(now.monotonic_ms, most, true);
        for (session, timeout_ms) in expired {
            self.outputs.facts.push(Fact::SessionExpired { session, timeout_ms });
            self.expire_local(session);
        }
    }
}

/// Whether a request creates an ephemeral node: only these two operations can.
fn wants_ephemeral(request: &Request<'_>) -> bool {
    let creates = |create: &CreateRequest<'_>| {
        matches!(create.op, OpCode::Create | OpCode::Create2)
            && CreateFlags::from_wire(create.flags).is_some_and(CreateFlags::is_ephemeral)
    };
    match request {
        Request::Create(create) => creates(create),
        Request::Multi(ops) => ops.iter().any(|op| matches!(op, MultiOp::Create(create) if creates(create))),
        _ => false,
    }
}
