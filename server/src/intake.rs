//! The way from the I/O threads to the core thread: whole batches through one swapped vector.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::peer::{FromLeader, FromLearner};
use protocol::{Id, ServerId, Xid};
use replica::{ConnectionId, PeerInput};
use storage::snapshot::ReceivedSnapshot;
use tree::Tree;
use zab::LinkId;

use crate::client_port::link::Link;

/// One event for the core; byte ranges refer to [`Batch::bytes`].
pub enum Item {
    /// A connection's first frame.
    Connect {
        /// Who.
        connection: ConnectionId,
        /// The payload.
        payload: Range<usize>,
        /// Its identities.
        ids: Arc<[Id]>,
        /// How to reach it without its owner.
        link: Arc<Link>,
    },
    /// A request that the core must order.
    Request {
        /// Who.
        connection: ConnectionId,
        /// The client's number for it.
        xid: Xid,
        /// The operation's number.
        op: i32,
        /// What follows the header.
        body: Range<usize>,
        /// When it was read.
        received_ms: u64,
    },
    /// An answer that was made here and must wait its turn.
    Relay {
        /// Who.
        connection: ConnectionId,
        /// The whole frame.
        frame: Range<usize>,
        /// Whether the connection ends with it.
        close: bool,
        /// When the request was read.
        received_ms: u64,
    },
    /// New identities.
    Authenticated {
        /// Who.
        connection: ConnectionId,
        /// All of them.
        ids: Arc<[Id]>,
    },
    /// The connection is gone.
    Disconnected {
        /// Who.
        connection: ConnectionId,
    },
    /// The snapshot is written, or has failed.
    SnapshotEnded,
    /// Something between servers.
    Peer(PeerInput),
    /// A notification of that server waits.
    Notified(ServerId),
    /// Packets from a learner: all of one read.
    FromLearner {
        /// On which connection.
        link: LinkId,
        /// In order.
        messages: Vec<FromLearner>,
        /// What they took, to be given back when they are done with.
        bytes: usize,
    },
    /// Packets from the leader: all of one read.
    FromLeader {
        /// On which connection.
        link: LinkId,
        /// In order.
        messages: Vec<FromLeader>,
        /// What they took, to be given back when they are done with.
        bytes: usize,
    },
    /// The tree that the leader sent on this connection; its file is durable.
    SnapshotReceived {
        /// On which connection.
        link: LinkId,
        /// The tree.
        tree: Box<Tree>,
        /// Its file.
        received: ReceivedSnapshot,
    },
    /// No other server can be reached any more: a bug.
    PeerPortFailed,
    /// Finish what is there and end.
    Stop,
}

/// Events in order, and the bytes that they refer to.
#[derive(Default)]
pub struct Batch {
    /// Bytes of frames.
    pub bytes: Vec<u8>,
    /// The events.
    pub items: Vec<Item>,
    /// How many of the items are requests.
    pub requests: usize,
    /// Bytes of the large ones among them (`largeRequestThreshold`).
    pub large_bytes: usize,
}

/// Room kept in a batch's byte buffer between uses.
const BATCH_BYTES_KEPT: usize = 4 << 20;

impl Batch {
    /// Copies bytes in and says where they stand.
    pub fn hold(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Empties the batch but keeps its room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.items.clear();
        self.requests = 0;
        self.large_bytes = 0;
    }

    /// Moves everything of another batch behind what is here.
    fn append(&mut self, other: &mut Batch) {
        if self.items.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let base = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.requests += std::mem::take(&mut other.requests);
        self.large_bytes += std::mem::take(&mut other.large_bytes);
        self.items.extend(other.items.drain(..).map(|mut item| {
            if let Item::Connect { payload: range, .. }
            | Item::Request { body: range, .. }
            | Item::Relay { frame: range, .. } = &mut item
            {
                *range = range.start + base..range.end + base;
            }
            item
        }));
    }
}

/// Where I/O threads leave events and the core takes them.
///
/// Not bounded here: I/O threads stop reading a connection that has requests outstanding when
/// [`Intake::outstanding`] passes the operator's limit, so there are at most that many requests and one chunk of
/// input per connection on the way.
#[derive(Default)]
pub struct Intake {
    batch: Mutex<Batch>,
    parked: AtomicBool,
    core: OnceLock<Thread>,
    outstanding: AtomicUsize,
    large_bytes: AtomicUsize,
}

impl Intake {
    /// The calling thread is the core from now on.
    pub fn attach_core(&self) {
        let _ = self.core.set(std::thread::current());
    }

    /// Hands over everything in `batch`, which is empty afterwards, and wakes the core if it sleeps.
    pub fn hand_over(&self, batch: &mut Batch) {
        if batch.items.is_empty() {
            return;
        }
        self.outstanding.fetch_add(batch.requests, Ordering::Relaxed);
        self.batch.lock().append(batch);
        if self.parked.swap(false, Ordering::SeqCst)
            && let Some(core) = self.core.get()
        {
            core.unpark();
        }
    }

    /// Hands over a single event.
    pub fn push(&self, item: Item) {
        self.hand_over(&mut Batch { items: vec![item], ..Batch::default() });
    }

    /// Takes everything that is there into `batch`, which must be empty; sleeps for at most `patience` if there is
    /// nothing.
    pub fn take(&self, batch: &mut Batch, patience: Duration) {
        if self.swap(batch) {
            return;
        }
        self.parked.store(true, Ordering::SeqCst);
        // Somebody may have come between the look and the announcement.
        if !self.swap(batch) {
            std::thread::park_timeout(patience);
            self.swap(batch);
        }
        self.parked.store(false, Ordering::SeqCst);
    }

    fn swap(&self, batch: &mut Batch) -> bool {
        let mut waiting = self.batch.lock();
        std::mem::swap(&mut *waiting, batch);
        !batch.items.is_empty()
    }

    /// Requests that the core has not answered yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Takes room for a large request; `false` if there is none.
    pub fn admit_large(&self, bytes: usize, most: usize) -> bool {
        let admit = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= most);
        self.large_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_ok()
    }

    /// Large requests of so many bytes have been answered, or will never be.
    pub fn finished_large(&self, bytes: usize) {
        self.large_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many requests have been answered, or will never be.
    pub fn finished(&self, count: usize) {
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
    }
}
