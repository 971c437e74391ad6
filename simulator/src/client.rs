//! A simulated client: it holds a session, sends requests in pipelines, loses connections, falls silent, and checks
//! everything that comes back.

mod inbox;
pub(crate) mod session;

use protocol::client::connect::ConnectRequest;
use protocol::client::request::Request;
use protocol::{OpCode, SessionId};

use self::session::ClientSession;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::server::Link;
use crate::workload::Workload;

/// Requests without a reply beyond which a client waits.
const OUTSTANDING_MAX: usize = 12;

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
    session: ClientSession,
    /// The handshake under way has a wrong password.
    intruding: bool,
    stage: Stage,
    last_sent_ms: u64,
    inbox: Vec<u8>,
    /// The server was restarted since the session was last heard of.
    restarted: bool,
    /// Whether it may still do as it likes; in the end it only finishes.
    calm: bool,
}

impl Client {
    /// A client that will connect soon.
    pub fn new(name: usize, mut random: Random, timeouts_ms: (i32, i32)) -> Client {
        let session = ClientSession::new(name, &mut random, timeouts_ms);
        Client {
            name,
            random,
            session,
            intruding: false,
            stage: Stage::Apart { until_ms: 0 },
            last_sent_ms: 0,
            inbox: Vec::new(),
            restarted: false,
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
        let Client { session, stage, .. } = self;
        matches!(stage, Stage::Open { .. }) && session.outstanding.is_empty() && !session.closing
    }

    /// In words, for a run that does not come to an end.
    pub fn describe(&self) -> String {
        let (session, waits_for) = (self.session.id, self.session.waits_for());
        format!("client {} is {:?}, session {session}, waits for {waits_for:?}", self.name, self.stage)
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
            Stage::Open { link } if !self.session.closing => self.act(link, links, workload, oracle, now_ms),
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self, links: &mut Vec<Link>, now_ms: u64) {
        let timeout_ms = self.session.draw_timeout_ms(&mut self.random);
        self.intruding = self.session.id != SessionId::NONE && !self.calm && self.random.chance(1, 30);
        let mut password = self.session.password.clone();
        if self.intruding {
            password[self.random.index(16)] ^= 1;
        }
        let last_zxid_seen = self.session.connect();
        let request = ConnectRequest {
            last_zxid_seen,
            timeout_ms,
            session: self.session.id,
            password: &password,
            read_only: self.random.chance(3, 4).then_some(false),
        };
        let mut link = Link::default();
        let mut frame = Vec::new();
        request.write(&mut frame);
        link.send_frame(&frame);
        links.push(link);
        self.inbox.clear();
        self.last_sent_ms = now_ms;
        self.stage = Stage::Connecting { link: links.len() - 1 };
    }

    fn lose_connection(&mut self, link: &mut Link, now_ms: u64) {
        link.client_closed = true;
        self.session.on_connection_lost();
        self.inbox.clear();
        let longest_ms = self.session.timeout_ms.max(1) as u64 / 3;
        let pause_ms = if self.calm { 0 } else { self.random.between(0, longest_ms) };
        self.stage = Stage::Apart { until_ms: now_ms + pause_ms };
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
        if idle_ms * 3 >= self.session.timeout_ms as u64 {
            self.send(link, links, OpCode::Ping, &Request::Ping, oracle, now_ms);
        }
        if self.calm {
            return;
        }
        match self.random.weighted(&workload.moods) {
            0 => {}
            1 => {
                for _ in 0..self.random.between(1, workload.pipeline_max) {
                    if self.session.outstanding.len() < OUTSTANDING_MAX {
                        self.send_something(link, links, workload, oracle, now_ms);
                    }
                }
            }
            2 => self.lose_connection(&mut links[link], now_ms),
            3 => {
                // A new connection while the old one is still there: the server must drop the old one.
                links[link].client_closed = self.random.chance(1, 2);
                self.session.on_connection_lost();
                oracle.tally.note("session stolen from its own old connection");
                self.inbox.clear();
                self.stage = Stage::Apart { until_ms: 0 };
            }
            4 => {
                let length_ms = self.random.between(0, self.session.timeout_ms as u64 * 3);
                self.stage = Stage::Silent { link, until_ms: now_ms + length_ms };
            }
            6 => self.authenticate(&mut links[link], now_ms),
            _ => {
                self.send(link, links, OpCode::CloseSession, &Request::CloseSession, oracle, now_ms);
                self.session.closing = true;
            }
        }
    }

    /// Sends an auth packet, if it has anything to prove.
    fn authenticate(&mut self, link: &mut Link, now_ms: u64) {
        if let Some(frame) = self.session.authenticate() {
            link.send_frame(&frame);
            self.last_sent_ms = now_ms;
        }
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
        let mut draft = workload.draw(&mut random, &self.session.known);
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
        let (frame, xid, sent) = self.session.ask(op, request, oracle.durability.shown());
        links[link].send_frame(&frame);
        if let Some(sent) = sent {
            oracle.origin.on_sent(self.session.id, xid.get(), sent);
        }
        self.last_sent_ms = now_ms;
    }
}
