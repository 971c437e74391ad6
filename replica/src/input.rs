//! What can happen to a replica.

use std::sync::Arc;

use protocol::{Id, Xid, Zxid};

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
}
