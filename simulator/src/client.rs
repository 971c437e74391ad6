//! A simulated client: it holds a session, sends requests in pipelines, loses connections, falls silent, and checks
//! everything that comes back.

mod inbox;

use std::collections::VecDeque;

use protocol::client::connect::{ConnectRequest, RequestHeader};
use protocol::client::request::{AuthPacket, Request};
use protocol::jute::FrameStart;
use protocol::{OpCode, SessionId, Xid};

use crate::checkers::origin::Sent;
use crate::checkers::read_your_writes::ReadYourWrites;
use crate::checkers::session_order::SessionOrder;
use crate::checkers::watches::Watches;
use crate::model::{BOB_SECRET, Who};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::server::Link;
use crate::workload::Workload;

/// Requests without a reply beyond which a client waits.
const OUTSTANDING_MAX: usize = 12;

/// A request without a reply.
struct Outstanding {
    xid: Xid,
    op: i32,
    body: Vec<u8>,
}

/// What a client is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Without a connection until then.
    Apart { until_ms: u64 },
    /// The handshake is under way.
    Connecting { link: usize },
    /// It has a session and a connection.
    Open { link: usize },
    /// It has a connection and says nothing on it until then.
    Silent { link: usize, until_ms: u64 },
}

/// A client.
pub struct Client {
    name: usize,
    random: Random,
    /// As whom it authenticates on every connection.
    who: Who,
    /// The handshake under way has a wrong password.
    intruding: bool,
    stage: Stage,
    session: SessionId,
    password: Vec<u8>,
    timeout_ms: i32,
    timeouts_ms: (i32, i32),
    /// The last zxid in a reply; what the client says it has seen.
    seen: i64,
    next_xid: i32,
    last_sent_ms: u64,
    outstanding: VecDeque<Outstanding>,
    order: SessionOrder,
    writes: ReadYourWrites,
    watches: Watches,
    /// Paths that the server has named, for later use.
    known: Vec<String>,
    inbox: Vec<u8>,
    closing: bool,
    /// The server was restarted since the session was last heard of.
    restarted: bool,
    reattached: bool,
    /// Whether it may still do as it likes; in the end it only finishes.
    calm: bool,
}

impl Client {
    /// A client that will connect soon.
    pub fn new(name: usize, mut random: Random, timeouts_ms: (i32, i32)) -> Client {
        let who = if random.chance(1, 3) { Who::Bob } else { Who::Anyone };
        Client {
            name,
            random,
            who,
            intruding: false,
            stage: Stage::Apart { until_ms: 0 },
            session: SessionId::NONE,
            password: vec![0; 16],
            timeout_ms: 0,
            timeouts_ms,
            seen: 0,
            next_xid: 1,
            last_sent_ms: 0,
            outstanding: VecDeque::new(),
            order: SessionOrder::default(),
            writes: ReadYourWrites::default(),
            watches: Watches::new(who),
            known: Vec::new(),
            inbox: Vec::new(),
            closing: false,
            restarted: false,
            reattached: false,
            calm: false,
        }
    }

    /// From now on it only finishes what it has begun and keeps its session.
    pub fn calm_down(&mut self) {
        self.calm = true;
        if let Stage::Silent { link, .. } = self.stage {
            self.stage = Stage::Open { link };
        }
    }

    /// Whether it is connected and waits for nothing.
    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Open { .. }) && self.outstanding.is_empty() && !self.closing
    }

    /// In words, for a run that does not come to an end.
    pub fn describe(&self) -> String {
        let waits_for = self.outstanding.front().map(|oldest| (oldest.xid, oldest.op));
        format!("client {} is {:?}, session {}, waits for {waits_for:?}", self.name, self.stage, self.session)
    }

    /// The server has stopped: the connection breaks once its last bytes are read.
    pub fn on_server_stopped(&mut self) {
        self.restarted = true;
    }

    /// The client's present connection, by its place among the links.
    pub fn link(&self) -> Option<usize> {
        match self.stage {
            Stage::Apart { .. } => None,
            Stage::Connecting { link } | Stage::Open { link } | Stage::Silent { link, .. } => Some(link),
        }
    }

    /// Reads what came and, perhaps, sends something.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn turn(
        &mut self,
        links: &mut Vec<Link>,
        workload: &Workload,
        oracle: &mut Oracle,
        now_ms: u64,
    ) -> crate::checkers::Verdict {
        if let Some(link) = self.link() {
            self.read(link, links, oracle)?;
            if links[link].server_closed && links[link].to_client.is_empty() {
                self.lose_connection(&mut links[link], now_ms);
            }
        }
        match self.stage {
            Stage::Apart { until_ms } if now_ms >= until_ms => self.connect(links, now_ms),
            Stage::Silent { link, until_ms } if now_ms >= until_ms => self.stage = Stage::Open { link },
            Stage::Open { link } if !self.closing => self.act(link, links, workload, oracle, now_ms),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, links: &mut Vec<Link>, now_ms: u64) {
        let (least, most) = self.timeouts_ms;
        // Beyond the limits on both sides, so that the server has to negotiate.
        let timeout_ms = self.random.between(least as u64 / 2, most as u64 + 100) as i32;
        self.intruding = self.session != SessionId::NONE && !self.calm && self.random.chance(1, 30);
        let mut password = self.password.clone();
        if self.intruding {
            password[self.random.index(16)] ^= 1;
        }
        let request = ConnectRequest {
            last_zxid_seen: self.seen,
            timeout_ms,
            session: self.session,
            password: &password,
            read_only: self.random.chance(3, 4).then_some(false),
        };
        let mut link = Link::default();
        let mut frame = Vec::new();
        let start = FrameStart::open(&mut frame);
        request.write(&mut frame);
        start.close(&mut frame);
        link.to_server.extend(frame);
        links.push(link);
        self.inbox.clear();
        self.last_sent_ms = now_ms;
        self.stage = Stage::Connecting { link: links.len() - 1 };
    }

    fn lose_connection(&mut self, link: &mut Link, now_ms: u64) {
        link.client_closed = true;
        self.outstanding.clear();
        self.inbox.clear();
        self.watches.on_connection_lost();
        if self.closing {
            self.forget_session();
        }
        let pause_ms = if self.calm { 0 } else { self.random.between(0, self.timeout_ms.max(1) as u64 / 3) };
        self.stage = Stage::Apart { until_ms: now_ms + pause_ms };
    }

    /// The session is over; the next connection opens a new one. What the client has seen, it has seen.
    fn forget_session(&mut self) {
        self.session = SessionId::NONE;
        self.password = vec![0; 16];
        self.watches = Watches::new(self.who);
        self.writes = ReadYourWrites::default();
        self.closing = false;
        self.reattached = false;
        self.next_xid = 1;
    }

    fn act(
        &mut self,
        link: usize,
        links: &mut [Link],
        workload: &Workload,
        oracle: &mut Oracle,
        now_ms: u64,
    ) {
        let idle_ms = now_ms.saturating_sub(self.last_sent_ms);
        if idle_ms * 3 >= self.timeout_ms as u64 {
            self.send(link, links, OpCode::Ping, &Request::Ping, oracle, now_ms);
        }
        if self.calm {
            return;
        }
        match self.random.weighted(&workload.moods) {
            0 => {}
            1 => {
                for _ in 0..self.random.between(1, workload.pipeline_max) {
                    if self.outstanding.len() < OUTSTANDING_MAX {
                        self.send_something(link, links, workload, oracle, now_ms);
                    }
                }
            }
            2 => self.lose_connection(&mut links[link], now_ms),
            3 => {
                // A new connection while the old one is still there: the server must drop the old one.
                links[link].client_closed = self.random.chance(1, 2);
                self.outstanding.clear();
                self.watches.on_connection_lost();
                oracle.tally.note("session stolen from its own old connection");
                self.inbox.clear();
                self.stage = Stage::Apart { until_ms: 0 };
            }
            4 => {
                let length_ms = self.random.between(0, self.timeout_ms as u64 * 3);
                self.stage = Stage::Silent { link, until_ms: now_ms + length_ms };
            }
            6 => self.authenticate(link, links, now_ms),
            _ => {
                self.send(link, links, OpCode::CloseSession, &Request::CloseSession, oracle, now_ms);
                self.closing = true;
            }
        }
    }

    /// Sends an auth packet, if it has anything to prove.
    fn authenticate(&mut self, link: usize, links: &mut [Link], now_ms: u64) {
        if self.who == Who::Anyone {
            return;
        }
        let mut frame = Vec::new();
        let start = FrameStart::open(&mut frame);
        RequestHeader { xid: Xid::AUTH, op: OpCode::Auth.to_wire() }.write(&mut frame);
        AuthPacket { scheme: Some("digest".into()), auth: Some(BOB_SECRET) }.write(&mut frame);
        start.close(&mut frame);
        links[link].to_server.extend(frame);
        let (xid, op) = (Xid::AUTH, OpCode::Auth.to_wire());
        self.outstanding.push_back(Outstanding { xid, op, body: Vec::new() });
        self.last_sent_ms = now_ms;
    }

    fn send_something(
        &mut self,
        link: usize,
        links: &mut [Link],
        workload: &Workload,
        oracle: &mut Oracle,
        now_ms: u64,
    ) {
        let mut random = self.random.fork();
        let mut draft = workload.draw(&mut random, &self.known);
        let op = draft.op;
        let request = draft.request();
        self.send(link, links, op, &request, oracle, now_ms);
    }

    /// Sends one request. Everything that belongs to setWatches goes through here, too.
    fn send(
        &mut self,
        link: usize,
        links: &mut [Link],
        op: OpCode,
        request: &Request<'_>,
        oracle: &mut Oracle,
        now_ms: u64,
    ) {
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
        let start = FrameStart::open(&mut frame);
        RequestHeader { xid, op: op.to_wire() }.write(&mut frame);
        let body_at = frame.len();
        request.write(&mut frame);
        start.close(&mut frame);
        let body = frame[body_at..].to_vec();
        links[link].to_server.extend(frame);
        if op.is_write() {
            oracle.origin.on_sent(
                self.session,
                xid.get(),
                Sent { op: op.to_wire(), body: body.clone(), who: self.who },
            );
        }
        self.outstanding.push_back(Outstanding { xid, op: op.to_wire(), body });
        self.last_sent_ms = now_ms;
    }
}
