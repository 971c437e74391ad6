//! What the core wants done, and what it has found out.

use protocol::client::response::Response;
use protocol::client::watch::EventType;
use protocol::{ErrorCode, SessionId, Zxid};

use crate::connect_string::Host;
use crate::error::{Error, Fate};

use super::watches::WatchKind;

/// What a session is doing, as the application sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// There is no session yet.
    Connecting,
    /// The session is open and can read and write.
    Connected,
    /// Connected to a server that has no quorum and only reads. Another one is being looked for.
    ReadOnly,
    /// The connection is lost; another server is being looked for. The session may live on.
    Suspended {
        /// Nothing was heard for so long that the session has most likely expired, although no server has said so:
        /// whoever holds a lock or leads must stop now.
        overdue: bool,
    },
    /// A server said that the session is over. Final.
    Expired,
    /// A server did not accept the credentials. Final.
    AuthFailed,
    /// The client was closed. Final.
    Closed,
}

impl State {
    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        matches!(self, State::Expired | State::AuthFailed | State::Closed)
    }

    /// Whether requests are answered now.
    pub fn is_connected(self) -> bool {
        matches!(self, State::Connected | State::ReadOnly)
    }
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A server said that it is over.
    Expired,
    /// A server did not accept the credentials.
    AuthFailed,
    /// The application closed it.
    Closed,
}

impl End {
    /// The final state.
    pub fn state(self) -> State {
        match self {
            End::Expired => State::Expired,
            End::AuthFailed => State::AuthFailed,
            End::Closed => State::Closed,
        }
    }

    /// What requests hear.
    pub fn error(self) -> Error {
        match self {
            End::Expired => Error::SessionExpired,
            End::AuthFailed => Error::AuthFailed,
            End::Closed => Error::Closed,
        }
    }
}

/// What it takes to come back to a session, also from another process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// Its password. Whoever knows it can take the session over.
    pub password: [u8; 16],
}

/// Something that happened to a watched node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEvent {
    /// What.
    pub kind: EventType,
    /// Where.
    pub path: String,
    /// The transaction; `None` from servers before 3.9, and for what was found out after a reconnection.
    pub zxid: Option<Zxid>,
}

/// What a watch hears.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// Something happened.
    Event(NodeEvent),
    /// A persistent watch is set again after a reconnection. What happened meanwhile is not told.
    Resumed,
    /// Nothing will follow, because the session is over.
    Ended(End),
    /// Nothing will follow, because the watch was removed by its path.
    Removed,
}

/// What reaches a session's watches, told once however many of them hear it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Something happened to a node.
    Node(NodeEvent),
    /// All watches of this kind on this path were removed.
    Removed(WatchKind, String),
}

/// Numbers the connections of a session. What comes from an earlier one is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Link(pub u64);

/// What the shell must do, in this order.
#[derive(Debug)]
pub enum Output<T, W> {
    /// Connect to a server, and say [`on_connected`](super::Session::on_connected) or
    /// [`on_closed`](super::Session::on_closed).
    Dial {
        /// The number of the new connection.
        link: Link,
        /// The server. Its name is to be looked up now.
        host: Host,
        /// How long this may take.
        patience_ms: u64,
    },
    /// Drop the connection, or the attempt to get one. Nothing is to be said about it.
    Hang,
    /// Ask a server whether it can write (`isro`), and say [`on_probed`](super::Session::on_probed).
    Probe {
        /// The connection on whose behalf.
        link: Link,
        /// The server.
        host: Host,
    },
    /// A request has its result.
    Completed {
        /// Whose.
        token: T,
        /// What the server said, or why it did not.
        result: Result<Response, Error>,
    },
    /// A watch hears something.
    Note {
        /// Whose.
        sink: W,
        /// What.
        note: Note,
    },
    /// At least one watch hears this. Only where [`Session::tell_heard`](super::Session::tell_heard) asked for it.
    Heard(Heard),
    /// The session's state is another one. A final one is the last output.
    State(State),
}

/// What becomes of a request whose connection is lost or whose time is up.
pub(super) fn fate(is_write: bool, has_left: bool) -> Fate {
    match is_write && has_left {
        true => Fate::MaybeApplied,
        false => Fate::NotApplied,
    }
}

/// A reply header's number as a result.
pub(super) fn check(error: i32) -> Result<(), ErrorCode> {
    protocol::client::response::check(error)
}
