//! What is durable is applied and answered, in order.

use std::sync::Arc;

use protocol::SessionId;
use protocol::Zxid;
use protocol::client::connect::ConnectResponse;
use protocol::client::response::write_header_frame;
use protocol::jute::FrameStart;
use protocol::txn::{Transaction, TxnBody};
use tree::{Tree, WatcherId};

use super::{Connection, Replica, find_in};
use crate::input::Now;
use crate::limits;
use crate::output::{Delivery, Fact, Outlet, Outputs};
use crate::pipeline::apply::WatchEvents;
use crate::pipeline::queue::Work;
use crate::pipeline::read::{After, Caller, Source};
use crate::pipeline::reply::write_reply;
use crate::shared::Shared;

impl Replica {
    pub(super) fn on_synced(&mut self, now: Now, up_to: Zxid, outlet: &mut dyn Outlet) {
        self.durable = self.durable.max(up_to);
        let shared = Arc::clone(&self.shared);
        while self.queue.ready(self.durable).is_some() || !self.outputs.is_empty() {
            let mut tree = shared.lock().write();
            self.complete_batch(now, &mut tree);
            if self.snapshot.is_due(&self.settings, tree.node_count() as u64) {
                self.snapshot.running = true;
                self.snapshot.restart(&self.settings);
                self.outputs.facts.push(Fact::SnapshotDue(Box::new(tree.begin_snapshot())));
            }
            // Still under the lock: see `Outlet`.
            outlet.deliver(&mut self.outputs);
            self.outputs.clear();
            drop(tree);
            outlet.released();
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
