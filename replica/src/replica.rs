//! The replica's one entrance, and what happens behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::client::connect::{ConnectRequest, ConnectResponse};
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::client::response::write_header_frame;
use protocol::jute::FrameStart;
use protocol::txn::{Transaction, TxnBody};
use protocol::{Epoch, ErrorCode, Id, SessionId, Xid, Zxid};
use tree::{Pending, PrepareContext, Tree, WatcherId};

use crate::input::{ConnectionId, Input, Now};
use crate::limits;
use crate::output::{Delivery, Fact, Outlet, Outputs};
use crate::pipeline::apply::WatchEvents;
use crate::pipeline::queue::{Queue, Work};
use crate::pipeline::read::{After, Caller, Source};
use crate::pipeline::reply::write_reply;
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

/// When the next snapshot is due (`SyncRequestProcessor`): somewhere between half and all of the limits.
struct SnapshotPace {
    running: bool,
    transactions: u64,
    bytes: u64,
    transactions_limit: u64,
    bytes_limit: u64,
    random: u64,
}

impl SnapshotPace {
    fn new(settings: &ReplicaSettings) -> SnapshotPace {
        let mut pace = SnapshotPace {
            running: false,
            transactions: 0,
            bytes: 0,
            transactions_limit: 0,
            bytes_limit: 0,
            random: settings.seed | 1,
        };
        pace.restart(settings);
        pace
    }

    fn restart(&mut self, settings: &ReplicaSettings) {
        self.transactions = 0;
        self.bytes = 0;
        self.transactions_limit = self.between_half_and_all(settings.snapshot_transactions);
        self.bytes_limit = self.between_half_and_all(settings.snapshot_bytes);
    }

    fn between_half_and_all(&mut self, limit: u64) -> u64 {
        // xorshift64: all that is asked of it is that servers differ.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        limit / 2 + self.random % (limit / 2).max(1)
    }

    fn is_due(&self, settings: &ReplicaSettings) -> bool {
        !self.running
            && (self.transactions > self.transactions_limit
                || (settings.snapshot_bytes > 0 && self.bytes > self.bytes_limit))
    }
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
        let mark = self.queue.mark();
        let zxid = self.allocate();
        let tree = self.shared.tree();
        let context = PrepareContext {
            tree: &tree,
            rules: &self.settings.rules,
            session,
            session_check: Ok(()),
            ids: &[],
            cxid: 0,
            zxid,
            time_ms: now.wall_ms,
        };
        self.pending.prepare_create_session(&context, timeout_ms, self.queue.buffer());
        let request = (Xid::new(0), OpCode::CreateSession.to_wire(), now.monotonic_ms);
        self.queue.push(mark, Work::Transaction(zxid), Some(id), session, request);
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

    fn on_request(
        &mut self,
        now: Now,
        id: ConnectionId,
        request @ (xid, op, _): (Xid, i32, u64),
        body: &[u8],
    ) {
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
        let zxid = self.allocate();
        let tree = self.shared.tree();
        let context = PrepareContext {
            tree: &tree,
            rules: &self.settings.rules,
            session,
            session_check: Ok(()),
            ids: &ids,
            cxid: xid.get(),
            zxid,
            time_ms: now.wall_ms,
        };
        let out = self.queue.buffer();
        match decoded {
            Ok(Request::CloseSession) => self.pending.prepare_close_session(&context, out),
            // A refusal has become an error transaction: the reply comes from applying it.
            Ok(decoded) => match self.pending.prepare(&context, &decoded, out) {
                Err(ErrorCode::QuotaExceeded) => self.outputs.facts.push(Fact::QuotaRefused { session }),
                Ok(prepared) if !prepared.soft_quota.is_empty() => {
                    self.outputs.facts.push(Fact::SoftQuotaExceeded(prepared.soft_quota));
                }
                _ => {}
            },
            Err(_) => self.pending.refuse(&context, ErrorCode::MarshallingError, out),
        }
        self.queue.push(mark, Work::Transaction(zxid), Some(id), session, request);
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
        let zxid = self.allocate();
        let mark = self.queue.mark();
        let tree = self.shared.tree();
        let context = internal_context(&tree, &self.settings, session, zxid, now);
        self.pending.prepare_close_session(&context, self.queue.buffer());
        let request = (Xid::new(0), OpCode::CloseSession.to_wire(), now.monotonic_ms);
        self.queue.push(mark, Work::Transaction(zxid), None, session, request);
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
            let zxid = self.allocate();
            let mark = self.queue.mark();
            let tree = self.shared.tree();
            let context = internal_context(&tree, &self.settings, SessionId::NONE, zxid, now);
            // A refusal (somebody used the node meanwhile) takes its zxid like any other.
            let _ = self.pending.prepare_delete_container(&context, &path, self.queue.buffer());
            let request = (Xid::new(0), OpCode::DeleteContainer.to_wire(), now.monotonic_ms);
            self.queue.push(mark, Work::Transaction(zxid), None, SessionId::NONE, request);
            self.outputs.facts.push(Fact::Reaping { path });
        }
    }

    fn allocate(&mut self) -> Zxid {
        // A used-up counter starts a new epoch; alone, a replica needs nobody's consent for it.
        self.allocated = self
            .allocated
            .next()
            .unwrap_or_else(|| Zxid::new(Epoch::new(self.allocated.epoch().get() + 1), 1));
        self.allocated
    }

    fn on_synced(&mut self, now: Now, up_to: Zxid, outlet: &mut dyn Outlet) {
        self.durable = self.durable.max(up_to);
        let shared = Arc::clone(&self.shared);
        while self.queue.ready(self.durable).is_some() || !self.outputs.is_empty() {
            let mut tree = shared.lock().write();
            self.complete_batch(now, &mut tree);
            if self.snapshot.is_due(&self.settings) {
                self.snapshot.running = true;
                self.snapshot.restart(&self.settings);
                self.outputs.facts.push(Fact::SnapshotDue(Box::new(tree.begin_snapshot())));
            }
            // Still under the lock: see `Outlet`.
            outlet.deliver(&mut self.outputs);
            self.outputs.clear();
        }
        shared.status.set_outstanding(self.queue.len());
    }

    fn complete_batch(&mut self, now: Now, tree: &mut Tree) {
        let mut applied = Zxid::ZERO;
        let mut count = 0;
        for _ in 0..limits::APPLY_BATCH {
            let Some((entry, _)) = self.queue.ready(self.durable) else { break };
            let work = entry.work;
            if let Work::Transaction(zxid) = work {
                self.complete_transaction(now, zxid, tree);
                applied = zxid;
                count += 1;
            } else {
                self.complete_other(now, work, tree);
            }
            self.queue.pop();
            if self.outputs.bytes.len() > limits::APPLY_BATCH_BYTES {
                break;
            }
        }
        if count > 0 {
            self.pending.applied(applied);
            self.shared.status.count_transactions(count);
            self.shared.status.set_applied(applied);
        }
    }

    fn complete_transaction(&mut self, now: Now, zxid: Zxid, tree: &mut Tree) {
        let (entry, envelope) = self.queue.ready(self.durable).expect("the caller saw it");
        let txn = Transaction::read(envelope).expect("an envelope that this replica wrote can be read");
        self.snapshot.transactions += 1;
        self.snapshot.bytes += envelope.len() as u64;
        let mut watch_bytes = 0;
        let connections = &self.connections;
        let outcome = tree.apply(
            &txn,
            &mut WatchEvents {
                watches: &mut self.shared.watches.lock(),
                rules: &self.settings.rules,
                outputs: &mut self.outputs,
                identities: &|watcher: WatcherId| {
                    let connection = connections.get(watcher.get() as u32 as usize)?.as_ref()?;
                    (connection.id.watcher() == watcher).then_some((connection.id, &connection.ids[..]))
                },
                bytes: &mut watch_bytes,
            },
        );
        if watch_bytes > 0 {
            self.shared.count_watch_bytes(watch_bytes);
        }
        if let Some(digest) = txn.digest
            && !tree.agrees_with(digest)
        {
            self.shared.status.count_digest_mismatch();
            let (expected, found) = (digest.tree_digest, tree.digest());
            self.outputs.facts.push(Fact::DigestMismatch { zxid, expected, found });
        }
        let (connection, session, xid, op) = (entry.connection, entry.session, entry.xid, entry.op);
        let latency_ms = now.monotonic_ms.saturating_sub(entry.received_ms);
        match &txn.body {
            TxnBody::CreateSession { timeout_ms } => {
                let connection = connection.filter(|&id| find_in(&self.connections, id).is_some());
                self.shared.sessions.lock().add(session, *timeout_ms, connection, now.monotonic_ms);
                self.outputs.facts.push(Fact::SessionOpened { session, timeout_ms: *timeout_ms });
                let connection = connection.and_then(|id| find_in(&self.connections, id));
                welcome(&self.shared, connection, &mut self.outputs, session, *timeout_ms);
            }
            TxnBody::CloseSession { .. } => {
                self.outputs.facts.push(Fact::SessionClosed { session, zxid });
                let bound =
                    self.shared.sessions.lock().remove(session).and_then(|tracked| tracked.connection);
                if let Some(connection) = connection.filter(|&id| find_in(&self.connections, id).is_some()) {
                    let start = self.outputs.bytes.len();
                    write_header_frame(&mut self.outputs.bytes, xid, zxid.to_wire(), 0);
                    self.outputs.deliver(connection, start, 1, latency_ms);
                }
                if let Some(bound) = bound {
                    self.outputs.deliveries.push(Delivery::Close { connection: bound });
                }
            }
            body => {
                if let Some(connection) = connection.filter(|&id| find_in(&self.connections, id).is_some()) {
                    let start = self.outputs.bytes.len();
                    write_reply(&mut self.outputs.bytes, xid, zxid, op, body, &outcome);
                    self.outputs.deliver(connection, start, 1, latency_ms);
                }
            }
        }
    }

    fn complete_other(&mut self, now: Now, work: Work, tree: &Tree) {
        let (entry, body) = self.queue.ready(self.durable).expect("the caller saw it");
        let latency_ms = now.monotonic_ms.saturating_sub(entry.received_ms);
        let Some(id) = entry.connection else { return };
        let Some(connection) = find_in(&self.connections, id) else { return };
        let start = self.outputs.bytes.len();
        match work {
            Work::Transaction(_) => unreachable!("transactions are completed elsewhere"),
            Work::Resume { timeout_ms } => {
                let session = entry.session;
                self.outputs.facts.push(Fact::SessionResumed { session });
                welcome(&self.shared, Some(connection), &mut self.outputs, session, timeout_ms);
            }
            Work::Relay { close } => {
                self.outputs.bytes.extend_from_slice(body);
                self.outputs.deliver(id, start, 1, latency_ms);
                if close {
                    self.outputs.deliveries.push(Delivery::Close { connection: id });
                }
            }
            Work::Refused(code) => {
                let zxid = tree.last_zxid().to_wire();
                write_header_frame(&mut self.outputs.bytes, entry.xid, zxid, code.to_wire());
                self.outputs.deliver(id, start, 1, latency_ms);
            }
            Work::Read => {
                let caller =
                    Caller { watcher: id.watcher(), session: connection.session, ids: &connection.ids };
                let source = Source { tree, watches: &self.shared.watches, rules: &self.settings.rules };
                let after = source.answer(caller, entry.xid, entry.op, body, &mut self.outputs.bytes);
                self.outputs.deliver(id, start, 1, latency_ms);
                if after == After::Close {
                    self.outputs.deliveries.push(Delivery::Close { connection: id });
                }
            }
        }
    }
}

/// The answer to a handshake that succeeded.
fn welcome(
    shared: &Shared,
    connection: Option<&Connection>,
    outputs: &mut Outputs,
    session: SessionId,
    timeout_ms: i32,
) {
    let Some(connection) = connection else { return };
    let sessions = shared.sessions.lock();
    let Some(tracked) = sessions.get(session) else { return };
    let start = outputs.bytes.len();
    let frame = FrameStart::open(&mut outputs.bytes);
    ConnectResponse {
        timeout_ms,
        session,
        password: session.password(),
        read_only: connection.wants_read_only_byte.then_some(false),
    }
    .write(&mut outputs.bytes);
    frame.close(&mut outputs.bytes);
    outputs.deliver(connection.id, start, 0, 0);
    let heard_ms = Arc::clone(&tracked.heard_ms);
    outputs.deliveries.push(Delivery::Opened { connection: connection.id, session, timeout_ms, heard_ms });
}

/// The context of something that no client asked for.
fn internal_context<'a>(
    tree: &'a Tree,
    settings: &'a ReplicaSettings,
    session: SessionId,
    zxid: Zxid,
    now: Now,
) -> PrepareContext<'a> {
    PrepareContext {
        tree,
        rules: &settings.rules,
        session,
        session_check: Ok(()),
        ids: &[],
        cxid: 0,
        zxid,
        time_ms: now.wall_ms,
    }
}

fn find(connections: &mut [Option<Connection>], id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.place() as usize)?.as_mut().filter(|connection| connection.id == id)
}

fn find_in(connections: &[Option<Connection>], id: ConnectionId) -> Option<&Connection> {
    connections.get(id.place() as usize)?.as_ref().filter(|connection| connection.id == id)
}
