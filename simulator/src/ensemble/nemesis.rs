//! What goes wrong: crashes, pauses, cut and slow and broken connections, failing disks.

use super::chances::Chances;
use super::host::Host;
use super::network::Place;
use super::scene::Scene;
use super::schedule::Event;
use crate::disk::{Fault, FaultKind, Stop};
use crate::random::Random;

/// How long a cut, a slow link or a pause lasts at most, in ticks.
const TICKS_MAX: u64 = 60;

/// Plays the disasters of a run.
pub struct Nemesis {
    random: Random,
    /// Cut directions that will be mended, by number of the event.
    cuts: Vec<Vec<(Place, Place)>>,
}

impl Nemesis {
    /// Nothing is wrong yet.
    pub fn new(random: Random) -> Nemesis {
        Nemesis { random, cuts: Vec::new() }
    }

    fn length_us(&mut self, scene: &Scene) -> u64 {
        self.random.below(scene.options.replica.tick_ms * TICKS_MAX) * 1000
    }

    /// Plans the next disaster.
    pub fn plan(&mut self, scene: &mut Scene, chances: &Chances) {
        if chances.disasters.iter().sum::<u64>() > 0 {
            let pause_us = self.random.below(2 * chances.pause_ms * 1000) + 1;
            scene.schedule.after(pause_us, Event::Nemesis);
        }
    }

    /// Something goes wrong.
    pub fn strike(&mut self, scene: &mut Scene, hosts: &mut [Host], chances: &Chances) {
        let victim = self.random.index(hosts.len());
        let leader = hosts.iter().position(|host| {
            host.member.as_ref().is_some_and(|m| m.role() == replica::status::ServerRole::Leader)
        });
        // Leaders are where it hurts.
        let victim = leader.filter(|_| self.random.chance(1, 3)).unwrap_or(victim);
        match self.random.weighted(&chances.disasters) {
            0 => self.crash(scene, &mut hosts[victim], Stop::Kill),
            1 => self.crash(scene, &mut hosts[victim], Stop::PowerLoss),
            2 => {
                let count = self.random.between(1, hosts.len() as u64) as usize;
                scene.oracle.tally.fault("several servers crash at once", 1);
                for host in hosts.iter_mut().take(count) {
                    let stop = if self.random.chance(1, 2) { Stop::Kill } else { Stop::PowerLoss };
                    self.crash(scene, host, stop);
                }
            }
            3 => {
                let for_us = self.length_us(scene);
                scene.oracle.tally.fault("pause of a server", 1);
                scene.note(|| format!("server {} stands still for {for_us} us", victim + 1));
                hosts[victim].pause(scene, for_us);
            }
            4 => self.partition(scene, hosts.len()),
            5 => self.cut_off(scene, victim, hosts.len()),
            6 => self.cut_some(scene, hosts.len(), chances.clients),
            7 => self.break_connections(scene),
            8 => self.slow_down(scene, hosts.len()),
            9 => scene.ambush = true,
            _ => self.fail_disk(scene, &hosts[victim], &chances.faults),
        }
    }

    fn crash(&mut self, scene: &mut Scene, host: &mut Host, stop: Stop) {
        if host.member.is_some() {
            scene.oracle.tally.fault(if stop == Stop::Kill { "kill" } else { "power loss" }, 1);
            host.crash(scene, stop);
        }
    }

    /// A learner that has just heard NEWLEADER loses power, and whoever was elected with it.
    pub fn ambush(scene: &mut Scene, hosts: &mut [Host], learner: usize) {
        scene.oracle.tally.fault("ambush of a learner and its leader", 1);
        for host in hosts.iter_mut() {
            let elected = host.member.as_ref().is_some_and(|member| member.is_elected());
            if elected || host.number == learner {
                host.crash(scene, Stop::PowerLoss);
            }
        }
    }

    /// Two sides that do not hear each other, or of which one hears the other.
    fn partition(&mut self, scene: &mut Scene, hosts: usize) {
        let side: Vec<bool> = (0..hosts).map(|_| self.random.chance(1, 2)).collect();
        let one_way = self.random.chance(1, 3);
        let mut cut = Vec::new();
        for from in 0..hosts {
            for to in 0..hosts {
                if side[from] != side[to] && !(one_way && side[from]) {
                    cut.push((Place::Host(from), Place::Host(to)));
                }
            }
        }
        scene.oracle.tally.fault(if one_way { "one-way partition" } else { "partition" }, 1);
        self.cut(scene, cut);
    }

    /// One server alone.
    fn cut_off(&mut self, scene: &mut Scene, victim: usize, hosts: usize) {
        let (inwards, outwards) = *self.random.pick(&[(true, true), (true, false), (false, true)]);
        let mut cut = Vec::new();
        for other in (0..hosts).filter(|&other| other != victim) {
            if inwards {
                cut.push((Place::Host(other), Place::Host(victim)));
            }
            if outwards {
                cut.push((Place::Host(victim), Place::Host(other)));
            }
        }
        scene.oracle.tally.fault("server cut off", 1);
        self.cut(scene, cut);
    }

    /// Some pairs, so that who hears whom is no matter of sides; also clients from servers.
    fn cut_some(&mut self, scene: &mut Scene, hosts: usize, clients: usize) {
        let mut cut = Vec::new();
        for _ in 0..self.random.between(1, hosts as u64) {
            let a = Place::Host(self.random.index(hosts));
            let b = if self.random.chance(1, 3) {
                Place::Client(self.random.index(clients))
            } else {
                Place::Host(self.random.index(hosts))
            };
            if a != b {
                cut.push((a, b));
                if self.random.chance(2, 3) {
                    cut.push((b, a));
                }
            }
        }
        scene.oracle.tally.fault("partial partition", 1);
        self.cut(scene, cut);
    }

    fn cut(&mut self, scene: &mut Scene, cut: Vec<(Place, Place)>) {
        scene.note(|| format!("cut: {cut:?}"));
        for &(from, to) in &cut {
            scene.network.set_blocked(&mut scene.schedule, from, to, true);
        }
        let for_us = self.length_us(scene);
        scene.schedule.after(for_us, Event::Mend(self.cuts.len()));
        self.cuts.push(cut);
    }

    /// A cut ends.
    pub fn mend(&mut self, scene: &mut Scene, number: usize) {
        for (from, to) in std::mem::take(&mut self.cuts[number]) {
            // Another cut of the same direction may last longer; that is forgotten, and no harm.
            scene.network.set_blocked(&mut scene.schedule, from, to, false);
        }
    }

    fn break_connections(&mut self, scene: &mut Scene) {
        let open: Vec<_> = scene.network.open_connections().collect();
        let share = self.random.between(1, 4);
        for connection in open {
            if self.random.chance(1, share * 2) {
                scene.oracle.tally.fault("connection broken", 1);
                scene.network.break_off(&mut scene.schedule, connection);
            }
        }
    }

    fn slow_down(&mut self, scene: &mut Scene, hosts: usize) {
        let tick_us = scene.options.replica.tick_ms * 1000;
        let (from, to) = (self.random.index(hosts), self.random.index(hosts));
        let (base_us, jitter_us) = match self.random.below(3) {
            0 => (300, 500),
            1 => (tick_us / 10, tick_us / 4),
            _ => (tick_us, tick_us * 2),
        };
        scene.oracle.tally.fault("slow link", 1);
        scene.network.set_delay(Place::Host(from), Place::Host(to), base_us, jitter_us);
    }

    fn fail_disk(&mut self, scene: &mut Scene, host: &Host, faults: &[FaultKind]) {
        if faults.is_empty() {
            return;
        }
        let kind = *self.random.pick(faults);
        let after = self.random.below(30);
        scene.note(|| format!("disk of {}: {kind:?} after {after}", host.server()));
        host.disk.arm(Fault { after, kind });
    }
}
