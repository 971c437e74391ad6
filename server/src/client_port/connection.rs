//! One connection, as its owner sees it: from bytes to frames to answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use protocol::client::connect::{ReplyHeader, RequestHeader};
use protocol::client::op_code::OpCode;
use protocol::client::request::AuthPacket;
use protocol::client::response::write_header_frame;
use protocol::jute::{FrameStart, JuteWrite, Reader};
use protocol::{ErrorCode, Id, Xid, Zxid};
use replica::pipeline::read::{After, Caller, Source};
use replica::{ConnectionId, Route, SessionOrder};
use tracing::{debug, warn};

use super::four_letter::{self, Word};
use super::limits;
use super::link::{Link, bump};
use crate::context::ServerContext;
use crate::intake::{Batch, Item};
use crate::stats::count;

/// How far a connection has come.
enum Stage {
    /// Nothing complete has been read.
    Unknown,
    /// The handshake is with the core; nothing is read meanwhile.
    Connecting,
    /// It serves a session.
    Open {
        session: protocol::SessionId,
        /// Told to the core whenever the client is heard.
        heard_ms: Arc<AtomicU64>,
    },
    /// Only what is left to be sent is sent.
    Closing,
}

/// One connection.
pub struct Connection {
    /// The part that others may touch.
    pub link: Arc<Link>,
    ids: Arc<[Id]>,
    stage: Stage,
    order: SessionOrder,
    /// Bytes of an incomplete frame, or what was read behind a request that must be answered first.
    inbox: Vec<u8>,
    /// Bytes to be sent.
    pub outbox: Vec<u8>,
    /// How many of them are sent.
    pub outbox_sent: usize,
    /// Whether the socket may hold more to read.
    pub readable: bool,
    /// Answers of the core among the bytes to be sent; [`Link::undelivered`] counts them until they are sent.
    pub absorbed: u32,
    /// Whether a place in the list of connections to be flushed is taken.
    pub dirty: bool,
    /// Whether the core knows the connection.
    pub introduced: bool,
}

/// What a connection works with while it handles input. The tree's lock is held for all of it.
pub struct Work<'a> {
    /// What reads are answered from.
    pub source: Source<'a>,
    /// Everything else there is to know.
    pub server: &'a ServerContext,
    /// What goes to the core.
    pub outgoing: &'a mut Batch,
    /// The monotonic clock.
    pub now_ms: u64,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(link: Arc<Link>) -> Connection {
        let address = four_letter::java_address(link.peer.ip());
        Connection {
            ids: Arc::from([Id::new("ip", address)]),
            link,
            stage: Stage::Unknown,
            order: SessionOrder::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            outbox_sent: 0,
            readable: true,
            absorbed: 0,
            dirty: false,
            introduced: false,
        }
    }

    /// Which one.
    pub fn id(&self) -> ConnectionId {
        self.link.id
    }

    /// Bytes that are not sent yet.
    pub fn unsent(&self) -> usize {
        self.outbox.len() - self.outbox_sent
    }

    /// Whether it must be closed as soon as everything is sent.
    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// Whether it has not said who it is.
    pub fn is_unknown(&self) -> bool {
        matches!(self.stage, Stage::Unknown)
    }

    /// Nothing more is read or answered; what is in the outbox is sent, then the connection closes.
    pub fn close_when_sent(&mut self) {
        self.stage = Stage::Closing;
        self.inbox = Vec::new();
    }

    /// The handshake succeeded.
    pub fn open(
        &mut self,
        session: protocol::SessionId,
        timeout_ms: i32,
        heard_ms: Arc<AtomicU64>,
        zxid: Zxid,
    ) {
        if self.is_closing() {
            return;
        }
        self.link.counts.last_op.store(OpCode::CreateSession.to_wire(), Relaxed);
        self.link.counts.last_cxid.store(0, Relaxed);
        self.link.counts.last_zxid.store(zxid.to_wire(), Relaxed);
        self.link.counts.session.store(session.get(), Relaxed);
        self.link.counts.timeout_ms.store(timeout_ms, Relaxed);
        self.stage = Stage::Open { session, heard_ms };
    }

    /// The core has answered so many requests.
    pub fn completed(&mut self, count: u32) {
        self.order.completed(count);
        self.link.counts.queued.store(self.order.pending(), Relaxed);
    }

    /// Whether input must wait for something.
    pub fn must_pause(&self, server: &ServerContext) -> bool {
        match self.stage {
            Stage::Connecting => true,
            Stage::Closing => true,
            Stage::Unknown => false,
            Stage::Open { .. } => {
                let pending = self.order.pending();
                self.unsent() > limits::OUTBOX_PAUSE_BYTES
                    || pending >= limits::PENDING_MAX
                    || (pending > 0 && server.intake.outstanding() >= server.limits.outstanding_max)
            }
        }
    }

    /// Whether complete or incomplete frames wait.
    pub fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Handles what was read, and what had to wait before it, as far as it may be handled now.
    pub fn take_input(&mut self, fresh: &[u8], work: &mut Work<'_>) {
        let counts = &self.link.counts;
        counts.last_activity_ms.store(work.now_ms, Relaxed);
        if let Stage::Open { heard_ms, .. } = &self.stage {
            heard_ms.store(work.now_ms, Relaxed);
        }
        if self.inbox.is_empty() {
            let used = self.take_frames(fresh, work);
            if !self.is_closing() {
                self.inbox.extend_from_slice(&fresh[used..]);
            }
        } else {
            self.inbox.extend_from_slice(fresh);
            let mut input = std::mem::take(&mut self.inbox);
            let used = self.take_frames(&input, work);
            if !self.is_closing() {
                if used == input.len() {
                    input = Vec::new();
                } else {
                    input.drain(..used);
                }
                self.inbox = input;
            }
        }
        self.link.counts.queued.store(self.order.pending(), Relaxed);
    }

    /// Returns how many bytes were used.
    fn take_frames(&mut self, input: &[u8], work: &mut Work<'_>) -> usize {
        let mut used = 0;
        while let Some(head) = input[used..].first_chunk::<4>() {
            if self.must_pause(work.server) {
                break;
            }
            if self.is_unknown()
                && let Some(word) = Word::from_bytes(*head)
            {
                let argument = &input[used + 4..];
                if word.wants_argument() && argument.len() < 8 {
                    break;
                }
                self.answer_word(word, argument, work);
                return input.len();
            }
            let length = i32::from_be_bytes(*head);
            let most = work.server.limits.frame_bytes_max;
            let Some(length) = usize::try_from(length).ok().filter(|&length| length <= most) else {
                self.refuse_length(length, work);
                break;
            };
            let Some(frame) = input[used + 4..].get(..length) else { break };
            used += 4 + length;
            self.take_frame(frame, work);
        }
        used
    }

    fn refuse_length(&mut self, length: i32, work: &Work<'_>) {
        count(&work.server.stats.oversized_frames, 1);
        warn!(
            peer = %self.link.peer,
            session = self.link.counts.session.load(Relaxed),
            frame_bytes = length,
            limit_bytes = work.server.limits.frame_bytes_max,
            "connection closed: the frame is longer than jute.maxbuffer allows, or not a ZooKeeper frame at all; \
             raise jute.maxbuffer on servers and clients if requests are meant to be this large"
        );
        self.close_when_sent();
    }

    fn answer_word(&mut self, word: Word, argument: &[u8], work: &mut Work<'_>) {
        bump(&self.link.counts.received, 1);
        if word != Word::TelnetBreak {
            count(&work.server.stats.packets_sent, 1);
        }
        let text = four_letter::answer(word, argument, work.server, work.source.tree);
        self.outbox.extend_from_slice(text.as_bytes());
        self.close_when_sent();
    }

    fn take_frame(&mut self, frame: &[u8], work: &mut Work<'_>) {
        bump(&self.link.counts.received, 1);
        match &self.stage {
            Stage::Unknown => {
                count(&work.server.stats.connection_requests, 1);
                work.server.registry.known();
                self.introduced = true;
                self.stage = Stage::Connecting;
                let payload = work.outgoing.hold(frame);
                work.outgoing.items.push(Item::Connect {
                    connection: self.id(),
                    payload,
                    ids: Arc::clone(&self.ids),
                    link: Arc::clone(&self.link),
                });
            }
            Stage::Open { session, .. } => {
                let session = *session;
                self.take_request(session, frame, work);
            }
            Stage::Connecting | Stage::Closing => unreachable!("no frame is taken then"),
        }
    }

    fn take_request(&mut self, session: protocol::SessionId, frame: &[u8], work: &mut Work<'_>) {
        let mut reader = Reader::new(frame);
        let Ok(RequestHeader { xid, op }) = RequestHeader::read(&mut reader) else {
            debug!(peer = %self.link.peer, "connection closed: a frame without a request header");
            return self.close_when_sent();
        };
        let body = reader.rest();
        let known = OpCode::from_wire(op);
        match known {
            Some(OpCode::Auth) => return self.authenticate(xid, body, work),
            Some(OpCode::Sasl) => return self.answer_sasl(xid, body, work),
            _ => {}
        }
        let counts = &self.link.counts;
        counts.last_op.store(op, Relaxed);
        if xid.get() >= 0 {
            counts.last_cxid.store(xid.get().into(), Relaxed);
        }
        match self.order.route(known) {
            Route::SendAlong => {
                if !self.admit_large(frame.len(), work) {
                    return self.close_when_sent();
                }
                let body = work.outgoing.hold(body);
                work.outgoing.requests += 1;
                work.outgoing.items.push(Item::Request {
                    connection: self.id(),
                    xid,
                    op,
                    body,
                    received_ms: work.now_ms,
                });
            }
            Route::AnswerHere => {
                let caller = Caller { watcher: self.id().watcher(), session, ids: &self.ids };
                let after = work.source.answer(caller, xid, op, body, &mut self.outbox);
                bump(&counts.sent, 1);
                counts.last_zxid.store(work.source.tree.last_zxid().to_wire(), Relaxed);
                counts.last_response_ms.store(work.now_ms, Relaxed);
                counts.last_latency_ms.store(0, Relaxed);
                if after == After::Close {
                    self.close_when_sent();
                }
            }
        }
    }

    /// Requests above the operator's threshold share a room of limited size while the core has them. Those that
    /// are answered here are done before the next one is looked at.
    fn admit_large(&self, bytes: usize, work: &mut Work<'_>) -> bool {
        let Some(large) = work.server.settings.limits.large_requests else { return true };
        if bytes <= large.threshold_bytes as usize {
            return true;
        }
        let admitted = work.server.intake.admit_large(bytes, large.in_flight_bytes_max as usize);
        if admitted {
            work.outgoing.large_bytes += bytes;
        } else {
            warn!(
                peer = %self.link.peer,
                request_bytes = bytes,
                "connection closed: too many bytes of large requests under way (largeRequestMaxBytes)"
            );
        }
        admitted
    }

    /// Proved here; the core hears of it, because it checks permissions of writes.
    fn authenticate(&mut self, xid: Xid, body: &[u8], work: &mut Work<'_>) {
        let Ok(packet) = AuthPacket::read(body) else {
            debug!(peer = %self.link.peer, "connection closed: an auth packet that cannot be read");
            return self.close_when_sent();
        };
        let mut ids = self.ids.to_vec();
        let scheme = packet.scheme.unwrap_or(Cow::Borrowed(""));
        let verdict = match packet.auth {
            Some(auth) => work.source.rules.auth.authenticate(&scheme, auth, &mut ids),
            None => Err(ErrorCode::AuthFailed),
        };
        match verdict {
            Ok(()) => {
                self.ids = Arc::from(ids);
                work.outgoing
                    .items
                    .push(Item::Authenticated { connection: self.id(), ids: Arc::clone(&self.ids) });
                let mut frame = Vec::new();
                write_header_frame(&mut frame, xid, 0, 0);
                // Through the core also when nothing is under way there: requests behind it must find that the core
                // knows the identity, or a watch event that the client may see by now would be kept from it.
                self.relay(&frame, After::Continue, work);
            }
            Err(_) => {
                count(&work.server.stats.auth_failed, 1);
                warn!(peer = %self.link.peer, %scheme, "authentication refused, connection closed");
                let mut frame = Vec::new();
                write_header_frame(&mut frame, xid, 0, ErrorCode::AuthFailed.to_wire());
                self.reply(&frame, After::Close, work);
            }
        }
    }

    /// No SASL mechanism is configured: Java answers such a server's clients with an empty token and goes on.
    fn answer_sasl(&mut self, xid: Xid, body: &[u8], work: &mut Work<'_>) {
        match Reader::new(body).buffer() {
            Ok(Some(_)) => {
                let mut reply = Vec::new();
                let frame = FrameStart::open(&mut reply);
                ReplyHeader { xid, zxid: 0, error: 0 }.write(&mut reply);
                reply.put_buffer(None);
                frame.close(&mut reply);
                self.reply(&reply, After::Continue, work);
            }
            _ => self.close_when_sent(),
        }
    }

    /// Sends a frame that needs nothing from the tree: at once, or behind the requests that are with the core.
    /// While there are any, only the core's answers may go to the socket (see [`crate::post_office`]).
    fn reply(&mut self, frame: &[u8], after: After, work: &mut Work<'_>) {
        if self.order.pending() > 0 {
            return self.relay(frame, after, work);
        }
        self.outbox.extend_from_slice(frame);
        bump(&self.link.counts.sent, 1);
        if after == After::Close {
            self.close_when_sent();
        }
    }

    /// Sends a frame by way of the core, behind everything that is there; what is read meanwhile goes the same way.
    fn relay(&mut self, frame: &[u8], after: After, work: &mut Work<'_>) {
        self.order.send_along();
        let frame = work.outgoing.hold(frame);
        work.outgoing.requests += 1;
        work.outgoing.items.push(Item::Relay {
            connection: self.id(),
            frame,
            close: after == After::Close,
            received_ms: work.now_ms,
        });
    }
}
