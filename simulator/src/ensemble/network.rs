//! Connections between machines and from clients: in order within one, late, broken, or cut off in one direction.
//!
//! It behaves as TCP does. What is sent into a partition waits and arrives when the partition ends, unless somebody
//! gives the connection up before. A process that ends closes its connections; a machine that loses power does not,
//! and the others learn of it when they time out or talk to the next life of it.

mod dial;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::Zxid;
use protocol::peer::{FromLeader, FromLearner, Notification};

use self::dial::Dial;
pub use self::dial::{DialId, Dialed};
use super::schedule::{Event, Schedule};
use crate::random::Random;

/// A connection, by its place among all that there ever were.
pub type ConnectionId = usize;

/// The end that dialed.
pub const DIALER: usize = 0;
/// The other one.
pub const ACCEPTOR: usize = 1;

/// Somebody with a network cable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A server's machine.
    Host(usize),
    /// A client.
    Client(usize),
}

/// What is dialed on a machine, and what the dialer calls the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// Elections.
    Election,
    /// The leader's, for a learner's link of this number.
    Quorum {
        /// The learner's number for it.
        link: u64,
    },
    /// A follower's, for an observer's link of this number.
    Observers {
        /// The observer's number for it.
        link: u64,
    },
    /// Clients.
    Client,
}

/// What goes over a connection.
#[derive(Clone, Debug)]
pub enum Packet {
    /// Between election ports.
    Notification(Notification),
    /// From a learner.
    FromLearner(FromLearner),
    /// From a leader.
    FromLeader(FromLeader),
    /// A part of a tree.
    Tree {
        /// As it stands on the wire.
        bytes: Vec<u8>,
        /// With the last part, for the checkers: the history that led to the tree.
        whole: Option<Arc<Vec<(Zxid, Bytes)>>>,
    },
    /// A frame of the client protocol, without its length.
    Frame(Vec<u8>),
    /// The sender has closed.
    End,
}

/// What reaches an end of a connection.
#[derive(Debug)]
pub enum Arrival {
    /// A packet.
    Packet(Packet),
    /// The connection is gone.
    Closed,
}

struct End {
    place: Place,
    /// Which life of the machine's server it belongs to.
    life: u64,
    open: bool,
    /// What is under way to this end, with the time of its arrival.
    incoming: VecDeque<(u64, Packet)>,
    last_arrival_us: u64,
}

struct Connection {
    port: Port,
    ends: [End; 2],
}

/// Whether anybody answers at a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// A server runs there.
    Serving {
        /// Which life of it.
        life: u64,
    },
    /// None does, and the system says so.
    Idle,
    /// Nothing does.
    Dark,
}

/// How one direction between two places is.
#[derive(Clone, Copy, Debug)]
struct Path {
    blocked: bool,
    base_us: u64,
    jitter_us: u64,
}

/// All connections.
pub struct Network {
    random: Random,
    hosts: usize,
    places: usize,
    paths: Vec<Path>,
    connections: Vec<Connection>,
    machines: Vec<Machine>,
    dials: Vec<Option<Dial>>,
}

impl Network {
    /// Everybody reaches everybody within some milliseconds.
    pub fn new(mut random: Random, hosts: usize, clients: usize) -> Network {
        let places = hosts + clients;
        let base_us = random.between(50, 2_000);
        let jitter_us = *random.pick(&[100, 1_000, 10_000]);
        let paths = vec![Path { blocked: false, base_us, jitter_us }; places * places];
        Network {
            random,
            hosts,
            places,
            paths,
            connections: Vec::new(),
            machines: vec![Machine::Dark; hosts],
            dials: Vec::new(),
        }
    }

    fn index(&self, place: Place) -> usize {
        match place {
            Place::Host(host) => host,
            Place::Client(client) => self.hosts + client,
        }
    }

    fn path(&mut self, from: Place, to: Place) -> &mut Path {
        let at = self.index(from) * self.places + self.index(to);
        &mut self.paths[at]
    }

    fn is_blocked(&self, from: Place, to: Place) -> bool {
        self.paths[self.index(from) * self.places + self.index(to)].blocked
    }

    fn delay_us(&mut self, from: Place, to: Place) -> u64 {
        let Path { base_us, jitter_us, .. } = *self.path(from, to);
        base_us + self.random.below(jitter_us + 1)
    }

    /// Cuts one direction, or mends it: then what was held back arrives.
    pub fn set_blocked(&mut self, schedule: &mut Schedule, from: Place, to: Place, blocked: bool) {
        self.path(from, to).blocked = blocked;
        if blocked {
            return;
        }
        for number in 0..self.connections.len() {
            for end in [DIALER, ACCEPTOR] {
                let ends = &self.connections[number].ends;
                if ends[end].place == to && ends[1 - end].place == from {
                    self.push_on(schedule, number, end);
                }
            }
        }
    }

    /// Lets everything that is overdue at an end arrive.
    fn push_on(&mut self, schedule: &mut Schedule, connection: ConnectionId, end: usize) {
        let now_us = schedule.now_us();
        let overdue = self.connections[connection].ends[end].incoming.iter();
        for _ in overdue.take_while(|(at_us, _)| *at_us <= now_us) {
            schedule.after(1, Event::Arrive { connection, end });
        }
    }

    /// Makes one direction slower, by a base and a jitter in microseconds.
    pub fn set_delay(&mut self, from: Place, to: Place, base_us: u64, jitter_us: u64) {
        let path = self.path(from, to);
        (path.base_us, path.jitter_us) = (base_us, jitter_us);
    }

    /// Everything works again, within some milliseconds.
    pub fn heal(&mut self, schedule: &mut Schedule) {
        for path in &mut self.paths {
            *path = Path { blocked: false, base_us: 500, jitter_us: 1_000 };
        }
        for connection in 0..self.connections.len() {
            for end in [DIALER, ACCEPTOR] {
                self.push_on(schedule, connection, end);
            }
        }
    }

    /// Sends something. It arrives after everything that was sent before on this connection in this direction.
    pub fn send(
        &mut self,
        schedule: &mut Schedule,
        connection: ConnectionId,
        from_end: usize,
        packet: Packet,
    ) {
        let ends = &self.connections[connection].ends;
        if !ends[from_end].open {
            return;
        }
        let (from, to, end) = (ends[from_end].place, ends[1 - from_end].place, 1 - from_end);
        let arrival_us = schedule.now_us() + self.delay_us(from, to);
        let replaces = matches!(packet, Packet::Notification(_)) && self.random.chance(1, 4);
        let target = &mut self.connections[connection].ends[end];
        let arrival_us = arrival_us.max(target.last_arrival_us);
        if replaces
            && let Some((_, waiting)) = target.incoming.back_mut()
            && matches!(waiting, Packet::Notification(_))
        {
            // The newest word for a server replaces one that has not left.
            *waiting = packet;
            return;
        }
        target.last_arrival_us = arrival_us;
        target.incoming.push_back((arrival_us, packet));
        schedule.at(arrival_us, Event::Arrive { connection, end });
    }

    /// Something reaches an end, unless it is held back or nobody is there any more.
    pub fn arrive(
        &mut self,
        schedule: &mut Schedule,
        connection: ConnectionId,
        end: usize,
    ) -> Option<(Place, Port, Arrival)> {
        let ends = &self.connections[connection].ends;
        let (from, to, life) = (ends[1 - end].place, ends[end].place, ends[end].life);
        if self.is_blocked(from, to) {
            return None;
        }
        let here = &mut self.connections[connection].ends[end];
        let (at_us, _) = here.incoming.front()?;
        if *at_us > schedule.now_us() {
            return None;
        }
        let (_, packet) = here.incoming.pop_front()?;
        if !here.open {
            return None;
        }
        if let Place::Host(host) = to {
            match self.machines[host] {
                Machine::Serving { life: current } if current == life => {}
                // What there is knows nothing of the connection, and says so.
                Machine::Serving { .. } | Machine::Idle => {
                    self.connections[connection].ends[end].open = false;
                    self.reset(schedule, connection, 1 - end);
                    return None;
                }
                Machine::Dark => return None,
            }
        }
        let port = self.connections[connection].port;
        if matches!(packet, Packet::End) {
            let here = &mut self.connections[connection].ends[end];
            here.open = false;
            here.incoming.clear();
            return Some((to, port, Arrival::Closed));
        }
        Some((to, port, Arrival::Packet(packet)))
    }

    /// One end hears that the other is gone; what else was under way to it is lost.
    fn reset(&mut self, schedule: &mut Schedule, connection: ConnectionId, end: usize) {
        let ends = &self.connections[connection].ends;
        let (from, to) = (ends[1 - end].place, ends[end].place);
        let arrival_us = schedule.now_us() + self.delay_us(from, to);
        let target = &mut self.connections[connection].ends[end];
        target.incoming.clear();
        target.last_arrival_us = arrival_us;
        target.incoming.push_back((arrival_us, Packet::End));
        schedule.at(arrival_us, Event::Arrive { connection, end });
    }

    /// One end closes: the other hears of it after everything that was sent before.
    pub fn close(&mut self, schedule: &mut Schedule, connection: ConnectionId, end: usize) {
        self.send(schedule, connection, end, Packet::End);
        let here = &mut self.connections[connection].ends[end];
        here.open = false;
        here.incoming.clear();
    }

    /// The connection breaks: each end hears of it in its own time, and a part of what was under way is lost.
    pub fn break_off(&mut self, schedule: &mut Schedule, connection: ConnectionId) {
        for end in [DIALER, ACCEPTOR] {
            let now_us = schedule.now_us();
            let delay_us = self.random.between(1, 3_000_000);
            let keep = self.random.index(self.connections[connection].ends[end].incoming.len() + 1);
            let target = &mut self.connections[connection].ends[end];
            if !target.open {
                continue;
            }
            target.incoming.truncate(keep);
            let last_us = target.incoming.back().map_or(now_us, |(at_us, _)| *at_us);
            // Nothing that is sent from now on arrives.
            target.last_arrival_us = u64::MAX / 2;
            let arrival_us = last_us.max(now_us + delay_us);
            target.incoming.push_back((arrival_us, Packet::End));
            schedule.at(arrival_us, Event::Arrive { connection, end });
        }
    }

    /// Connections between two places that are open at both ends.
    pub fn open_connections(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        let both = |connection: &Connection| connection.ends.iter().all(|end| end.open);
        self.connections.iter().enumerate().filter(move |(_, c)| both(c)).map(|(number, _)| number)
    }

    /// A server has started on a machine.
    pub fn machine_serves(&mut self, host: usize, life: u64) {
        self.machines[host] = Machine::Serving { life };
    }

    /// The server on a machine is gone. If the power went, nobody is told.
    pub fn machine_stopped(&mut self, schedule: &mut Schedule, host: usize, power_lost: bool) {
        self.machines[host] = if power_lost { Machine::Dark } else { Machine::Idle };
        for connection in 0..self.connections.len() {
            for end in [DIALER, ACCEPTOR] {
                let here = &self.connections[connection].ends[end];
                if here.place != Place::Host(host) || !here.open {
                    continue;
                }
                if !power_lost {
                    self.close(schedule, connection, end);
                    continue;
                }
                let keep = self.random.index(self.connections[connection].ends[1 - end].incoming.len() + 1);
                let other = &mut self.connections[connection].ends[1 - end];
                other.incoming.truncate(keep);
                // Until the system of the other side gives up, or the machine is back and denies everything.
                let patience_us = self.random.between(1_000_000, 60_000_000);
                let arrival_us = schedule.now_us() + patience_us;
                if other.open {
                    other.last_arrival_us = arrival_us;
                    other.incoming.push_back((arrival_us, Packet::End));
                    schedule.at(arrival_us, Event::Arrive { connection, end: 1 - end });
                }
            }
        }
    }

    /// A machine without power has it again; its server is still to start.
    pub fn machine_is_idle(&mut self, host: usize) {
        if self.machines[host] == Machine::Dark {
            self.machines[host] = Machine::Idle;
        }
    }
}
