//! Arrivals.

use std::rc::Rc;

use protocol::ServerId;
use protocol::peer::{FromLeader, FromLearner};

use super::{Cargo, ConnectionId, Ensemble, Flight};
use crate::history::Entry;

impl Ensemble {
    /// Whether the message can arrive now: nothing is before it, and there is somebody at the other end.
    pub(crate) fn can_arrive(&self, at: usize) -> bool {
        let flight = &self.flights[at];
        let same_stream = |earlier: &Rc<Flight>| {
            (earlier.from, earlier.to, earlier.connection) == (flight.from, flight.to, flight.connection)
        };
        // One that dials a server that is down, or unreachable, tries again and again.
        !self.is_cut(flight.from, flight.to)
            && self.is_running(flight.to)
            && !self.flights[..at].iter().any(same_stream)
    }

    /// The message arrives.
    pub(crate) fn deliver(&mut self, at: usize) {
        let Flight { from, to, connection, cargo, .. } = Rc::unwrap_or_clone(self.flights.remove(at));
        match (cargo, connection) {
            (Cargo::Notification(notification), _) => {
                let from = ServerId::new(from);
                self.step(to, |peer, now_ms, out| peer.on_notification(now_ms, from, notification, out));
            }
            (Cargo::LogLook { link, last, up_to }, _) => {
                let before = self.server(to).disk.meet(last, up_to).filter(|_| !self.logs_too_long);
                self.step(to, |peer, now_ms, out| peer.on_log_consulted(now_ms, link, before, out));
            }
            (Cargo::LogFailed { link }, _) => {
                self.step(to, |peer, now_ms, out| peer.on_log_failed(now_ms, link, out));
            }
            (Cargo::Dial, Some(connection)) => self.connect(connection),
            (Cargo::ToLeader(message), Some(connection)) => self.hear_learner(connection, message),
            (Cargo::ToLearner(message), Some(connection)) => self.hear_leader(connection, message),
            (Cargo::Snapshot(entries), Some(connection)) => {
                let leader = self.server(from);
                let entries = entries.unwrap_or_else(|| leader.disk.up_to(leader.applied));
                self.install(connection, entries);
            }
            (Cargo::Closed, Some(connection)) => self.hear_end(to, connection),
            (_, None) => unreachable!("what goes to another server needs a connection"),
        }
    }

    fn connect(&mut self, connection: ConnectionId) {
        let Some(found) = Rc::make_mut(&mut self.connections).get_mut(&connection) else { return };
        found.leader_open = true;
        let found = found.clone();
        self.step(found.leader, |peer, now_ms, out| match found.as_observer {
            true => peer.on_observer_connected(now_ms, found.leader_link, out),
            false => peer.on_learner_connected(now_ms, found.leader_link, out),
        });
        self.step(found.learner, |peer, now_ms, out| {
            peer.on_leader_connected(now_ms, found.learner_link, out)
        });
    }

    fn hear_learner(&mut self, connection: ConnectionId, message: FromLearner) {
        let Some(found) = self.connections.get(&connection).filter(|found| found.leader_open) else { return };
        let (leader, link) = (found.leader, found.leader_link);
        let asks_sync = matches!(message, FromLearner::Request { op: 9, .. });
        self.step(leader, |peer, now_ms, out| {
            peer.on_learner_message(now_ms, link, message, out);
            if asks_sync && peer.serves(link) {
                peer.sync_for(now_ms, link, out);
            }
        });
    }

    fn hear_leader(&mut self, connection: ConnectionId, message: FromLeader) {
        let Some(found) = self.connections.get(&connection).filter(|found| found.learner_open) else {
            return;
        };
        let (learner, link) = (found.learner, found.learner_link);
        let ping = if let FromLeader::Ping { zxid } = message { Some(zxid) } else { None };
        self.step(learner, |peer, now_ms, out| {
            peer.on_leader_message(now_ms, link, message, out);
            if let Some(zxid) = ping {
                peer.answer_ping(now_ms, link, zxid, Vec::new(), out);
            }
        });
    }

    fn install(&mut self, connection: ConnectionId, entries: Vec<Entry>) {
        let Some(found) = self.connections.get(&connection).filter(|found| found.learner_open) else {
            return;
        };
        let (learner, link) = (found.learner, found.learner_link);
        let server = self.server_mut(learner);
        server.disk.install(entries);
        let zxid = server.disk.last();
        server.applied = zxid;
        self.sights |= super::SAW_SNAPSHOT;
        self.see(learner, None, || format!("installs the snapshot {}", super::flight::at(zxid)));
        self.step(learner, |peer, now_ms, out| peer.on_snapshot_installed(now_ms, link, zxid, out));
    }

    fn hear_end(&mut self, id: i64, connection: ConnectionId) {
        let Some((found, _)) = self.shut(id, connection) else { return };
        let link = if id == found.learner { found.learner_link } else { found.leader_link };
        self.step(id, |peer, now_ms, out| peer.on_link_closed(now_ms, link, out));
    }
}
