//! What everybody in the world shares.

use protocol::ServerId;
use protocol::peer::{LearnerKind, Membership};
use replica::ReplicaSettings;
use storage::catch_up::LengthMax;
use storage::txn_log::TxnLogOptions;
use zab::PeerSettings;

use super::bugs::Bug;
use super::chances::{Outsider, member_at, server_at};
use super::network::Network;
use super::oracle::Oracle;
use super::schedule::Schedule;
use crate::random::Random;
use crate::trace::Trace;

/// How the servers of a run are configured, and how fast they are.
#[derive(Clone)]
pub struct Options {
    /// The replica's part; the number of the server and the seed are put in for each.
    pub replica: ReplicaSettings,
    /// The part of agreement; likewise.
    pub peer: PeerSettings,
    /// Who belongs to the ensemble, as those are told who belong to it from the start.
    pub membership: Membership,
    /// How the others are started.
    pub outsiders: Vec<Outsider>,
    /// Of a thousand turns of an operator, so many ask for a change of the ensemble.
    pub often: u64,
    /// Of a hundred proposed changes, so many bring a disaster with them.
    pub ambush_percent: u64,
    /// The log's part.
    pub log: TxnLogOptions,
    /// Nodes per chunk of a snapshot.
    pub snapshot_chunk_nodes: usize,
    /// The longest pause between two chunks of a snapshot for a learner, microseconds.
    pub snapshot_chunk_us_max: u64,
    /// How long the disk takes for a sync at most, microseconds.
    pub sync_us_max: u64,
    /// How many transactions of its log a starting server keeps in memory for learners.
    pub preloaded: usize,
    /// How long the log on disk may be that a learner gets instead of a snapshot.
    pub log_length_max: LengthMax,
    /// Whether observers go to followers instead of the leader.
    pub observer_masters: bool,
    /// A bug of the shell.
    pub bug: Option<Bug>,
}

impl Options {
    /// The membership that a machine's server is started with, as long as there is no later one.
    pub fn first_membership(&self, host: usize) -> Membership {
        let mut membership = self.membership.clone();
        if let Some(Outsider::Named(role)) = self.outsider(host) {
            membership.members.insert(server_at(host), member_at(host, role));
        }
        membership
    }

    /// What a machine's server is to others, as long as no membership says it.
    pub fn kind(&self, host: usize) -> LearnerKind {
        match self.outsider(host) {
            Some(Outsider::Unnamed(kind)) => kind,
            _ => self.peer.kind,
        }
    }

    fn outsider(&self, host: usize) -> Option<Outsider> {
        self.outsiders.get(host.checked_sub(self.membership.members.len())?).copied()
    }
}

/// The world but for the servers and clients themselves.
pub struct Scene {
    /// What will happen.
    pub schedule: Schedule,
    /// Who hears whom.
    pub network: Network,
    /// Who knows better.
    pub oracle: Oracle,
    /// Chance.
    pub random: Random,
    /// The account.
    pub trace: Trace,
    /// The configuration.
    pub options: Options,
    /// Who was last seen to lead, for those who want to know.
    pub leader: Option<ServerId>,
    /// The next learner that hears NEWLEADER loses power while it makes the history durable, and so does its leader.
    pub ambush: bool,
}

impl Scene {
    /// Notes a line with its time.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let now_us = self.schedule.now_us();
        self.trace.note(|| format!("{:>10}.{:03} {}", now_us / 1000, now_us % 1000, line()));
    }
}
