//! A session as its client sees it: what it has asked for, what it was told, and what must therefore be true.
//!
//! How bytes get to a server and when to ask for what is the client's business, of which there are two kinds.

use std::collections::VecDeque;

use protocol::client::connect::{ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::multi::MultiOp;
use protocol::client::request::{AuthPacket, Request};
use protocol::client::response::{MultiResult, Response};
use protocol::client::watch::{AddWatchMode, WatcherType};
use protocol::{DecodeError, ErrorCode, OpCode, Reader, SessionId, Xid, Zxid};

use crate::checkers::origin::Sent;
use crate::checkers::read_your_writes::ReadYourWrites;
use crate::checkers::session_order::SessionOrder;
use crate::checkers::watches::Watches;
use crate::checkers::{Verdict, Violation, ensure, linearizable, real_time};
use crate::model::{Model, Who};
use crate::random::Random;

/// Names that a client remembers.
const KNOWN_MAX: usize = 12;

/// A request without a reply.
pub(crate) struct Outstanding {
    pub xid: Xid,
    pub op: OpCode,
    body: Vec<u8>,
    /// What any client had seen when it was asked.
    seen: Zxid,
}

impl Outstanding {
    /// The request once more.
    pub fn request(&self) -> Request<'_> {
        Request::read(self.op, &self.body).expect("clients send what can be read")
    }
}

/// A session, and whoever holds it.
pub(crate) struct ClientSession {
    /// The client's name.
    name: usize,
    /// As whom the client authenticates on every connection.
    pub who: Who,
    pub id: SessionId,
    pub password: Vec<u8>,
    pub timeout_ms: i32,
    timeouts_ms: (i32, i32),
    /// The highest zxid in a reply.
    pub seen: i64,
    /// The highest zxid in an event.
    told: i64,
    pub next_xid: i32,
    pub outstanding: VecDeque<Outstanding>,
    order: SessionOrder,
    writes: ReadYourWrites,
    pub watches: Watches,
    /// Paths that the server has named, for later use.
    pub known: Vec<String>,
    /// Its end was asked for.
    pub closing: bool,
    pub reattached: bool,
}

impl ClientSession {
    /// No session yet; servers permit timeouts within limits.
    pub fn new(name: usize, random: &mut Random, timeouts_ms: (i32, i32)) -> ClientSession {
        let who = if random.chance(1, 3) { Who::Bob } else { Who::Anyone };
        ClientSession {
            name,
            who,
            id: SessionId::NONE,
            password: vec![0; 16],
            timeout_ms: 0,
            timeouts_ms,
            seen: 0,
            told: 0,
            next_xid: 1,
            outstanding: VecDeque::new(),
            order: SessionOrder::default(),
            writes: ReadYourWrites::default(),
            watches: Watches::new(who),
            known: Vec::new(),
            closing: false,
            reattached: false,
        }
    }

    /// From the start it is somebody else's.
    pub fn be(&mut self, who: Who) {
        self.who = who;
        self.watches = Watches::new(who);
    }

    /// Says whose view it was.
    pub fn sign(&self, violation: Violation) -> Violation {
        let Violation { promise, detail } = violation;
        Violation { promise, detail: format!("client {}, session {}: {detail}", self.name, self.id) }
    }

    /// What the client waits for, for a run that does not come to an end.
    pub fn waits_for(&self) -> Option<(Xid, OpCode)> {
        self.outstanding.front().map(|oldest| (oldest.xid, oldest.op))
    }

    /// A timeout to ask for: beyond the limits on both sides, so that the server has to negotiate.
    pub fn draw_timeout_ms(&self, random: &mut Random) -> i32 {
        let (least, most) = self.timeouts_ms;
        random.between(least as u64 / 2, most as u64 + 100) as i32
    }

    /// What the client says it has seen when it connects: every second one counts events too, as `ferrokeeper-client` does.
    pub fn connect(&mut self) -> i64 {
        let seen = if self.name % 2 == 1 { self.seen.max(self.told) } else { self.seen };
        self.order.on_connecting(seen);
        seen
    }

    /// An event came with this zxid.
    pub fn on_event(&mut self, zxid: i64) -> Verdict {
        self.order.on_zxid(zxid)?;
        self.told = self.told.max(zxid);
        Ok(())
    }

    /// The server gives a session, or this one again, which it says.
    pub fn on_opened(&mut self, response: &ConnectResponse) -> Result<bool, Violation> {
        let again = self.id != SessionId::NONE;
        ensure(!again || response.session == self.id, "sessions", || {
            format!("session {} was given for {}", response.session, self.id)
        })?;
        self.reattached = again;
        self.id = response.session;
        self.password = response.password.to_vec();
        self.timeout_ms = response.timeout_ms;
        Ok(again)
    }

    /// The server says that the session is over; there must have been one.
    pub fn check_told_over(&self) -> Verdict {
        ensure(self.id != SessionId::NONE, "sessions", || "a new session was refused".to_owned())
    }

    /// Whatever was asked on the connection will not be answered.
    pub fn on_connection_lost(&mut self) {
        self.outstanding.clear();
        self.watches.on_connection_lost();
        if self.closing {
            self.forget();
        }
    }

    /// The session is over; the next connection opens a new one. What the client has seen, it has seen.
    pub fn forget(&mut self) {
        self.id = SessionId::NONE;
        self.password = vec![0; 16];
        self.watches = Watches::new(self.who);
        self.writes = ReadYourWrites::default();
        self.closing = false;
        self.reattached = false;
        self.next_xid = 1;
    }

    /// An auth packet, without its length, if the client has anything to prove.
    pub fn authenticate(&mut self) -> Option<Vec<u8>> {
        let secret = self.who.secret()?;
        let mut frame = Vec::new();
        RequestHeader { xid: Xid::AUTH, op: OpCode::Auth.to_wire() }.write(&mut frame);
        AuthPacket { scheme: Some("digest".into()), auth: Some(secret) }.write(&mut frame);
        let (xid, op) = (Xid::AUTH, OpCode::Auth);
        self.outstanding.push_back(Outstanding { xid, op, body: Vec::new(), seen: Zxid::ZERO });
        Some(frame)
    }

    /// What sets the watches again on a new connection, if there are any.
    pub fn watches_again(&self) -> Option<Request<'static>> {
        let lists = || Box::new(self.watches.to_set_again(Zxid::from_wire(self.seen)));
        (!self.watches.is_empty()).then(|| Request::SetWatches(lists()))
    }

    /// Asks for something: the frame without its length, the number of the request, and what the oracle must know of
    /// it if it is a write. `seen` is what any client has seen by now.
    pub fn ask(&mut self, op: OpCode, request: &Request<'_>, seen: Zxid) -> (Vec<u8>, Xid, Option<Sent>) {
        let xid = match op {
            OpCode::Ping => Xid::PING,
            OpCode::SetWatches2 => Xid::SET_WATCHES,
            _ => {
                let xid = Xid::new(self.next_xid);
                self.next_xid += 1;
                xid
            }
        };
        let mut frame = Vec::new();
        RequestHeader { xid, op: op.to_wire() }.write(&mut frame);
        let body_at = frame.len();
        request.write(&mut frame);
        let body = frame[body_at..].to_vec();
        let sent = op.is_write().then(|| Sent { op: op.to_wire(), body: body.clone(), who: self.who, seen });
        self.outstanding.push_back(Outstanding { xid, op, body, seen });
        (frame, xid, sent)
    }

    /// A reply came: the request that it answers.
    pub fn on_reply(&mut self, model: &Model, header: &ReplyHeader) -> Result<Outstanding, Violation> {
        let oldest = self.outstanding.front().map(|oldest| oldest.xid);
        self.order.on_reply(oldest, header.xid, header.zxid)?;
        let outstanding = self.outstanding.pop_front().expect("the order was just checked");
        if outstanding.xid != Xid::SET_WATCHES {
            self.watches.on_reply(model, header.zxid)?;
        }
        self.seen = self.seen.max(header.zxid);
        Ok(outstanding)
    }

    /// The answer to an auth packet.
    pub fn on_authenticated(header: &ReplyHeader) -> Verdict {
        ensure(header.error == 0, "sessions", || format!("authentication failed: {}", header.error))
    }

    /// The answer to anything that is not a write.
    pub fn on_answer(
        &mut self,
        model: &Model,
        outstanding: &Outstanding,
        header: &ReplyHeader,
        body: &[u8],
    ) -> Verdict {
        let request = outstanding.request();
        match &request {
            Request::SetWatches(lists) => self.watches.on_set_again(model, lists, header.zxid)?,
            Request::Sync { .. } => {
                real_time::check_sync(outstanding.seen, Zxid::from_wire(header.zxid))?;
            }
            Request::AddWatch { path, mode } if header.error == 0 => {
                let recursive = *mode == AddWatchMode::PersistentRecursive as i32;
                self.watches.add_lasting(path, recursive);
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                self.on_watch_answer(outstanding.op, path, *kind, header)?;
            }
            _ => {}
        }
        let caller = (self.id, self.who);
        let answer = linearizable::check_read(model, caller, outstanding.op, &request, header, body)?;
        self.on_read(&request, header, answer)
    }

    fn on_watch_answer(&mut self, op: OpCode, path: &str, kind: i32, header: &ReplyHeader) -> Verdict {
        let kind = WatcherType::from_wire(kind).expect("clients ask for known types");
        let expected = if self.watches.has(path, kind) { 0 } else { ErrorCode::NoWatcher.to_wire() };
        ensure(header.error == expected, "watches", || {
            format!(
                "{op:?} of {path} ({kind:?}) was answered with {}, and should be with {expected}",
                header.error
            )
        })?;
        if op == OpCode::RemoveWatches && header.error == 0 {
            self.watches.remove(path, kind);
        }
        Ok(())
    }

    fn on_read(&mut self, request: &Request<'_>, header: &ReplyHeader, answer: Option<Response>) -> Verdict {
        let found = header.error == 0;
        let missing = header.error == ErrorCode::NoNode.to_wire();
        match request {
            Request::GetData { path, watch: true } if found => self.watches.add_data(path, true),
            Request::Exists { path, watch: true } if found || missing => self.watches.add_data(path, found),
            Request::GetChildren { path, watch: true } | Request::GetChildren2 { path, watch: true }
                if found =>
            {
                self.watches.add_child(path);
            }
            _ => {}
        }
        if let (Request::GetData { path, .. }, Some(Response::Data(_, stat)))
        | (Request::Exists { path, .. }, Some(Response::Stat(stat))) = (request, &answer)
        {
            self.writes.on_read(path, stat)?;
        }
        Ok(())
    }

    /// The answer to a write, which [`linearizable::check_write`] found to be its own.
    pub fn on_written(&mut self, outstanding: &Outstanding, header: &ReplyHeader, body: &[u8]) -> Verdict {
        if header.error != 0 || outstanding.op == OpCode::CloseSession {
            return Ok(());
        }
        let zxid = Zxid::from_wire(header.zxid);
        let broken = |error: DecodeError| Violation::new("frames", error.to_string());
        let response = Response::read(outstanding.op, &mut Reader::new(body)).map_err(broken)?;
        match (outstanding.request(), response) {
            (Request::SetData { path, .. }, _) => self.writes.on_written(&path, zxid),
            (Request::Create(_), Response::Path(path) | Response::Created(path, _)) => {
                self.writes.on_written(&path, zxid);
                self.remember(path);
            }
            (Request::Multi(ops), Response::Multi(results)) => {
                for (op, result) in ops.iter().zip(results) {
                    match (op, result) {
                        (MultiOp::SetData { path, .. }, MultiResult::DataSet(_)) => {
                            self.writes.on_written(path, zxid);
                        }
                        (_, MultiResult::Created { path, .. }) => self.remember(path),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn remember(&mut self, path: String) {
        if self.known.len() == KNOWN_MAX {
            self.known.remove(0);
        }
        self.known.push(path);
    }
}
