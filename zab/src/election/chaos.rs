//! Elections on a bad network: random delays, losses, cut connections and restarts, then calm.
//!
//! After every step of every server:
//!
//! - a trusted voter never proposes less than what it has itself (epoch, then zxid);
//! - whoever is elected may lead: a voter with weight, and not one whose data is not trusted;
//! - whoever is elected is backed by a quorum: one that has proposed exactly this vote in this round, or one that has
//!   followed (or led under) this leader. With the first rule a leader by proposals has, at the time of the votes, a
//!   history at least as long as each of a quorum;
//! - a deadline stands in an election and only there, and lies ahead once its time has been spent.
//!
//! After the storm, within a bounded time: exactly one server leads and everybody follows or observes it.
//!
//! That two servers may lead for a moment is no error: what comes after an election sorts that out. Here a leader without
//! a quorum of followers, and a follower whose leader does not lead, look again.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};

use super::{Election, ElectionAction};
use crate::harness::Chance;
use nodes::{Ensemble, Event};
use protocol::ServerId;
use protocol::peer::{ServerState, Vote};

const STORM_MS: u64 = 15_000;
/// Three of the longest waits between notifications.
const CALM_MS: u64 = 180_000;

/// Things that must have happened in some run, else the test proves little.
#[derive(Clone, Copy, Default, Debug)]
struct Sometimes {
    elections: u32,
    restarts: u32,
    lost: u32,
    leaders_without_followers: u32,
    followers_without_leader: u32,
    at_once: u32,
    untrusted_joined: u32,
    observed: u32,
    weightless_followed: u32,
}

/// Who has cast what, ever, whether or not it arrived.
#[derive(Default)]
struct Backing {
    proposed: BTreeMap<(i64, i64, ServerId, i64), BTreeSet<ServerId>>,
    settled: BTreeMap<ServerId, BTreeSet<ServerId>>,
}

struct Run {
    ensemble: Ensemble,
    backing: Backing,
    seen: Sometimes,
    trace: Vec<String>,
}

fn key(vote: &Vote, round: i64) -> (i64, i64, ServerId, i64) {
    (vote.peer_epoch, vote.zxid.to_wire(), vote.leader, round)
}

impl Run {
    /// What is seen is added to what was `seen` before.
    fn new(seed: u64, seen: Sometimes) -> Run {
        let (backing, trace) = (Backing::default(), Vec::new());
        Run { ensemble: Ensemble::new(Chance::new(seed)), backing, seen, trace }
    }

    /// One storm and the calm after it.
    fn run(mut self) -> (Sometimes, Vec<String>) {
        for server in self.ensemble.ids() {
            self.boot(server);
        }
        self.ensemble.schedule(1, Event::Trouble);
        while let Some(event) = self.ensemble.next_event() {
            if self.ensemble.now_ms >= STORM_MS + CALM_MS {
                break;
            }
            self.happen(event);
        }
        self.check_calm();
        (self.seen, self.trace)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Trouble => self.trouble(),
            Event::Boot(server) => self.boot(server),
            Event::Tick(server, life) => self.tick(server, life),
            Event::Arrive { from, to, connection, notification } => {
                if self.ensemble.has_end(to, from, connection) {
                    self.step(to, |election, now_ms, out| {
                        election.on_notification(now_ms, from, notification, out);
                    });
                }
            }
            Event::Dialled(a, b) => {
                for (a, b) in self.ensemble.connect(a, b) {
                    self.step(a, |election, _, out| election.on_connected(b, out));
                }
            }
            Event::Noticed { server, peer, connection } => {
                if self.ensemble.drop_end(server, peer, connection) {
                    self.step(server, |election, _, out| election.on_disconnected(peer, out));
                }
            }
            Event::Check(server, term) => self.check_role(server, term),
        }
    }

    fn tick(&mut self, server: ServerId, life: u32) {
        let now_ms = self.ensemble.now_ms;
        let node = self.ensemble.node(server);
        let deadline_ms = node.running(life).and_then(Election::deadline_ms);
        if deadline_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.step(server, |election, now_ms, out| {
                election.on_tick(now_ms, out);
                assert!(election.deadline_ms().is_none_or(|at_ms| at_ms > now_ms), "time stands still");
            });
        }
    }

    fn boot(&mut self, server: ServerId) {
        if self.ensemble.boot(server) {
            self.look(server);
        }
    }

    fn look(&mut self, server: ServerId) {
        let standing = self.ensemble.begin_term(server);
        self.step(server, |election, now_ms, out| election.start(now_ms, &standing, out));
    }

    /// A random mishap, and the next one; or the end of it.
    fn trouble(&mut self) {
        if self.ensemble.now_ms >= STORM_MS {
            self.ensemble.calm = true;
            for server in self.ensemble.ids() {
                self.boot(server);
            }
            return;
        }
        let (a, b) = (self.ensemble.random_server(), self.ensemble.random_server());
        match self.ensemble.chance.below(4) {
            0 => {
                self.seen.restarts += 1;
                self.ensemble.kill(a);
            }
            1 | 2 => self.ensemble.cut(a, b),
            _ => self.ensemble.write(a),
        }
        let pause_ms = self.ensemble.chance.below(700);
        self.ensemble.schedule(pause_ms + 1, Event::Trouble);
    }

    /// What follows an election, in short: leaders need a quorum of followers, followers a leader.
    fn check_role(&mut self, server: ServerId, term: u32) {
        let node = self.ensemble.node(server);
        let Some(state) = node.state_in_term(term) else { return };
        let stays = match state {
            ServerState::Looking => return,
            ServerState::Leading => self.ensemble.establish(server),
            ServerState::Following | ServerState::Observing => self.ensemble.synchronize(server),
        };
        if stays {
            return self.ensemble.schedule_check(server);
        }
        match state {
            ServerState::Leading => self.seen.leaders_without_followers += 1,
            _ => self.seen.followers_without_leader += 1,
        }
        self.look(server);
    }

    /// Lets a server do something, if it runs, and carries out what it wants.
    fn step(&mut self, server: ServerId, step: impl FnOnce(&mut Election, u64, &mut Vec<ElectionAction>)) {
        let now_ms = self.ensemble.now_ms;
        let Some(election) = self.ensemble.election(server) else { return };
        let (mut out, waited) = (Vec::new(), election.deadline_ms());
        step(election, now_ms, &mut out);
        assert_eq!(election.deadline_ms().is_some(), election.state() == ServerState::Looking);
        let new_deadline = election.deadline_ms().filter(|at_ms| waited != Some(*at_ms));
        let (state, vote, round) = (election.state(), election.vote(), election.round());
        self.trace.push(format!("{now_ms} {server} {state:?} {vote:?} {round} {}", out.len()));
        if let Some(at_ms) = new_deadline {
            self.ensemble.schedule_tick(server, at_ms - now_ms);
        }
        for action in out {
            match action {
                ElectionAction::Notify { to, notification } => {
                    // What is sent in one step while proposals change is cast too, not only the last.
                    self.record(server, notification.state, notification.vote, notification.round);
                    self.seen.lost += u32::from(!self.ensemble.send(server, to, notification));
                }
                ElectionAction::ConnectAll => self.ensemble.dial_all(server),
                ElectionAction::Elected { vote, round } => self.elected(server, vote, round, state, waited),
            }
        }
        // Only now: nobody backs its own decision by having made it.
        self.record(server, state, vote, round);
    }

    fn record(&mut self, server: ServerId, state: ServerState, vote: Option<Vote>, round: i64) {
        let Some(vote) = vote else { return };
        if state != ServerState::Looking {
            self.backing.settled.entry(vote.leader).or_default().insert(server);
            return;
        }
        self.backing.proposed.entry(key(&vote, round)).or_default().insert(server);
        let node = self.ensemble.node(server);
        if let Some(own) = node.own_vote.filter(|_| self.ensemble.electorate.is_voter(server)) {
            let enough = (vote.peer_epoch, vote.zxid) >= (own.peer_epoch, own.zxid);
            assert!(enough, "{server} has {own:?} and proposes {vote:?}");
        }
    }

    fn elected(
        &mut self,
        server: ServerId,
        vote: Vote,
        round: i64,
        state: ServerState,
        deadline_ms: Option<u64>,
    ) {
        let electorate = &self.ensemble.electorate;
        let decides = |casts: Option<&BTreeSet<ServerId>>| {
            let mut set = Default::default();
            for cast in casts.into_iter().flatten() {
                electorate.insert(&mut set, *cast);
            }
            electorate.decides(set)
        };
        let proposed = self.backing.proposed.get(&key(&vote, round));
        let backed = decides(proposed) || decides(self.backing.settled.get(&vote.leader));
        assert!(backed, "{server} elects {vote:?} in round {round} without a quorum");
        assert!(electorate.weight(vote.leader) > 0, "{vote:?} leads without weight");
        assert_eq!(state == ServerState::Leading, vote.leader == server);

        let node = self.ensemble.node(server);
        assert!(state != ServerState::Leading || node.own_vote.is_some(), "{server} leads without data");
        self.seen.elections += 1;
        self.seen.at_once += u32::from(deadline_ms.is_some_and(|at_ms| at_ms > self.ensemble.now_ms));
        self.seen.untrusted_joined += u32::from(node.untrusted);
        self.seen.observed += u32::from(state == ServerState::Observing);
        self.seen.weightless_followed +=
            u32::from(electorate.is_voter(server) && electorate.weight(server) == 0);
        self.ensemble.schedule_check(server);
    }

    fn check_calm(&self) {
        let leaders: Vec<ServerId> = self.ensemble.in_state(ServerState::Leading);
        assert_eq!(leaders.len(), 1, "{leaders:?} lead after the storm");
        for server in self.ensemble.ids() {
            let node = self.ensemble.node(server);
            let election = node.election.as_ref().expect("everybody runs after the storm");
            assert_ne!(election.state(), ServerState::Looking, "{server} has found no leader");
            assert_eq!(election.vote().map(|vote| vote.leader), Some(leaders[0]), "{server} is elsewhere");
        }
    }
}

#[test]
fn everybody_settles_on_one_eligible_leader_after_any_storm() {
    let mut all = Sometimes::default();
    for seed in 0..300 {
        let seen = std::panic::catch_unwind(|| Run::new(seed, all).run().0);
        all = seen.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    let Sometimes { elections, restarts, lost, at_once, untrusted_joined, observed, .. } = all;
    assert!(elections > 0 && restarts > 0 && lost > 0 && at_once > 0 && untrusted_joined > 0 && observed > 0);
    assert!(all.leaders_without_followers > 0 && all.followers_without_leader > 0, "{all:?}");
    assert!(all.weightless_followed > 0, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_elections_twice() {
    for seed in [1, 2, 3] {
        let trace = || Run::new(seed, Sometimes::default()).run().1;
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}
