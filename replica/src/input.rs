//! What can happen to a replica.

use std::sync::Arc;

use protocol::peer::{FromLeader, FromLearner, Membership, Notification};
use protocol::{Id, ServerId, Xid, Zxid};
use zab::LinkId;

/// The time, as the shell's clocks tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward; sessions live by it.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970; it goes into ctime and mtime.
    pub wall_ms: i64,
}

/// A connection for as long as it lives: a place in the shell's tables and a count of how often that place was
/// used, so that a late answer never reaches the next user of the place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Joins place and generation.
    pub const fn new(place: u32, generation: u32) -> ConnectionId {
        ConnectionId((generation as u64) << 32 | place as u64)
    }

    /// The place in the shell's tables.
    pub fn place(self) -> u32 {
        self.0 as u32
    }

    /// Both parts in one number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The connection as the watch table knows it.
    pub fn watcher(self) -> tree::WatcherId {
        tree::WatcherId::new(self.0)
    }
}

/// One event for [`crate::Replica::step`].
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection's first frame: a new session or an old one taken up again. Nothing else is read from the
    /// connection until [`crate::Delivery::Opened`] or [`crate::Delivery::Close`] has come back.
    Connect {
        /// Who.
        connection: ConnectionId,
        /// The payload of the frame.
        payload: &'a [u8],
        /// The connection's identities: its address, to begin with.
        ids: Arc<[Id]>,
    },
    /// A frame of a connection with a session that [`crate::SessionOrder`] sent here.
    Request {
        /// Who.
        connection: ConnectionId,
        /// The client's number for it.
        xid: Xid,
        /// The operation's number, known or not.
        op: i32,
        /// What follows the header.
        body: &'a [u8],
        /// When the frame was read, by the monotonic clock.
        received_ms: u64,
    },
    /// An answer that the owner of the connection made itself while requests of the connection are here: it comes
    /// back in its turn. Whoever writes to a connection with requests in progress would otherwise race the replies.
    Relay {
        /// Who.
        connection: ConnectionId,
        /// The whole frame.
        frame: &'a [u8],
        /// Whether the connection ends with it.
        close: bool,
        /// When the request was read, by the monotonic clock.
        received_ms: u64,
    },
    /// The connection has proved to be somebody.
    Authenticated {
        /// Who.
        connection: ConnectionId,
        /// All its identities.
        ids: Arc<[Id]>,
    },
    /// The connection is gone. Its session lives on until it expires.
    Disconnected {
        /// Who.
        connection: ConnectionId,
    },
    /// Time passed. At least ten times per tick.
    Tick,
    /// Every transaction up to here is on stable storage.
    Synced {
        /// The last one.
        up_to: Zxid,
    },
    /// The snapshot asked for by [`crate::Fact::SnapshotDue`] is written or has failed; the old versions of nodes
    /// kept for it can go.
    SnapshotEnded,
    /// Something about the other servers of the ensemble.
    Peer(PeerInput),
}

/// What can happen between servers.
#[derive(Debug)]
pub enum PeerInput {
    /// A notification has come.
    Notification {
        /// From whom.
        from: ServerId,
        /// What.
        notification: Notification,
    },
    /// A connection between election ports stands.
    PeerConnected(ServerId),
    /// A connection between election ports is gone.
    PeerDisconnected(ServerId),
    /// Somebody has connected to the quorum port.
    LearnerConnected(LinkId),
    /// Somebody has connected to the port for observers.
    ObserverConnected(LinkId),
    /// The connection to the leader that was asked for stands.
    LeaderConnected(LinkId),
    /// A learner has said something.
    FromLearner(LinkId, FromLearner),
    /// The leader has said something.
    FromLeader(LinkId, FromLeader),
    /// SNAP has come on this connection, and the tree is being read: nothing else comes on it until
    /// [`PeerInput::SnapshotInstalled`] or [`PeerInput::LinkClosed`].
    SnapshotArriving(LinkId),
    /// The tree that a leader sent was read and holds this membership ([`crate::membership_of`]). What follows from it must
    /// be done before the tree gets to where a start finds it.
    SnapshotRead(Membership),
    /// The tree that a leader sent was read, is on stable storage with nothing beside it, and is what
    /// [`crate::Shared`] holds now.
    SnapshotInstalled {
        /// Over which connection it came.
        link: LinkId,
        /// The last transaction in it.
        zxid: Zxid,
    },
    /// The log was cut below what was applied ([`zab::Action::Truncate`]), and [`crate::Shared`] holds what the disk says.
    Reloaded,
    /// [`zab::Action::Truncate`] cannot be carried out, and nothing that could be needed was changed.
    TruncateFailed,
    /// [`zab::Action::ConsultLog`] was carried out: the last transaction in the log that does not come behind the learner's,
    /// or `None` if the log is not to be used.
    LogConsulted {
        /// For whom it was asked.
        link: LinkId,
        /// Where the two histories may meet.
        before: Option<Zxid>,
    },
    /// [`zab::Action::SendLog`] has come to nothing half way. To be stepped before the link closes, as nobody knows whose it
    /// was after that.
    LogFailed(LinkId),
    /// A connection on the quorum port is gone, or could not be made.
    LinkClosed(LinkId),
}
