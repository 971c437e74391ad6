//! A machine: its disk and its clock outlive the server that runs on it.

use protocol::ServerId;

use super::clock::Clock;
use super::member::{Member, StartError};
use super::network::{Arrival, ConnectionId, Port};
use super::scene::Scene;
use super::schedule::{Event, Life};
use crate::checkers::Violation;
use crate::disk::{Fault, FaultKind, LyingDisk, Stop};
use crate::server::Trouble;

/// Something that came while the machine stood still.
struct HeldBack {
    connection: ConnectionId,
    end: usize,
    port: Port,
    arrival: Arrival,
}

/// A machine.
pub struct Host {
    /// Its place among the machines.
    pub number: usize,
    /// Its disk.
    pub disk: LyingDisk,
    /// Its clock.
    pub clock: Clock,
    /// The server, while it lives.
    pub member: Option<Member>,
    /// How many there were.
    pub life: u64,
    paused_until_us: u64,
    held_back: Vec<HeldBack>,
}

impl Host {
    /// A machine that was never used.
    pub fn new(number: usize, disk: LyingDisk, clock: Clock) -> Host {
        Host { number, disk, clock, member: None, life: 0, paused_until_us: 0, held_back: Vec::new() }
    }

    /// The server's number in the ensemble.
    pub fn server(&self) -> ServerId {
        ServerId::new(self.number as i64 + 1)
    }

    fn is_paused(&self, scene: &Scene) -> bool {
        scene.schedule.now_us() < self.paused_until_us
    }

    /// Nothing happens here for a while, but the clock goes on.
    pub fn pause(&mut self, scene: &mut Scene, for_us: u64) {
        self.paused_until_us = scene.schedule.now_us() + for_us;
        scene.schedule.at(self.paused_until_us, Event::Resume { host: self.number });
    }

    /// It goes on at once if it stood still.
    pub fn hurry(&mut self, scene: &mut Scene) {
        self.paused_until_us = 0;
        scene.schedule.after(0, Event::Resume { host: self.number });
    }

    /// It goes on: what has come meanwhile is taken in.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn resume(&mut self, scene: &mut Scene) -> Result<(), Violation> {
        if self.is_paused(scene) {
            return Ok(());
        }
        for HeldBack { connection, end, port, arrival } in std::mem::take(&mut self.held_back) {
            self.on_arrival(scene, (connection, end), port, arrival)?;
        }
        Ok(())
    }

    /// Something has come over the network.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn on_arrival(
        &mut self,
        scene: &mut Scene,
        (connection, end): (ConnectionId, usize),
        port: Port,
        arrival: Arrival,
    ) -> Result<(), Violation> {
        // Nothing overtakes what waits to be taken in.
        if self.is_paused(scene) || !self.held_back.is_empty() {
            self.held_back.push(HeldBack { connection, end, port, arrival });
            return Ok(());
        }
        let Some(member) = &mut self.member else { return Ok(()) };
        let result = member.on_arrival(scene, (connection, end), port, arrival);
        self.after(scene, result)
    }

    /// Somebody has connected to this machine, or this machine has to somebody. The system does that, also while the
    /// server stands still.
    pub fn on_connected(
        &mut self,
        scene: &mut Scene,
        connection: ConnectionId,
        end: usize,
        port: Port,
        other: Option<usize>,
    ) {
        if let Some(member) = &mut self.member {
            member.on_connected(scene, (connection, end), port, other);
        }
    }

    /// A dial of this machine has failed.
    pub fn on_dial_failed(&mut self, scene: &mut Scene, life: u64, to: usize, port: Port) {
        if let Some(member) = &mut self.member
            && life == self.life
        {
            member.on_dial_failed(scene, to, port);
        }
    }

    /// One of the events that concern a life of the server.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn on_event(&mut self, scene: &mut Scene, life: Life, event: Event) -> Result<(), Violation> {
        if life.life != self.life {
            return Ok(());
        }
        if self.is_paused(scene) {
            scene.schedule.at(self.paused_until_us + 1, event);
            return Ok(());
        }
        let Some(member) = &mut self.member else { return Ok(()) };
        let result = match event {
            Event::Wake(_) => member.wake(scene),
            Event::Synced(_) => member.on_disk_done(scene),
            Event::WriteSnapshot(_) => member.write_snapshot(scene),
            Event::SendSnapshot(_) => member.send_snapshot(scene),
            Event::ConsultLog(_) => {
                member.consult_log(scene);
                Ok(())
            }
            Event::SendLog { link, .. } => {
                member.send_log(scene, link);
                Ok(())
            }
            Event::KeepHouse(_) => {
                member.keep_house(scene);
                Ok(())
            }
            _ => Ok(()),
        };
        self.after(scene, result)
    }

    fn after(&mut self, scene: &mut Scene, result: Result<(), Trouble>) -> Result<(), Violation> {
        match result {
            Err(Trouble::Violation(violation)) => Err(violation),
            Err(Trouble::MustStop(reason)) => {
                scene.note(|| format!("server {} must stop: {reason}", self.server()));
                let stop = if self.disk.is_dead() || scene.random.chance(1, 3) {
                    Stop::PowerLoss
                } else {
                    Stop::Kill
                };
                scene.oracle.tally.note("disk error stops a server");
                self.crash(scene, stop);
                Ok(())
            }
            Ok(()) if self.disk.is_dead() => {
                scene.oracle.tally.note("crash inside a disk operation");
                self.crash(scene, Stop::PowerLoss);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The server is gone, and after a power loss whatever was not synced. It starts again later.
    pub fn crash(&mut self, scene: &mut Scene, stop: Stop) {
        scene.note(|| format!("server {} crashes: {stop:?}", self.server()));
        let member = self.member.take();
        self.life += 1;
        self.held_back.clear();
        self.paused_until_us = 0;
        // The disk first: whatever the dying server still does must not reach it.
        self.disk.stop(stop);
        drop(member);
        let power_lost = stop == Stop::PowerLoss;
        scene.network.machine_stopped(&mut scene.schedule, self.number, power_lost);
        scene.oracle.tally.note(if power_lost { "crash by power loss" } else { "crash by kill" });
        let tick_us = scene.options.replica.tick_ms * 1000;
        let away_us = if scene.random.chance(1, 4) {
            scene.random.below(tick_us * 60)
        } else {
            scene.random.below(tick_us * 4)
        };
        scene.schedule.after(away_us, Event::Start { host: self.number });
    }

    /// Tries to start the server, if none runs.
    ///
    /// # Errors
    /// A promise that was not kept.
    pub fn start(&mut self, scene: &mut Scene, calm: bool) -> Result<(), Violation> {
        if self.member.is_some() {
            return Ok(());
        }
        if self.life > 1 && !calm && scene.random.chance(1, 12) {
            self.disk.arm(Fault { after: scene.random.below(40), kind: FaultKind::PowerLoss });
        }
        self.life += 1;
        scene.network.machine_is_idle(self.number);
        let life = Life { host: self.number, life: self.life };
        let faults_before = self.disk.faults_struck();
        match Member::start(scene, life, &self.disk, self.clock) {
            Ok(member) => {
                self.member = Some(member);
                let result = self.member.as_mut().map_or(Ok(()), |member| member.begin(scene));
                self.after(scene, result)
            }
            Err(StartError::Violation(violation)) => Err(violation),
            Err(StartError::Refused(reason)) if self.disk.faults_struck() == faults_before => {
                let detail = format!("server {} refuses to start: {reason}", self.server());
                Err(Violation::new("recovered state", detail))
            }
            Err(StartError::Refused(reason) | StartError::Disk(reason)) => {
                scene.note(|| format!("server {} does not start: {reason}", self.server()));
                scene.oracle.tally.note("start repeated after a disk error");
                if scene.random.chance(1, 3) {
                    self.disk.heal();
                }
                self.disk.stop(if self.disk.is_dead() { Stop::PowerLoss } else { Stop::Kill });
                let pause_us = scene.random.below(scene.options.replica.tick_ms * 1000) + 1;
                scene.schedule.after(pause_us, Event::Start { host: self.number });
                Ok(())
            }
        }
    }
}
