//! What will happen, in the order of time.

use std::collections::BTreeMap;

use super::network::{ConnectionId, DialId};

/// Something that happens at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The next packet reaches one end of a connection.
    Arrive {
        /// Which connection.
        connection: ConnectionId,
        /// Which end of it.
        end: usize,
    },
    /// An attempt to connect succeeds or fails.
    Dialed(DialId),
    /// A server looks for work.
    Wake(Life),
    /// A server's disk has done what it was asked for.
    Synced(Life),
    /// A snapshot is written to the disk.
    WriteSnapshot(Life),
    /// A snapshot for a learner goes on.
    SendSnapshot(Life),
    /// A server looks into its log for a learner.
    ConsultLog(Life),
    /// A part of the log for a learner goes on.
    SendLog {
        /// Whose log.
        life: Life,
        /// The learner's link.
        link: u64,
    },
    /// The housekeeping of a server.
    KeepHouse(Life),
    /// A machine starts its server.
    Start {
        /// Which machine.
        host: usize,
    },
    /// A machine that stood still goes on.
    Resume {
        /// Which machine.
        host: usize,
    },
    /// A client acts.
    Client {
        /// Which.
        client: usize,
        /// Later turns that were planned before are void.
        turn: u64,
    },
    /// Something goes wrong.
    Nemesis,
    /// A learner and its leader lose power in a delicate moment.
    Ambush(Life),
    /// Something that went wrong is mended.
    Mend(usize),
}

/// One life of the server on a machine: what was planned for an earlier one is void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// Which machine.
    pub host: usize,
    /// Which life.
    pub life: u64,
}

/// All events to come.
#[derive(Default)]
pub struct Schedule {
    now_us: u64,
    number: u64,
    events: BTreeMap<(u64, u64), Event>,
}

impl Schedule {
    /// The time, microseconds from the beginning of the run.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Plans an event; two of the same moment happen in the order in which they were planned.
    pub fn at(&mut self, time_us: u64, event: Event) {
        self.number += 1;
        self.events.insert((time_us.max(self.now_us), self.number), event);
    }

    /// Plans an event so much later.
    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    /// Goes on to the next event.
    pub fn next(&mut self) -> Option<Event> {
        let ((time_us, _), event) = self.events.pop_first()?;
        self.now_us = time_us;
        Some(event)
    }
}
