//! A few servers, the connections between them, what is on its way, and one clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::peer::{LearnerKind, MemberRole, Membership, Notification, ServerState};
use protocol::{Epoch, ServerId, Zxid};

use super::show;
use crate::election::{Election, ElectionAction, ElectionSettings, Standing};
use crate::quorum::Electorate;

/// More deliveries than that in one go are servers that answer each other for ever.
const DELIVERIES_MAX: usize = 10_000;

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) intervals_ms: (u64, u64),
    pub(super) membership: Membership,
    last_seen: Option<Membership>,
    /// Epoch and last zxid of each server; (0, 0) if not said, `None` for data that is not trusted.
    pub(super) data: BTreeMap<i64, (u32, Option<i64>)>,
    servers: BTreeMap<i64, Election>,
    /// Both directions of each connection.
    links: BTreeSet<(i64, i64)>,
    slow: BTreeSet<(i64, i64)>,
    on_the_way: VecDeque<(i64, i64, Notification)>,
    seen: Vec<String>,
    /// In front of each effect: the time, while it passes.
    prefix: String,
}

impl Default for World {
    fn default() -> World {
        World {
            now_ms: 0,
            intervals_ms: (200, 60_000),
            membership: Membership::default(),
            last_seen: None,
            data: BTreeMap::new(),
            servers: BTreeMap::new(),
            links: BTreeSet::new(),
            slow: BTreeSet::new(),
            on_the_way: VecDeque::new(),
            seen: Vec::new(),
            prefix: String::new(),
        }
    }
}

impl World {
    pub(super) fn take_seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    pub(super) fn show(&mut self, server: i64) {
        let election = self.server(server);
        let (does, votes) = (show::state(election.state()), show::vote(election.vote()));
        let deadline = election.deadline_ms().map_or(String::new(), |at| format!(" deadline={at}"));
        self.seen.push(format!("{server} is {does} {votes} round={}{deadline}", election.round()));
    }

    pub(super) fn boot(&mut self, server: i64) {
        let settings = ElectionSettings {
            me: ServerId::new(server),
            finalize_wait_ms: 200,
            notification_interval_min_ms: self.intervals_ms.0,
            notification_interval_max_ms: self.intervals_ms.1,
        };
        let election = Election::new(settings, self.electorate(), "version=0");
        assert!(self.servers.insert(server, election).is_none(), "{server} runs already");
    }

    pub(super) fn look(&mut self, server: i64) {
        let standing = self.standing(server);
        self.with(server, |election, now_ms, out| election.start(now_ms, &standing, out));
    }

    pub(super) fn with(
        &mut self,
        server: i64,
        step: impl FnOnce(&mut Election, u64, &mut Vec<ElectionAction>),
    ) {
        let mut out = Vec::new();
        let now_ms = self.now_ms;
        step(self.server_mut(server), now_ms, &mut out);
        self.carry_out(server, out);
    }

    pub(super) fn connect(&mut self, a: i64, b: i64) {
        for (a, b) in [(a, b), (b, a)] {
            self.links.insert((a, b));
            if self.servers.contains_key(&a) {
                self.with(a, |election, _, out| election.on_connected(ServerId::new(b), out));
            }
        }
    }

    /// Connects all that run with each other, apart from observers among themselves.
    pub(super) fn connect_all(&mut self) {
        let running: Vec<i64> = self.servers.keys().copied().collect();
        for (at, &a) in running.iter().enumerate() {
            for &b in &running[at + 1..] {
                let electorate = self.electorate();
                let any_votes = [a, b].iter().any(|server| electorate.is_voter(ServerId::new(*server)));
                if any_votes && !self.links.contains(&(a, b)) {
                    self.connect(a, b);
                }
            }
        }
    }

    pub(super) fn cut(&mut self, a: i64, b: i64) {
        self.on_the_way.retain(|(from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        for (a, b) in [(a, b), (b, a)] {
            assert!(self.links.remove(&(a, b)), "{a} and {b} are not connected");
            if self.servers.contains_key(&a) {
                self.with(a, |election, _, out| election.on_disconnected(ServerId::new(b), out));
            }
        }
    }

    pub(super) fn kill(&mut self, server: i64) {
        self.servers.remove(&server).unwrap_or_else(|| panic!("{server} does not run"));
        let peers: Vec<i64> =
            self.links.iter().filter(|(from, _)| *from == server).map(|(_, to)| *to).collect();
        peers.into_iter().for_each(|peer| self.cut(server, peer));
    }

    pub(super) fn set_slow(&mut self, link: (i64, i64), slow: bool) {
        if slow {
            self.slow.insert(link);
        } else {
            assert!(self.slow.remove(&link), "{link:?} is not slow");
        }
    }

    /// Delivers what is on its way, and what that causes, until nothing is left that is not slow.
    pub(super) fn deliver(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let ready = |(from, to, _): &(i64, i64, Notification)| !self.slow.contains(&(*from, *to));
            let Some(at) = self.on_the_way.iter().position(ready) else { return };
            let (from, to, notification) = self.on_the_way.remove(at).unwrap();
            self.hear(from, to, notification);
        }
        panic!("this never ends");
    }

    /// Delivers or loses what is on its way between two servers.
    pub(super) fn empty(&mut self, link: (i64, i64), lose: bool) {
        let all = std::mem::take(&mut self.on_the_way);
        let (taken, rest): (VecDeque<_>, _) = all.into_iter().partition(|(from, to, _)| (*from, *to) == link);
        self.on_the_way = rest;
        assert!(!taken.is_empty(), "nothing is on its way on {link:?}");
        for (from, to, notification) in taken.into_iter().filter(|_| !lose) {
            self.hear(from, to, notification);
        }
    }

    pub(super) fn hear(&mut self, from: i64, to: i64, notification: Notification) {
        if self.servers.contains_key(&to) {
            self.with(to, |election, now_ms, out| {
                election.on_notification(now_ms, ServerId::new(from), notification, out);
            });
        }
    }

    /// Lets time pass, from deadline to deadline; messages arrive at once if `deliver`, else not at all.
    pub(super) fn advance(&mut self, by_ms: u64, deliver: bool) {
        let end_ms = self.now_ms + by_ms;
        loop {
            let due = self.servers.iter().filter_map(|(id, server)| Some((server.deadline_ms()?, *id))).min();
            let Some((at_ms, server)) = due.filter(|(at_ms, _)| *at_ms <= end_ms) else { break };
            self.now_ms = self.now_ms.max(at_ms);
            self.prefix = format!("@{} ", self.now_ms);
            self.with(server, |election, now_ms, out| election.on_tick(now_ms, out));
            if deliver {
                self.deliver();
            }
        }
        self.now_ms = end_ms;
        self.prefix.clear();
    }

    /// A newer membership is seen by everybody.
    pub(super) fn propose_members(&mut self, membership: Membership) {
        self.last_seen = Some(membership);
        self.tell_electorate();
    }

    /// The newer membership is committed everywhere.
    pub(super) fn commit_members(&mut self) {
        self.membership = self.last_seen.take().expect("no newer membership was proposed");
        self.tell_electorate();
    }

    /// Every new voter's connections are announced again, as the drivers of elections must do.
    fn tell_electorate(&mut self) {
        let electorate = self.electorate();
        for election in self.servers.values_mut() {
            election.set_electorate(electorate.clone());
        }
        for (from, to) in self.links.clone() {
            if self.servers.contains_key(&from) {
                self.with(from, |election, _, out| election.on_connected(ServerId::new(to), out));
            }
        }
    }

    fn electorate(&self) -> Electorate {
        Electorate::new(&self.membership, self.last_seen.as_ref()).unwrap()
    }

    fn standing(&self, server: i64) -> Standing {
        let (epoch, zxid) = self.data.get(&server).copied().unwrap_or((0, Some(0)));
        let role = self.membership.members.get(&ServerId::new(server)).map(|member| member.role);
        Standing {
            last_zxid: zxid.map(Zxid::from_wire),
            current_epoch: Epoch::new(epoch),
            may_vote: role == Some(MemberRole::Participant),
            kind: match role {
                Some(MemberRole::Observer) => LearnerKind::Observer,
                Some(MemberRole::Participant) | None => LearnerKind::Follower,
            },
        }
    }

    fn server(&self, server: i64) -> &Election {
        self.servers.get(&server).unwrap_or_else(|| panic!("{server} does not run"))
    }

    fn server_mut(&mut self, server: i64) -> &mut Election {
        self.servers.get_mut(&server).unwrap_or_else(|| panic!("{server} does not run"))
    }

    fn carry_out(&mut self, from: i64, actions: Vec<ElectionAction>) {
        let mut told: Option<(Vec<i64>, Notification)> = None;
        for action in actions {
            if let ElectionAction::Notify { to, notification } = action {
                let to = to.get();
                let known = self.links.contains(&(from, to)) || !self.servers.contains_key(&to);
                assert!(known, "{from} tells {to} without a connection");
                self.on_the_way.push_back((from, to, notification.clone()));
                match &mut told {
                    Some((servers, same)) if *same == notification => servers.push(to),
                    _ => {
                        self.see_told(from, told.replace((vec![to], notification)));
                    }
                }
                continue;
            }
            self.see_told(from, told.take());
            let line = match action {
                ElectionAction::ConnectAll => format!("{from} dials {}", self.unconnected(from)),
                ElectionAction::Elected { vote, round } => {
                    let election = self.server(from);
                    assert!(election.state() != ServerState::Looking && election.vote() == Some(vote));
                    let (does, vote) = (show::state(election.state()), show::vote(Some(vote)));
                    format!("{from} elects {vote} round={round}: {does}")
                }
                ElectionAction::Notify { .. } => unreachable!("shown above"),
            };
            self.seen.push(format!("{}{line}", self.prefix));
        }
        self.see_told(from, told);
    }

    fn see_told(&mut self, from: i64, told: Option<(Vec<i64>, Notification)>) {
        if let Some((to, notification)) = told {
            let to: Vec<String> = to.iter().map(i64::to_string).collect();
            let what = show::notification(&notification);
            self.seen.push(format!("{}{from} -> {} {what}", self.prefix, to.join(",")));
        }
    }

    fn unconnected(&self, server: i64) -> String {
        let electorate = self.electorate();
        let others = electorate.voters().map(ServerId::get).filter(|other| *other != server);
        let missing = others.filter(|other| !self.links.contains(&(server, *other)));
        missing.map(|other| other.to_string()).collect::<Vec<_>>().join(",")
    }
}
