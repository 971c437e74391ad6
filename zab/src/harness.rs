//! Whole ensembles for tests: peers, their disks, the network between them and one clock, all in memory. Nothing moves
//! by itself: tests say which message arrives, which disk syncs and who crashes.
//!
//! `scenario` drives this from text files, `explore` in all orders. After every step [`Ensemble::complaint`] says whether
//! an invariant is broken.

mod carry_out;
mod chance;
mod deliver;
mod digest;
mod disk;
mod flight;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use protocol::peer::membership::PeerAddress;
use protocol::peer::{Member, MemberRole, Membership, Notification, ServerState, Vote};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{OpCode, ServerId, SessionId, Zxid};

pub(crate) use chance::Chance;
pub(crate) use disk::Disk;
pub(crate) use flight::{Cargo, Connection, ConnectionId, Flight, at};

use crate::action::{Action, Role};
use crate::breakage::Breakage;
use crate::invariants::{Observed, Record, Violation, check};
use crate::link::LinkId;
use crate::peer::Peer;
use crate::quorum::Electorate;
use crate::settings::PeerSettings;

/// One server: what survives a crash and what does not.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) disk: Disk,
    /// `None` while it does not run.
    pub(crate) peer: Option<Peer>,
    pub(crate) role: Option<Role>,
    /// The last transaction in its tree.
    pub(crate) applied: Zxid,
    /// How often it was started.
    pub(crate) starts: u64,
    /// Worked out when it is asked for; `None` after every change.
    digest: Cell<Option<u64>>,
}

impl Server {
    fn observed(&self, id: i64) -> Observed<'_> {
        Observed {
            server: ServerId::new(id),
            epochs: self.disk.epochs,
            log: &self.disk.log,
            synced: self.disk.synced,
            role: self.role,
            applied: self.applied,
        }
    }
}

/// A learner was cut back.
pub(crate) const SAW_TRUNCATE: u32 = 1;
/// A learner has installed a snapshot.
pub(crate) const SAW_SNAPSHOT: u32 = 2;
/// A leader has committed what it proposed itself.
pub(crate) const SAW_COMMIT: u32 = 4;
/// A leader that came after another was established.
pub(crate) const SAW_SECOND_LEADER: u32 = 8;
/// A leader was established with more in its log than had ever been committed.
pub(crate) const SAW_INHERITED_TAIL: u32 = 16;
/// Something logged was lost in a crash.
pub(crate) const SAW_LOSS: u32 = 32;
/// A leader has turned a learner away that knew more.
pub(crate) const SAW_REFUSAL: u32 = 64;
/// A leader has gone on in another epoch.
pub(crate) const SAW_TURN: u32 = 128;
/// A leader has sent a learner what stands in its log on disk.
pub(crate) const SAW_LOG: u32 = 256;
/// All of these.
pub(crate) const SAW_EVERYTHING: u32 = 511;

/// One thing that was seen, for scenarios: who did it, and towards whom if it was said.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) who: i64,
    pub(crate) to: Option<i64>,
    pub(crate) what: String,
}

/// What all servers of an ensemble have in common.
pub(crate) struct Plan {
    pub(crate) membership: Membership,
    /// Apart from `me`.
    pub(crate) settings: PeerSettings,
    pub(crate) breakage: Option<Breakage>,
    /// Servers that the membership does not name.
    pub(crate) outsiders: Vec<i64>,
    /// Observers that go to a follower instead of the leader, and to which.
    pub(crate) masters: BTreeMap<i64, i64>,
}

impl Plan {
    pub(crate) fn new(voters: &[i64], observers: &[i64]) -> Plan {
        Plan {
            membership: membership(0, voters, observers),
            settings: PeerSettings { tick_ms: 100, join_pause_ms: 0, ..PeerSettings::new(ServerId::new(0)) },
            breakage: None,
            outsiders: Vec::new(),
            masters: BTreeMap::new(),
        }
    }

    fn servers(&self) -> impl Iterator<Item = i64> {
        let members = self.membership.members.keys().map(|id| id.get());
        members.chain(self.outsiders.iter().copied())
    }
}

/// A member that is dialed by nothing but its name.
pub(crate) fn member(id: i64, role: MemberRole) -> Member {
    let address = PeerAddress { host: format!("s{id}"), quorum_port: 2888, election_port: 3888 };
    Member { addresses: vec![address], role, client: None, secure_client: None }
}

/// A membership whose text can be read.
pub(crate) fn membership(version: i64, voters: &[i64], observers: &[i64]) -> Membership {
    let with = |role| move |&id: &i64| (ServerId::new(id), member(id, role));
    let voters = voters.iter().map(with(MemberRole::Participant));
    let observers = observers.iter().map(with(MemberRole::Observer));
    Membership { version, members: voters.chain(observers).collect(), ..Membership::default() }
}

/// The world of a test.
#[derive(Clone)]
pub(crate) struct Ensemble {
    pub(crate) plan: Rc<Plan>,
    /// The membership that was put into force last, anywhere: its version and its voters.
    pub(crate) in_force: (i64, Rc<Electorate>),
    pub(crate) now_ms: u64,
    pub(crate) servers: BTreeMap<i64, Rc<Server>>,
    pub(crate) connections: Rc<BTreeMap<ConnectionId, Connection>>,
    /// In the order in which they were sent.
    pub(crate) flights: Vec<Rc<Flight>>,
    pub(crate) record: Rc<Record>,
    /// Snapshots hold what the leader has applied when they arrive, not when they were asked for.
    pub(crate) late_snapshots: bool,
    /// Logs on disk are too long to be sent instead of a snapshot.
    pub(crate) logs_too_long: bool,
    /// Logs on disk cannot be read to their end when they are sent.
    pub(crate) logs_break: bool,
    /// Connections on which nothing more leaves, as a log could not be sent to its end.
    stuck: BTreeSet<ConnectionId>,
    /// Pairs of servers that cannot reach each other, smaller number first.
    pub(crate) cuts: Vec<(i64, i64)>,
    /// Whether election ports find each other. Without, elections are [forced](Ensemble::force_election).
    pub(crate) has_mesh: bool,
    /// What has ever happened, as `SAW_` bits.
    pub(crate) sights: u32,
    /// What was seen since it was last taken; nothing is written down if `None`.
    pub(crate) seen: Option<Vec<Seen>>,
    complaint: Option<Violation>,
    elections: i64,
}

impl Ensemble {
    /// Servers with empty disks, none of which runs.
    pub(crate) fn new(plan: Plan) -> Ensemble {
        let electorate = Electorate::new(&plan.membership, None).unwrap();
        let (disk, digest) = (Disk::default(), Cell::new(None));
        let server = Server { disk, peer: None, role: None, applied: Zxid::ZERO, starts: 0, digest };
        let server = Rc::new(server);
        Ensemble {
            servers: plan.servers().map(|id| (id, Rc::clone(&server))).collect(),
            plan: Rc::new(plan),
            in_force: (0, Rc::new(electorate)),
            now_ms: 0,
            connections: Rc::default(),
            flights: Vec::new(),
            record: Rc::default(),
            late_snapshots: false,
            logs_too_long: false,
            logs_break: false,
            stuck: BTreeSet::new(),
            cuts: Vec::new(),
            has_mesh: true,
            sights: 0,
            seen: None,
            complaint: None,
            elections: 0,
        }
    }

    pub(crate) fn server(&self, id: i64) -> &Server {
        self.servers.get(&id).unwrap_or_else(|| panic!("there is no server {id}"))
    }

    pub(crate) fn server_mut(&mut self, id: i64) -> &mut Server {
        let server = self.servers.get_mut(&id).unwrap_or_else(|| panic!("there is no server {id}"));
        let server = Rc::make_mut(server);
        server.digest.set(None);
        server
    }

    pub(crate) fn is_running(&self, id: i64) -> bool {
        self.server(id).peer.is_some()
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        self.servers.keys().copied().collect()
    }

    /// The first invariant that was broken, in a message, a commitment or the present state.
    pub(crate) fn complaint(&self) -> Option<Violation> {
        let observed: Vec<Observed<'_>> =
            self.servers.iter().map(|(&id, server)| server.observed(id)).collect();
        self.complaint.clone().or_else(|| check(&self.in_force.1, &observed, &self.record).err())
    }

    fn note(&mut self, result: Result<(), Violation>) {
        self.complaint = self.complaint.take().or(result.err());
    }

    pub(crate) fn see(&mut self, who: i64, to: Option<i64>, what: impl FnOnce() -> String) {
        if let Some(seen) = &mut self.seen {
            seen.push(Seen { who, to, what: what() });
        }
    }

    /// One step of one peer, and everything it wants done.
    pub(crate) fn step(&mut self, id: i64, step: impl FnOnce(&mut Peer, u64, &mut Vec<Action>)) {
        let now_ms = self.now_ms;
        let Some(peer) = &mut self.server_mut(id).peer else { panic!("{id} does not run") };
        let mut out = Vec::new();
        step(peer, now_ms, &mut out);
        self.carry_out(id, out);
    }

    /// The process starts and recovers what is on the disk.
    pub(crate) fn start(&mut self, id: i64) {
        let (plan, server) = (Rc::clone(&self.plan), self.server_mut(id));
        assert!(server.peer.is_none(), "{id} runs already");
        let last = server.disk.last();
        let settings = PeerSettings { me: ServerId::new(id), ..plan.settings.clone() };
        let disk = &server.disk;
        let membership = disk.membership.as_deref().unwrap_or(&plan.membership).clone();
        let proposed = disk.proposed.as_deref().cloned();
        let mut peer = Peer::member(settings, membership, proposed, disk.epochs, last).unwrap();
        if let Some(breakage) = plan.breakage {
            peer.misbehave(breakage);
        }
        peer.preload(server.disk.log.iter().map(|entry| (entry.zxid, entry.envelope.clone())));
        server.peer = Some(peer);
        server.starts += 1;
        server.applied = last;
        self.step(id, |peer, now_ms, out| peer.start(now_ms, out));
        for other in self.ids() {
            if other != id && self.is_running(other) && !self.is_cut(id, other) {
                self.join_mesh(id, other);
            }
        }
    }

    /// The process ends. With `keeps_unsynced` the disk has happened to write what was appended.
    pub(crate) fn crash(&mut self, id: i64, keeps_unsynced: bool) {
        let server = self.server_mut(id);
        assert!(server.peer.take().is_some(), "{id} does not run");
        server.role = None;
        let loses = !keeps_unsynced && server.disk.synced < server.disk.log.len();
        server.disk.crash(keeps_unsynced);
        server.applied = server.disk.last();
        self.sights |= if loses { SAW_LOSS } else { 0 };
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in connections {
            self.close(id, connection);
        }
        self.flights.retain(|flight| match flight.cargo {
            // Whoever dials goes on trying.
            Cargo::Dial => true,
            Cargo::Notification(_) => flight.from != id && flight.to != id,
            _ => flight.to != id,
        });
        for other in self.ids() {
            if other != id && self.is_running(other) {
                let gone = ServerId::new(id);
                self.step(other, |peer, now_ms, out| peer.on_peer_disconnected(now_ms, gone, out));
            }
        }
    }

    /// The log reaches stable storage, up to and including `up_to`.
    pub(crate) fn sync(&mut self, id: i64, up_to: Option<Zxid>) {
        let synced = self.server_mut(id).disk.sync(up_to);
        self.see(id, None, || format!("synced {}", flight::at(synced)));
        self.step(id, |peer, now_ms, out| peer.on_synced(now_ms, synced, out));
    }

    pub(crate) fn needs_sync(&self, id: i64) -> bool {
        self.is_running(id) && self.server(id).disk.synced < self.server(id).disk.log.len()
    }

    /// A leader's client writes. Says whether there was a zxid for it.
    pub(crate) fn propose(&mut self, id: i64, payload: &str) -> Option<Zxid> {
        self.propose_envelope(id, Bytes::copy_from_slice(payload.as_bytes()))
    }

    fn propose_envelope(&mut self, id: i64, envelope: Bytes) -> Option<Zxid> {
        let zxid = self.server_mut(id).peer.as_mut()?.next_zxid()?;
        self.see(id, None, || format!("proposes {}", flight::at(zxid)));
        let append = Action::Append { zxid, envelope: envelope.clone() };
        self.carry_out(id, vec![append]);
        self.step(id, |peer, now_ms, out| peer.propose(now_ms, zxid, envelope, out));
        Some(zxid)
    }

    /// A leader's client changes the membership.
    pub(crate) fn reconfigure(&mut self, id: i64, voters: &[i64], observers: &[i64]) -> Option<Zxid> {
        let zxid = self.server_mut(id).peer.as_mut()?.next_zxid()?;
        let text = membership(zxid.to_wire(), voters, observers).to_string();
        let header = TxnHeader {
            session: SessionId::NONE,
            cxid: 0,
            zxid,
            time_ms: 0,
            kind: OpCode::Reconfig.to_wire(),
        };
        let (path, data) = ("/zookeeper/config".into(), Some(text.as_bytes()));
        let body = TxnBody::SetData { path, data, version: -1, reconfig: true };
        let mut envelope = Vec::new();
        Transaction { header, body, digest: None }.write(&mut envelope);
        self.propose_envelope(id, envelope.into())
    }

    /// Makes a server that looks for a leader believe that this one was elected, whatever its history is: safety must
    /// not rest on elections.
    pub(crate) fn force_election(&mut self, id: i64, leader: i64) {
        self.elections += 1;
        let round = 1_000 * self.elections;
        let standing = self.server(leader);
        let vote = Vote {
            leader: ServerId::new(leader),
            zxid: standing.disk.last(),
            peer_epoch: i64::from(standing.disk.epochs.current.get()),
        };
        let others: Vec<i64> =
            self.in_force.1.voters().map(ServerId::get).filter(|&voter| voter != id).collect();
        for other in others {
            let state = match () {
                () if id == leader => ServerState::Looking,
                () if other == leader => ServerState::Leading,
                () => ServerState::Following,
            };
            let notification =
                Notification { state, vote: Some(vote), round, membership: Some(String::new()) };
            let from = ServerId::new(other);
            self.step(id, |peer, now_ms, out| peer.on_notification(now_ms, from, notification, out));
        }
        if id == leader {
            self.step(id, |peer, now_ms, out| peer.on_tick(now_ms, out));
        }
    }

    fn join_mesh(&mut self, one: i64, other: i64) {
        if !self.has_mesh {
            return;
        }
        for (id, peer_id) in [(one, other), (other, one)] {
            self.step(id, |peer, now_ms, out| peer.on_peer_connected(now_ms, ServerId::new(peer_id), out));
        }
    }

    pub(crate) fn is_cut(&self, one: i64, other: i64) -> bool {
        self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// From now on nothing gets from one to the other. Connections stand until somebody loses patience; those between
    /// election ports are given up at once.
    pub(crate) fn cut(&mut self, one: i64, other: i64) {
        assert!(!self.is_cut(one, other), "{one} and {other} are cut already");
        self.cuts.push((one.min(other), one.max(other)));
        let between = |flight: &Rc<Flight>| [(one, other), (other, one)].contains(&(flight.from, flight.to));
        self.flights.retain(|flight| !(flight.cargo.is_notification() && between(flight)));
        for (id, gone) in [(one, other), (other, one)] {
            if self.is_running(id) {
                let gone = ServerId::new(gone);
                self.step(id, |peer, now_ms, out| peer.on_peer_disconnected(now_ms, gone, out));
            }
        }
    }

    /// They reach each other again; what was held back arrives.
    pub(crate) fn heal(&mut self, one: i64, other: i64) {
        assert!(self.is_cut(one, other), "{one} and {other} are not cut");
        self.cuts.retain(|&cut| cut != (one.min(other), one.max(other)));
        if self.is_running(one) && self.is_running(other) {
            self.join_mesh(one, other);
        }
    }

    /// The server's end of a connection is closed; the other end hears of it after all that was said.
    fn close(&mut self, id: i64, connection: ConnectionId) {
        let Some((found, other_open)) = self.shut(id, connection) else { return };
        self.flights.retain(|flight| !(flight.connection == Some(connection) && flight.to == id));
        if other_open {
            self.flights.push(Flight::new(id, found.other(id), Some(connection), Cargo::Closed).into());
        } else {
            // Nobody has answered the dialing yet.
            self.flights.retain(|flight| flight.connection != Some(connection));
        }
    }

    /// The server's end of a connection is open no more. Returns the connection, and whether its other end is open;
    /// `None` if the server had no open end of it.
    fn shut(&mut self, id: i64, connection: ConnectionId) -> Option<(Connection, bool)> {
        let connections = Rc::make_mut(&mut self.connections);
        let found = connections.get_mut(&connection)?;
        let (open, &mut other_open) = found.ends_mut(id)?;
        if !std::mem::replace(open, false) {
            return None;
        }
        let found = found.clone();
        if !other_open {
            connections.remove(&connection);
        }
        Some((found, other_open))
    }

    /// The connections between two servers break: both ends notice, and what was under way is lost.
    pub(crate) fn drop_connections(&mut self, one: i64, other: i64) {
        let broken: Vec<(ConnectionId, Connection)> = self
            .connections
            .iter()
            .filter(|(_, found)| [(one, other), (other, one)].contains(&(found.learner, found.leader)))
            .map(|(&id, found)| (id, found.clone()))
            .collect();
        assert!(!broken.is_empty(), "{one} and {other} are not connected");
        for (id, found) in broken {
            Rc::make_mut(&mut self.connections).remove(&id);
            self.flights.retain(|flight| flight.connection != Some(id));
            if found.leader_open {
                self.step(found.leader, |peer, now_ms, out| {
                    peer.on_link_closed(now_ms, found.leader_link, out);
                });
            }
            if found.learner_open {
                self.step(found.learner, |peer, now_ms, out| {
                    peer.on_link_closed(now_ms, found.learner_link, out);
                });
            }
        }
    }

    /// The connection that a server's link belongs to.
    pub(crate) fn connection_of(&self, id: i64, link: LinkId) -> Option<ConnectionId> {
        let found = self.connections.iter().find(|(_, found)| {
            found.leader == id && found.leader_link == link && found.leader_open
                || found.learner == id && found.learner_link == link && found.learner_open
        });
        found.map(|(&connection, _)| connection)
    }
}
