//! The replica's one entrance: events come in, are ordered and prepared. What happens once they are committed is in
//! `complete`, what the ensemble has to do with it in `roles` and `forwarded`.

mod complete;
mod doubts;
mod forwarded;
mod housekeeping;
mod learner_snapshots;
mod local_sessions;
mod read_only;
mod reconfig;
mod roles;
mod serving_observers;
mod snapshot_pace;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::client::connect::{ConnectRequest, ConnectResponse};
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::jute::{DecodeError, FrameStart};
use protocol::{ErrorCode, Id, SessionId, Xid, Zxid};
use tree::{Pending, PrepareContext, Prepared};
use zab::{Action, LinkId, Peer};

use self::doubts::{Asker, Doubts};
use self::forwarded::Renewals;
use self::housekeeping::Reaper;
use self::learner_snapshots::Transfers;
pub use self::reconfig::membership_of;
use self::serving_observers::Proxied;
use self::snapshot_pace::SnapshotPace;
use crate::input::{ConnectionId, Input, Now};
use crate::limits;
use crate::output::{Delivery, Fact, Outlet, Outputs, PeerOutput};
use crate::pipeline::queue::{Progress, Queue, Work};
use crate::sessions::Owner;
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
    /// Agreement with the other servers; alone, with itself.
    peer: Peer,
    /// What the peer wants done and has not been looked at.
    actions: Vec<Action>,
    peer_outputs: Vec<PeerOutput>,
    standing: Standing,
    /// Logged transactions that the queue does not hold, oldest first: what a leader has proposed to us, or what a new
    /// leader inherits.
    proposals: VecDeque<(Zxid, Bytes)>,
    progress: Progress,
    /// Syncs that have begun.
    syncs: u64,
    renewals: Renewals,
    proxied: Proxied,
    doubts: Doubts,
    transfers: Transfers,
    /// When reads are served although nobody leads.
    read_only_at_ms: Option<u64>,
    /// When the leader last asked which sessions were heard.
    last_ping_ms: u64,
    durable: Zxid,
    next_session: SessionId,
    outputs: Outputs,
    snapshot: SnapshotPace,
    reaper: Reaper,
    /// A mistake on purpose: see [`Replica::serve_moved_sessions`].
    serves_moved: bool,
}

/// Whether clients are served, and how their writes are agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// They are not.
    Out,
    /// Writes are proposed here. Alone there is nobody a session could have moved to.
    Leading { alone: bool },
    /// Writes are forwarded.
    Learning { link: LinkId },
    /// Nobody leads; reads are served.
    ReadOnly,
}

/// Who knows a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// All servers: a transaction has opened it.
    Everywhere,
    /// Only the server that its client is connected to.
    Here,
}

impl Replica {
    /// Takes charge of a recovered tree for a server that is alone: everything in it is durable, all its sessions get
    /// a full timeout, and session ids start above those of any earlier life.
    pub fn new(shared: Arc<Shared>, settings: ReplicaSettings, now: Now) -> Replica {
        let last = shared.tree().last_zxid();
        let peer = Peer::alone(now.monotonic_ms, settings.server, last);
        let mut replica = Replica::with_peer(shared, settings, peer, now);
        replica.standing = Standing::Leading { alone: true };
        replica
    }

    /// Takes charge of a recovered tree for a member of an ensemble, and begins to look for a leader.
    pub fn member(shared: Arc<Shared>, settings: ReplicaSettings, peer: Peer, now: Now) -> Replica {
        let mut replica = Replica::with_peer(shared, settings, peer, now);
        replica.start_looking(now);
        replica
    }

    fn with_peer(shared: Arc<Shared>, settings: ReplicaSettings, peer: Peer, now: Now) -> Replica {
        let last = shared.tree().last_zxid();
        shared.restart_sessions(now.monotonic_ms);
        shared.status.set_applied(last);
        Replica {
            shared,
            connections: Vec::new(),
            queue: Queue::default(),
            pending: Pending::new(),
            peer,
            actions: Vec::new(),
            peer_outputs: Vec::new(),
            standing: Standing::Out,
            proposals: VecDeque::new(),
            progress: Progress { committed: last, syncs: 0 },
            syncs: 0,
            renewals: Renewals::default(),
            proxied: Proxied::default(),
            doubts: Doubts::default(),
            transfers: Transfers::default(),
            read_only_at_ms: None,
            last_ping_ms: now.monotonic_ms,
            durable: last,
            serves_moved: false,
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
                if let Some(known) = find(&mut self.connections, connection) {
                    let session = known.session;
                    let mark = self.queue.mark();
                    self.queue.buffer().extend_from_slice(frame);
                    let request = (Xid::new(0), 0, received_ms);
                    self.queue.push(mark, Work::Relay { close }, Some(connection), session, request);
                }
            }
            Input::Authenticated { connection, ids } => {
                if let Some(connection) = find(&mut self.connections, connection) {
                    connection.ids = ids;
                }
            }
            Input::Disconnected { connection } => self.on_disconnected(connection),
            Input::Tick => self.on_tick(now),
            Input::Synced { up_to } => {
                self.durable = self.durable.max(up_to);
                self.peer.on_synced(now.monotonic_ms, up_to, &mut self.actions);
                self.carry_out(now);
                self.complete(now, outlet);
            }
            Input::SnapshotEnded => {
                // What was kept is dropped after the lock is released: it may be much.
                let remains = self.shared.lock().write().end_snapshot();
                drop(remains);
                self.snapshot.running = false;
            }
            Input::Peer(event) => self.on_peer(now, event),
        }
        self.carry_out(now);
        while self.role_waits() {
            self.deliver(outlet);
            self.carry_out(now);
        }
    }

    /// What is to be done for the ensemble, in this order; see [`PeerOutput`]. To be taken after every batch of events
    /// and again after [`Input::Synced`].
    pub fn take_peer_outputs(&mut self, into: &mut Vec<PeerOutput>) {
        into.append(&mut self.peer_outputs);
    }

    /// When [`Input::Tick`] should come, if not before: by the monotonic clock.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.read_only_at_ms.into_iter().chain(self.peer.deadline_ms()).min()
    }

    /// From now on a session that was taken elsewhere is still served where it was, for proofs that this is noticed.
    #[doc(hidden)]
    pub fn serve_moved_sessions(&mut self) {
        self.serves_moved = true;
    }

    /// Agreement, to look at.
    pub fn peer(&self) -> &Peer {
        &self.peer
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
        if self.standing == Standing::Out {
            return self.outputs.deliveries.push(Delivery::Close { connection: id });
        }
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
        if self.standing == Standing::ReadOnly && request.read_only != Some(true) {
            // It wants to write some time, and shall look elsewhere.
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
        if self.opens_local_sessions() {
            return self.open_local_session(now, id, timeout_ms);
        }
        let session = self.take_session_id();
        if let Some(connection) = find(&mut self.connections, id) {
            connection.session = session;
        }
        let request = (Xid::new(0), OpCode::CreateSession.to_wire(), now.monotonic_ms);
        if let Standing::Learning { link } = self.standing {
            let body = timeout_ms.to_be_bytes();
            return self.forward(link, (Some(id), session, [].into()), request, &body);
        }
        self.propose(
            now,
            (Some(id), session, &[], Ok(Known::Everywhere)),
            request,
            |pending, context, out| {
                pending.prepare_create_session(context, timeout_ms, out);
            },
        );
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
        if !session.accepts(request.password) {
            return self.refuse_session(id, session);
        }
        if self.is_local_session(session) {
            return self.take_up_session(now, id, session, timeout_ms);
        }
        if self.standing == Standing::ReadOnly {
            // It may well be alive: whoever knows is not to be reached from here.
            self.outputs.deliveries.push(Delivery::Close { connection: id });
            return self.forget(id);
        }
        if let Standing::Learning { link } = self.standing {
            // Only the leader knows who is alive.
            return self.renew(link, id, session, timeout_ms);
        }
        if self.is_alive(session) {
            return self.take_up_session(now, id, session, timeout_ms);
        }
        self.ask_around(now, session, Asker::Client { connection: id, timeout_ms });
    }

    fn refuse_session(&mut self, id: ConnectionId, session: SessionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let read_only = connection.wants_read_only_byte.then_some(self.standing == Standing::ReadOnly);
        self.outputs.facts.push(Fact::SessionRefused { session });
        let start = self.outputs.bytes.len();
        let frame = FrameStart::open(&mut self.outputs.bytes);
        ConnectResponse::expired(read_only).write(&mut self.outputs.bytes);
        frame.close(&mut self.outputs.bytes);
        self.outputs.deliver(id, start, 0, 0);
        self.outputs.deliveries.push(Delivery::Close { connection: id });
        self.connections[id.place() as usize] = None;
    }

    /// The session is alive and was asked for with its password: it is served on this connection from now on.
    fn take_up_session(&mut self, now: Now, id: ConnectionId, session: SessionId, timeout_ms: i32) {
        let previous = self.shared.sessions.lock().resume(session, id, timeout_ms, now.monotonic_ms);
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
        let writes = |op: OpCode| (op.is_write() || op == OpCode::Sync) && op != OpCode::CloseSession;
        if self.standing == Standing::ReadOnly && known.is_some_and(writes) {
            let refused = Work::Refused(ErrorCode::NotReadOnly);
            return self.queue.push(mark, refused, Some(id), session, request);
        }
        if known == Some(OpCode::Sync) {
            return self.begin_sync(now, id, session, request, body);
        }
        let write = known
            .filter(|op| op.is_write() && !matches!(op, OpCode::CreateSession | OpCode::DeleteContainer));
        let Some(known) = write else {
            self.queue.buffer().extend_from_slice(body);
            return self.queue.push(mark, Work::Read, Some(id), session, request);
        };
        let decoded = Request::read(known, body);
        let learning = matches!(self.standing, Standing::Learning { .. });
        if decoded.is_err() && (known != OpCode::Multi || learning) {
            // No transaction: there is nothing that could be ordered.
            return self.queue.push(
                mark,
                Work::Refused(ErrorCode::MarshallingError),
                Some(id),
                session,
                request,
            );
        }
        if self.settings.local_sessions || self.standing == Standing::ReadOnly {
            let work = decoded.as_ref().ok().and_then(|decoded| self.local_work(now, session, decoded));
            if let Some(work) = work {
                if work == Work::CloseLocal
                    && let Some(connection) = find(&mut self.connections, id)
                {
                    connection.closing = true;
                }
                return self.queue.push(self.queue.mark(), work, Some(id), session, request);
            }
        }
        let Some(connection) = find(&mut self.connections, id) else { return };
        if known == OpCode::CloseSession {
            connection.closing = true;
            self.shared.sessions.lock().set_closing(session);
        }
        let ids = Arc::clone(&connection.ids);
        if let Standing::Learning { link } = self.standing {
            return self.forward(link, (Some(id), session, ids), request, body);
        }
        let check = self.check_owner(session, Owner::Here);
        self.propose_request(now, (Some(id), session, &ids, check), request, decoded);
    }

    /// Proposes what a client asks for, here or at a learner.
    fn propose_request(
        &mut self,
        now: Now,
        who: (Option<ConnectionId>, SessionId, &[Id], Result<Known, ErrorCode>),
        request: (Xid, i32, u64),
        decoded: Result<Request<'_>, DecodeError>,
    ) {
        let session = who.1;
        // A server that is alone has no ensemble to change, and says so when it prepares the request.
        let membership = match &decoded {
            Ok(reconfig @ Request::Reconfig { .. })
                if self.standing == (Standing::Leading { alone: false }) =>
            {
                self.peer.next_zxid().map(|zxid| self.judge_reconfig(reconfig, zxid))
            }
            _ => None,
        };
        let result = self.propose(now, who, request, |pending, context, out| match (decoded, &membership) {
            (Ok(Request::CloseSession), _) => {
                pending.prepare_close_session(context, out);
                Ok(Prepared::default())
            }
            (Ok(Request::Reconfig { .. }), Some(membership)) => {
                pending.prepare_reconfig(context, membership.as_deref().map_err(|code| *code), out)
            }
            // A refusal has become an error transaction: the reply comes from applying it.
            (Ok(decoded), _) => pending.prepare(context, &decoded, out),
            (Err(_), _) => {
                pending.refuse(context, ErrorCode::MarshallingError, out);
                Ok(Prepared::default())
            }
        });
        match result {
            Some(Err(ErrorCode::QuotaExceeded)) => self.outputs.facts.push(Fact::QuotaRefused { session }),
            Some(Ok(prepared)) if !prepared.soft_quota.is_empty() => {
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

    /// Gives a zxid to what `write` writes: the envelope of one transaction, a refusal's if need be. `None` if this
    /// server no longer leads.
    fn propose<R>(
        &mut self,
        now: Now,
        (connection, session, ids, session_check): (
            Option<ConnectionId>,
            SessionId,
            &[Id],
            Result<Known, ErrorCode>,
        ),
        request @ (xid, ..): (Xid, i32, u64),
        write: impl FnOnce(&mut Pending, &PrepareContext<'_>, &mut Vec<u8>) -> R,
    ) -> Option<R> {
        let Standing::Leading { alone } = self.standing else { return None };
        let Some(zxid) = self.peer.next_zxid() else {
            // Nothing can be ordered before another epoch begins.
            self.peer.resign(now.monotonic_ms, "the epoch has no zxids left", &mut self.actions);
            self.carry_out(now);
            return None;
        };
        let mark = self.queue.mark();
        let tree = self.shared.tree();
        let context = PrepareContext {
            tree: &tree,
            rules: &self.settings.rules,
            session,
            session_check: session_check.map(drop),
            session_is_local: session_check == Ok(Known::Here),
            ids,
            cxid: xid.get(),
            zxid,
            time_ms: now.wall_ms,
        };
        let result = write(&mut self.pending, &context, self.queue.buffer());
        drop(tree);
        // Alone, nobody else wants the bytes.
        let envelope =
            if alone { Bytes::new() } else { Bytes::copy_from_slice(&self.queue.buffer()[mark..]) };
        self.queue.push(mark, Work::Transaction(zxid), connection, session, request);
        self.peer.propose(now.monotonic_ms, zxid, envelope, &mut self.actions);
        Some(result)
    }
}

fn find(connections: &mut [Option<Connection>], id: ConnectionId) -> Option<&mut Connection> {
    connections.get_mut(id.place() as usize)?.as_mut().filter(|connection| connection.id == id)
}

fn find_in(connections: &[Option<Connection>], id: ConnectionId) -> Option<&Connection> {
    connections.get(id.place() as usize)?.as_ref().filter(|connection| connection.id == id)
}
