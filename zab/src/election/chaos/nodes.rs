//! The servers of a storm, the connections between them, and what will happen next.

use std::collections::BTreeMap;

use protocol::peer::{LearnerKind, MemberRole, Membership, Notification, ServerState, Vote};
use protocol::{Epoch, ServerId, Zxid};

use super::super::{Election, ElectionSettings, Standing};
use crate::harness::{Chance, member};
use crate::quorum::Electorate;

pub(super) enum Event {
    /// A mishap.
    Trouble,
    Boot(ServerId),
    /// An election's deadline, in a life of the server.
    Tick(ServerId, u32),
    Arrive {
        from: ServerId,
        to: ServerId,
        connection: u64,
        notification: Notification,
    },
    Dialled(ServerId, ServerId),
    /// A server notices that a connection is gone.
    Noticed {
        server: ServerId,
        peer: ServerId,
        connection: u64,
    },
    /// A server looks whether its role still makes sense, in a term of that role.
    Check(ServerId, u32),
}

pub(super) struct Node {
    pub(super) election: Option<Election>,
    role: MemberRole,
    /// Its data was lost: it says so until it has followed a leader.
    pub(super) untrusted: bool,
    epoch: u32,
    zxid: Zxid,
    /// What it brought into the current election.
    pub(super) own_vote: Option<Vote>,
    /// Whether its epoch as a leader has begun, in this term.
    established: bool,
    life: u32,
    term: u32,
}

impl Node {
    pub(super) fn running(&self, life: u32) -> Option<&Election> {
        self.election.as_ref().filter(|_| self.life == life)
    }

    pub(super) fn state_in_term(&self, term: u32) -> Option<ServerState> {
        self.election.as_ref().filter(|_| self.term == term).map(Election::state)
    }
}

pub(super) struct Ensemble {
    pub(super) chance: Chance,
    pub(super) now_ms: u64,
    pub(super) calm: bool,
    pub(super) electorate: Electorate,
    interval_max_ms: u64,
    nodes: BTreeMap<ServerId, Node>,
    /// What each end of a connection takes for the connection: they differ for a while after a cut.
    ends: BTreeMap<(ServerId, ServerId), u64>,
    /// When the last message of a direction arrives: connections keep order.
    last_arrival_ms: BTreeMap<(ServerId, ServerId), u64>,
    events: BTreeMap<(u64, u64), Event>,
    counter: u64,
}

impl Ensemble {
    pub(super) fn new(mut chance: Chance) -> Ensemble {
        let (voters, observers) = [(3, 0), (3, 2), (5, 0), (5, 1), (7, 0)][chance.below(5) as usize];
        let mut membership = Membership::default();
        for server in 1..=voters + observers {
            let role = if server <= voters { MemberRole::Participant } else { MemberRole::Observer };
            membership.members.insert(ServerId::new(server), member(server, role));
        }
        if voters == 7 {
            for (group, servers) in [(1, [1, 2, 3].as_slice()), (2, &[4, 5, 6]), (3, &[7])] {
                membership
                    .groups
                    .insert(group, servers.iter().map(|&server| ServerId::new(server)).collect());
            }
            membership.weights.insert(ServerId::new(7), 0);
        }
        let mut nodes = BTreeMap::new();
        for (&server, member) in &membership.members {
            let epoch = 1 + chance.below(3) as u32;
            let zxid = Zxid::new(Epoch::new(epoch), chance.below(4) as u32);
            // One server can be missing in any of these ensembles.
            let untrusted = server == ServerId::new(2) && chance.below(4) == 0;
            let role = member.role;
            let (election, own_vote, established) = (None, None, false);
            let node =
                Node { election, role, untrusted, epoch, zxid, own_vote, established, life: 0, term: 0 };
            nodes.insert(server, node);
        }
        Ensemble {
            interval_max_ms: [1_000, 60_000][chance.below(2) as usize],
            chance,
            now_ms: 0,
            calm: false,
            electorate: Electorate::new(&membership, None).expect("a sound membership"),
            nodes,
            ends: BTreeMap::new(),
            last_arrival_ms: BTreeMap::new(),
            events: BTreeMap::new(),
            counter: 0,
        }
    }

    pub(super) fn ids(&self) -> Vec<ServerId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn random_server(&mut self) -> ServerId {
        let ids = self.ids();
        ids[self.chance.below(ids.len() as u64) as usize]
    }

    pub(super) fn node(&self, server: ServerId) -> &Node {
        &self.nodes[&server]
    }

    fn node_mut(&mut self, server: ServerId) -> &mut Node {
        self.nodes.get_mut(&server).expect("a member")
    }

    pub(super) fn election(&mut self, server: ServerId) -> Option<&mut Election> {
        self.node_mut(server).election.as_mut()
    }

    pub(super) fn in_state(&self, state: ServerState) -> Vec<ServerId> {
        let is = |node: &Node| node.election.as_ref().is_some_and(|election| election.state() == state);
        self.nodes.iter().filter(|(_, node)| is(node)).map(|(server, _)| *server).collect()
    }

    pub(super) fn schedule(&mut self, in_ms: u64, event: Event) {
        self.counter += 1;
        self.events.insert((self.now_ms + in_ms, self.counter), event);
    }

    pub(super) fn schedule_tick(&mut self, server: ServerId, in_ms: u64) {
        let life = self.node(server).life;
        self.schedule(in_ms, Event::Tick(server, life));
    }

    pub(super) fn schedule_check(&mut self, server: ServerId) {
        let term = self.node(server).term;
        let in_ms = 300 + self.chance.below(1_200);
        self.schedule(in_ms, Event::Check(server, term));
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        let ((at_ms, _), event) = self.events.pop_first()?;
        self.now_ms = at_ms;
        Some(event)
    }

    /// `false` if it runs already.
    pub(super) fn boot(&mut self, server: ServerId) -> bool {
        let settings = ElectionSettings {
            me: server,
            finalize_wait_ms: 200,
            notification_interval_min_ms: 200,
            notification_interval_max_ms: self.interval_max_ms,
        };
        let electorate = self.electorate.clone();
        let node = self.node_mut(server);
        if node.election.is_some() {
            return false;
        }
        node.life += 1;
        node.election = Some(Election::new(settings, electorate, "version=0"));
        true
    }

    pub(super) fn kill(&mut self, server: ServerId) {
        self.node_mut(server).election = None;
        self.node_mut(server).term += 1;
        for peer in self.ids() {
            self.ends.remove(&(server, peer));
            self.cut(server, peer);
        }
        let in_ms = 50 + self.chance.below(3_000);
        self.schedule(in_ms, Event::Boot(server));
    }

    /// Begins an election with what the server has.
    pub(super) fn begin_term(&mut self, server: ServerId) -> Standing {
        let node = self.node_mut(server);
        node.term += 1;
        node.established = false;
        let standing = Standing {
            last_zxid: (!node.untrusted).then_some(node.zxid),
            current_epoch: Epoch::new(node.epoch),
            may_vote: node.role == MemberRole::Participant,
            kind: match node.role {
                MemberRole::Participant => LearnerKind::Follower,
                MemberRole::Observer => LearnerKind::Observer,
            },
        };
        node.own_vote = standing.last_zxid.filter(|_| standing.may_vote).map(|zxid| Vote {
            leader: server,
            zxid,
            peer_epoch: i64::from(node.epoch),
        });
        standing
    }

    /// Connections are only made between servers that run. Returns whom to tell of whom.
    pub(super) fn connect(&mut self, a: ServerId, b: ServerId) -> Vec<(ServerId, ServerId)> {
        let run = [a, b].iter().all(|server| self.node(*server).election.is_some());
        let same = self.ends.contains_key(&(a, b)) && self.ends.get(&(a, b)) == self.ends.get(&(b, a));
        if !run || same {
            return Vec::new();
        }
        self.counter += 1;
        self.ends.extend([((a, b), self.counter), ((b, a), self.counter)]);
        vec![(a, b), (b, a)]
    }

    /// Both ends will notice, each in its own time.
    pub(super) fn cut(&mut self, a: ServerId, b: ServerId) {
        for (server, peer) in [(a, b), (b, a)] {
            if let Some(&connection) = self.ends.get(&(server, peer)) {
                let in_ms = self.chance.below(400);
                self.schedule(in_ms, Event::Noticed { server, peer, connection });
            }
        }
    }

    pub(super) fn has_end(&self, server: ServerId, peer: ServerId, connection: u64) -> bool {
        self.ends.get(&(server, peer)) == Some(&connection)
    }

    /// `false` if the server knows of another connection by now, or of none.
    pub(super) fn drop_end(&mut self, server: ServerId, peer: ServerId, connection: u64) -> bool {
        let has_it = self.has_end(server, peer, connection);
        if has_it {
            self.ends.remove(&(server, peer));
        }
        has_it
    }

    /// `false` if it is lost.
    pub(super) fn send(&mut self, from: ServerId, to: ServerId, notification: Notification) -> bool {
        let lost = !self.calm && self.chance.below(100) < 12;
        let Some(&connection) = self.ends.get(&(from, to)).filter(|_| !lost) else { return false };
        let delay_ms = 1 + self.chance.below(if self.calm { 20 } else { 300 });
        let last_ms = self.last_arrival_ms.get(&(from, to)).copied().unwrap_or(0);
        let at_ms = (self.now_ms + delay_ms).max(last_ms);
        self.last_arrival_ms.insert((from, to), at_ms);
        self.schedule(at_ms - self.now_ms, Event::Arrive { from, to, connection, notification });
        true
    }

    pub(super) fn dial_all(&mut self, server: ServerId) {
        let voters: Vec<ServerId> = self.electorate.voters().filter(|voter| *voter != server).collect();
        for voter in voters {
            if !self.ends.contains_key(&(server, voter)) && (self.calm || self.chance.below(10) < 8) {
                let in_ms = 1 + self.chance.below(50);
                self.schedule(in_ms, Event::Dialled(server, voter));
            }
        }
    }

    /// A leader writes something that nobody else has yet.
    pub(super) fn write(&mut self, server: ServerId) {
        let node = self.node_mut(server);
        if node.established {
            node.zxid = node.zxid.next().expect("few writes");
        }
    }

    /// Whether a leader has a quorum of followers that do not know more than it does; then its epoch begins.
    pub(super) fn establish(&mut self, leader: ServerId) -> bool {
        let has = |node: &Node| (node.epoch, node.zxid);
        let mut followers = Default::default();
        let mut epoch = self.node(leader).epoch;
        for (&server, node) in &self.nodes {
            let follows = server == leader || self.follows(server, leader);
            if follows && (self.node(leader).established || has(node) <= has(self.node(leader))) {
                self.electorate.insert(&mut followers, server);
                epoch = epoch.max(node.epoch);
            }
        }
        if !self.electorate.decides(followers) {
            return false;
        }
        let node = self.node_mut(leader);
        if !node.established {
            node.established = true;
            node.epoch = epoch + 1;
            node.zxid = Zxid::new(Epoch::new(node.epoch), 0);
            let epoch = Epoch::new(node.epoch);
            node.election.as_mut().expect("it leads").set_peer_epoch(epoch);
        }
        true
    }

    /// Whether a follower's leader leads; if its epoch has begun, the follower has its history from then on.
    pub(super) fn synchronize(&mut self, server: ServerId) -> bool {
        let leader = self.election(server).and_then(|election| election.vote()).map(|vote| vote.leader);
        let Some(leader) = leader.filter(|leader| self.follows(server, *leader)) else { return false };
        let Node { epoch, zxid, established, .. } = *self.node(leader);
        if established {
            let node = self.node_mut(server);
            (node.epoch, node.zxid, node.untrusted) = (epoch, zxid, false);
            node.election.as_mut().expect("it follows").set_peer_epoch(Epoch::new(epoch));
        }
        true
    }

    /// Both run, one follows (or observes) the other, which leads, and the connection between them lives.
    fn follows(&self, server: ServerId, leader: ServerId) -> bool {
        let connection = self.ends.get(&(server, leader));
        let is = |server: ServerId, states: &[ServerState]| {
            self.node(server).election.as_ref().is_some_and(|election| {
                states.contains(&election.state()) && election.vote().map(|vote| vote.leader) == Some(leader)
            })
        };
        connection.is_some()
            && connection == self.ends.get(&(leader, server))
            && is(server, &[ServerState::Following, ServerState::Observing])
            && is(leader, &[ServerState::Leading])
    }
}
