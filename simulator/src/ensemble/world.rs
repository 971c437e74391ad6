//! One run: it is stormy for a while, then everything is mended, and everybody must come to agree.

use protocol::Zxid;

use super::bugs::Bug;
use super::chances::Chances;
use super::checkers::progress;
use super::client::Client;
use super::clock::Clock;
use super::host::Host;
use super::nemesis::Nemesis;
use super::network::{ACCEPTOR, DIALER, Dialed, Network, Place};
use super::oracle::Oracle;
use super::party::Party;
use super::scene::Scene;
use super::schedule::{Event, Schedule};
use super::tally::{EnsembleFigures, Tally};
use crate::checkers::{Verdict, Violation};
use crate::disk::LyingDisk;
use crate::random::Random;
use crate::seeds::Simulation;
use crate::trace::Trace;
use crate::workload::Workload;

/// How often the servers are looked at when all is calm, microseconds.
const LOOK_US: u64 = 100_000;

/// The world of one seed.
pub struct World {
    scene: Scene,
    chances: Chances,
    workload: Workload,
    nemesis: Nemesis,
    hosts: Vec<Host>,
    clients: Vec<Box<dyn Party>>,
    calm_since_us: Option<u64>,
}

impl Simulation for World {
    type Bug = Bug;
    type Figures = EnsembleFigures;

    fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> World {
        World::with_clients(seed, bug, trace, |name, random, servers, timeouts_ms| {
            Box::new(Client::new(name, random, servers, timeouts_ms))
        })
    }

    fn run(&mut self) -> Verdict {
        for host in 0..self.hosts.len() {
            let delay_us = self.scene.random.below(3_000_000);
            self.scene.schedule.after(delay_us, Event::Start { host });
        }
        for client in 0..self.clients.len() {
            self.scene.schedule.after(1_000, Event::Client { client, turn: 0 });
        }
        self.nemesis.plan(&mut self.scene, &self.chances);
        let stormy_us = self.chances.stormy_ms * 1000;
        while self.scene.schedule.now_us() < stormy_us {
            self.next_event()?;
        }
        self.calm_down();
        self.wait_for_progress()?;
        self.wait_for_agreement()?;
        self.compare_all()
    }

    fn tally(&self) -> Tally {
        let mut tally = self.scene.oracle.tally.clone();
        for host in &self.hosts {
            for (what, times) in host.disk.stats().faults {
                tally.fault(what, times);
            }
        }
        tally.figures.simulated_ms = self.scene.schedule.now_us() / 1000;
        tally.figures.epochs = self.scene.oracle.epochs() as u64;
        tally
    }
}

impl World {
    /// A world whose clients, but for operators, are made by the caller: of a number, chance, the number of servers, and the
    /// limits of session timeouts, milliseconds.
    pub(super) fn with_clients(
        seed: u64,
        bug: Option<Bug>,
        trace: Trace,
        make: impl Fn(usize, Random, usize, (i32, i32)) -> Box<dyn Party>,
    ) -> World {
        let mut random = Random::new(seed);
        let chances = Chances::new(&mut random);
        let options = chances.options(&mut random, bug);
        let workload = Workload::new(&mut random);
        let servers = chances.servers();
        let timeouts_ms = (options.replica.session_timeout_min_ms, options.replica.session_timeout_max_ms);
        let network = Network::new(random.fork(), servers, chances.clients);
        let hosts = (0..servers).map(|number| {
            let disk = LyingDisk::new(random.fork(), Trace::off());
            let clock = Clock::new(&mut random, chances.drift_ppm);
            // Nobody needs this number any more; without it every seed would mean another run.
            random.draw();
            Host::new(number, disk, clock)
        });
        let hosts: Vec<Host> = hosts.collect();
        let clients = (0..chances.clients)
            .map(|name| match name < chances.first_operator() {
                true => make(name, random.fork(), servers, timeouts_ms),
                false => Box::new(Client::new(name, random.fork(), servers, timeouts_ms).into_operator())
                    as Box<dyn Party>,
            })
            .collect();
        let nemesis = Nemesis::new(random.fork());
        let oracle = Oracle::new(servers, &options);
        let schedule = Schedule::default();
        let scene = Scene { schedule, network, oracle, random, trace, options, leader: None, ambush: false };
        scene.note(|| format!("{chances:?}"));
        World { scene, chances, workload, nemesis, hosts, clients, calm_since_us: None }
    }

    fn next_event(&mut self) -> Verdict {
        let Some(event) = self.scene.schedule.next() else {
            return Err(Violation::new("progress", "nothing will ever happen again"));
        };
        self.scene.oracle.tally.figures.events += 1;
        self.on_event(event)
    }

    fn on_event(&mut self, event: Event) -> Verdict {
        let World { scene, hosts, clients, .. } = self;
        match event {
            Event::Arrive { connection, end } => {
                match scene.network.arrive(&mut scene.schedule, connection, end) {
                    Some((Place::Host(host), port, arrival)) => {
                        hosts[host].on_arrival(scene, (connection, end), port, arrival)
                    }
                    Some((Place::Client(client), _, arrival)) => {
                        clients[client].on_arrival(scene, connection, arrival)
                    }
                    None => Ok(()),
                }
            }
            Event::Dialed(dial) => {
                self.on_dialed(dial);
                Ok(())
            }
            Event::Wake(life)
            | Event::Synced(life)
            | Event::WriteSnapshot(life)
            | Event::SendSnapshot(life)
            | Event::ConsultLog(life)
            | Event::SendLog { life, .. }
            | Event::KeepHouse(life) => hosts[life.host].on_event(scene, life, event),
            Event::Start { host } => hosts[host].start(scene, self.calm_since_us.is_some()),
            Event::Resume { host } => hosts[host].resume(scene),
            Event::Client { client, turn } => clients[client].on_turn(scene, &self.workload, turn),
            Event::Nemesis => {
                if self.calm_since_us.is_none() {
                    self.nemesis.strike(scene, hosts, &self.chances);
                    self.nemesis.plan(scene, &self.chances);
                }
                Ok(())
            }
            Event::Ambush(life) => {
                if self.calm_since_us.is_none() && hosts[life.host].life == life.life {
                    Nemesis::ambush(scene, hosts, life.host);
                }
                Ok(())
            }
            Event::Mend(number) => {
                if self.calm_since_us.is_none() {
                    self.nemesis.mend(scene, number);
                }
                Ok(())
            }
        }
    }

    fn on_dialed(&mut self, dial: usize) {
        let World { scene, hosts, clients, .. } = self;
        match scene.network.on_dialed(&mut scene.schedule, dial) {
            Dialed::GoesOn => {}
            Dialed::Failed { from: Place::Host(host), life, to, port } => {
                hosts[host].on_dial_failed(scene, life, to, port);
            }
            Dialed::Failed { from: Place::Client(client), life, .. } => {
                clients[client].on_dial_failed(scene, life);
            }
            Dialed::Connected { connection, from, life, to, port } => {
                let other = match from {
                    Place::Host(host) => Some(host),
                    Place::Client(_) => None,
                };
                hosts[to].on_connected(scene, connection, ACCEPTOR, port, other);
                match from {
                    Place::Host(host) => {
                        hosts[host].on_connected(scene, connection, DIALER, port, Some(to));
                    }
                    Place::Client(client) => clients[client].on_connected(scene, connection, life),
                }
            }
        }
    }

    /// Everything is mended, and whoever is down starts.
    fn calm_down(&mut self) {
        let scene = &mut self.scene;
        scene.note(|| "all is mended".to_owned());
        self.calm_since_us = Some(scene.schedule.now_us());
        scene.network.heal(&mut scene.schedule);
        scene.ambush = false;
        // A leader, too, must have brought a quorum in sync within initLimit.
        scene.options.snapshot_chunk_us_max = scene.options.peer.init_ms() * 1000 / 16;
        for host in &mut self.hosts {
            host.disk.heal();
            host.hurry(scene);
            scene.schedule.after(1_000, Event::Start { host: host.number });
        }
        for client in &mut self.clients {
            client.calm_down(scene);
        }
    }

    fn calm_ms(&self) -> u64 {
        let since_us = self.calm_since_us.unwrap_or(self.scene.schedule.now_us());
        (self.scene.schedule.now_us() - since_us) / 1000
    }

    /// Long enough for half-open connections to be noticed, for the longest pause of an election, and for some of them.
    fn limit_ms(&self) -> u64 {
        let peer = &self.scene.options.peer;
        60_000 + 2 * peer.notification_interval_max_ms + 10 * (peer.init_ms() + peer.sync_ms())
    }

    fn describe(&self) -> String {
        let hosts = self.hosts.iter().map(|host| match &host.member {
            Some(member) => member.describe(),
            None => format!("server {} is down", host.server()),
        });
        let clients = self.clients.iter().map(|client| client.describe());
        hosts.chain(clients).collect::<Vec<_>>().join("; ")
    }

    /// The servers that belong to the ensemble. The others need not come to anything.
    fn members(&self) -> impl Iterator<Item = &Host> {
        let (_, members) = self.scene.oracle.memberships.last();
        self.hosts.iter().filter(|host| members.votes(host.server()).is_some())
    }

    /// All members serve, and every client has written.
    fn wait_for_progress(&mut self) -> Verdict {
        self.wait(|world| {
            let serving = |host: &Host| host.member.as_ref().is_some_and(|member| member.is_serving());
            world.members().all(serving) && world.clients.iter().all(|client| client.is_done())
        })?;
        let took_ms = self.calm_ms();
        self.scene.oracle.tally.figures.note_recovery(took_ms);
        Ok(())
    }

    /// All members have applied the same, and go by the same members.
    fn wait_for_agreement(&mut self) -> Verdict {
        self.wait(|world| {
            let last = world.scene.oracle.ledger().last();
            let (version, _) = world.scene.oracle.memberships.last();
            let agrees = |host: &Host| {
                host.member.as_ref().is_some_and(|member| {
                    let settled = world.chances.changes.is_none() || member.goes_by(version);
                    settled && member.shared().tree().last_zxid() == last
                })
            };
            world.members().all(agrees) && world.leaders() == 1
        })
    }

    fn wait(&mut self, arrived: impl Fn(&World) -> bool) -> Verdict {
        let mut look_us = 0;
        loop {
            if self.scene.schedule.now_us() >= look_us {
                if arrived(self) {
                    return Ok(());
                }
                look_us = self.scene.schedule.now_us() + LOOK_US;
                progress::check(self.calm_ms(), self.limit_ms(), || self.describe())?;
            }
            self.next_event()?;
        }
    }

    fn leaders(&self) -> usize {
        let leads = |host: &&Host| {
            host.member.as_ref().is_some_and(|m| m.role() == replica::status::ServerRole::Leader)
        };
        self.hosts.iter().filter(leads).count()
    }

    /// Node by node.
    fn compare_all(&mut self) -> Verdict {
        let oracle = &self.scene.oracle;
        let (version, _) = oracle.memberships.last();
        for host in self.members() {
            let member = host.member.as_ref().expect("everybody was just found to agree");
            let tree = member.shared().tree();
            oracle.check_tree(&tree)?;
            if self.chances.changes.is_some() {
                oracle.check_config(&tree)?;
            }
        }
        let lost = version != 0
            && Zxid::from_wire(version).counter() != 0
            && !oracle.memberships.is_written(version);
        self.scene.oracle.tally.note_if(lost, "members changed and the transaction lost");
        self.clients.iter().try_for_each(|client| client.judge(&self.scene.oracle.model))
    }
}
