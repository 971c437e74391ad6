//! Connecting: it takes time, is refused, or times out.

use super::{Connection, ConnectionId, End, Machine, Network, Place, Port};
use crate::ensemble::schedule::{Event, Schedule};

/// An attempt to connect, by its place among all that there ever were.
pub type DialId = usize;

/// How long a machine that does not answer keeps a dialer waiting, at most.
const SILENCE_US: u64 = 1_000_000;

pub(super) struct Dial {
    from: Place,
    life: u64,
    to: usize,
    port: Port,
    deadline_us: u64,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Dialed {
    /// Both ends are connected now.
    Connected {
        /// Over this.
        connection: ConnectionId,
        /// Who dialed.
        from: Place,
        /// Which life of its server; what a client calls the attempt.
        life: u64,
        /// To which machine.
        to: usize,
        /// To which port.
        port: Port,
    },
    /// The dialer gives up.
    Failed {
        /// Who dialed.
        from: Place,
        /// Likewise.
        life: u64,
        /// To which machine.
        to: usize,
        /// To which port.
        port: Port,
    },
    /// It is tried again, or the dialer is gone.
    GoesOn,
}

impl Network {
    /// Begins to dial. `within_ms` is how long it may be tried again and again; 0 for one attempt.
    pub fn dial(
        &mut self,
        schedule: &mut Schedule,
        (from, life): (Place, u64),
        to: usize,
        port: Port,
        within_ms: u64,
    ) {
        let deadline_us = schedule.now_us() + within_ms * 1000;
        self.dials.push(Some(Dial { from, life, to, port, deadline_us }));
        let (number, to) = (self.dials.len() - 1, Place::Host(to));
        let mut takes_us = self.delay_us(from, to) + self.delay_us(to, from);
        if self.is_unreachable(from, to) {
            takes_us += SILENCE_US;
        }
        schedule.after(takes_us, Event::Dialed(number));
    }

    fn is_unreachable(&self, from: Place, to: Place) -> bool {
        let dark = matches!(to, Place::Host(host) if self.machines[host] == Machine::Dark);
        dark || self.is_blocked(from, to) || self.is_blocked(to, from)
    }

    /// An attempt ends.
    pub fn on_dialed(&mut self, schedule: &mut Schedule, number: DialId) -> Dialed {
        let Some(Dial { from, life, to, port, deadline_us }) = self.dials[number].take() else {
            return Dialed::GoesOn;
        };
        // The dialer itself may be gone.
        if let Place::Host(host) = from
            && self.machines[host] != (Machine::Serving { life })
        {
            return Dialed::GoesOn;
        }
        let serving = match self.machines[to] {
            Machine::Serving { life } if !self.is_unreachable(from, Place::Host(to)) => Some(life),
            _ => None,
        };
        let Some(other_life) = serving else {
            if schedule.now_us() >= deadline_us {
                return Dialed::Failed { from, life, to, port };
            }
            self.dials[number] = Some(Dial { from, life, to, port, deadline_us });
            let pause_us = self.random.between(100_000, 1_000_000);
            schedule.after(pause_us, Event::Dialed(number));
            return Dialed::GoesOn;
        };
        let now_us = schedule.now_us();
        let end = |place, life| End {
            place,
            life,
            open: true,
            incoming: Default::default(),
            last_arrival_us: now_us,
        };
        // In the order of `DIALER` and `ACCEPTOR`.
        let ends = [end(from, life), end(Place::Host(to), other_life)];
        self.connections.push(Connection { port, ends });
        Dialed::Connected { connection: self.connections.len() - 1, from, life, to, port }
    }
}
