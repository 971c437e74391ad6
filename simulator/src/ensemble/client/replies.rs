//! What a client does with the frames that come: every one is checked.

use protocol::client::connect::{ConnectResponse, ReplyHeader};
use protocol::client::multi::MultiOp;
use protocol::client::request::Request;
use protocol::client::response::{MultiResult, Response};
use protocol::client::watch::{AddWatchMode, WatcherEvent, WatcherType};
use protocol::{ErrorCode, OpCode, Reader, SessionId, Xid, Zxid};

use super::{Calm, Client, Outstanding, Stage};
use crate::checkers::{Verdict, Violation, ensure, linearizable};
use crate::ensemble::network::ConnectionId;
use crate::ensemble::scene::Scene;

/// Names that a client remembers.
const KNOWN_MAX: usize = 12;

impl Client {
    pub(super) fn on_frame(&mut self, scene: &mut Scene, connection: ConnectionId, frame: &[u8]) -> Verdict {
        let broken =
            |error: protocol::DecodeError| Violation::new("frames", format!("{error}: {frame:02x?}"));
        if matches!(self.stage, Stage::Connecting { .. }) {
            let response = ConnectResponse::read(frame).map_err(broken)?;
            return self.on_handshake(scene, connection, &response);
        }
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::read(&mut reader).map_err(broken)?;
        scene.note(|| {
            let zxid = Zxid::from_wire(header.zxid);
            format!("client {} gets {} at {zxid}, code {}", self.name, header.xid, header.error)
        });
        scene.oracle.on_shown(header.zxid)?;
        if header.xid == Xid::WATCH_EVENT {
            let event = WatcherEvent::read(&mut reader).map_err(broken)?;
            self.order.on_zxid(header.zxid)?;
            let missed = header.zxid == -1;
            scene.oracle.tally.note(if missed { "missed event told by setWatches" } else { "watch fired" });
            scene.oracle.tally.note_if(!missed && self.reattached, "watch fired after reattach");
            return self.watches.on_event(&scene.oracle.model, header.zxid, event.event, &event.path);
        }
        let oldest = self.outstanding.front().map(|oldest| oldest.xid);
        self.order.on_reply(oldest, header.xid, header.zxid)?;
        let outstanding = self.outstanding.pop_front().expect("the order was just checked");
        scene.oracle.tally.replies += 1;
        if outstanding.xid != Xid::SET_WATCHES {
            self.watches.on_reply(&scene.oracle.model, header.zxid)?;
        }
        self.seen = self.seen.max(header.zxid);
        self.on_reply(scene, &outstanding, &header, reader.rest())
    }

    fn on_handshake(
        &mut self,
        scene: &mut Scene,
        connection: ConnectionId,
        response: &ConnectResponse,
    ) -> Verdict {
        if response.timeout_ms <= 0 {
            scene.oracle.tally.note("expired session told so");
            ensure(self.session != SessionId::NONE, "sessions", || "a new session was refused".to_owned())?;
            let seen = Zxid::from_wire(self.seen);
            scene.oracle.sessions.on_told_over(&scene.oracle.model, self.session, seen)?;
            self.forget_session();
            self.leave(scene);
            return Ok(());
        }
        let again = self.session != SessionId::NONE;
        ensure(!again || response.session == self.session, "sessions", || {
            format!("session {} was given for {}", response.session, self.session)
        })?;
        scene.oracle.tally.note_if(again, "session taken up again");
        self.reattached = again;
        self.session = response.session;
        self.password = response.password.to_vec();
        self.timeout_ms = response.timeout_ms;
        self.stage = Stage::Open { connection };
        // First of all, so that everything else is judged by who the client is.
        self.authenticate(scene, connection);
        if !self.watches.is_empty() {
            let lists = Box::new(self.watches.to_set_again(Zxid::from_wire(self.seen)));
            self.send(scene, connection, OpCode::SetWatches2, &Request::SetWatches(lists));
        }
        Ok(())
    }

    fn on_reply(
        &mut self,
        scene: &mut Scene,
        outstanding: &Outstanding,
        header: &ReplyHeader,
        body: &[u8],
    ) -> Verdict {
        let op = OpCode::from_wire(outstanding.op).expect("clients send known operations");
        if op == OpCode::Auth {
            return ensure(header.error == 0, "sessions", || {
                format!("authentication failed: {}", header.error)
            });
        }
        let request = Request::read(op, &outstanding.body).expect("clients send what can be read");
        let code = ErrorCode::from_wire(header.error);
        if code == Some(ErrorCode::SessionExpired) {
            // The session was closing when the request came.
            scene.oracle.tally.note("request refused because the session ends");
            self.leave(scene);
            return Ok(());
        }
        if op.is_write() {
            linearizable::check_write(&scene.oracle.model, self.session, header, body)?;
            if code == Some(ErrorCode::SessionMoved) {
                scene.oracle.tally.note("client told that its session has moved");
                self.leave(scene);
                return Ok(());
            }
            if self.calm == (Calm::Asked { xid: header.xid.get() }) {
                // A refusal is a transaction too, and the rest of the run may have left nothing that can be written.
                self.calm = Calm::Done;
            }
            return self.on_written(op, &request, header, body);
        }
        match &request {
            Request::SetWatches(lists) => {
                self.watches.on_set_again(&scene.oracle.model, lists, header.zxid)?;
            }
            Request::Sync { .. } => {
                scene.oracle.tally.note("sync answered");
                scene.oracle.times.on_synced(outstanding.seen, Zxid::from_wire(header.zxid))?;
            }
            Request::AddWatch { path, mode } if header.error == 0 => {
                let recursive = *mode == AddWatchMode::PersistentRecursive as i32;
                self.watches.add_lasting(path, recursive);
            }
            Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
                self.on_watch_answer(op, path, *kind, header)?;
            }
            _ => {}
        }
        let caller = (self.session, self.who);
        let answer = linearizable::check_read(&scene.oracle.model, caller, op, &request, header, body)?;
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
