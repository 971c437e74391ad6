//! A whole replica against clients that send anything: every frame goes the way it goes in production, and whatever
//! comes of it must be answered or refused, with a sound tree behind it.

use std::sync::Arc;

use protocol::client::connect::{ConnectRequest, RequestHeader};
use protocol::client::op_code::OpCode;
use protocol::{Id, Reader, SessionId};
use replica::pipeline::read::{After, Caller, Source};
use replica::{
    ConnectionId, Delivery, Fact, Input, Now, Outputs, Replica, ReplicaSettings, Route, SessionOrder, Shared,
};
use tree::{Rules, Tree};

use super::seeds;

/// Connections that the input speaks for.
const CONNECTIONS: usize = 2;

/// Bytes of all answers to one input beyond which something is out of proportion.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Frames, each behind a byte that says which connection sends it and two bytes of length. Bit 7 of the first byte
/// makes time pass before.
pub fn session(input: &[u8]) {
    let mut harness = Harness::new();
    let mut rest = input;
    while let Some((head, behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]])).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        if head[0] & 0x80 != 0 {
            harness.now.monotonic_ms += 1000;
            harness.now.wall_ms += 1000;
            harness.feed(Input::Tick);
        }
        harness.take_frame(usize::from(head[0] & 0x7f) % CONNECTIONS, frame);
    }
    if let Err(complaint) = harness.shared.tree().check_invariants() {
        panic!("the tree is sound: {complaint}");
    }
}

struct Harness {
    shared: Arc<Shared>,
    replica: Replica,
    now: Now,
    lines: [Line; CONNECTIONS],
    answer_bytes: usize,
}

#[derive(Default)]
struct Line {
    generation: u32,
    known: bool,
    session: Option<SessionId>,
    order: SessionOrder,
}

impl Harness {
    fn new() -> Harness {
        let rules = Rules { ttl_nodes: true, enforce_quota: true, ..Rules::default() };
        let settings = ReplicaSettings {
            tick_ms: 500,
            session_timeout_min_ms: 1000,
            session_timeout_max_ms: 10_000,
            snapshot_transactions: 100_000,
            snapshot_bytes: 0,
            container_check_interval_ms: 1000,
            container_never_used_max_ms: 1000,
            rules: rules.clone(),
            ..ReplicaSettings::default()
        };
        let shared = Arc::new(Shared::new(Tree::new(1), rules, settings.tick_ms));
        let now = Now { monotonic_ms: 1, wall_ms: 1_790_000_000_000 };
        let replica = Replica::new(Arc::clone(&shared), settings, now);
        Harness { shared, replica, now, lines: Default::default(), answer_bytes: 0 }
    }

    fn id(&self, line: usize) -> ConnectionId {
        ConnectionId::new(line as u32, self.lines[line].generation)
    }

    fn take_frame(&mut self, line: usize, frame: &[u8]) {
        let connection = self.id(line);
        let ids: Arc<[Id]> = Arc::from([Id::new("ip", "127.0.0.1")]);
        if !self.lines[line].known {
            self.lines[line].known = true;
            return self.feed(Input::Connect { connection, payload: frame, ids });
        }
        let Some(session) = self.lines[line].session else { return };
        let mut reader = Reader::new(frame);
        let Ok(RequestHeader { xid, op }) = RequestHeader::read(&mut reader) else {
            return self.close(line);
        };
        let known = OpCode::from_wire(op);
        if matches!(known, Some(OpCode::Auth | OpCode::Sasl)) {
            return;
        }
        match self.lines[line].order.route(known) {
            Route::SendAlong => {
                let received_ms = self.now.monotonic_ms;
                self.feed(Input::Request { connection, xid, op, body: reader.rest(), received_ms });
            }
            Route::AnswerHere => {
                let shared = Arc::clone(&self.shared);
                let tree = shared.tree();
                let source = Source { tree: &tree, watches: &shared.watches, rules: &shared.rules };
                let caller = Caller { watcher: connection.watcher(), session, ids: &ids };
                let mut out = Vec::new();
                let after = source.answer(caller, xid, op, reader.rest(), &mut out);
                drop(tree);
                self.count(out.len());
                if after == After::Close {
                    self.close(line);
                }
            }
        }
    }

    fn close(&mut self, line: usize) {
        let connection = self.id(line);
        self.feed(Input::Disconnected { connection });
        let generation = self.lines[line].generation + 1;
        self.lines[line] = Line { generation, ..Line::default() };
    }

    /// Steps one event and what must follow it, with a log that never fails.
    fn feed(&mut self, input: Input<'_>) {
        let mut deliveries = Vec::new();
        let mut outlet = |outputs: &mut Outputs| {
            for fact in &outputs.facts {
                assert!(!matches!(fact, Fact::DigestMismatch { .. }), "the digest is right: {fact:?}");
            }
            deliveries.append(&mut outputs.deliveries);
        };
        self.replica.step(self.now, input, &mut outlet);
        let mut up_to = self.replica.durable();
        while let Some((zxid, _)) = self.replica.next_unlogged() {
            up_to = zxid;
        }
        self.replica.step(self.now, Input::Synced { up_to }, &mut outlet);
        for delivery in deliveries {
            self.take_delivery(delivery);
        }
    }

    fn take_delivery(&mut self, delivery: Delivery) {
        let line = delivery.connection().place() as usize;
        if delivery.connection() != self.id(line) {
            return;
        }
        match delivery {
            Delivery::Bytes { range, completed, .. } => {
                self.count(range.len());
                self.lines[line].order.completed(completed);
            }
            Delivery::Opened { session, .. } => self.lines[line].session = Some(session),
            Delivery::Close { .. } => self.close(line),
        }
    }

    fn count(&mut self, bytes: usize) {
        self.answer_bytes += bytes;
        assert!(self.answer_bytes <= ANSWER_BYTES_MAX, "{} bytes of answers", self.answer_bytes);
    }
}

/// Conversations: a handshake, then every request there is.
pub fn session_seeds() -> Vec<Vec<u8>> {
    let mut handshake = Vec::new();
    ConnectRequest {
        last_zxid_seen: 0,
        timeout_ms: 5000,
        session: SessionId::NONE,
        password: &[0; 16],
        read_only: Some(false),
    }
    .write(&mut handshake);
    let framed = |line: u8, frame: &[u8]| [&[line][..], &(frame.len() as u16).to_be_bytes(), frame].concat();
    let mut all = [framed(0, &handshake), framed(1, &handshake)].concat();
    let mut seeds = Vec::new();
    for (number, request) in seeds::requests().iter().enumerate() {
        seeds.push([framed(0, &handshake), framed(0, request)].concat());
        let line = (number % CONNECTIONS) as u8 | if number % 7 == 0 { 0x80 } else { 0 };
        all.extend(framed(line, request));
    }
    seeds.push(all);
    seeds
}
