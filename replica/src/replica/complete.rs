//! What is durable is applied and answered, in order.

use std::sync::Arc;

use protocol::client::connect::ConnectResponse;
use protocol::client::response::write_header_frame;
use protocol::jute::{FrameStart, Reader};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{SessionId, Xid, Zxid};
use tree::{Tree, WatcherId};

use super::{Connection, Replica, Standing, find_in};
use crate::input::Now;
use crate::limits;
use crate::output::{Delivery, Fact, Outlet, Outputs};
use crate::pipeline::apply::WatchEvents;
use crate::pipeline::queue::{Entry, Work};
use crate::pipeline::read::{After, Caller, Source};
use crate::pipeline::reply::write_reply;
use crate::shared::Shared;

impl Replica {
    /// Applies and answers whatever can be. Called at the end of every batch of events.
    pub(super) fn complete(&mut self, now: Now, outlet: &mut dyn Outlet) {
        let shared = Arc::clone(&self.shared);
        while self.can_complete()
            || self.resolve_doubts(now)
            || !self.outputs.is_empty()
            || self.transfer_is_due()
        {
            let mut tree = shared.lock().write();
            self.complete_batch(now, &mut tree);
            self.start_due_transfer(&mut tree);
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

    /// Hands over what there is, and applies nothing.
    pub(super) fn deliver(&mut self, outlet: &mut dyn Outlet) {
        let shared = Arc::clone(&self.shared);
        let tree = shared.lock().write();
        outlet.deliver(&mut self.outputs);
        self.outputs.clear();
        drop(tree);
        outlet.released();
    }

    pub(super) fn can_complete(&self) -> bool {
        self.queue.ready(self.progress).is_some() || self.next_proposal().is_some()
    }

    pub(super) fn complete_batch(&mut self, now: Now, tree: &mut Tree) {
        let mut applied = Zxid::ZERO;
        let mut count = 0;
        for _ in 0..limits::APPLY_BATCH {
            if let Some(entry) = self.next_entry() {
                if let Work::Transaction(zxid) = entry.work {
                    self.complete_transaction(now, zxid, None, Some(&entry), tree);
                    applied = zxid;
                    count += 1;
                } else {
                    self.complete_other(now, &entry, tree);
                }
                self.queue.pop();
            } else if let Some(whose) = self.next_proposal() {
                let (zxid, envelope) = self.proposals.pop_front().expect("it was looked at");
                let entry = match whose {
                    Whose::Ours => self.queue.oldest().map(|(entry, _)| entry.clone()),
                    Whose::Foreign => None,
                };
                self.complete_transaction(now, zxid, Some(&envelope), entry.as_ref(), tree);
                if entry.is_some() {
                    self.queue.pop();
                }
                applied = zxid;
                count += 1;
            } else {
                break;
            }
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

    /// The oldest entry, if it can be completed now.
    fn next_entry(&self) -> Option<Entry> {
        let (entry, _) = self.queue.ready(self.progress)?;
        // The leader's word that a sync is done stands behind the commits that the sync must see; those of other servers'
        // clients are not in the queue.
        let must_wait = matches!(entry.work, Work::Sync(_)) && self.next_proposal() == Some(Whose::Foreign);
        (!must_wait).then(|| entry.clone())
    }

    /// Whether the leader's next transaction can be applied, and whether it answers a request of one of our clients.
    ///
    /// Requests go to the leader in the order of the queue, and their transactions come back in that order. Only a sync
    /// can lag: then its successors wait with it, because their answers must not overtake it.
    fn next_proposal(&self) -> Option<Whose> {
        let (zxid, envelope) = self.proposals.front()?;
        if *zxid > self.progress.committed {
            return None;
        }
        let Some((entry, blocked)) = self.queue.oldest_forwarded() else { return Some(Whose::Foreign) };
        let header = TxnHeader::read(&mut Reader::new(envelope)).expect("it was read when it came");
        if (header.session, header.cxid) != (entry.session, entry.xid.get()) {
            return Some(Whose::Foreign);
        }
        (!blocked).then_some(Whose::Ours)
    }

    /// Applies one transaction, whose envelope is the queue's oldest unless given, and answers whoever asked for it.
    fn complete_transaction(
        &mut self,
        now: Now,
        zxid: Zxid,
        envelope: Option<&[u8]>,
        entry: Option<&Entry>,
        tree: &mut Tree,
    ) {
        let envelope = envelope.unwrap_or_else(|| self.queue.oldest().expect("the caller saw it").1);
        let txn = Transaction::read(envelope).expect("an envelope that was checked can be read");
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
        let session = txn.header.session;
        let connection = entry.and_then(|entry| entry.connection);
        let (xid, op, received_ms) = entry.map_or((Xid::new(0), 0, 0), |e| (e.xid, e.op, e.received_ms));
        let latency_ms = now.monotonic_ms.saturating_sub(received_ms);
        match &txn.body {
            TxnBody::CreateSession { timeout_ms } => {
                let connection = connection.filter(|&id| find_in(&self.connections, id).is_some());
                let mut sessions = self.shared.sessions.lock();
                // A client may have come here with its new session before its transaction did, and a learner's client may
                // have asked for something: who serves it is known then.
                let tracked = sessions.get(session).map(|tracked| tracked.connection.is_some());
                if tracked.is_none() || tracked == Some(false) && connection.is_some() {
                    sessions.add(session, *timeout_ms, connection, now.monotonic_ms);
                }
                drop(sessions);
                self.outputs.facts.push(Fact::SessionOpened { session, timeout_ms: *timeout_ms });
                let connection = connection.and_then(|id| find_in(&self.connections, id));
                welcome(&self.shared, (connection, false), &mut self.outputs, session, *timeout_ms);
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

    fn complete_other(&mut self, now: Now, entry: &Entry, tree: &Tree) {
        let (_, body) = self.queue.oldest().expect("the caller saw it");
        let latency_ms = now.monotonic_ms.saturating_sub(entry.received_ms);
        let Some(id) = entry.connection else { return };
        let Some(connection) = find_in(&self.connections, id) else { return };
        let start = self.outputs.bytes.len();
        match entry.work {
            Work::Transaction(_) | Work::Forwarded => unreachable!("transactions are completed elsewhere"),
            Work::Resume { timeout_ms } | Work::OpenLocal { timeout_ms } => {
                let session = entry.session;
                self.outputs.facts.push(match entry.work {
                    Work::Resume { .. } => Fact::SessionResumed { session },
                    _ => Fact::SessionOpened { session, timeout_ms },
                });
                let read_only = self.standing == Standing::ReadOnly;
                let known = (Some(connection), read_only);
                welcome(&self.shared, known, &mut self.outputs, session, timeout_ms);
            }
            Work::CloseLocal => {
                let zxid = tree.last_zxid();
                self.outputs.facts.push(Fact::SessionClosed { session: entry.session, zxid });
                self.shared.sessions.lock().remove(entry.session);
                write_header_frame(&mut self.outputs.bytes, entry.xid, zxid.to_wire(), 0);
                self.outputs.deliver(id, start, 1, latency_ms);
                self.outputs.deliveries.push(Delivery::Close { connection: id });
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
            Work::Read | Work::Sync(_) => {
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

/// To whom a transaction belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    /// The oldest request of our own clients asked for it.
    Ours,
    /// Another server's client, or nobody.
    Foreign,
}

/// The answer to a handshake that succeeded.
fn welcome(
    shared: &Shared,
    (connection, read_only): (Option<&Connection>, bool),
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
        read_only: connection.wants_read_only_byte.then_some(read_only),
    }
    .write(&mut outputs.bytes);
    frame.close(&mut outputs.bytes);
    outputs.deliver(connection.id, start, 0, 0);
    let heard_ms = Arc::clone(&tracked.heard_ms);
    outputs.deliveries.push(Delivery::Opened { connection: connection.id, session, timeout_ms, heard_ms });
}
