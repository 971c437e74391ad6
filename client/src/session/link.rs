//! Connections: when to make one, when to give one up, and what to say on a new one.

use protocol::client::connect::{ConnectRequest, ConnectResponse, RequestHeader};
use protocol::jute::FrameStart;
use protocol::{OpCode, SessionId, Xid};

use crate::connect_string::Host;
use crate::error::Error;

use super::identifying::Identifying;
use super::output::{self, End, Link, Output, State, Ticket};
use super::{Fate, Session};

/// The longest time without a request after which a ping goes out, however long the session timeout is (as in Java).
const PING_INTERVAL_MOST_MS: u64 = 10_000;
/// The shortest time that one server gets for connecting and shaking hands, however many there are.
const PATIENCE_LEAST_MS: u64 = 1_000;
/// A connection that is lost sooner counts as a failed attempt, so that a server that accepts clients only to drop
/// them is not asked again and again without a pause.
const LASTING_MS: u64 = 1_000;
/// The first and the longest pause between two questions whether another server can write (as in Java).
const PROBE_PAUSE_LEAST_MS: u64 = 100;
const PROBE_PAUSE_MOST_MS: u64 = 60_000;

/// Where a session stands with its servers.
#[derive(Debug)]
pub enum Phase {
    /// Nothing is under way until then.
    Waiting { dial_at_ms: u64 },
    /// The shell connects.
    Dialing { give_up_ms: u64 },
    /// The handshake is sent.
    Handshaking { give_up_ms: u64 },
    /// The session is open, and SASL goes on: nothing else may be sent before it ends.
    Identifying(Identifying),
    /// Connected.
    Online(Online),
    /// For good.
    Ended(End),
}

impl Phase {
    /// Whether a request may be sent now.
    pub fn takes_requests(&self) -> bool {
        matches!(self, Phase::Online(Online { leaving_until_ms: None, .. }))
    }

    /// Whether what a server says is of interest.
    pub fn listens(&self) -> bool {
        matches!(self, Phase::Handshaking { .. } | Phase::Identifying(_) | Phase::Online(_))
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Online {
    /// The server cannot write; when to ask another one, and the pause after that.
    pub probe: Option<Probe>,
    /// Batches of watches that the server has not confirmed yet.
    pub rearming: usize,
    /// The client moves to another server, of its own will: nothing more is sent, and it leaves when all answers are
    /// there, or then.
    pub leaving_until_ms: Option<u64>,
    /// Since when.
    pub since_ms: u64,
}

/// The search for a server that can write.
#[derive(Debug)]
pub struct Probe {
    pub at_ms: u64,
    pub pause_ms: u64,
    pub asked: Option<Host>,
}

impl<T, W: Clone> Session<T, W> {
    pub(super) fn online_deadline_ms(&self, online: &Online) -> u64 {
        let probe = online.probe.as_ref().map_or(u64::MAX, |probe| probe.at_ms);
        self.silent_at_ms().min(self.ping_at_ms()).min(probe).min(online.leaving_until_ms.unwrap_or(u64::MAX))
    }

    /// A server that says nothing for two thirds of the session timeout is dead: the last third is for finding
    /// another one (as in Java).
    fn silent_at_ms(&self) -> u64 {
        self.last_heard_ms + (self.timeout_ms * 2 / 3).max(1)
    }

    fn ping_at_ms(&self) -> u64 {
        self.last_sent_ms + (self.timeout_ms / 3).clamp(1, PING_INTERVAL_MOST_MS)
    }

    pub(super) fn tick_link(&mut self, now_ms: u64) {
        match &mut self.phase {
            Phase::Waiting { dial_at_ms } if *dial_at_ms <= now_ms => self.dial(now_ms),
            Phase::Dialing { give_up_ms }
            | Phase::Handshaking { give_up_ms }
            | Phase::Identifying(Identifying { give_up_ms, .. })
                if *give_up_ms <= now_ms =>
            {
                self.on_attempt_failed(now_ms);
            }
            Phase::Online(online) => {
                let leaving_is_over = online.leaving_until_ms.is_some_and(|until_ms| until_ms <= now_ms);
                if now_ms >= self.silent_at_ms() || leaving_is_over {
                    return self.on_lost(now_ms, 0);
                }
                self.probe(now_ms);
                if now_ms >= self.ping_at_ms() {
                    self.ping(now_ms);
                }
            }
            Phase::Waiting { .. }
            | Phase::Dialing { .. }
            | Phase::Handshaking { .. }
            | Phase::Identifying(_)
            | Phase::Ended(_) => {}
        }
    }

    fn ping(&mut self, now_ms: u64) {
        let frame = FrameStart::open(&mut self.out);
        RequestHeader { xid: Xid::PING, op: OpCode::Ping.to_wire() }.write(&mut self.out);
        frame.close(&mut self.out);
        self.last_sent_ms = now_ms;
    }

    fn dial(&mut self, now_ms: u64) {
        self.link.0 += 1;
        let host = self.hosts.advance();
        let patience_ms = self.patience_ms();
        self.phase = Phase::Dialing { give_up_ms: now_ms + patience_ms };
        self.outputs.push(Output::Dial { link: self.link, host, patience_ms });
    }

    /// What one server gets for being found, and again for identifying us.
    pub(super) fn patience_ms(&self) -> u64 {
        (self.timeout_ms / self.hosts.count() as u64).max(PATIENCE_LEAST_MS)
    }

    /// The shell has a connection.
    pub fn on_connected(&mut self, link: Link, _now_ms: u64) {
        let Phase::Dialing { give_up_ms } = self.phase else { return };
        if link != self.link {
            return;
        }
        self.taken = 0;
        self.out.clear();
        self.input.clear();
        let frame = FrameStart::open(&mut self.out);
        ConnectRequest {
            last_zxid_seen: self.zxid_seen,
            timeout_ms: self.settings.timeout_ms.min(i32::MAX as u32) as i32,
            session: self.ticket.map_or(SessionId::NONE, |ticket| ticket.session),
            password: &self.ticket.map_or([0; 16], |ticket| ticket.password),
            read_only: Some(self.settings.read_only),
        }
        .write(&mut self.out);
        frame.close(&mut self.out);
        self.phase = Phase::Handshaking { give_up_ms };
    }

    /// The connection is gone, or could not be made. Of the bytes that were taken for it, so many were not sent.
    pub fn on_closed(&mut self, link: Link, now_ms: u64, unsent_bytes: usize) {
        if link != self.link {
            return;
        }
        match self.phase {
            Phase::Dialing { .. } | Phase::Handshaking { .. } | Phase::Identifying(_) => {
                self.on_attempt_failed(now_ms);
            }
            Phase::Online(_) => self.on_lost(now_ms, unsent_bytes as u64),
            Phase::Waiting { .. } | Phase::Ended(_) => {}
        }
    }

    pub(super) fn on_attempt_failed(&mut self, now_ms: u64) {
        self.hosts.on_failure();
        self.hang_up(now_ms);
    }

    fn hang_up(&mut self, now_ms: u64) {
        self.outputs.push(Output::Hang);
        self.out.clear();
        self.input.clear();
        let pause_ms = self.hosts.pause_ms(self.settings.pause_most_ms, &mut self.rng);
        self.phase = Phase::Waiting { dial_at_ms: now_ms + pause_ms };
    }

    /// A working connection is gone. Everything that was called before fails.
    pub(super) fn on_lost(&mut self, now_ms: u64, unsent_bytes: u64) {
        if let Phase::Online(online) = &self.phase {
            match now_ms - online.since_ms >= LASTING_MS {
                true => self.hosts.on_accepted(),
                false => self.hosts.on_failure(),
            }
        }
        let left = self.taken.saturating_sub(unsent_bytes);
        for pending in self.line.take_in_flight() {
            if let Some(token) = pending.token {
                let fate = output::fate(pending.op.is_write(), pending.begins_at < left);
                self.outputs.push(Output::Completed { token, result: Err(Error::ConnectionLost(fate)) });
            }
        }
        for (pending, _) in self.line.take_waiting() {
            if let Some(token) = pending.token {
                let result = Err(Error::ConnectionLost(Fate::NotApplied));
                self.outputs.push(Output::Completed { token, result });
            }
        }
        self.watches.on_link_lost();
        self.credentials.on_link_lost();
        if self.closing_until_ms.is_some() {
            return self.end(End::Closed);
        }
        self.hang_up(now_ms);
        self.enter(State::Suspended { overdue: false });
    }

    /// What the server makes of the handshake.
    pub(super) fn on_connect_response(&mut self, now_ms: u64, frame: &[u8]) {
        // A read-only server that opens no sessions sends a refusal of another form; it is of no use either.
        let Ok(response) = ConnectResponse::read(frame) else {
            return self.on_attempt_failed(now_ms);
        };
        if response.timeout_ms <= 0 {
            return match self.ticket {
                Some(_) => self.end(End::Expired),
                None => self.on_attempt_failed(now_ms),
            };
        }
        let read_only = response.read_only == Some(true);
        if read_only && !self.settings.read_only {
            return self.on_attempt_failed(now_ms);
        }
        self.last_heard_ms = now_ms;
        self.session = response.session;
        self.timeout_ms = response.timeout_ms as u64;
        if !read_only {
            self.ticket = Some(Ticket { session: response.session, password: response.password });
        }
        match self.settings.sasl {
            None => self.go_online(now_ms, read_only),
            Some(_) => self.begin_identifying(now_ms, read_only),
        }
    }

    pub(super) fn go_online(&mut self, now_ms: u64, read_only: bool) {
        let probe =
            Probe { at_ms: now_ms + PROBE_PAUSE_LEAST_MS, pause_ms: PROBE_PAUSE_LEAST_MS, asked: None };
        let online = Online {
            probe: read_only.then_some(probe),
            rearming: self.say_who_and_what(),
            leaving_until_ms: None,
            since_ms: now_ms,
        };
        self.last_sent_ms = now_ms;
        self.phase = Phase::Online(online);
        self.enter(if read_only { State::ReadOnly } else { State::Connected });
        self.pump(now_ms);
    }

    /// Credentials first, since watches need permissions, then watches; requests follow. Returns how many batches of
    /// watches there are.
    fn say_who_and_what(&mut self) -> usize {
        self.credentials.present_all(&mut self.out);
        let batches = self.watches.rearm(self.zxid_replied);
        for (op, batch) in &batches {
            let frame = FrameStart::open(&mut self.out);
            RequestHeader { xid: Xid::SET_WATCHES, op: op.to_wire() }.write(&mut self.out);
            batch.write(*op, &mut self.out);
            frame.close(&mut self.out);
        }
        batches.len()
    }

    /// Takes over a new list of servers. The client moves, without losing a request, if that makes the load even.
    pub fn set_hosts(&mut self, now_ms: u64, hosts: Vec<Host>) {
        assert!(!hosts.is_empty(), "a session needs a server");
        if self.hosts.update(hosts, &mut self.rng) {
            self.leave(now_ms);
        }
    }

    /// Moves to the next server as soon as all answers are there.
    fn leave(&mut self, now_ms: u64) {
        let until_ms = now_ms + self.timeout_ms / 3;
        if let Phase::Online(online) = &mut self.phase
            && self.closing_until_ms.is_none()
        {
            online.leaving_until_ms.get_or_insert(until_ms);
            self.leave_if_done(now_ms);
        }
    }

    /// Called after every answer.
    pub(super) fn leave_if_done(&mut self, now_ms: u64) {
        let Phase::Online(online) = &self.phase else { return };
        let answered =
            self.line.in_flight.is_empty() && online.rearming == 0 && !self.credentials.are_presented();
        if online.leaving_until_ms.is_some() && answered {
            self.hang_up(now_ms);
            self.enter(State::Suspended { overdue: false });
        }
    }

    fn probe(&mut self, now_ms: u64) {
        let Phase::Online(Online { probe: Some(probe), leaving_until_ms: None, .. }) = &mut self.phase else {
            return;
        };
        if probe.at_ms > now_ms {
            return;
        }
        probe.pause_ms = (probe.pause_ms * 2).min(PROBE_PAUSE_MOST_MS);
        probe.at_ms = now_ms + probe.pause_ms;
        probe.asked = self.hosts.another();
        if let Some(host) = probe.asked.clone() {
            self.outputs.push(Output::Probe { link: self.link, host });
        }
    }

    /// Whether the server that was asked last can write.
    pub fn on_probed(&mut self, link: Link, now_ms: u64, can_write: bool) {
        let Phase::Online(Online { probe: Some(probe), .. }) = &self.phase else { return };
        if link == self.link
            && can_write
            && let Some(host) = probe.asked.clone()
        {
            self.hosts.prefer(&host);
            self.leave(now_ms);
        }
    }
}
