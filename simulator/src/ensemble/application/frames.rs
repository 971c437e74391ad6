//! What goes over a connection, in both directions: noted for the checkers, and spoiled by planted bugs.

use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::client::request::{Request, SetWatches};
use protocol::{DecodeError, OpCode, Reader, SessionId, Xid};

use super::Application;
use super::book::Came;
use super::bugs::Bug;
use super::edge::Wire;
use crate::checkers::{Verdict, Violation, ensure};
use crate::ensemble::network::{ConnectionId, DIALER, Packet};
use crate::ensemble::scene::Scene;
use ferrokeeper_client::session::State;

fn broken(error: DecodeError) -> Violation {
    Violation::new("frames", error.to_string())
}

impl Application {
    /// Tells the core what the socket has.
    pub(super) fn read(&mut self, scene: &mut Scene) -> Verdict {
        let now_ms = self.now_ms(scene);
        match self.edge.wire {
            Wire::Failed => {
                self.edge.wire = Wire::None;
                self.note("connection refused or in vain");
                self.core.on_closed(self.edge.link, now_ms, 0);
                self.settle(scene)?;
            }
            Wire::New(connection) => {
                self.edge.wire = Wire::Up(connection);
                self.core.on_connected(self.edge.link, now_ms);
                self.settle(scene)?;
            }
            Wire::None | Wire::Dialing | Wire::Up(_) => {}
        }
        while matches!(self.edge.wire, Wire::Up(_)) && self.edge.has_input() {
            let most = match self.is_calm() || self.random.chance(7, 8) {
                true => usize::MAX,
                false => 1 + self.random.index(40),
            };
            let (bytes, frame) = self.edge.read(most);
            self.feed(scene, &bytes, frame)?;
            if !self.is_calm() && self.random.chance(1, 6) {
                break;
            }
        }
        if matches!(self.edge.wire, Wire::Up(_)) && !self.edge.has_input() && self.edge.closed {
            let unsent = match self.bug {
                Some(Bug::SentCalledUnsent) => usize::MAX,
                _ => self.edge.unsent(),
            };
            self.core.on_closed(self.edge.link, now_ms, unsent);
            self.settle(scene)?;
        }
        Ok(())
    }

    fn feed(&mut self, scene: &mut Scene, bytes: &[u8], frame: Option<Vec<u8>>) -> Verdict {
        let (now_ms, link) = (self.now_ms(scene), self.edge.link);
        if self.edge.hello_heard {
            self.heard_ms = now_ms;
        }
        let Some(frame) = frame else {
            self.core.on_bytes(link, now_ms, bytes);
            return self.settle(scene);
        };
        if !self.edge.hello_heard {
            self.edge.hello_heard = true;
            return self.on_hello(scene, bytes, &frame);
        }
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::read(&mut reader).map_err(broken)?;
        scene.note(|| format!("application {} gets {} at {:#x}", self.name, header.xid, header.zxid));
        scene.oracle.on_shown(header.zxid)?;
        let came = self.book.on_frame(&header, reader.rest())?;
        if let Came::Answer(zxid) = came {
            self.watchers.on_answer(&scene.oracle.model, zxid)?;
        }
        self.core.on_bytes(link, now_ms, bytes);
        self.settle(scene)?;
        match came {
            Came::WatchesSet(zxid) if self.edge.link == link && matches!(self.edge.wire, Wire::Up(_)) => {
                self.watchers.on_set_again(&scene.oracle.model, zxid, &mut self.tally.borrow_mut())
            }
            _ => Ok(()),
        }
    }

    /// The answer to the handshake. What it says is so, and nothing else ends a session.
    fn on_hello(&mut self, scene: &mut Scene, bytes: &[u8], frame: &[u8]) -> Verdict {
        let response = ConnectResponse::read(frame).map_err(broken)?;
        let (now_ms, before, lives) = (self.now_ms(scene), self.core.session_id(), self.lives);
        let is_over = response.timeout_ms <= 0;
        if is_over {
            ensure(before != SessionId::NONE, "sessions", || "a new session was refused".to_owned())?;
        } else {
            self.heard_ms = now_ms;
        }
        self.core.on_bytes(self.edge.link, now_ms, bytes);
        self.settle(scene)?;
        if is_over {
            return ensure(self.lives > lives, "states", || "the session is over, and goes on".to_owned());
        }
        let again = before != SessionId::NONE;
        let same = !again || response.session == before;
        ensure(
            same && self.core.session_id() == response.session && self.state == State::Connected,
            "states",
            || format!("session {before} was taken up with {response:?}, and is {:?}", self.state),
        )?;
        self.note(if again { "session taken up again" } else { "session opened" });
        if again {
            scene.oracle.on_resumed(response.session, self.book.next_xid());
        }
        Ok(())
    }

    /// Gives the socket what the core has to send, or some of it.
    pub(super) fn write(&mut self, scene: &mut Scene) -> Verdict {
        let Wire::Up(connection) = self.edge.wire else { return Ok(()) };
        if self.edge.sending.is_empty() {
            self.core.take_bytes(self.edge.link, &mut self.edge.sending);
        }
        let bytes = match self.is_calm() || self.random.chance(3, 4) {
            true => usize::MAX,
            false => self.random.index(self.edge.unsent() + 1),
        };
        for frame in self.edge.send(bytes) {
            self.on_frame_out(scene, connection, frame)?;
        }
        Ok(())
    }

    fn on_frame_out(&mut self, scene: &mut Scene, connection: ConnectionId, frame: Vec<u8>) -> Verdict {
        if !self.edge.hello_sent {
            self.edge.hello_sent = true;
            return self.greet(scene, connection, &frame);
        }
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::read(&mut reader).map_err(broken)?;
        let unknown = || Violation::new("frames", format!("operation {} is sent", header.op));
        let op = OpCode::from_wire(header.op).ok_or_else(unknown)?;
        let mut frame_out = frame.clone();
        match header.xid {
            Xid::PING | Xid::AUTH => {}
            Xid::SET_WATCHES => {
                frame_out = self.spoil_watches(header, op, reader.rest())?.unwrap_or(frame_out)
            }
            xid => {
                let (window, seen) = (self.settings.limits.in_flight_requests, scene.oracle.seen());
                let session = self.core.session_id();
                let sent = self.book.on_sent(session, (xid, op), reader.rest(), window, seen)?;
                if let Some(sent) = sent {
                    scene.oracle.origin.on_sent(session, xid.get(), sent);
                    self.last_write = Some(frame);
                }
            }
        }
        scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(frame_out));
        Ok(())
    }

    fn greet(&mut self, scene: &mut Scene, connection: ConnectionId, frame: &[u8]) -> Verdict {
        let mut request = ConnectRequest::read(frame).map_err(broken)?;
        self.book.check_handshake(request.last_zxid_seen)?;
        let session = request.session;
        scene.oracle.sessions.on_taken_up(session);
        scene.note(|| format!("application {} connects with {session}, {connection}", self.name));
        if self.bug == Some(Bug::ZxidForgotten) {
            request.last_zxid_seen = 0;
        }
        let mut out = Vec::new();
        request.write(&mut out);
        scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(out));
        if let Some(again) = self.last_write.take().filter(|_| self.bug == Some(Bug::WriteRepeated)) {
            scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(again));
        }
        Ok(())
    }

    /// What the planted bugs make of the watches of a new connection.
    fn spoil_watches(
        &self,
        header: RequestHeader,
        op: OpCode,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, Violation> {
        let Request::SetWatches(mut lists) = Request::read(op, body).map_err(broken)? else {
            return Ok(None);
        };
        match self.bug {
            Some(Bug::WatchesForgotten) => {
                *lists = SetWatches { relative_zxid: lists.relative_zxid, ..SetWatches::default() };
            }
            Some(Bug::WatchesSinceLastEvent) => lists.relative_zxid = self.book.seen(),
            _ => return Ok(None),
        }
        let mut out = Vec::new();
        header.write(&mut out);
        lists.write(op, &mut out);
        Ok(Some(out))
    }
}
