//! The way from the peer thread to the core.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::peer::{FromLeader, FromLearner, Notification};
use protocol::{ServerId, Zxid};
use replica::PeerInput;
use tracing::{debug, info, warn};
use zab::LinkId;

use super::transfer;
use crate::context::ServerContext;
use crate::intake::Item;
use crate::peer_port::{IncomingSnapshot, PeerSink};

/// Puts what arrives from other servers into the core's intake.
///
/// Of each link at most 32 MiB of messages are on the way before it is read no further. Of each server at most one
/// notification waits for the core: a newer one says all that an older one did.
pub struct Gate {
    server: Arc<ServerContext>,
    notices: Arc<Notices>,
}

/// The newest notification of each server that the core has not taken yet. At most one for each connection that the
/// election port admits.
#[derive(Default)]
pub struct Notices(Mutex<BTreeMap<ServerId, Notification>>);

impl Notices {
    /// Keeps the notification; whether none of that server was waiting.
    fn put(&self, from: ServerId, notification: Notification) -> bool {
        self.0.lock().insert(from, notification).is_none()
    }

    /// The server's notification.
    pub fn take(&self, from: ServerId) -> Option<Notification> {
        self.0.lock().remove(&from)
    }
}

impl Gate {
    /// The way into that server, by way of `notices`.
    pub fn new(server: Arc<ServerContext>, notices: Arc<Notices>) -> Gate {
        Gate { server, notices }
    }

    fn push(&self, input: PeerInput) {
        self.server.intake.push(Item::Peer(input));
    }
}

impl PeerSink for Gate {
    fn notification(&self, from: ServerId, notification: Notification) {
        debug!(%from, state = ?notification.state, vote = ?notification.vote, round = notification.round, "notified");
        if self.notices.put(from, notification) {
            self.server.intake.push(Item::Notified(from));
        }
    }

    fn peer_connected(&self, peer: ServerId) {
        debug!(server = %peer, "connected to the election port");
        self.push(PeerInput::PeerConnected(peer));
    }

    fn peer_disconnected(&self, peer: ServerId) {
        debug!(server = %peer, "disconnected from the election port");
        self.push(PeerInput::PeerDisconnected(peer));
    }

    fn learner_connected(&self, link: LinkId, from: SocketAddr) {
        debug!(%link, %from, "a learner has connected");
        self.push(PeerInput::LearnerConnected(link));
    }

    fn observer_connected(&self, link: LinkId, from: SocketAddr) {
        debug!(%link, %from, "an observer has connected");
        self.push(PeerInput::ObserverConnected(link));
    }

    fn leader_connected(&self, link: LinkId) {
        debug!(%link, "connected to the leader");
        self.push(PeerInput::LeaderConnected(link));
    }

    fn leader_unreachable(&self, link: LinkId, why: String) {
        warn!(%link, why, "the leader cannot be reached");
        self.push(PeerInput::LinkClosed(link));
    }

    fn from_learner(&self, link: LinkId, messages: Vec<FromLearner>, bytes: usize) {
        self.server.intake.push(Item::FromLearner { link, messages, bytes });
    }

    fn from_leader(&self, link: LinkId, messages: Vec<FromLeader>, bytes: usize) {
        self.server.intake.push(Item::FromLeader { link, messages, bytes });
    }

    fn snapshot_arriving(&self, link: LinkId, zxid: Zxid, stream: IncomingSnapshot) {
        self.push(PeerInput::SnapshotArriving(link));
        transfer::receive(&self.server, link, zxid, stream);
    }

    fn link_closed(&self, link: LinkId, why: String) {
        info!(%link, why, "connection between leader and learner ended");
        self.push(PeerInput::LinkClosed(link));
    }

    fn port_failed(&self) {
        self.server.intake.push(Item::PeerPortFailed);
    }
}

#[cfg(test)]
mod tests {
    use protocol::peer::ServerState;

    use super::*;

    #[test]
    fn only_the_newest_notification_of_a_server_waits() {
        let notices = Notices::default();
        let (one, two) = (ServerId::new(1), ServerId::new(2));
        let say = |round| Notification { state: ServerState::Looking, vote: None, round, membership: None };
        assert!(notices.put(one, say(1)));
        assert!(notices.put(two, say(1)));
        for round in 2..1_000 {
            assert!(!notices.put(one, say(round)), "the core is told once");
        }
        assert_eq!(notices.take(one), Some(say(999)));
        assert_eq!(notices.take(one), None);
        assert!(notices.put(one, say(1_000)), "the core must be told again");
        assert_eq!(notices.take(two), Some(say(1)));
    }
}
