//! What a replica wants done.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use protocol::{Epoch, SessionId, Zxid};
use tree::{QuotaExcess, SnapshotStart};
use zab::{Action, LinkId, Role};

use crate::input::ConnectionId;

/// Something for a connection. Deliveries of one connection must reach it in this order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Bytes to be sent.
    Bytes {
        /// To whom.
        connection: ConnectionId,
        /// Where they stand in [`Outputs::bytes`].
        range: Range<usize>,
        /// How many requests they answer; the rest of them are watch events.
        completed: u32,
        /// The sum over those requests of the milliseconds from reading to answering.
        latency_sum_ms: u64,
        /// The largest of them.
        latency_max_ms: u64,
    },
    /// The handshake succeeded; the response is among the bytes that went before.
    Opened {
        /// Whose.
        connection: ConnectionId,
        /// The session that the connection now serves.
        session: SessionId,
        /// The negotiated timeout.
        timeout_ms: i32,
        /// Where the owner of the connection notes that the client was heard: milliseconds of the monotonic clock.
        heard_ms: Arc<AtomicU64>,
    },
    /// To be closed as soon as everything before is sent.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

impl Delivery {
    /// Whom it is for.
    pub fn connection(&self) -> ConnectionId {
        match self {
            Delivery::Bytes { connection, .. }
            | Delivery::Opened { connection, .. }
            | Delivery::Close { connection } => *connection,
        }
    }
}

/// Something worth a log line, a metric or an action of the shell.
#[derive(Debug)]
pub enum Fact {
    /// A session began.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// A session was taken up again on a new connection.
    SessionResumed {
        /// Which.
        session: SessionId,
    },
    /// A client asked for a session that is not there, or with the wrong password.
    SessionRefused {
        /// Which.
        session: SessionId,
    },
    /// A client was not heard for its timeout.
    SessionExpired {
        /// Which.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// A session ended, its ephemeral nodes with it.
    SessionClosed {
        /// Which.
        session: SessionId,
        /// When in the order of things.
        zxid: Zxid,
    },
    /// A client claims to have seen more than this server has.
    ClientAhead {
        /// Which connection.
        connection: ConnectionId,
        /// What it claims to have seen.
        seen: Zxid,
        /// What this server has.
        applied: Zxid,
    },
    /// A connect request could not be read.
    BadHandshake {
        /// Which connection.
        connection: ConnectionId,
    },
    /// An unused container or TTL node is being deleted.
    Reaping {
        /// Which node.
        path: String,
    },
    /// The tree does not have the digest that its transaction carries.
    DigestMismatch {
        /// After which transaction.
        zxid: Zxid,
        /// The transaction's digest.
        expected: u64,
        /// The tree's.
        found: u64,
    },
    /// A hard quota refused a write.
    QuotaRefused {
        /// The session that wrote.
        session: SessionId,
    },
    /// A write exceeded soft quotas, which does not keep it from happening.
    SoftQuotaExceeded(Vec<QuotaExcess>),
    /// No leader was found for long: reads are served without one.
    ServesReads,
    /// A client's change of the ensemble makes no sense.
    ReconfigRefused {
        /// What is wrong with it.
        why: String,
    },
    /// Enough was logged since the last snapshot: write this one, then step [`crate::Input::SnapshotEnded`].
    SnapshotDue(Box<SnapshotStart>),
    /// What the server is to the ensemble has changed.
    RoleChanged(Role),
    /// This leader goes on in another epoch, because the zxids of the one before come to their end.
    EpochBegan(Epoch),
    /// A leader or learner sent what cannot be.
    BadPeer {
        /// On which connection, which is being closed.
        link: LinkId,
        /// What is wrong with it.
        why: String,
    },
}

/// Something to be done for the ensemble. To be carried out in order, each storage action being finished before the next
/// output is looked at.
#[derive(Debug)]
pub enum PeerOutput {
    /// One of the storage and network actions.
    Do(Action),
    /// Whatever is said to this learner from now on must wait for a snapshot, which [`PeerOutput::SendSnapshot`] begins.
    AwaitSnapshot {
        /// Which.
        link: LinkId,
    },
    /// Send SNAP and this snapshot to the learner, then what has been waiting; then step
    /// [`crate::Input::SnapshotEnded`], also if the connection is gone.
    SendSnapshot {
        /// To whom.
        link: LinkId,
        /// Where to begin.
        start: Box<SnapshotStart>,
    },
}

/// Everything that came out of the steps since it was last taken.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The bytes that deliveries refer to.
    pub bytes: Vec<u8>,
    /// In order.
    pub deliveries: Vec<Delivery>,
    /// In order.
    pub facts: Vec<Fact>,
}

impl Outputs {
    /// Forgets everything but keeps the room, unless one huge answer made it huge.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(crate::limits::OUTPUT_BYTES_KEPT);
        self.deliveries.clear();
        self.facts.clear();
    }

    /// Whether there is nothing to deliver.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.facts.is_empty()
    }

    /// Assigns the bytes from `start` on to a connection, joining them to what it gets already if nothing came
    /// between.
    pub(crate) fn deliver(
        &mut self,
        connection: ConnectionId,
        start: usize,
        completed: u32,
        latency_ms: u64,
    ) {
        let end = self.bytes.len();
        if let Some(Delivery::Bytes {
            connection: last,
            range,
            completed: count,
            latency_sum_ms,
            latency_max_ms,
        }) = self.deliveries.last_mut()
            && *last == connection
            && range.end == start
        {
            range.end = end;
            *count += completed;
            *latency_sum_ms += latency_ms;
            *latency_max_ms = latency_ms.max(*latency_max_ms);
            return;
        }
        self.deliveries.push(Delivery::Bytes {
            connection,
            range: start..end,
            completed,
            latency_sum_ms: latency_ms,
            latency_max_ms: latency_ms,
        });
    }
}

/// Takes outputs where they belong.
///
/// [`Outlet::deliver`] is called while the replica still holds the lock that keeps readers off the tree, so that
/// nobody can read what a transaction did before its watch events stand in the queue of the reader's connection.
/// It must be quick: move the outputs to the owners of the connections, no system call.
pub trait Outlet {
    /// Takes all there is; the replica clears it afterwards.
    fn deliver(&mut self, outputs: &mut Outputs);

    /// The lock is released: now is the time for system calls. Called after every [`Outlet::deliver`], so that the
    /// first answers of a large batch are on their way while the rest of it is applied.
    fn released(&mut self) {}
}

impl<F: FnMut(&mut Outputs)> Outlet for F {
    fn deliver(&mut self, outputs: &mut Outputs) {
        self(outputs);
    }
}
