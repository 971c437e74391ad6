//! What the peer port reports.

use std::net::SocketAddr;

use protocol::peer::{FromLeader, FromLearner, Notification};
use protocol::{ServerId, Zxid};

use super::{IncomingSnapshot, LinkId};

/// Hears what happens on the peer port. Called on its thread, so it must be quick and must not block; it may call
/// a [`super::PeerHandle`]. What it keeps it must bound: notifications come as fast as a peer sends them.
///
/// Of each link it hears, in this order: [`PeerSink::learner_connected`], [`PeerSink::observer_connected`] or
/// [`PeerSink::leader_connected`], then what arrives, then exactly one [`PeerSink::link_closed`], also if the link was
/// closed from here. A link that was to be dialed and never came to be ends with [`PeerSink::leader_unreachable`] instead.
#[expect(clippy::wrong_self_convention, reason = "from whom a message comes, not what a value is made from")]
pub trait PeerSink: Send + Sync + 'static {
    /// A notification arrived on the election port.
    fn notification(&self, from: ServerId, notification: Notification);

    /// A connection of the election mesh stands.
    fn peer_connected(&self, peer: ServerId);

    /// It is gone; reported as soon as the socket says so. A connection that is replaced by another is reported as
    /// gone before the new one is reported.
    fn peer_disconnected(&self, peer: ServerId);

    /// Somebody dialed the quorum port.
    fn learner_connected(&self, link: LinkId, from: SocketAddr);

    /// Somebody dialed the port for observers.
    fn observer_connected(&self, link: LinkId, from: SocketAddr);

    /// [`super::PeerHandle::connect_leader`] has succeeded.
    fn leader_connected(&self, link: LinkId);

    /// [`super::PeerHandle::connect_leader`] has failed: nobody answered in time, or the link was closed meanwhile.
    fn leader_unreachable(&self, link: LinkId, why: String);

    /// Packets arrived on a link that somebody else dialed: all of one read. `bytes` are to be given back with
    /// [`super::PeerHandle::received_processed`].
    fn from_learner(&self, link: LinkId, messages: Vec<FromLearner>, bytes: usize);

    /// Packets arrived on a link that we dialed: all of one read, none of them [`FromLeader::Snapshot`]. `bytes`
    /// are to be given back with [`super::PeerHandle::received_processed`].
    fn from_leader(&self, link: LinkId, messages: Vec<FromLeader>, bytes: usize);

    /// SNAP arrived on a link that we dialed. What follows is the raw tree, until the reader of `stream` says where
    /// it ended; then packets are reported again.
    fn snapshot_arriving(&self, link: LinkId, zxid: Zxid, stream: IncomingSnapshot);

    /// A link has ended. Nothing more comes from it, and what is written to it is dropped.
    fn link_closed(&self, link: LinkId, why: String);

    /// The thread has panicked: an invariant is broken, all connections are gone, and none will come again.
    fn port_failed(&self);
}
