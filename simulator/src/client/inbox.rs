//! What a client does with the frames that come: every one is checked.

use protocol::client::connect::{ConnectResponse, ReplyHeader};
use protocol::client::multi::MultiOp;
use protocol::client::op_code::OpCode;
use protocol::client::request::Request;
use protocol::client::response::{MultiResult, Response};
use protocol::client::watch::{AddWatchMode, WatcherEvent, WatcherType};
use protocol::{ErrorCode, Reader, SessionId, Xid, Zxid};

use super::{Client, Outstanding, Stage};
use crate::checkers::watches::Watches;
use crate::checkers::{Verdict, Violation, ensure, linearizable};
use crate::oracle::Oracle;
use crate::server::Link;

/// Names that a client remembers.
const KNOWN_MAX: usize = 12;

impl Client {
    /// Reads every complete frame.
    pub(super) fn read(&mut self, link: usize, links: &mut [Link], oracle: &mut Oracle) -> Verdict {
        self.inbox.extend(links[link].to_client.drain(..));
        let mut used = 0;
        while let Some(head) = self.inbox[used..].first_chunk::<4>() {
            let length = u32::from_be_bytes(*head) as usize;
            let Some(frame) = self.inbox[used + 4..].get(..length) else { break };
            let frame = frame.to_vec();
            used += 4 + length;
            self.on_frame(link, links, &frame, oracle).map_err(|violation| self.sign(violation))?;
            if self.link() != Some(link) {
                // The connection was given up over this frame.
                self.inbox.clear();
                return Ok(());
            }
        }
        self.inbox.drain(..used);
        Ok(())
    }

    /// Says whose view it was.
    fn sign(&self, violation: Violation) -> Violation {
        let Violation { promise, detail } = violation;
        Violation { promise, detail: format!("client {}, session {}: {detail}", self.name, self.session) }
    }

    fn on_frame(&mut self, link: usize, links: &mut [Link], frame: &[u8], oracle: &mut Oracle) -> Verdict {
        let broken =
            |error: protocol::DecodeError| Violation::new("frames", format!("{error}: {frame:02x?}"));
        if matches!(self.stage, Stage::Connecting { .. }) {
            return self.on_handshake(link, links, &ConnectResponse::read(frame).map_err(broken)?, oracle);
        }
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::read(&mut reader).map_err(broken)?;
        if header.zxid > 0 {
            oracle.durability.on_shown(Zxid::from_wire(header.zxid));
        }
        if header.xid == Xid::WATCH_EVENT {
            let event = WatcherEvent::read(&mut reader).map_err(broken)?;
            return self.on_event(&header, &event, oracle);
        }
        let oldest = self.outstanding.front().map(|oldest| oldest.xid);
        self.order.on_reply(oldest, header.xid, header.zxid)?;
        let outstanding = self.outstanding.pop_front().expect("the order was just checked");
        oracle.tally.replies += 1;
        if outstanding.xid != Xid::SET_WATCHES {
            self.watches.on_reply(&oracle.model, header.zxid)?;
        }
        oracle.tally.note_if(std::mem::take(&mut self.watches.hidden) > 0, "event hidden by an ACL");
        self.seen = self.seen.max(header.zxid);
        self.on_reply(&outstanding, &header, reader.rest(), oracle)
    }

    fn on_handshake(
        &mut self,
        link: usize,
        links: &mut [Link],
        response: &ConnectResponse,
        oracle: &mut Oracle,
    ) -> Verdict {
        if std::mem::take(&mut self.intruding) {
            ensure(response.timeout_ms <= 0, "sessions", || {
                "a wrong password opened the session".to_owned()
            })?;
            links[link].client_closed = true;
            self.stage = Stage::Apart { until_ms: 0 };
            return Ok(());
        }
        if response.timeout_ms <= 0 {
            oracle.tally.note("expired session told so");
            ensure(self.session != SessionId::NONE, "sessions", || "a new session was refused".to_owned())?;
            ensure(!oracle.expiry.is_alive(self.session), "sessions", || {
                "the client was told that its session is over, and it is not".to_owned()
            })?;
            self.forget_session();
            links[link].client_closed = true;
            self.stage = Stage::Apart { until_ms: 0 };
            return Ok(());
        }
        let again = self.session != SessionId::NONE;
        ensure(!again || response.session == self.session, "sessions", || {
            format!("session {} was given for {}", response.session, self.session)
        })?;
        oracle.tally.note_if(again, "session reattached");
        oracle.tally.note_if(again && self.restarted, "session reattached after a restart");
        self.restarted = false;
        self.reattached = again;
        self.session = response.session;
        self.password = response.password.to_vec();
        self.timeout_ms = response.timeout_ms;
        self.stage = Stage::Open { link };
        // First of all, so that everything else is judged by who the client is.
        let now_ms = self.last_sent_ms;
        self.authenticate(link, links, now_ms);
        if !self.watches.is_empty() {
            let lists = Box::new(self.watches.to_set_again(Zxid::from_wire(self.seen)));
            let now_ms = self.last_sent_ms;
            self.send(link, links, OpCode::SetWatches2, &Request::SetWatches(lists), oracle, now_ms);
        }
        Ok(())
    }

    fn on_event(&mut self, header: &ReplyHeader, event: &WatcherEvent, oracle: &mut Oracle) -> Verdict {
        self.order.on_zxid(header.zxid)?;
        if header.zxid == -1 {
            oracle.tally.note("missed event told by setWatches");
        } else {
            oracle.tally.note("watch fired");
            oracle.tally.note_if(self.reattached, "watch fired after reattach");
        }
        oracle.tally.note_if(self.watches.is_below_recursive(&event.path), "recursive watch fired");
        self.watches.on_event(&oracle.model, header.zxid, event.event, &event.path)
    }

    fn on_reply(
        &mut self,
        outstanding: &Outstanding,
        header: &ReplyHeader,
        body: &[u8],
        oracle: &mut Oracle,
    ) -> Verdict {
        let op = OpCode::from_wire(outstanding.op).expect("clients send known operations");
        if op == OpCode::Auth {
            oracle.tally.note("client authenticated");
            return ensure(header.error == 0, "sessions", || {
                format!("authentication failed: {}", header.error)
            });
        }
        let request = Request::read(op, &outstanding.body).expect("clients send what can be read");
        let code = ErrorCode::from_wire(header.error);
        if code == Some(ErrorCode::SessionExpired) {
            // No transaction: the session was closing when the request came.
            oracle.tally.note("requests refused because the session is closing");
            if op == OpCode::SetWatches2 {
                // The server holds no watches for this connection.
                self.watches = Watches::new(self.who);
            }
            return ensure(!oracle.expiry.is_alive(self.session), "sessions", || {
                format!("{request:?} was refused as if the session were over, and it is not")
            });
        }
        if op.is_write() {
            linearizable::check_write(&oracle.model, self.session, header, body)?;
            return self.on_written(op, &request, header, body);
        }
        match &request {
            Request::SetWatches(lists) => {
                self.watches.on_set_again(&oracle.model, lists, header.zxid)?;
            }
            Request::Ping => oracle.tally.note("ping answered"),
            Request::Sync { .. } => oracle.tally.note("sync answered"),
            Request::AddWatch { path, mode } if header.error == 0 => {
                let recursive = *mode == AddWatchMode::PersistentRecursive as i32;
                self.watches.add_lasting(path, recursive);
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                self.on_watch_answer(op, path, *kind, header)?;
            }
            _ => {}
        }
        let answer =
            linearizable::check_read(&oracle.model, (self.session, self.who), op, &request, header, body)?;
        oracle.tally.note_if(code == Some(ErrorCode::NoAuth), "read without permission refused");
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

    fn on_written(
        &mut self,
        op: OpCode,
        request: &Request<'_>,
        header: &ReplyHeader,
        body: &[u8],
    ) -> Verdict {
        if header.error != 0 || op == OpCode::CloseSession {
            return Ok(());
        }
        let zxid = Zxid::from_wire(header.zxid);
        let broken = |error: protocol::DecodeError| Violation::new("frames", error.to_string());
        let response = Response::read(op, &mut Reader::new(body)).map_err(broken)?;
        match (request, response) {
            (Request::SetData { path, .. }, _) => self.writes.on_written(path, zxid),
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
