//! The election port: the message that opens a connection, and notifications (`QuorumCnxManager`,
//! `FastLeaderElection`).

use crate::{ServerId, Zxid};

mod initial;
mod notification;

pub use initial::{ADDRESSES_BYTES_MAX, AddressForm, InitialMessage, InitialMessageError};
pub use notification::{FRAME_BYTES_MAX, NotificationError};

/// What a server is doing, as notifications say it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServerState {
    /// Electing. On the wire 0.
    Looking,
    /// Following a leader. On the wire 1.
    Following,
    /// Leading. On the wire 2.
    Leading,
    /// Observing a leader. On the wire 3.
    Observing,
}

/// A proposal of who should lead, and why: the history that this server has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Vote {
    /// The proposed leader.
    pub leader: ServerId,
    /// The last transaction in its log.
    pub zxid: Zxid,
    /// The epoch whose leader it last followed to the end of synchronization (its currentEpoch). -1 while a leader
    /// that a reconfiguration named has not established its epoch yet.
    pub peer_epoch: i64,
}

/// One message on the election port. Its sender is the server at the other end of the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// What the sender is doing.
    pub state: ServerState,
    /// What the sender proposes or has settled on. `None` if it has no say: an observer, or a server whose data is
    /// not to be trusted (zxid -1 on the wire, or `Long.MIN_VALUE` for leader, zxid and epoch).
    pub vote: Option<Vote>,
    /// The sender's count of elections (its logical clock). -1 before the first and after a leader was named by a
    /// reconfiguration.
    pub round: i64,
    /// The text of the sender's committed membership; `None` in the forms that servers before 3.5 send.
    pub membership: Option<String>,
}
