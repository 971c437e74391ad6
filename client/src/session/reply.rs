//! What servers say.

use std::collections::BTreeSet;

use protocol::client::connect::ReplyHeader;
use protocol::client::response::Response;
use protocol::client::watch::WatcherEvent;
use protocol::{Reader, Xid, Zxid};
use tracing::warn;

use crate::error::Error;

use super::line::Effect;
use super::link::Phase;
use super::output::{self, End, Heard, Link, NodeEvent, Note, Output};
use super::sasl::SaslError;
use super::{Session, kind_set};

/// A server that breaks the protocol is left; nothing that it says can be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("a frame of {length} bytes, when {limit} are allowed")]
    Length { length: i32, limit: usize },
    #[error("undecodable: {0}")]
    Undecodable(#[from] protocol::DecodeError),
    #[error("an answer to request {xid}, when another one is due")]
    Order { xid: Xid },
    #[error("watches cannot be set again: {error}")]
    Watches { error: protocol::ErrorCode },
    #[error(transparent)]
    Sasl(#[from] SaslError),
}

impl<T, W: Clone> Session<T, W> {
    /// Bytes have arrived on a connection.
    pub fn on_bytes(&mut self, link: Link, now_ms: u64, bytes: &[u8]) {
        if link != self.link || !self.phase.listens() {
            return;
        }
        if !matches!(self.phase, Phase::Handshaking { .. }) {
            self.last_heard_ms = now_ms;
        }
        if self.input.is_empty() {
            let used = self.consume(now_ms, bytes);
            self.input.extend_from_slice(&bytes[used..]);
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            let used = self.consume(now_ms, &input);
            input.drain(..used);
            self.input = input;
        }
        self.pump(now_ms);
    }

    /// Takes whole frames off the front; returns how many bytes they have. A connection that is given up uses up
    /// everything.
    fn consume(&mut self, now_ms: u64, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some((length, rest)) = bytes[used..].split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let limit = self.settings.limits.reply_bytes;
            let result = match usize::try_from(length) {
                Ok(wanted) if wanted <= limit => match rest.get(..wanted) {
                    None => break,
                    Some(frame) => {
                        used += 4 + wanted;
                        self.on_frame(now_ms, frame)
                    }
                },
                _ => Err(Nonsense::Length { length, limit }),
            };
            if let Err(nonsense) = result {
                let server = self.hosts.current();
                warn!(server = server.map(tracing::field::display), %nonsense, "left a server that broke the protocol");
                match self.phase {
                    Phase::Online(_) => self.on_lost(now_ms, 0),
                    _ => self.on_attempt_failed(now_ms),
                }
            }
            if !self.phase.listens() {
                return bytes.len();
            }
        }
        used
    }

    fn on_frame(&mut self, now_ms: u64, frame: &[u8]) -> Result<(), Nonsense> {
        if matches!(self.phase, Phase::Handshaking { .. }) {
            self.on_connect_response(now_ms, frame);
            return Ok(());
        }
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::read(&mut reader)?;
        if matches!(self.phase, Phase::Identifying(_)) {
            // A refusal may have no body at all.
            let token = if header.error == 0 { reader.buffer()? } else { None };
            return self.on_sasl_answer(now_ms, header, token);
        }
        match header.xid {
            Xid::PING => {}
            Xid::WATCH_EVENT => self.on_event(header, &mut reader)?,
            Xid::AUTH => self.on_auth_answer(header)?,
            Xid::SET_WATCHES => self.on_watches_set(header)?,
            _ => self.on_answer(now_ms, header, &mut reader)?,
        }
        self.leave_if_done(now_ms);
        Ok(())
    }

    fn on_event(&mut self, header: ReplyHeader, reader: &mut Reader<'_>) -> Result<(), Nonsense> {
        let WatcherEvent { event: kind, path } = WatcherEvent::read(reader)?;
        self.zxid_seen = self.zxid_seen.max(header.zxid);
        let rearming = matches!(&self.phase, Phase::Online(online) if online.rearming > 0);
        let zxid = (header.zxid > 0).then(|| Zxid::from_wire(header.zxid));
        let event = NodeEvent { kind, path, zxid };
        let outputs = &mut self.outputs;
        let before = outputs.len();
        self.watches.on_event(&event, rearming && zxid.is_none(), |sink, note| {
            outputs.push(Output::Note { sink, note });
        });
        if self.tells_heard && outputs.len() > before {
            outputs.push(Output::Heard(Heard::Node(event)));
        }
        Ok(())
    }

    fn on_auth_answer(&mut self, header: ReplyHeader) -> Result<(), Nonsense> {
        if header.error != 0 {
            self.end(End::AuthFailed);
            return Ok(());
        }
        let accepted = self.credentials.on_accepted().ok_or(Nonsense::Order { xid: header.xid })?;
        for token in accepted {
            self.outputs.push(Output::Completed { token, result: Ok(Response::Empty) });
        }
        Ok(())
    }

    fn on_watches_set(&mut self, header: ReplyHeader) -> Result<(), Nonsense> {
        let Phase::Online(online) = &mut self.phase else { return Ok(()) };
        online.rearming = online.rearming.checked_sub(1).ok_or(Nonsense::Order { xid: header.xid })?;
        output::check(header.error).map_err(|error| Nonsense::Watches { error })?;
        if online.rearming == 0 {
            for sink in self.watches.persistent() {
                self.outputs.push(Output::Note { sink, note: Note::Resumed });
            }
        }
        Ok(())
    }

    fn on_answer(
        &mut self,
        now_ms: u64,
        header: ReplyHeader,
        reader: &mut Reader<'_>,
    ) -> Result<(), Nonsense> {
        let due = self.line.in_flight.front().filter(|due| due.xid == header.xid);
        let op = due.ok_or(Nonsense::Order { xid: header.xid })?.op;
        let answer = output::check(header.error);
        // Before the request leaves the line: what cannot be decoded is lost with its connection like the rest.
        let result = match answer {
            Ok(()) => Ok(Response::read(op, reader)?),
            Err(code) => Err(Error::Refused(code)),
        };
        let pending = self.line.pop_answered(header.xid).ok_or(Nonsense::Order { xid: header.xid })?;
        if header.zxid > 0 {
            self.zxid_replied = self.zxid_replied.max(header.zxid);
            self.zxid_seen = self.zxid_seen.max(header.zxid);
        }
        let closes = matches!(pending.effect, Effect::Close);
        match pending.effect {
            Effect::None | Effect::Close => {}
            Effect::Watch(registration) => {
                let kind = kind_set(registration.kind, op, answer);
                let path = registration.path.clone();
                if self.watches.on_answered(*registration, kind) {
                    self.forget_on_server(now_ms, &path);
                }
            }
            Effect::Unwatch(removed) if answer.is_ok() => {
                let mut kinds = BTreeSet::new();
                for (kind, sink) in self.watches.remove(&removed.0, removed.1) {
                    kinds.insert(kind);
                    self.outputs.push(Output::Note { sink, note: Note::Removed });
                }
                if self.tells_heard {
                    let heard = kinds.into_iter().map(|kind| Heard::Removed(kind, removed.0.clone()));
                    self.outputs.extend(heard.map(Output::Heard));
                }
            }
            Effect::Unwatch(_) => {}
        }
        if let Some(token) = pending.token {
            self.outputs.push(Output::Completed { token, result });
        }
        if closes {
            self.end(End::Closed);
        }
        Ok(())
    }
}
