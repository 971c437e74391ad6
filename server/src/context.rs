//! What every thread of a server may look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use parking_lot::RwLock;
use protocol::peer::{Member, Membership};
use replica::Shared;
use storage::directory::DataFolders;

use crate::client_port::door::Door;
use crate::client_port::registry::Registry;
use crate::clock::Clock;
use crate::config::Settings;
use crate::intake::Intake;
use crate::stats::ServerStats;

/// The limits that connections are held to.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// `jute.maxbuffer`: bytes of a frame.
    pub frame_bytes_max: usize,
    /// `globalOutstandingLimit`: requests with the core, beyond which connections that have some wait.
    pub outstanding_max: usize,
    /// How long a connection may take to say who it is.
    pub sessionless_timeout_ms: u64,
}

/// Who the members are at present.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The membership in force.
    pub membership: Arc<Membership>,
    /// The line of this server in it; the last that there was if it is no member any more.
    pub own: Member,
}

/// The trace mask of a server that was not given another (`ZooTrace`).
pub const TRACE_MASK_DEFAULT: i64 = 306;

/// One server: everything that is shared between its threads.
pub struct ServerContext {
    /// The tree and all around it.
    pub shared: Arc<Shared>,
    /// The way to the core.
    pub intake: Arc<Intake>,
    /// The connections.
    pub registry: Registry,
    /// The counts.
    pub stats: ServerStats,
    /// The clocks.
    pub clock: Clock,
    /// As configured. The members, and where clients connect, may have changed since: see the two fields below.
    pub settings: Settings,
    /// Who the members are; none for a server alone.
    pub standing: Option<RwLock<Standing>>,
    /// Where clients connect.
    pub door: Door,
    /// The limits out of the settings that every frame is held to.
    pub limits: ClientLimits,
    /// Where the data is.
    pub folders: Arc<DataFolders>,
    /// The last transaction known to be on stable storage.
    pub durable_zxid: AtomicI64,
    /// Set when the server is to end.
    pub stopping: AtomicBool,
    /// What `stmk` sets and `gtmk` prints; [`TRACE_MASK_DEFAULT`] at first. Java traces by it, here nothing does.
    pub trace_mask: AtomicI64,
}
