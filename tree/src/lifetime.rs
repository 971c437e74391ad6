//! Nodes that end by themselves: ephemerals with their session, containers and TTL nodes by the reaper.

use std::collections::{BTreeMap, BTreeSet};

use protocol::SessionId;
use protocol::txn::NodeKind;

use crate::slab::NodeId;
use crate::tree::Tree;

/// Which nodes end by themselves.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Lifetimes {
    ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    ephemerals_count: usize,
    containers: BTreeSet<NodeId>,
    ttls: BTreeSet<NodeId>,
}

impl Lifetimes {
    /// A node came into being.
    pub(crate) fn add(&mut self, owner: i64, id: NodeId) {
        match NodeKind::from_owner(owner) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
                self.ephemerals_count += 1;
            }
            NodeKind::Container => {
                self.containers.insert(id);
            }
            NodeKind::Ttl(_) => {
                self.ttls.insert(id);
            }
        }
    }

    /// A node went.
    pub(crate) fn remove(&mut self, owner: i64, id: NodeId) {
        match NodeKind::from_owner(owner) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => {
                let nodes = self.ephemerals.get_mut(&session).expect("an ephemeral's owner is known");
                nodes.remove(&id);
                if nodes.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemerals_count -= 1;
            }
            NodeKind::Container => {
                self.containers.remove(&id);
            }
            NodeKind::Ttl(_) => {
                self.ttls.remove(&id);
            }
        }
    }

    /// The ephemeral nodes of a session.
    pub(crate) fn of_session(&self, session: SessionId) -> impl Iterator<Item = NodeId> + '_ {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }

    /// Who owns ephemeral nodes, and how many.
    pub(crate) fn owners(&self) -> impl ExactSizeIterator<Item = (SessionId, usize)> + '_ {
        self.ephemerals.iter().map(|(&session, nodes)| (session, nodes.len()))
    }

    pub(crate) fn ephemerals_count(&self) -> usize {
        self.ephemerals_count
    }
}

impl Tree {
    /// The paths that the reaper may delete now (`ContainerManager.getCandidates`): containers that have no
    /// children but had some, or were never used for more than `max_never_used_ms` milliseconds unless that is 0;
    /// and TTL nodes without children that were not changed for longer than their time to live. `now_ms` is in
    /// milliseconds since 1970, like the times in stats.
    pub fn reap_candidates(&self, now_ms: i64, max_never_used_ms: i64) -> Vec<String> {
        let empty = |id: &&NodeId| self.slab.get(**id).child_count == 0;
        let idle_ms = |id: NodeId| now_ms.saturating_sub(self.stat_of(id).mtime_ms);
        let containers = self.lifetimes.containers.iter().filter(empty).filter(|&&id| {
            self.stat_of(id).cversion > 0 || (max_never_used_ms != 0 && idle_ms(id) > max_never_used_ms)
        });
        let ttls = self.lifetimes.ttls.iter().filter(empty).filter(|&&id| {
            match NodeKind::from_owner(self.stat_of(id).ephemeral_owner) {
                NodeKind::Ttl(ttl_ms) => ttl_ms != 0 && idle_ms(id) > ttl_ms,
                _ => false,
            }
        });
        containers.chain(ttls).map(|&id| self.path_of(id)).collect()
    }

    /// The paths of ephemeral nodes whose owner is not among the sessions: what a crash can leave behind in a fuzzy
    /// snapshot.
    pub fn stray_ephemerals(&self) -> Vec<String> {
        let stray = self.lifetimes.ephemerals.iter().filter(|(owner, _)| !self.sessions.contains_key(owner));
        stray.flat_map(|(_, nodes)| nodes).map(|&id| self.path_of(id)).collect()
    }

    /// Deletes the [strays](Tree::stray_ephemerals) after a restart, locally and at the last zxid, as Java does
    /// (`ZooKeeperServer.loadData`); says how many there were. Every server that starts with the same state does
    /// the same.
    pub fn remove_strays(&mut self) -> usize {
        let strays = self.stray_ephemerals();
        for path in &strays {
            self.delete(self.last_zxid, path, &mut ());
        }
        strays.len()
    }
}
