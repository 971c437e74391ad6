//! The way from the peer thread to the core.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

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
/// Not bounded here: of each link at most 32 MiB of messages are on the way before it is read no further, and a
/// notification is a small thing that an honest server sends when something changes.
pub struct Gate {
    server: Arc<ServerContext>,
    /// Set when the port has failed.
    failed: Arc<OnceLock<()>>,
}

impl Gate {
    /// The way into that server.
    pub fn new(server: Arc<ServerContext>) -> Gate {
        Gate { server, failed: Arc::default() }
    }

    fn push(&self, input: PeerInput) {
        self.server.intake.push(Item::Peer(input));
    }
}

impl PeerSink for Gate {
    fn notification(&self, from: ServerId, notification: Notification) {
        debug!(%from, state = ?notification.state, vote = ?notification.vote, round = notification.round, "notified");
        self.push(PeerInput::Notification { from, notification });
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
        if self.failed.set(()).is_ok() {
            self.server.intake.push(Item::PeerPortFailed);
        }
    }
}
