//! What is drawn about a run from its seed: how many servers, how they are configured, what goes wrong.

use protocol::ServerId;
use protocol::peer::membership::ClientEndpoint;
use protocol::peer::{LearnerKind, Member, MemberRole, Membership, PeerAddress};
use replica::ReplicaSettings;
use storage::catch_up::LengthMax;
use zab::PeerSettings;

use super::bugs::Bug;
use super::scene::Options;
use crate::disk::FaultKind;
use crate::model::SUPER;
use crate::random::Random;
use crate::server::{log_options, tree_rules};

/// How large a run is, and what can go wrong in it.
#[derive(Clone, Debug)]
pub struct Chances {
    /// Servers that vote; they have the lowest numbers.
    pub voters: usize,
    /// Servers that do not.
    pub observers: usize,
    /// Whether observers go to followers instead of the leader.
    pub observer_masters: bool,
    /// Clients.
    pub clients: usize,
    /// How long things go wrong, milliseconds.
    pub stormy_ms: u64,
    /// The mean pause between two disasters, milliseconds.
    pub pause_ms: u64,
    /// The weights of the disasters, in the order of [`super::nemesis`].
    pub disasters: [u64; 11],
    /// Faults of disks.
    pub faults: Vec<FaultKind>,
    /// Millionths by which clocks may be wrong.
    pub drift_ppm: u64,
    /// How the ensemble changes; `None` where it cannot.
    pub changes: Option<Changes>,
    /// The last counter of an epoch.
    pub counter_max: u32,
}

/// How the ensemble changes in a run.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Servers that the first membership does not name; they have the highest numbers.
    pub outsiders: Vec<Outsider>,
    /// Clients that change the members; they have the highest numbers.
    pub operators: usize,
    /// Of a thousand turns of an operator, so many ask for a change.
    pub often: u64,
    /// Of a hundred proposed changes, so many bring a disaster with them.
    pub ambush_percent: u64,
    /// Voters that a change must leave.
    voters_min: usize,
}

/// How a server that is no member is started.
#[derive(Clone, Copy, Debug)]
pub enum Outsider {
    /// With a membership that has it beside the first members, as operators do.
    Named(MemberRole),
    /// With the membership that all others have.
    Unnamed(LearnerKind),
}

impl Changes {
    /// In a third of the runs.
    fn draw(random: &mut Random, voters: usize) -> Option<Changes> {
        let outsider = |random: &mut Random| {
            *random.pick(&[
                Outsider::Named(MemberRole::Participant),
                Outsider::Named(MemberRole::Observer),
                Outsider::Unnamed(LearnerKind::Follower),
                Outsider::Unnamed(LearnerKind::Observer),
            ])
        };
        let outsiders = if voters < 7 { *random.pick(&[0, 0, 0, 1, 2, 2]) } else { 0 };
        random.chance(1, 3).then(|| Changes {
            outsiders: (0..outsiders).map(|_| outsider(random)).collect(),
            operators: random.between(1, 2) as usize,
            often: *random.pick(&[10, 50, 200]),
            ambush_percent: *random.pick(&[0, 0, 5, 20]),
            voters_min: random.between(1, 2) as usize,
        })
    }
}

impl Chances {
    /// Draws them.
    pub fn new(random: &mut Random) -> Chances {
        // A stream of its own: runs without changes are what they would be if there were none at all.
        let mut aside = random.clone().fork();
        let voters = *random.pick(&[3, 3, 3, 4, 5, 5, 7]);
        let changes = Changes::draw(&mut aside, voters);
        let ends_early = aside.chance(1, 4);
        let counter_max = if ends_early { *aside.pick(&[12, 40, 150]) } else { u32::MAX - 1 };
        let observer_masters = aside.chance(1, 2);
        let quiet = random.chance(1, 10);
        let mut disasters = [0; 11];
        for weight in &mut disasters {
            *weight = *random.pick(&[0, 0, 1, 2, 4]);
        }
        if quiet {
            disasters = [0; 11];
        }
        Chances {
            voters,
            observers: *random.pick(&[0, 0, 1, 2]),
            observer_masters,
            clients: random.between(2, 5) as usize + changes.as_ref().map_or(0, |changes| changes.operators),
            // Changes make for busy runs: these are shorter, so that all take about as long.
            stormy_ms: 60_000 + random.below(60_001) / if changes.is_some() { 4 } else { 1 },
            pause_ms: *random.pick(&[500, 2_000, 5_000, 15_000]),
            disasters,
            faults: FaultKind::draw_some(random),
            drift_ppm: *random.pick(&[0, 1_000, 50_000]),
            changes,
            counter_max,
        }
    }

    /// All servers: voters, observers, outsiders.
    pub fn servers(&self) -> usize {
        self.voters + self.observers + self.outsiders().len()
    }

    fn outsiders(&self) -> &[Outsider] {
        self.changes.as_ref().map_or(&[], |changes| &changes.outsiders)
    }

    /// The first client that is an operator.
    pub fn first_operator(&self) -> usize {
        self.clients - self.changes.as_ref().map_or(0, |changes| changes.operators)
    }

    /// Draws the configuration of the servers.
    pub fn options(&self, random: &mut Random, bug: Option<Bug>) -> Options {
        let tick_ms = *random.pick(&[100, 200, 500, 2_000]);
        // A stream of its own, as above.
        let mut aside = random.clone().fork();
        let commit_log = *random.pick(&[3, 20, 500]);
        let init_limit = *random.pick(&[5, 10]);
        // Eight of them take half of initLimit at most, or several times that.
        let chunk_share = *random.pick(&[16, 2]);
        Options {
            replica: ReplicaSettings {
                tick_ms,
                session_timeout_min_ms: 2 * tick_ms as i32,
                session_timeout_max_ms: 40 * tick_ms as i32,
                snapshot_transactions: *random.pick(&[20, 60, 300, 100_000]),
                snapshot_bytes: *random.pick(&[0, 40_000, 4 << 20]),
                container_check_interval_ms: *random.pick(&[1_000, 60_000]),
                container_never_used_max_ms: *random.pick(&[0, 1_000]),
                voters_min: self.changes.as_ref().map_or(2, |changes| changes.voters_min),
                rules: self.rules(),
                ..ReplicaSettings::default()
            },
            peer: PeerSettings {
                me: ServerId::new(1),
                kind: LearnerKind::Follower,
                reconfig_enabled: self.changes.is_some(),
                tick_ms,
                init_limit,
                sync_limit: *random.pick(&[2, 5]),
                finalize_wait_ms: *random.pick(&[20, 200]),
                notification_interval_min_ms: *random.pick(&[100, 200]),
                notification_interval_max_ms: *random.pick(&[1_000, 60_000]),
                join_pause_ms: 50,
                // Hardly any memory in a share of the runs: then it is the log on disk that brings learners in sync.
                history_entries_max: if aside.chance(1, 3) { aside.below(2) as usize } else { commit_log },
                history_bytes_max: 1 << 20,
                counter_max: self.counter_max,
            },
            membership: self.membership(),
            outsiders: self.outsiders().to_vec(),
            often: self.changes.as_ref().map_or(0, |changes| changes.often),
            ambush_percent: self.changes.as_ref().map_or(0, |changes| changes.ambush_percent),
            log: log_options(random),
            snapshot_chunk_nodes: random.between(1, 20) as usize,
            snapshot_chunk_us_max: tick_ms * init_limit * 1000 / chunk_share,
            sync_us_max: *random.pick(&[200, 5_000, 50_000]),
            preloaded: *random.pick(&[0, commit_log]),
            log_length_max: *aside.pick(&[
                LengthMax::Share { millionths: 330_000 },
                LengthMax::Unlimited,
                LengthMax::Unlimited,
            ]),
            observer_masters: self.observer_masters,
            bug,
        }
    }

    fn rules(&self) -> tree::Rules {
        let mut rules = tree_rules();
        if self.changes.is_some() {
            rules.reconfig_enabled = true;
            rules.auth.super_digest = Some(SUPER.to_owned());
        }
        rules
    }

    fn membership(&self) -> Membership {
        let role = |host| if host < self.voters { MemberRole::Participant } else { MemberRole::Observer };
        let members =
            (0..self.voters + self.observers).map(|host| (server_at(host), member_at(host, role(host))));
        Membership { members: members.collect(), ..Membership::default() }
    }
}

/// The number of a machine's server.
pub fn server_at(host: usize) -> ServerId {
    ServerId::new(host as i64 + 1)
}

/// The line of a machine's server.
pub fn member_at(host: usize, role: MemberRole) -> Member {
    let address =
        PeerAddress { host: format!("10.0.0.{}", host + 1), quorum_port: 2888, election_port: 3888 };
    let client = ClientEndpoint { host: "0.0.0.0".to_owned(), port: 2181 };
    Member { addresses: vec![address], role, client: Some(client), secure_client: None }
}
