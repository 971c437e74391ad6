//! One connection as its I/O thread sees it: what the production shell does with bytes, frames and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::client::connect::RequestHeader;
use protocol::client::op_code::OpCode;
use protocol::client::request::AuthPacket;
use protocol::client::response::write_header_frame;
use protocol::{ErrorCode, Id, Reader, SessionId, Xid};
use replica::pipeline::read::{After, Caller, Source};
use replica::{ConnectionId, Route, SessionOrder};

use super::Item;
use crate::bugs::Bug;
use crate::oracle::Oracle;

/// Requests under way beyond which a connection is not read: small, so that the limit is met.
const PENDING_MAX: u32 = 6;

/// How far a connection has come.
enum Stage {
    /// Nothing complete has been read.
    Unknown,
    /// The handshake is with the core.
    Connecting,
    /// It serves a session.
    Open { session: SessionId, heard_ms: Arc<AtomicU64> },
    /// Only what is left to be sent is sent.
    Closing,
}

/// One connection.
pub struct Connection {
    /// Its name.
    pub id: ConnectionId,
    /// Its place among the links of the world.
    pub link: usize,
    ids: Arc<[Id]>,
    stage: Stage,
    order: SessionOrder,
    inbox: Vec<u8>,
    /// Bytes to be sent.
    pub outbox: Vec<u8>,
    /// Whether the core knows the connection.
    pub introduced: bool,
    /// What the core should have been told before.
    late: Vec<Item>,
}

/// What a connection works with while it handles input; the tree's lock is held for all of it.
pub(super) struct Work<'a> {
    pub source: Source<'a>,
    pub outgoing: &'a mut Vec<Item>,
    pub oracle: &'a mut Oracle,
    pub now_ms: u64,
    pub bug: Option<Bug>,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(id: ConnectionId, link: usize) -> Connection {
        Connection {
            id,
            link,
            ids: Arc::from([Id::new("ip", "127.0.0.1")]),
            stage: Stage::Unknown,
            order: SessionOrder::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            introduced: false,
            late: Vec::new(),
        }
    }

    /// Whether it must be closed as soon as everything is sent.
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && self.order.pending() == 0 && self.inbox.is_empty() && !self.is_closing()
    }

    /// Nothing more is read or answered.
    pub fn close_when_sent(&mut self) {
        self.stage = Stage::Closing;
        self.inbox = Vec::new();
    }

    /// The handshake succeeded.
    pub fn open(&mut self, session: SessionId, heard_ms: Arc<AtomicU64>) {
        if !self.is_closing() {
            self.stage = Stage::Open { session, heard_ms };
        }
    }

    /// The core has answered so many requests.
    pub fn completed(&mut self, count: u32) {
        self.order.completed(count);
    }

    /// Whether input must wait for something.
    pub fn must_pause(&self) -> bool {
        match self.stage {
            Stage::Connecting | Stage::Closing => true,
            Stage::Unknown => false,
            Stage::Open { .. } => self.order.pending() >= PENDING_MAX,
        }
    }

    /// Whether frames wait.
    pub fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Handles what was read, and what had to wait before it.
    pub(super) fn take_input(&mut self, fresh: &[u8], work: &mut Work<'_>) {
        work.outgoing.append(&mut self.late);
        if let Stage::Open { session, heard_ms } = &self.stage
            && !fresh.is_empty()
        {
            if work.bug != Some(Bug::Deaf) {
                heard_ms.store(work.now_ms, Ordering::Relaxed);
            }
            work.oracle.expiry.on_heard(*session, work.now_ms);
        }
        let mut input = std::mem::take(&mut self.inbox);
        input.extend_from_slice(fresh);
        let mut used = 0;
        while !self.must_pause()
            && let Some(head) = input[used..].first_chunk::<4>()
        {
            let length = u32::from_be_bytes(*head) as usize;
            let Some(frame) = input[used + 4..].get(..length) else { break };
            used += 4 + length;
            self.take_frame(frame, work);
        }
        if !self.is_closing() {
            self.inbox = input.split_off(used);
        }
    }

    fn take_frame(&mut self, frame: &[u8], work: &mut Work<'_>) {
        let session = match &self.stage {
            Stage::Unknown => {
                self.introduced = true;
                self.stage = Stage::Connecting;
                let ids = Arc::clone(&self.ids);
                return work.outgoing.push(Item::Connect {
                    connection: self.id,
                    payload: frame.to_vec(),
                    ids,
                });
            }
            Stage::Open { session, .. } => *session,
            Stage::Connecting | Stage::Closing => unreachable!("no frame is taken then"),
        };
        let mut reader = Reader::new(frame);
        let Ok(RequestHeader { xid, op }) = RequestHeader::read(&mut reader) else {
            return self.close_when_sent();
        };
        let known = OpCode::from_wire(op);
        if known == Some(OpCode::Auth) {
            return self.authenticate(xid, reader.rest(), work);
        }
        let is_read = !known.is_some_and(|op| op.is_write() || op == OpCode::Sync);
        let mut route = self.order.route(known);
        if work.bug == Some(Bug::ReadsOvertakeWrites) && is_read && route == Route::SendAlong {
            self.order.completed(1);
            route = Route::AnswerHere;
        }
        match route {
            Route::SendAlong => {
                work.oracle.tally.note_if(is_read, "reads carried behind writes");
                let body = reader.rest().to_vec();
                let received_ms = work.now_ms;
                work.outgoing.push(Item::Request { connection: self.id, xid, op, body, received_ms });
            }
            Route::AnswerHere => {
                work.oracle.tally.note("reads answered at once");
                let caller = Caller { watcher: self.id.watcher(), session, ids: &self.ids };
                let after = work.source.answer(caller, xid, op, reader.rest(), &mut self.outbox);
                if after == After::Close {
                    self.close_when_sent();
                }
            }
        }
    }

    /// Proved here; the core hears of it, because it checks permissions of writes.
    fn authenticate(&mut self, xid: Xid, body: &[u8], work: &mut Work<'_>) {
        let Ok(AuthPacket { scheme: Some(scheme), auth: Some(auth) }) = AuthPacket::read(body) else {
            return self.close_when_sent();
        };
        let mut ids = self.ids.to_vec();
        let verdict = work.source.rules.auth.authenticate(&scheme, auth, &mut ids);
        let mut frame = Vec::new();
        work.oracle.tally.note_if(self.order.pending() > 0, "answer relayed behind requests");
        if verdict.is_ok() {
            self.ids = Arc::from(ids);
            let news = Item::Authenticated { connection: self.id, ids: Arc::clone(&self.ids) };
            let late = work.bug == Some(Bug::LateIdentities);
            if late {
                self.late.push(news)
            } else {
                work.outgoing.push(news)
            }
            write_header_frame(&mut frame, xid, 0, 0);
        } else {
            write_header_frame(&mut frame, xid, 0, ErrorCode::AuthFailed.to_wire());
        }
        let close = verdict.is_err();
        if self.order.pending() > 0 || work.bug != Some(Bug::LateIdentities) {
            // Through the core also when nothing is under way there: whatever follows must find that the core knows
            // the identity, or an event that the connection may see by now would be kept from it.
            self.order.send_along();
            let received_ms = work.now_ms;
            return work.outgoing.push(Item::Relay { connection: self.id, frame, close, received_ms });
        }
        self.outbox.extend_from_slice(&frame);
        if close {
            self.close_when_sent();
        }
    }
}
