//! One run: a server that lives and dies, its disk, its clients, and the clock, all driven by one seed.

use std::ops::ControlFlow;

use replica::{Now, ReplicaSettings};

use crate::bugs::Bug;
use crate::checkers::{Verdict, Violation};
use crate::client::Client;
use crate::disk::{Fault, FaultKind, LyingDisk, Stop};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::seeds::Simulation;
use crate::server::{
    IO_THREADS, Link, Phase, Server, StartError, StartOptions, Trouble, log_options, tree_rules,
};
use crate::tally::{ServerFigures, Tally};
use crate::trace::Trace;
use crate::workload::Workload;

/// Steps in which the world heals and everybody finishes, beyond which something hangs.
const CALM_STEPS_MAX: u64 = 20_000;

/// The clock on the wall when a run begins, milliseconds since 1970.
pub(crate) const WALL_START_MS: i64 = 1_790_000_000_000;

/// The chances of one run.
struct Rates {
    steps: u64,
    /// Weights: a client, an I/O thread, the core, the snapshot, the clock, the housekeeping, a disaster.
    actors: [u64; 7],
    /// Weights: kill, power loss, a fault of the disk.
    disasters: [u64; 3],
    faults: Vec<FaultKind>,
    rot: bool,
    leap: bool,
}

/// The world of one seed.
pub struct World {
    random: Random,
    now: Now,
    disk: LyingDisk,
    trace: Trace,
    options: StartOptions,
    rates: Rates,
    workload: Workload,
    server: Option<Server>,
    restart_ms: u64,
    rotten: bool,
    starts: u64,
    links: Vec<Link>,
    clients: Vec<Client>,
    oracle: Oracle,
    calm: bool,
}

impl Simulation for World {
    type Bug = Bug;
    type Figures = ServerFigures;

    fn new(seed: u64, bug: Option<Bug>, trace: Trace) -> World {
        let mut random = Random::new(seed);
        let tick_ms = *random.pick(&[100, 500, 2000]);
        let (least, most) = (2 * tick_ms as i32, 20 * tick_ms as i32);
        let disk = LyingDisk::new(random.fork(), trace.clone());
        if bug == Some(Bug::SkipDirSync) {
            disk.ignore_folder_syncs();
        }
        let options = StartOptions {
            replica: ReplicaSettings {
                tick_ms,
                session_timeout_min_ms: least,
                session_timeout_max_ms: most,
                snapshot_transactions: *random.pick(&[8, 20, 60, 100_000]),
                snapshot_bytes: *random.pick(&[0, 20_000, 4 << 20]),
                container_check_interval_ms: *random.pick(&[200, 2000, 60_000]),
                container_never_used_max_ms: *random.pick(&[0, 1000]),
                seed: random.draw(),
                rules: tree_rules(),
                ..ReplicaSettings::default()
            },
            log: log_options(&mut random),
            snapshot_chunk_nodes: random.between(1, 12) as usize,
            bug,
        };
        // Nobody needs this number any more; without it every seed would mean another run.
        random.draw();
        let client_count = random.between(1, 5) as usize;
        let clients = (0..client_count).map(|name| Client::new(name, random.fork(), (least, most))).collect();
        World {
            rates: Rates::new(&mut random),
            workload: Workload::new(&mut random),
            random,
            now: Now { monotonic_ms: 1, wall_ms: WALL_START_MS },
            disk,
            trace,
            oracle: Oracle::new(tick_ms, (least, most)),
            options,
            server: None,
            restart_ms: 0,
            rotten: false,
            starts: 0,
            links: Vec::new(),
            clients,
            calm: false,
        }
    }

    fn run(&mut self) -> Verdict {
        for _ in 0..self.rates.steps {
            if self.step()?.is_break() {
                return Ok(());
            }
        }
        self.finish()
    }

    fn tally(&self) -> Tally<ServerFigures> {
        let mut tally = self.oracle.tally.clone();
        let stats = self.disk.stats();
        for (what, times) in stats.faults {
            tally.fault(what, times);
            match what {
                "disk full" => tally.note_times("ENOSPC hit", times),
                "sync error" => tally.note_times("failed fsync", times),
                _ => {}
            }
        }
        tally.figures.disk_operations = stats.operations;
        tally.figures.simulated_ms = self.now.monotonic_ms;
        tally
    }
}

impl World {
    /// Breaks off if recovery has refused damaged data: nothing more is promised then.
    fn step(&mut self) -> Result<ControlFlow<()>, Violation> {
        self.oracle.tally.figures.steps += 1;
        self.pass_time(self.rates.leap);
        if self.server.is_none() && self.now.monotonic_ms >= self.restart_ms && self.start()? {
            return Ok(ControlFlow::Break(()));
        }
        let mut actors = self.rates.actors;
        if self.calm {
            actors[6] = 0;
        }
        match self.random.weighted(&actors) {
            0 => self.client_turn()?,
            1 => self.io_turn(),
            2 => self.core_turn()?,
            3 => self.with_server(|server, oracle| server.snapshot_turn(oracle)),
            4 => self.pass_time(true),
            5 => self.keep_house(),
            _ => self.disaster(),
        }
        if self.disk.is_dead() {
            self.oracle.tally.note("crash inside a disk operation");
            self.stop(Stop::PowerLoss);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn pass_time(&mut self, may_leap: bool) {
        let mut passed_ms = self.random.below(3);
        if may_leap && self.random.chance(1, 40) {
            passed_ms += self.random.below(self.options.replica.tick_ms * 2);
        }
        if may_leap && !self.calm && self.random.chance(1, 2000) {
            passed_ms += self.random.below(self.options.replica.tick_ms * 30);
        }
        self.now.monotonic_ms += passed_ms;
        self.now.wall_ms += passed_ms as i64;
        if may_leap && self.random.chance(1, 3000) {
            // Somebody sets the clock on the wall. Sessions must not notice.
            self.now.wall_ms += self.random.below(86_400_000) as i64;
        }
    }

    fn with_server(&mut self, act: impl FnOnce(&mut Server, &mut Oracle)) {
        if let Some(server) = &mut self.server {
            act(server, &mut self.oracle);
        }
    }

    fn client_turn(&mut self) -> Verdict {
        let client = self.random.index(self.clients.len());
        let now_ms = self.now.monotonic_ms;
        self.clients[client].turn(&mut self.links, &self.workload, &mut self.oracle, now_ms)
    }

    fn io_turn(&mut self) {
        let Some(server) = &mut self.server else { return };
        for (number, link) in self.links.iter_mut().enumerate() {
            if !link.accepted && !link.server_closed && !link.client_closed {
                link.accepted = true;
                server.accept(number);
            }
        }
        let thread = self.random.index(IO_THREADS);
        server.io_turn(thread, &mut self.links, &mut self.oracle, self.now, &mut self.random);
    }

    fn core_turn(&mut self) -> Verdict {
        let Some(server) = &mut self.server else { return Ok(()) };
        let before = server.phase();
        match server.core_turn(&mut self.oracle, self.now) {
            Ok(()) => {}
            Err(Trouble::Violation(violation)) => return Err(violation),
            Err(Trouble::MustStop(reason)) => {
                self.trace.note(|| format!("the server must stop: {reason}"));
                if !self.disk.is_dead() {
                    self.oracle.tally.note("log error stops the server");
                    let stop = if self.random.chance(1, 3) { Stop::PowerLoss } else { Stop::Kill };
                    self.stop(stop);
                }
                return Ok(());
            }
        }
        let ended_batch = matches!(before, Phase::Synced(_));
        if ended_batch && self.random.chance(1, 25) {
            let tree = server.shared().tree();
            self.oracle.check_tree(&tree)?;
        }
        Ok(())
    }

    fn keep_house(&mut self) {
        let purge = self.random.chance(1, 10);
        self.with_server(|server, oracle| {
            server.note_durable_mark();
            if purge && server.purge() {
                oracle.tally.note("old files purged");
            }
        });
    }

    fn disaster(&mut self) {
        if !self.random.chance(1, 8) {
            return;
        }
        match self.random.weighted(&self.rates.disasters) {
            0 => self.stop(Stop::Kill),
            1 => self.stop(Stop::PowerLoss),
            _ => {
                let kind = *self.random.pick(&self.rates.faults);
                let after = self.random.below(30);
                self.trace.note(|| format!("armed {kind:?} after {after}"));
                self.disk.arm(Fault { after, kind });
            }
        }
    }

    /// The server is gone, with everything that it held in memory.
    fn stop(&mut self, stop: Stop) {
        let Some(server) = self.server.take() else {
            // The power went during recovery.
            self.disk.stop(stop);
            self.oracle.tally.note("crash during recovery");
            return;
        };
        self.trace.note(|| format!("stop {stop:?} in {:?}", server.phase()));
        let tally = &mut self.oracle.tally;
        tally.note(if stop == Stop::Kill { "crash by kill" } else { "crash by power loss" });
        match server.phase() {
            Phase::Appended(_) => tally.note("crash between append and sync"),
            Phase::Synced(_) => tally.note("crash between sync and answers"),
            Phase::Idle => {}
        }
        tally.note_if(server.is_snapshot_running(), "crash during a snapshot");
        // The disk first: whatever the dying server still does must not reach it.
        self.disk.stop(stop);
        drop(server);
        for link in self.links.iter_mut().filter(|link| !link.server_closed) {
            link.server_closed = true;
            link.to_server.clear();
            let under_way = self.random.index(link.to_client.len() + 1);
            link.to_client.truncate(under_way);
        }
        for client in &mut self.clients {
            client.on_server_stopped();
        }
        // After a kill the disk may still lose what the durable mark, as it is read now, says to be there.
        if self.rates.rot && stop == Stop::PowerLoss && !self.calm && self.random.chance(1, 2) {
            let mark = Server::stored_mark(&self.disk);
            self.rotten |= self.disk.rot(mark).is_some();
        }
        self.restart_ms = self.now.monotonic_ms + self.random.below(self.options.replica.tick_ms * 4);
    }

    /// Tries to start the server. `true` if recovery refused damaged data, which ends the run.
    fn start(&mut self) -> Result<bool, Violation> {
        if self.starts > 0 && self.random.chance(1, 10) && !self.calm {
            self.disk.arm(Fault { after: self.random.below(40), kind: FaultKind::PowerLoss });
        }
        self.starts += 1;
        let faults_before = self.disk.faults_struck();
        match Server::start(&self.disk, &self.options, &mut self.oracle, self.now, &self.trace) {
            Ok(server) => {
                self.oracle.tally.note_if(self.rotten, "rot survived");
                self.server = Some(server);
            }
            Err(StartError::Violation(violation)) => return Err(violation),
            Err(StartError::Disk(reason)) => self.start_failed(&reason),
            // Recovery may take a snapshot that the disk would not read for a damaged one, and then refuses: that
            // is safe, and the next start decides.
            Err(StartError::Refused(reason)) if !self.rotten && self.disk.faults_struck() > faults_before => {
                self.start_failed(&reason);
            }
            Err(StartError::Refused(reason)) => {
                self.trace.note(|| format!("start refused: {reason}"));
                if self.rotten {
                    self.oracle.tally.note("rot refused");
                    return Ok(true);
                }
                return Err(Violation::new("recovered state", format!("refused without damage: {reason}")));
            }
        }
        Ok(false)
    }

    fn start_failed(&mut self, reason: &str) {
        self.trace.note(|| format!("start failed: {reason}"));
        self.oracle.tally.note("recovery repeated after a disk error");
        if self.random.chance(1, 3) {
            self.disk.heal();
        }
        if !self.disk.is_dead() {
            self.disk.stop(Stop::Kill);
        }
        self.restart_ms = self.now.monotonic_ms + self.random.below(self.options.replica.tick_ms);
    }

    /// Faults end, everybody finishes, and everything is compared.
    fn finish(&mut self) -> Verdict {
        self.calm = true;
        self.disk.heal();
        for client in &mut self.clients {
            client.calm_down();
        }
        for _ in 0..CALM_STEPS_MAX {
            if self.step()?.is_break() {
                return Ok(());
            }
            if self.is_settled() {
                let server = self.server.as_ref().expect("a settled world has a server");
                let tree = server.shared().tree();
                return self.oracle.check_tree(&tree);
            }
        }
        let clients: Vec<String> = self.clients.iter().map(Client::describe).collect();
        Err(Violation::new("progress", format!("after {CALM_STEPS_MAX} calm steps: {}", clients.join("; "))))
    }

    fn is_settled(&self) -> bool {
        self.server.as_ref().is_some_and(Server::is_quiet)
            && self.clients.iter().all(Client::is_settled)
            && self.clients.iter().filter_map(Client::link).all(|link| self.links[link].to_client.is_empty())
    }
}

impl Rates {
    fn new(random: &mut Random) -> Rates {
        let faults = FaultKind::draw_some(random);
        let disk_faults = if faults.is_empty() { 0 } else { random.below(5) };
        let disasters = [random.below(4), random.below(4), disk_faults];
        let none = disasters.iter().sum::<u64>() == 0;
        Rates {
            steps: random.between(500, 3000),
            actors: [
                random.between(20, 60),
                random.between(20, 60),
                random.between(20, 80),
                random.between(5, 40),
                random.between(2, 20),
                random.below(4),
                if none { 0 } else { random.between(1, 4) },
            ],
            disasters,
            faults,
            rot: random.chance(1, 6),
            leap: random.chance(1, 2),
        }
    }
}
