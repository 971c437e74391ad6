//! An ensemble as scenarios see it: everything arrives when `run` says so, unless something is held back.

use std::collections::BTreeSet;
use std::rc::Rc;

use protocol::Zxid;
use protocol::peer::ServerState;

use crate::action::Role;
use crate::harness::{Cargo, Ensemble, Flight, Plan, Seen, at};
use crate::history::Entry;
use crate::members::reconfiguration;

/// More steps than that in one go are servers that answer each other for ever.
const STEPS_MAX: usize = 100_000;

/// An ensemble that has not agreed on a leader by then never will.
const ELECTION_MS_MAX: u64 = 60_000;

pub(super) struct World {
    pub(super) ensemble: Ensemble,
    /// Directions in which nothing arrives.
    pub(super) held: BTreeSet<(i64, i64)>,
    /// Servers whose disks sync only when told to.
    pub(super) slow: BTreeSet<i64>,
    pub(super) shows_pings: bool,
    lines: Vec<String>,
    /// In front of each effect: the time, while it passes.
    prefix: String,
}

impl Default for World {
    fn default() -> World {
        let mut world = World {
            ensemble: Ensemble::new(Plan::new(&[1], &[])),
            held: BTreeSet::new(),
            slow: BTreeSet::new(),
            shows_pings: false,
            lines: Vec::new(),
            prefix: String::new(),
        };
        world.reset(Plan::new(&[1], &[]));
        world
    }
}

impl World {
    pub(super) fn reset(&mut self, plan: Plan) {
        self.ensemble = Ensemble::new(plan);
        self.ensemble.seen = Some(Vec::new());
        self.held.clear();
        self.slow.clear();
    }

    pub(super) fn take_seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub(super) fn say(&mut self, line: String) {
        self.flush();
        self.lines.push(line);
    }

    /// Writes down what was seen, and looks whether all is well.
    pub(super) fn flush(&mut self) {
        let seen = self.ensemble.seen.replace(Vec::new()).unwrap_or_default();
        let mut together: Vec<(i64, Vec<i64>, Vec<String>)> = Vec::new();
        for Seen { who, to, what } in seen {
            if what == "PING" && !self.shows_pings {
                continue;
            }
            match (together.last_mut(), to) {
                (Some((sender, targets, said)), Some(to))
                    if *sender == who
                        && !targets.is_empty()
                        && said[..] == [what.clone()]
                        && !targets.contains(&to) =>
                {
                    targets.push(to);
                }
                (Some((sender, targets, said)), Some(to)) if *sender == who && targets[..] == [to] => {
                    said.push(what)
                }
                (_, to) => together.push((who, to.into_iter().collect(), vec![what])),
            }
        }
        for (who, targets, said) in together {
            let targets: Vec<String> = targets.iter().map(i64::to_string).collect();
            let arrow = if targets.is_empty() { String::new() } else { format!("-> {} ", targets.join(",")) };
            self.lines.push(format!("{}{who} {arrow}{}", self.prefix, said.join(", ")));
        }
        // What a disk holds before its server has ever run is still being written down.
        let has_begun = self.ensemble.servers.values().any(|server| server.starts > 0);
        if let Some(violation) = self.ensemble.complaint().filter(|_| has_begun) {
            panic!("{violation}, after\n  {}", self.lines.join("\n  "));
        }
    }

    pub(super) fn set_disk(&mut self, id: i64, zxids: Vec<(Zxid, String)>) {
        let disk = &mut self.ensemble.server_mut(id).disk;
        disk.log =
            zxids.into_iter().map(|(zxid, payload)| Entry { zxid, envelope: payload.into() }).collect();
        disk.synced = disk.log.len();
    }

    fn arrives(&self, place: usize) -> bool {
        let flight = &self.ensemble.flights[place];
        let held = self.held.iter().any(|&(from, to)| goes_between(flight, from, to));
        !held && self.ensemble.can_arrive(place)
    }

    /// Until nothing is left to do but to wait.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            if let Some(place) = (0..self.ensemble.flights.len()).find(|&place| self.arrives(place)) {
                self.ensemble.deliver(place);
            } else if let Some(id) = self.ensemble.ids().into_iter().find(|id| self.wants_sync(*id)) {
                self.ensemble.sync(id, None);
            } else {
                return self.flush();
            }
            self.flush();
        }
        panic!("this never ends");
    }

    fn wants_sync(&self, id: i64) -> bool {
        !self.slow.contains(&id) && self.ensemble.needs_sync(id)
    }

    /// Some of what is on its way from one server to another arrives, and nothing else happens.
    pub(super) fn deliver(&mut self, from: i64, to: i64, count: Option<usize>) {
        let goes = |flight: &Rc<Flight>| goes_between(flight, from, to);
        let all = self.ensemble.flights.iter().filter(|flight| goes(flight)).count();
        let count = count.unwrap_or(all);
        assert!(count > 0 && count <= all, "{all} messages are on their way from {from} to {to}");
        for _ in 0..count {
            let place = self.ensemble.flights.iter().position(goes).unwrap();
            assert!(self.ensemble.can_arrive(place), "{from} does not reach {to}");
            self.ensemble.deliver(place);
            self.flush();
        }
    }

    /// The newest message in this direction gets before all others.
    pub(super) fn overtake(&mut self, from: i64, to: i64) {
        let goes = |flight: &Rc<Flight>| goes_between(flight, from, to);
        let flights = &mut self.ensemble.flights;
        let (first, last) = (flights.iter().position(goes), flights.iter().rposition(goes));
        let (first, last) = first.zip(last).expect("something is on its way");
        flights[first..=last].rotate_right(1);
    }

    /// A message that no server of this release would say is put behind what is on its way.
    pub(super) fn forge(&mut self, from: i64, to: i64, cargo: Cargo) {
        let mut connections = self.ensemble.connections.iter();
        let found = connections.find(|(_, found)| {
            found.learner_open && [(from, to), (to, from)].contains(&(found.learner, found.leader))
        });
        let (&connection, _) = found.unwrap_or_else(|| panic!("{from} and {to} are not connected"));
        self.ensemble.flights.push(Flight::new(from, to, Some(connection), cargo).into());
    }

    /// Time passes, from deadline to deadline; everything arrives at once.
    pub(super) fn tick(&mut self, by_ms: u64) {
        let end_ms = self.ensemble.now_ms + by_ms;
        self.run();
        while let Some((at_ms, id)) = self.next_deadline().filter(|(at_ms, _)| *at_ms <= end_ms) {
            self.prefix = format!("@{} ", self.ensemble.now_ms.max(at_ms));
            self.wake(at_ms, id);
        }
        self.ensemble.now_ms = end_ms;
        self.prefix.clear();
    }

    fn next_deadline(&self) -> Option<(u64, i64)> {
        let servers = self.ensemble.servers.iter();
        let deadlines = servers.filter_map(|(&id, server)| Some((server.peer.as_ref()?.deadline_ms()?, id)));
        deadlines.min()
    }

    /// Time passes until every server that runs has a leader or is one.
    pub(super) fn settle(&mut self) {
        let end_ms = self.ensemble.now_ms + ELECTION_MS_MAX;
        self.run();
        while !self.is_settled() {
            let (at_ms, id) = self.next_deadline().expect("somebody waits for something");
            assert!(at_ms < end_ms, "nobody leads");
            self.wake(at_ms, id);
        }
    }

    /// A deadline passes, and then all is done that comes of it.
    fn wake(&mut self, at_ms: u64, id: i64) {
        self.ensemble.now_ms = self.ensemble.now_ms.max(at_ms);
        self.ensemble.step(id, |peer, now_ms, out| peer.on_tick(now_ms, out));
        self.flush();
        self.run();
    }

    fn is_settled(&self) -> bool {
        let mut roles =
            self.ensemble.servers.values().filter(|server| server.peer.is_some()).map(|server| server.role);
        roles.all(|role| matches!(role, Some(Role::Leading { .. } | Role::Learning { .. })))
    }

    pub(super) fn show(&mut self, id: i64) {
        let server = self.ensemble.server(id);
        let entries = |entries: &[Entry]| {
            entries
                .iter()
                .map(|entry| {
                    let payload = String::from_utf8_lossy(&entry.envelope).into_owned();
                    if reconfiguration(entry.zxid, &entry.envelope).is_some() {
                        format!("{}=reconfig", at(entry.zxid))
                    } else if payload.is_empty() {
                        at(entry.zxid)
                    } else {
                        format!("{}={payload}", at(entry.zxid))
                    }
                })
                .collect::<Vec<_>>()
        };
        let (synced, rest) = server.disk.log.split_at(server.disk.synced);
        let mut log = entries(synced);
        if !rest.is_empty() {
            log.push("|".to_owned());
            log.extend(entries(rest));
        }
        let state = match server.peer.as_ref().map(|peer| peer.state()) {
            None => "is down",
            Some(ServerState::Looking) => "looks",
            Some(ServerState::Leading) => "leads",
            Some(ServerState::Following) => "follows",
            Some(ServerState::Observing) => "observes",
        };
        let epochs = server.disk.epochs;
        let line = format!(
            "{id} {state}, accepted={} current={} log=[{}] applied {}",
            epochs.accepted,
            epochs.current,
            log.join(" "),
            at(server.applied)
        );
        self.say(line);
    }
}

/// Whether it goes from a leader to a learner or back.
fn goes_between(flight: &Flight, from: i64, to: i64) -> bool {
    (flight.from, flight.to) == (from, to) && !flight.cargo.is_notification()
}
