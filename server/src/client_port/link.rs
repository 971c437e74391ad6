//! The part of a connection that others than its owner may touch.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use mio::net::TcpStream;
use replica::ConnectionId;

use crate::stats::Latency;

/// A connection's socket, what its owner tells about its state, and its counts.
pub struct Link {
    /// Which connection.
    pub id: ConnectionId,
    /// Read by the owner; written by the owner, or by the core under the conditions of
    /// [`crate::post_office::PostOffice`].
    pub socket: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether the owner has nothing left to send.
    pub outbox_empty: AtomicBool,
    /// Answers that the core left in the owner's mailbox and that are not sent yet. The core adds, the owner
    /// subtracts what it has sent.
    pub undelivered: AtomicU32,
    /// Whether the owner has stopped reading and waits for answers to go on.
    pub paused: AtomicBool,
    /// For operators.
    pub counts: LinkCounts,
}

/// The counts of a connection, as `cons` prints them. Written by the owner of the connection only.
#[derive(Default)]
pub struct LinkCounts {
    /// Frames read.
    pub received: AtomicU64,
    /// Frames written.
    pub sent: AtomicU64,
    /// Requests under way.
    pub queued: AtomicU32,
    /// 0 before there is one.
    pub session: AtomicI64,
    /// The negotiated timeout.
    pub timeout_ms: AtomicI32,
    /// When it was accepted, milliseconds since 1970.
    pub established_wall_ms: AtomicI64,
    /// The number of the last operation; 0 before there is one.
    pub last_op: AtomicI32,
    /// The last xid, -1 if there was none or only reserved ones.
    pub last_cxid: AtomicI64,
    /// The zxid of the last reply, -1 if there was none.
    pub last_zxid: AtomicI64,
    /// When the last reply was sent, by the monotonic clock.
    pub last_response_ms: AtomicU64,
    /// How long the last request took.
    pub last_latency_ms: AtomicU64,
    /// When anything was read or written, by the monotonic clock.
    pub last_activity_ms: AtomicU64,
    /// How long requests took.
    pub latency: Latency,
}

impl LinkCounts {
    /// What `crst` resets.
    pub fn reset(&self) {
        self.received.store(0, Relaxed);
        self.sent.store(0, Relaxed);
        self.last_op.store(0, Relaxed);
        self.last_cxid.store(-1, Relaxed);
        self.last_zxid.store(-1, Relaxed);
        self.last_response_ms.store(0, Relaxed);
        self.last_latency_ms.store(0, Relaxed);
        self.latency.reset();
    }
}

/// Adds to a counter that has a single writer, without the price of a locked instruction.
pub fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed) + by, Relaxed);
}
