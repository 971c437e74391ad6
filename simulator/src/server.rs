//! One life of a simulated server: the product's replica, log, snapshots and recovery, with a shell around them
//! that does what the production shell does, one small step at a time.

pub mod connection;
mod core;
mod io;
mod office;
mod snapshot_job;
mod start;

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Id, Xid, Zxid};
use replica::{ConnectionId, Replica, Shared};
use storage::directory::DataFolders;
use storage::durable_mark::DurableMark;
use storage::retention::Retention;
use storage::txn_log::TxnLog;

use crate::bugs::Bug;
use crate::checkers::Violation;
use crate::disk::LyingDisk;
use crate::trace::Trace;
use connection::Connection;
use office::Office;
use snapshot_job::SnapshotJob;
pub(crate) use snapshot_job::head as snapshot_head;
pub(crate) use start::{DATA_DIR, first_snapshot, log_options, tree_rules};
pub use start::{StartError, StartOptions};

/// I/O threads; a connection belongs to one of them for life.
pub const IO_THREADS: usize = 2;

/// The two directions of a connection, as bytes under way.
#[derive(Default)]
pub struct Link {
    /// What the client has sent and the server has not read.
    pub to_server: VecDeque<u8>,
    /// What the server has sent and the client has not read.
    pub to_client: VecDeque<u8>,
    /// The client is gone.
    pub client_closed: bool,
    /// The server has closed, or is gone.
    pub server_closed: bool,
    /// The server has accepted it.
    pub accepted: bool,
}

impl Link {
    /// The client sends something, with its length in front of it.
    pub fn send_frame(&mut self, frame: &[u8]) {
        self.to_server.extend((frame.len() as u32).to_be_bytes());
        self.to_server.extend(frame);
    }
}

/// Why a step of the server did not end well.
#[derive(Debug)]
pub enum Trouble {
    /// A promise was not kept.
    Violation(Violation),
    /// The log failed, or the power is gone: the server must stop.
    MustStop(String),
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Trouble {
        Trouble::Violation(violation)
    }
}

/// An event on its way to the core.
enum Item {
    Connect { connection: ConnectionId, payload: Vec<u8>, ids: Arc<[Id]> },
    Request { connection: ConnectionId, xid: Xid, op: i32, body: Vec<u8>, received_ms: u64 },
    Relay { connection: ConnectionId, frame: Vec<u8>, close: bool, received_ms: u64 },
    Authenticated { connection: ConnectionId, ids: Arc<[Id]> },
    Disconnected { connection: ConnectionId },
    SnapshotEnded,
}

/// How far the core thread has come with its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing is under way.
    Idle,
    /// The batch is stepped and appended.
    Appended(Zxid),
    /// The batch is durable.
    Synced(Zxid),
}

#[derive(Default)]
struct Place {
    generation: u32,
    connection: Option<Connection>,
}

/// How often a core looks at the clock: ten times per tick, but not more than fifty times a second.
pub(crate) fn tick_interval_ms(tick_ms: u64) -> u64 {
    (tick_ms / 10).clamp(20, 200)
}

/// Removes what recovery does not need any more, as the housekeeping does. Says whether anything went.
pub(crate) fn purge(retention: &mut Retention, folders: &DataFolders) -> bool {
    let keep = storage::retention::SNAPSHOTS_KEPT_MIN;
    let purged = retention.purge(folders, keep, storage::RECORD_BYTES_MAX);
    purged.is_ok_and(|purged| !purged.snapshots.is_empty() || !purged.logs.is_empty())
}

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    replica: Replica,
    log: TxnLog,
    folders: Arc<DataFolders>,
    mark: DurableMark,
    retention: Retention,
    disk: LyingDisk,
    options: StartOptions,
    trace: Trace,
    bug: Option<Bug>,
    office: Office,
    places: Vec<Place>,
    /// What each I/O thread has not handed over yet.
    outgoing: [Vec<Item>; IO_THREADS],
    intake: Vec<Item>,
    phase: Phase,
    snapshot: Option<SnapshotJob>,
    next_tick_ms: u64,
}

impl Server {
    /// How far the core has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a snapshot is being written.
    pub fn is_snapshot_running(&self) -> bool {
        self.snapshot.is_some()
    }

    /// What readers see.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether nothing is under way anywhere in the server.
    pub fn is_quiet(&self) -> bool {
        self.phase == Phase::Idle
            && self.intake.is_empty()
            && self.snapshot.is_none()
            && self.outgoing.iter().all(Vec::is_empty)
            && self.office.is_empty()
            && self.places.iter().filter_map(|place| place.connection.as_ref()).all(Connection::is_quiet)
    }

    /// Notes how far the log is durable, as the housekeeping does.
    pub fn note_durable_mark(&mut self) {
        let _ = self.mark.note_durable(self.log.last_synced());
    }

    /// Removes what recovery does not need any more. Says whether anything went.
    pub fn purge(&mut self) -> bool {
        purge(&mut self.retention, &self.folders)
    }

    /// The connection at a place, unless it is another one by now.
    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.place() as usize)?;
        place.connection.as_mut().filter(|connection| connection.id == id)
    }
}
