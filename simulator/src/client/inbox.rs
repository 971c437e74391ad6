//! What a client does with the frames that come: every one is checked.

use protocol::client::connect::{ConnectResponse, ReplyHeader};
use protocol::client::watch::WatcherEvent;
use protocol::{ErrorCode, OpCode, Reader, Xid, Zxid};

use super::session::{ClientSession, Outstanding};
use super::{Client, Stage};
use crate::checkers::watches::Watches;
use crate::checkers::{Verdict, Violation, ensure, linearizable};
use crate::oracle::Oracle;
use crate::server::Link;

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
            self.on_frame(link, links, &frame, oracle).map_err(|violation| self.session.sign(violation))?;
            if self.link() != Some(link) {
                // The connection was given up over this frame.
                self.inbox.clear();
                return Ok(());
            }
        }
        self.inbox.drain(..used);
        Ok(())
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
        let outstanding = self.session.on_reply(&oracle.model, &header)?;
        oracle.tally.figures.replies += 1;
        let hidden = std::mem::take(&mut self.session.watches.hidden) > 0;
        oracle.tally.note_if(hidden, "event hidden by an ACL");
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
            self.session.check_told_over()?;
            ensure(!oracle.expiry.is_alive(self.session.id), "sessions", || {
                "the client was told that its session is over, and it is not".to_owned()
            })?;
            self.session.forget();
            links[link].client_closed = true;
            self.stage = Stage::Apart { until_ms: 0 };
            return Ok(());
        }
        let again = self.session.on_opened(response)?;
        oracle.tally.note_if(again, "session reattached");
        oracle.tally.note_if(again && self.restarted, "session reattached after a restart");
        self.restarted = false;
        self.stage = Stage::Open { link };
        // First of all, so that everything else is judged by who the client is.
        let now_ms = self.last_sent_ms;
        self.authenticate(&mut links[link], now_ms);
        if let Some(request) = self.session.watches_again() {
            self.send(link, links, OpCode::SetWatches2, &request, oracle, now_ms);
        }
        Ok(())
    }

    fn on_event(&mut self, header: &ReplyHeader, event: &WatcherEvent, oracle: &mut Oracle) -> Verdict {
        self.session.on_event(header.zxid)?;
        if header.zxid == -1 {
            oracle.tally.note("missed event told by setWatches");
        } else {
            oracle.tally.note("watch fired");
            oracle.tally.note_if(self.session.reattached, "watch fired after reattach");
        }
        oracle.tally.note_if(self.session.watches.is_below_recursive(&event.path), "recursive watch fired");
        self.session.watches.on_event(&oracle.model, header.zxid, event.event, &event.path)
    }

    fn on_reply(
        &mut self,
        outstanding: &Outstanding,
        header: &ReplyHeader,
        body: &[u8],
        oracle: &mut Oracle,
    ) -> Verdict {
        let op = outstanding.op;
        if op == OpCode::Auth {
            oracle.tally.note("client authenticated");
            return ClientSession::on_authenticated(header);
        }
        let code = ErrorCode::from_wire(header.error);
        if code == Some(ErrorCode::SessionExpired) {
            // No transaction: the session was closing when the request came.
            oracle.tally.note("requests refused because the session is closing");
            if op == OpCode::SetWatches2 {
                // The server holds no watches for this connection.
                self.session.watches = Watches::new(self.session.who);
            }
            return ensure(!oracle.expiry.is_alive(self.session.id), "sessions", || {
                let request = outstanding.request();
                format!("{request:?} was refused as if the session were over, and it is not")
            });
        }
        if op.is_write() {
            linearizable::check_write(&oracle.model, self.session.id, header, body)?;
            return self.session.on_written(outstanding, header, body);
        }
        self.session.on_answer(&oracle.model, outstanding, header, body)?;
        oracle.tally.note_if(op == OpCode::Ping, "ping answered");
        oracle.tally.note_if(op == OpCode::Sync, "sync answered");
        oracle.tally.note_if(code == Some(ErrorCode::NoAuth), "read without permission refused");
        Ok(())
    }
}
