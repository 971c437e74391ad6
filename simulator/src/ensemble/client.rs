//! A client of the ensemble: it takes its session from server to server, and checks everything that comes back.

mod replies;

use protocol::client::connect::ConnectRequest;
use protocol::client::request::Request;
use protocol::{OpCode, Zxid};

use super::network::{Arrival, ConnectionId, DIALER, Packet, Place, Port};
use super::operator::{Reconfig, Sight};
use super::scene::Scene;
use super::schedule::Event;
use crate::checkers::Verdict;
use crate::client::session::ClientSession;
use crate::model::Who;
use crate::random::Random;
use crate::workload::Workload;

/// Requests without a reply beyond which a client waits.
const OUTSTANDING_MAX: usize = 10;

/// The node that everybody writes to in the end.
const LAST_PATH: &str = "/last";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Without a connection until its next turn.
    Apart,
    /// A connection is being made.
    Dialing,
    /// The handshake is under way.
    Connecting { connection: ConnectionId },
    /// It has a session and a connection.
    Open { connection: ConnectionId },
}

/// How far a client has come with what it does when all is calm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Calm {
    NotYet,
    /// It finishes what it has begun, then writes.
    Wanted,
    /// It writes.
    Asked {
        xid: i32,
    },
    /// Its write has been ordered and answered.
    Done,
}

/// A client.
pub struct Client {
    name: usize,
    random: Random,
    session: ClientSession,
    hosts: usize,
    turn: u64,
    stage: Stage,
    sent_us: u64,
    heard_us: u64,
    silent_until_us: u64,
    calm: Calm,
    operator: bool,
}

impl Client {
    /// A client that will connect soon.
    pub fn new(name: usize, mut random: Random, hosts: usize, timeouts_ms: (i32, i32)) -> Client {
        let mut session = ClientSession::new(name, &mut random, timeouts_ms);
        // So long it waits for an answer to its first handshake.
        session.timeout_ms = timeouts_ms.0;
        Client {
            name,
            random,
            session,
            hosts,
            turn: 0,
            stage: Stage::Apart,
            sent_us: 0,
            heard_us: 0,
            silent_until_us: 0,
            calm: Calm::NotYet,
            operator: false,
        }
    }

    /// The same client as an operator: it does nothing but change the ensemble and look at what came of it.
    pub fn into_operator(mut self) -> Client {
        self.operator = true;
        self.session.be(Who::Super);
        self
    }

    /// From now on it only finishes what it has begun, then writes once more.
    pub fn calm_down(&mut self, scene: &mut Scene) {
        self.calm = Calm::Wanted;
        self.silent_until_us = 0;
        self.plan(scene, 0);
    }

    /// Whether its last write was ordered and answered.
    pub fn is_done(&self) -> bool {
        self.calm == Calm::Done
    }

    /// In words, for a run that does not come to an end.
    pub fn describe(&self) -> String {
        format!(
            "client {} is {:?}, session {}, has seen {}, waits for {:?}, {:?}",
            self.name,
            self.stage,
            self.session.id,
            Zxid::from_wire(self.session.seen),
            self.session.waits_for(),
            self.calm
        )
    }

    fn plan(&mut self, scene: &mut Scene, delay_us: u64) {
        self.turn += 1;
        scene.schedule.after(delay_us, Event::Client { client: self.name, turn: self.turn });
    }

    fn connection(&self) -> Option<ConnectionId> {
        match self.stage {
            Stage::Connecting { connection } | Stage::Open { connection } => Some(connection),
            Stage::Apart | Stage::Dialing => None,
        }
    }

    /// Its time to act.
    pub fn on_turn(&mut self, scene: &mut Scene, workload: &Workload, turn: u64) {
        if turn != self.turn {
            return;
        }
        let now_us = scene.schedule.now_us();
        match self.stage {
            Stage::Apart => self.dial(scene),
            Stage::Dialing => {}
            Stage::Connecting { .. } | Stage::Open { .. } => {
                // Two thirds of the timeout without a word: somebody else may answer.
                let patience_us = self.session.timeout_ms.max(100) as u64 * 1000 * 2 / 3;
                if now_us > self.heard_us + patience_us && now_us >= self.silent_until_us {
                    scene.oracle.tally.note("client gave up a silent server");
                    self.leave(scene);
                } else if let Stage::Open { connection } = self.stage {
                    self.act(scene, connection, workload);
                }
            }
        }
        let most_us = if self.calm == Calm::NotYet { workload_pause_us(scene) } else { 20_000 };
        let delay_us = self.random.between(1_000, most_us);
        self.plan(scene, delay_us);
    }

    fn dial(&mut self, scene: &mut Scene) {
        let host = self.random.index(self.hosts);
        self.stage = Stage::Dialing;
        let place = (Place::Client(self.name), 0);
        scene.network.dial(&mut scene.schedule, place, host, Port::Client, 0);
    }

    /// A dial has failed.
    pub fn on_dial_failed(&mut self) {
        if self.stage == Stage::Dialing {
            self.stage = Stage::Apart;
        }
    }

    /// A dial has succeeded: the handshake begins.
    pub fn on_connected(&mut self, scene: &mut Scene, connection: ConnectionId) {
        if self.stage != Stage::Dialing {
            return scene.network.close(&mut scene.schedule, connection, DIALER);
        }
        let timeout_ms = self.session.draw_timeout_ms(&mut self.random);
        let last_zxid_seen = self.session.connect();
        let request = ConnectRequest {
            last_zxid_seen,
            timeout_ms,
            session: self.session.id,
            password: &self.session.password,
            read_only: self.random.chance(3, 4).then_some(false),
        };
        let mut frame = Vec::new();
        request.write(&mut frame);
        scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(frame));
        let session = self.session.id;
        scene.oracle.sessions.on_taken_up(session);
        scene.note(|| format!("client {} connects with session {session}, {connection}", self.name));
        self.sent_us = scene.schedule.now_us();
        self.heard_us = self.sent_us;
        self.stage = Stage::Connecting { connection };
    }

    /// Something has come over a connection, or that is gone.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn on_arrival(&mut self, scene: &mut Scene, connection: ConnectionId, arrival: Arrival) -> Verdict {
        if self.connection() != Some(connection) {
            return Ok(());
        }
        match arrival {
            Arrival::Packet(Packet::Frame(frame)) => {
                self.heard_us = scene.schedule.now_us();
                let result = self.on_frame(scene, connection, &frame);
                result.map_err(|violation| self.session.sign(violation))
            }
            Arrival::Packet(_) => Ok(()),
            Arrival::Closed => {
                self.on_connection_lost();
                Ok(())
            }
        }
    }

    /// Closes the connection.
    fn leave(&mut self, scene: &mut Scene) {
        if let Some(connection) = self.connection() {
            scene.network.close(&mut scene.schedule, connection, DIALER);
        }
        self.on_connection_lost();
    }

    fn on_connection_lost(&mut self) {
        self.session.on_connection_lost();
        if matches!(self.calm, Calm::Asked { .. }) {
            self.calm = Calm::Wanted;
        }
        self.stage = Stage::Apart;
    }

    fn act(&mut self, scene: &mut Scene, connection: ConnectionId, workload: &Workload) {
        let now_us = scene.schedule.now_us();
        if now_us < self.silent_until_us || self.session.closing {
            return;
        }
        if (now_us - self.sent_us) / 1000 * 3 >= self.session.timeout_ms as u64 {
            self.send(scene, connection, OpCode::Ping, &Request::Ping);
        }
        if self.calm != Calm::NotYet {
            return self.finish(scene, connection);
        }
        if self.operator {
            return self.operate(scene, connection);
        }
        match self.random.weighted(&workload.moods) {
            0 => {}
            1 => {
                for _ in 0..self.random.between(1, workload.pipeline_max) {
                    if self.session.outstanding.len() < OUTSTANDING_MAX {
                        self.send_something(scene, connection, workload);
                    }
                }
            }
            2 => self.leave(scene),
            3 => {
                // The old connection stays open, and the server must see to it that it does no harm.
                scene.oracle.tally.note("session taken elsewhere while its connection was open");
                self.on_connection_lost();
            }
            4 => {
                let length_ms = self.random.between(0, self.session.timeout_ms as u64 * 2);
                self.silent_until_us = now_us + length_ms * 1000;
            }
            6 => self.authenticate(scene, connection),
            _ => {
                self.send(scene, connection, OpCode::CloseSession, &Request::CloseSession);
                self.session.closing = true;
            }
        }
    }

    /// Changes the ensemble now and then.
    fn operate(&mut self, scene: &mut Scene, connection: ConnectionId) {
        if self.random.chance(1, 200) {
            return self.leave(scene);
        }
        if self.session.outstanding.len() >= OUTSTANDING_MAX {
            return;
        }
        if self.random.chance(scene.options.often, 1_000) {
            let (version, members) = scene.oracle.memberships.last();
            let (servers, leader) = (scene.oracle.servers.len(), scene.leader);
            let sight = Sight { members, version, servers, leader };
            let change = Reconfig::draw(&mut self.random.fork(), &sight);
            scene.note(|| format!("client {} wants {change:?}", self.name));
            self.send(scene, connection, OpCode::Reconfig, &change.request());
        } else if self.random.chance(1, 20) {
            let path = tree::CONFIG_PATH.into();
            self.send(scene, connection, OpCode::GetData, &Request::GetData { path, watch: false });
        } else if self.random.chance(1, 20) {
            self.send(scene, connection, OpCode::Sync, &Request::Sync { path: Some("/".into()) });
        }
    }

    /// When all is calm: everything that was asked is answered, then one write.
    fn finish(&mut self, scene: &mut Scene, connection: ConnectionId) {
        if self.calm != Calm::Wanted || !self.session.outstanding.is_empty() {
            return;
        }
        let exists = scene.oracle.model.node_at(LAST_PATH, Zxid::from_wire(self.session.seen)).is_some();
        self.calm = Calm::Asked { xid: self.session.next_xid };
        let data = Some(&b"calm"[..]);
        if exists {
            let request = Request::SetData { path: LAST_PATH.into(), data, version: -1 };
            return self.send(scene, connection, OpCode::SetData, &request);
        }
        let create = protocol::client::request::CreateRequest {
            op: OpCode::Create,
            path: LAST_PATH.into(),
            data,
            acl: protocol::AclSlice::OPEN,
            flags: 0,
            ttl_ms: -1,
        };
        self.send(scene, connection, OpCode::Create, &Request::Create(create));
    }

    /// Sends an auth packet, if it has anything to prove.
    fn authenticate(&mut self, scene: &mut Scene, connection: ConnectionId) {
        if let Some(frame) = self.session.authenticate() {
            scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(frame));
            self.sent_us = scene.schedule.now_us();
        }
    }

    fn send_something(&mut self, scene: &mut Scene, connection: ConnectionId, workload: &Workload) {
        let mut random = self.random.fork();
        let mut draft = workload.draw(&mut random, &self.session.known);
        let op = draft.op;
        let request = draft.request();
        self.send(scene, connection, op, &request);
    }

    fn send(&mut self, scene: &mut Scene, connection: ConnectionId, op: OpCode, request: &Request<'_>) {
        let (frame, xid, sent) = self.session.ask(op, request, scene.oracle.seen());
        scene.network.send(&mut scene.schedule, connection, DIALER, Packet::Frame(frame));
        if let Some(sent) = sent {
            scene.oracle.origin.on_sent(self.session.id, xid.get(), sent);
        }
        scene.note(|| format!("client {} asks {xid}: {request:?}", self.name));
        self.sent_us = scene.schedule.now_us();
    }
}

/// The longest pause of a client between two turns: some turns per tick, so that short runs see much.
fn workload_pause_us(scene: &Scene) -> u64 {
    (scene.options.replica.tick_ms * 400).clamp(60_000, 400_000)
}
