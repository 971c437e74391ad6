//! SASL on a new connection, before anything else is sent.

use protocol::client::connect::{ReplyHeader, RequestHeader};
use protocol::jute::{FrameStart, JuteWrite};
use protocol::{OpCode, Xid};
use tracing::warn;

use super::link::Phase;
use super::output::End;
use super::reply::Nonsense;
use super::{Session, sasl};

/// A connection between its handshake and the end of SASL.
#[derive(Debug)]
pub struct Identifying {
    pub give_up_ms: u64,
    pub read_only: bool,
    /// The request that is to be answered.
    xid: Xid,
    /// What the challenge was answered with, once there was one.
    response: Option<sasl::Response>,
}

impl<T, W: Clone> Session<T, W> {
    /// The server is to give a challenge.
    pub(super) fn begin_identifying(&mut self, now_ms: u64, read_only: bool) {
        let give_up_ms = now_ms + self.patience_ms();
        let xid = self.send_sasl(now_ms, &[]);
        self.phase = Phase::Identifying(Identifying { give_up_ms, read_only, xid, response: None });
    }

    fn send_sasl(&mut self, now_ms: u64, token: &[u8]) -> Xid {
        let xid = self.take_xid();
        let frame = FrameStart::open(&mut self.out);
        RequestHeader { xid, op: OpCode::Sasl.to_wire() }.write(&mut self.out);
        self.out.put_buffer(Some(token));
        frame.close(&mut self.out);
        self.last_sent_ms = now_ms;
        xid
    }

    /// What the server makes of SASL; `token` is `None` where it refuses, or does not know SASL at all.
    pub(super) fn on_sasl_answer(
        &mut self,
        now_ms: u64,
        header: ReplyHeader,
        token: Option<&[u8]>,
    ) -> Result<(), Nonsense> {
        let (Phase::Identifying(identifying), Some(login)) = (&self.phase, &self.settings.sasl) else {
            return Ok(());
        };
        if header.xid != identifying.xid {
            return Err(Nonsense::Order { xid: header.xid });
        }
        let (Some(token), 0) = (token, header.error) else {
            let server = self.hosts.current();
            warn!(
                server = server.map(tracing::field::display),
                user = login.user,
                "a server did not accept the SASL login"
            );
            self.end(End::AuthFailed);
            return Ok(());
        };
        if let Some(response) = &identifying.response {
            response.check(token)?;
            let read_only = identifying.read_only;
            self.go_online(now_ms, read_only);
            return Ok(());
        }
        let fresh = format!("{:016x}{:016x}", self.rng.any(), self.rng.any());
        let response = login.respond(token, &fresh)?;
        let xid = self.send_sasl(now_ms, &response.token);
        if let Phase::Identifying(identifying) = &mut self.phase {
            (identifying.xid, identifying.response) = (xid, Some(response));
        }
        Ok(())
    }
}
