//! The replica's one entrance: events come in, are ordered and prepared. What happens once they are durable is in
//! `complete`.

mod complete;
mod snapshot_pace;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::client::connect::{ConnectRequest, ConnectResponse};
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::jute::FrameStart;
use protocol::{Epoch, ErrorCode, Id, SessionId, Xid, Zxid};
use tree::{Pending, PrepareContext, Prepared};

use self::snapshot_pace::SnapshotPace;
use crate::input::{ConnectionId, Input, Now};
use crate::limits;
use crate::output::{Delivery, Fact, Outlet, Outputs};
use crate::pipeline::queue::{Queue, Work};
use crate::settings::ReplicaSettings;
use crate::shared::Shared;

/// A connection as the replica knows it.
struct Connection {
    id: ConnectionId,
    session: SessionId,
    ids: Arc<[Id]>,
    /// Whether the client sent the read-only byte and so wants it back.
    wants_read_only_byte: bool,
    /// The session's end is under way.
    closing: bool,
}

/// One server's state machine. See the crate's documentation.
pub struct Replica {
    shared: Arc<Shared>,
    settings: ReplicaSettings,
    connections: Vec<Option<Connection>>,
    queue: Queue,
    pending: Pending,
    /// The last zxid given to a transaction.
    allocated: Zxid,
    durable: Zxid,
    next_session: SessionId,
    outputs: Outputs,
    snapshot: SnapshotPace,
    reaper: Reaper,
}

/// Finds containers and TTL nodes whose time is over (`ContainerManager`).
struct Reaper {
    next_check_ms: u64,
    last_tick_ms: u64,
    candidates: VecDeque<String>,
}

impl Replica {
    /// Takes charge of a recovered tree: everything in it is durable, all its sessions get a full timeout, and
    /// session ids start above those of any earlier life.
    pub fn new(shared: Arc<Shared>, settings: ReplicaSettings, now: Now) -> Replica {
        let tree = shared.tree();
        let last = tree.last_zxid();
        let mut sessions = shared.sessions.lock();
        for (session, timeout_ms) in tree.sessions() {
            sessions.add(session, timeout_ms, None, now.monotonic_ms);
        }
        drop(sessions);
        drop(tree);
        shared.status.set_applied(last);
        Replica {
            shared,
            connections: Vec::new(),
            queue: Queue::default(),
            pending: Pending::new(),
            allocated: last,
            durable: last,
            next_session: SessionId::first(settings.server, now.wall_ms as u64),
            outputs: Outputs::default(),
            snapshot: SnapshotPace::new(&settings),
            reaper: Reaper {
                next_check_ms: now.monotonic_ms + settings.container_check_interval_ms,
                last_tick_ms: now.monotonic_ms,
                candidates: VecDeque::new(),
            },
            settings,
        }
    }

    /// The log holds so many transactions behind the last snapshot, as recovery has found: they count towards the
    /// next one, or a server that is started often would replay more each time.
    pub fn set_log_length(&mut self, transactions: u64) {
        self.snapshot.transactions = transactions;
    }

    /// Takes in one event.
    ///
    /// Answers and effects come out through `outlet` when [`Input::Synced`] is stepped: after every batch of
    /// events the shell logs what [`Replica::next_unlogged`] yields, makes it durable, and steps `Synced`, also
    /// when there was nothing to log.
    pub fn step(&mut self, now: Now, input: Input<'_>, outlet: &mut dyn Outlet) {
        match input {
            Input::Connect { connection, payload, ids } => self.on_connect(now, connection, payload, ids),
            Input::Request { connection, xid, op, body, received_ms } => {
                self.on_request(now, connection, (xid, op, received_ms), body);
            }
            Input::Relay { connection, frame, close, received_ms } => {
                let Some(known) = find(&mut self.connections, connection) else { return };
                let session = known.session;
                let mark = self.queue.mark();
                self.queue.buffer().extend_from_slice(frame);
                let request = (Xid::new(0), 0, received_ms);
                self.queue.push(mark, Work::Relay { close }, Some(connection), session, request);
            }
            Input::Authenticated { connection, ids } => {
                if let Some(connection) = find(&mut self.connections, connection) {
                    connection.ids = ids;
                }
            }
            Input::Disconnected { connection } => self.on_disconnected(connection),
            Input::Tick => self.on_tick(now),
            Input::Synced { up_to } => self.on_synced(now, up_to, outlet),
            Input::SnapshotEnded => {
                // What was kept is dropped after the lock is released: it may be much.
                let remains = self.shared.lock().write().end_snapshot();
                drop(remains);
                self.snapshot.running = false;
            }
        }
    }

    /// The next transaction to be logged, in the order of zxids: its envelope. The shell must make it durable and
    /// then step [`Input::Synced`]; until then nobody hears of it.
    pub fn next_unlogged(&mut self) -> Option<(Zxid, &[u8])> {
        self.queue.next_unlogged()
    }

    /// Entries that are ordered but not completed yet.
    pub fn in_progress(&self) -> usize {
        self.queue.len()
    }

    /// Everything up to here is known to be on stable storage.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    fn on_connect(&mut self, now: Now, id: ConnectionId, payload: &[u8], ids: Arc<[Id]>) {
        let request = match ConnectRequest::read(payload) {
            Ok(request) if payload.len() <= limits::CONNECT_REQUEST_BYTES_MAX => request,
            _ => {
                self.outputs.facts.push(Fact::BadHandshake { connection: id });
                return self.outputs.deliveries.push(Delivery::Close { connection: id });
            }
        };
        let applied = self.shared.tree().last_zxid();
        if request.last_zxid_seen > applied.to_wire() {
            let seen = Zxid::from_wire(request.last_zxid_seen);
            self.outputs.facts.push(Fact::ClientAhead { connection: id, seen, applied });
            return self.outputs.deliveries.push(Delivery::Close { connection: id });
        }
        let timeout_ms = request
            .timeout_ms
            .clamp(self.settings.session_timeout_min_ms, self.settings.session_timeout_max_ms);
        let place = id.place() as usize;
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some(Connection {
            id,
            session: request.session,
            ids,
            wants_read_only_byte: request.read_only.is_some(),
            closing: false,
        });
        if request.session == SessionId::NONE {
            self.open_session(now, id, timeout_ms);
        } else {
            self.resume_session(now, id, &request, timeout_ms);
        }
    }

    fn open_session(&mut self, now: Now, id: ConnectionId, timeout_ms: i32) {
        let session = self.take_session_id();
        if let Some(connection) = find(&mut self.connections, id) {
            connection.session = session;
        }
        let request = (Xid::new(0), OpCode::CreateSession.to_wire(), now.monotonic_ms);
        self.propose(now, (Some(id), session, &[]), request, |pending, context, out| {
            pending.prepare_create_session(context, timeout_ms, out);
        });
    }

    fn take_session_id(&mut self) -> SessionId {
        let sessions = self.shared.sessions.lock();
        loop {
            let session = self.next_session;
            self.next_session = session.next();
            if session != SessionId::NONE && sessions.get(session).is_none() {
                return session;
            }
        }
    }

    /// The password is looked at before the session's present connection is touched: knowing an id alone must not
    /// suffice to cut somebody off (Java cuts first).
    fn resume_session(&mut self, now: Now, id: ConnectionId, request: &ConnectRequest<'_>, timeout_ms: i32) {
        let session = request.session;
        let mut sessions = self.shared.sessions.lock();
        let welcome = session.accepts(request.password) && sessions.get(session).is_some_and(|s| !s.closing);
        if !welcome {
            drop(sessions);
            self.outputs.facts.push(Fact::SessionRefused { session });
            let start = self.outputs.bytes.len();
            let frame = FrameStart::open(&mut self.outputs.bytes);
            ConnectResponse::expired(request.read_only.map(|_| false)).write(&mut self.outputs.bytes);
            frame.close(&mut self.outputs.bytes);
            self.outputs.deliver(id, start, 0, 0);
            self.outputs.deliveries.push(Delivery::Close { connection: id });
            self.connections[id.place() as usize] = None;
            return;
        }
        let previous = sessions.resume(session, id, timeout_ms, now.monotonic_ms);
        drop(sessions);
        if let Some(previous) = previous.filter(|&previous| previous != id) {
            self.outputs.deliveries.push(Delivery::Close { connection: previous });
            self.forget(previous);
        }
        let mark = self.queue.mark();
        let request = (Xid::new(0), 0, now.monotonic_ms);
        self.queue.push(mark, Work::Resume { timeout_ms }, Some(id), session, request);
    }

    fn on_request(&mut self, now: Now, id: ConnectionId, request @ (_, op, _): (Xid, i32, u64), body: &[u8]) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let session = connection.session;
        let mark = self.queue.mark();
        if connection.closing {
            return self.queue.push(
                mark,
                Work::Refused(ErrorCode::SessionExpired),
                Some(id),
                session,
                request,
            );
        }
        let known = OpCode::from_wire(op);
        let write = known
            .filter(|op| op.is_write() && !matches!(op, OpCode::CreateSession | OpCode::DeleteContainer));
        let Some(known) = write else {
            self.queue.buffer().extend_from_slice(body);
            return self.queue.push(mark, Work::Read, Some(id), session, request);
        };
        let decoded = Request::read(known, body);
        if decoded.is_err() && known != OpCode::Multi {
            // No transaction: there is nothing that could be ordered.
            return self.queue.push(
                mark,
                Work::Refused(ErrorCode::MarshallingError),
                Some(id),
                session,
                request,
            );
        }
        if known == OpCode::CloseSession {
            connection.closing = true;
            self.shared.sessions.lock().set_closing(session);
        }
        let ids = Arc::clone(&connection.ids);
        let who = (Some(id), session, &ids[..]);
        let result = self.propose(now, who, request, |pending, context, out| match decoded {
            Ok(Request::CloseSession) => {
                pending.prepare_close_session(context, out);
                Ok(Prepared::default())
            }
            // A refusal has become an error transaction: the reply comes from applying it.
            Ok(decoded) => pending.prepare(context, &decoded, out),
            Err(_) => {
                pending.refuse(context, ErrorCode::MarshallingError, out);
                Ok(Prepared::default())
            }
        });
        match result {
            Err(ErrorCode::QuotaExceeded) => self.outputs.facts.push(Fact::QuotaRefused { session }),
            Ok(prepared) if !prepared.soft_quota.is_empty() => {
                self.outputs.facts.push(Fact::SoftQuotaExceeded(prepared.soft_quota));
            }
            _ => {}
        }
    }

    fn on_disconnected(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            let session = connection.session;
            self.shared.sessions.lock().detach(session, id);
        }
        self.forget(id);
    }

    /// Drops what is kept for a connection. Its entries in the queue will find nobody to answer.
    fn forget(&mut self, id: ConnectionId) {
        self.shared.watches.lock().remove_watcher(id.watcher());
        if find(&mut self.connections, id).is_some() {
            self.connections[id.place() as usize] = None;
        }
    }

    fn on_tick(&mut self, now: Now) {
        let expired = self.shared.sessions.lock().expired(now.monotonic_ms, limits::EXPIRED_PER_TICK);
        for (session, timeout_ms) in expired {
            self.outputs.facts.push(Fact::SessionExpired { session, timeout_ms });
            self.close_expired(now, session);
        }
        self.reap(now);
    }

    fn close_expired(&mut self, now: Now, session: SessionId) {
        let bound = self.shared.sessions.lock().get(session).and_then(|tracked| tracked.connection);
        if let Some(connection) = bound.and_then(|id| find(&mut self.connections, id)) {
            connection.closing = true;
        }
        let request = (Xid::new(0), OpCode::CloseSession.to_wire(), now.monotonic_ms);
        self.propose(now, (None, session, &[]), request, |pending, context, out| {
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
            self.propose(now, (None, SessionId::NONE, &[]), request, |pending, context, out| {
                // A refusal (somebody used the node meanwhile) takes its zxid like any other.
                let _ = pending.prepare_delete_container(context, &path, out);
            });
            self.outputs.facts.push(Fact::Reaping { path });
        }
    }

    /// Gives a zxid to what `write` writes: the envelope of one transaction, a refusal's if need be.
    fn propose<R>(
        &mut self,
        now: Now,
        (connection, session, ids): (Option<ConnectionId>, SessionId, &[Id]),
        request @ (xid, ..): (Xid, i32, u64),
        write: impl FnOnce(&mut Pending, &PrepareContext<'_>, &mut Vec<u8>) -> R,
    ) -> R {
        let zxid = self.allocate();
        let mark = self.queue.mark();
        let tree = self.shared.tree();
        let context = PrepareContext {
            tree: &tree,
            rules: &self.settings.rules,
            session,
            session_check: Ok(()),
            ids,
            cxid: xid.get(),
            zxid,
            time_ms: now.wall_ms,
        };
        let result = write(&mut self.pending, &context, self.queue.buffer());
        drop(tree);
        self.queue.push(mark, Work::Transaction(zxid), connection, session, request);
        result
    }

    fn allocate(&mut self) -> Zxid {
        // A used-up counter starts a new epoch; alone, a replica needs nobody's consent for it.
        self.allocated = self
            .allocated
            .next()
            .unwrap_or_else(|| Zxid::new(Epoch::new(self.allocated.epoch().get() + 1), 1));
        self.allocated
    }
}

fn find(connections: &mut [Option<Connection>], id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.place() as usize)?.as_mut().filter(|connection| connection.id == id)
}

fn find_in(connections: &[Option<Connection>], id: ConnectionId) -> Option<&Connection> {
    connections.get(id.place() as usize)?.as_ref().filter(|connection| connection.id == id)
}
