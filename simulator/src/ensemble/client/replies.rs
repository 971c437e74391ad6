//! What a client does with the frames that come: every one is checked.

use protocol::client::connect::{ConnectResponse, ReplyHeader};
use protocol::client::response::Response;
use protocol::client::watch::WatcherEvent;
use protocol::{DecodeError, ErrorCode, OpCode, Reader, Xid, Zxid};

use super::{Calm, Client, Stage};
use crate::checkers::{Verdict, Violation, linearizable};
use crate::client::session::{ClientSession, Outstanding};
use crate::ensemble::network::ConnectionId;
use crate::ensemble::scene::Scene;

impl Client {
    pub(super) fn on_frame(&mut self, scene: &mut Scene, connection: ConnectionId, frame: &[u8]) -> Verdict {
        let broken = |error: DecodeError| Violation::new("frames", format!("{error}: {frame:02x?}"));
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
            self.session.on_event(header.zxid)?;
            let missed = header.zxid == -1;
            scene.oracle.tally.note(if missed { "missed event told by setWatches" } else { "watch fired" });
            scene.oracle.tally.note_if(!missed && self.session.reattached, "watch fired after reattach");
            return self.session.watches.on_event(&scene.oracle.model, header.zxid, event.event, &event.path);
        }
        let outstanding = self.session.on_reply(&scene.oracle.model, &header)?;
        scene.oracle.tally.figures.replies += 1;
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
            self.session.check_told_over()?;
            scene.oracle.check_told_over(self.session.id)?;
            self.session.forget();
            self.leave(scene);
            return Ok(());
        }
        let again = self.session.on_opened(response)?;
        scene.oracle.tally.note_if(again, "session taken up again");
        if again {
            scene.oracle.on_resumed(self.session.id, self.session.next_xid);
        }
        self.stage = Stage::Open { connection };
        // First of all, so that everything else is judged by who the client is.
        self.authenticate(scene, connection);
        if let Some(request) = self.session.watches_again() {
            self.send(scene, connection, OpCode::SetWatches2, &request);
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
        let op = outstanding.op;
        if op == OpCode::Auth {
            return ClientSession::on_authenticated(header);
        }
        let code = ErrorCode::from_wire(header.error);
        if code == Some(ErrorCode::SessionExpired) {
            // The session was closing when the request came.
            scene.oracle.tally.note("request refused because the session ends");
            scene.oracle.check_told_over(self.session.id)?;
            self.leave(scene);
            return Ok(());
        }
        if op.is_write() {
            linearizable::check_write(&scene.oracle.model, self.session.id, header, body)?;
            if code == Some(ErrorCode::SessionMoved) {
                scene.oracle.tally.note("client told that its session has moved");
                self.leave(scene);
                return Ok(());
            }
            if self.calm == (Calm::Asked { xid: header.xid.get() }) {
                // A refusal is a transaction too, and the rest of the run may have left nothing that can be written.
                self.calm = Calm::Done;
            }
            return self.session.on_written(outstanding, header, body);
        }
        if self.operator && op == OpCode::GetData {
            return self.on_members(scene, header, body);
        }
        self.session.on_answer(&scene.oracle.model, outstanding, header, body)?;
        scene.oracle.tally.note_if(op == OpCode::Sync, "sync answered");
        Ok(())
    }

    /// What is in `/zookeeper/config`, which every server writes into its own tree.
    fn on_members(&mut self, scene: &mut Scene, header: &ReplyHeader, body: &[u8]) -> Verdict {
        let broken = |error: DecodeError| Violation::new("frames", format!("{error}: {body:02x?}"));
        let answer = Response::read(OpCode::GetData, &mut Reader::new(body)).map_err(broken)?;
        let Response::Data(Some(data), stat) = answer else {
            return Err(Violation::new("memberships", "there is nothing in /zookeeper/config"));
        };
        scene.oracle.tally.note("members read by an operator");
        let at = Zxid::from_wire(header.zxid);
        scene.oracle.memberships.check_node(at, stat.mzxid.to_wire(), &data)
    }
}
