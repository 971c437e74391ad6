//! The bounds of the peer port.
//!
//! Together: links take at most [`LINKS_MAX`] times what one may hold, which an ensemble of five servers never
//! comes near; what one member can cost is [`OUTBOX_BYTES_MAX`] + [`UNPROCESSED_PAUSE_BYTES`] + a packet + 4 MiB
//! of snapshot in flight.

use std::time::Duration;

/// Most bytes read from a link at once.
pub const READ_BYTES: usize = 256 << 10;

/// Bytes read at once from a link that sends little. Long bodies of packets are slices of what was read at once and
/// keep it in memory: 500 proposals of a history that came one by one hold 32 MiB at worst.
pub const READ_BYTES_FIRST: usize = 64 << 10;

/// Unsent bytes of packets beyond which a link is closed. A learner that is this far behind takes a snapshot sooner
/// than it catches up; at 8 learners that is 2 GiB, reached only if all stop reading at once. A quarter of a
/// million writes of 1 KiB wait in it while a learner reads its snapshot. An observer that a follower serves gets as
/// much as `observerMaster.sizeLimit` says, and what bringing it in sync takes.
pub const OUTBOX_BYTES_MAX: usize = 256 << 20;

/// Room of an empty outbox that is kept.
pub const OUTBOX_BYTES_KEPT: usize = 1 << 20;

/// Bytes of messages handed over and not yet processed beyond which a link is not read. 32 of the largest
/// requests, or some 200,000 small ones: two syncs' worth of work for the fastest disk.
pub const UNPROCESSED_PAUSE_BYTES: usize = 32 << 20;

/// Bytes of messages not yet processed down to which a paused link waits. Lower than where it pauses, so that it is
/// not paused and resumed with every message.
pub const UNPROCESSED_RESUME_BYTES: usize = UNPROCESSED_PAUSE_BYTES / 2;

/// Accepted links. An ensemble has 255 servers at most, since a session id has one byte for them; the rest is room
/// for links that are about to be noticed as broken. When all are taken, the oldest that has said nothing makes
/// room; if there is none, the new one is closed.
pub const LINKS_MAX: usize = 512;

/// Bytes that an accepted link may send before its first packet is complete.
pub const FIRST_PACKET_BYTES_MAX: usize = 4 << 10;

/// Chunks of a snapshot that wait to be sent: 4 of [`SNAPSHOT_CHUNK_BYTES`], so that disk and network overlap.
/// When they are taken, the writer waits.
pub const OUTGOING_CHUNKS: usize = 4;

/// Bytes of a chunk of a snapshot that is sent.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;

/// Chunks of an arriving snapshot that wait for its reader, each at most [`READ_BYTES`] long and mostly much
/// shorter. When they are taken, the link is not read.
pub const INCOMING_CHUNKS: usize = 8;

/// Bytes read from the election port at once. A notification is a few hundred bytes long.
pub const NOTIFICATION_READ_BYTES: usize = 8 << 10;

/// Notifications taken from one connection in [`NOTIFICATION_WINDOW`]; then it is not read until the window ends. A
/// server sends a handful in each round of an election, so only one that is broken comes near, and the core can
/// keep up with it.
pub const NOTIFICATIONS_MAX: u32 = 100;

/// See [`NOTIFICATIONS_MAX`].
pub const NOTIFICATION_WINDOW: Duration = Duration::from_millis(100);

/// Accepted connections on the election port that have not said who they are. When all are taken the oldest makes
/// room, so that silent ones lock nobody out. A few kilobytes each.
pub const INTRODUCTIONS_MAX: usize = 128;

/// Connections of servers that are no members. A member to be may speak to us before we know of it; a few do at a
/// time. Further ones are closed.
pub const STRANGERS_MAX: usize = 64;

/// The largest number of a server that is no member: session ids have one byte for it. Members may be numbered as the
/// membership says; anything else that speaks first on the election port looks like a server with a huge number.
pub const STRANGER_MAX: i64 = 255;

/// Addresses that are tried at once for one server; further ones are left out.
pub const DIAL_ADDRESSES_MAX: usize = 16;

/// How long after a dial the same server is not dialed again on the election port: whoever is not there is asked
/// ten times a second at most, and whoever must dial back has time to do so.
pub const REDIAL_PAUSE: Duration = Duration::from_millis(100);

/// A connection to a smaller server that is younger than this survives that server's own attempt to connect: both
/// dialed at once, and the attempt was sent before our connection arrived.
pub const CROSSING: Duration = Duration::from_secs(1);

/// The pause between attempts to bind a port (`QuorumCnxManager.Listener`).
pub const BIND_PAUSE: Duration = Duration::from_secs(1);

/// The pause after the system refused to accept a connection, most likely for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Threads that resolve names. More names than these wait; a name server that does not answer cannot take more.
pub const RESOLVER_THREADS: usize = 32;

/// How often silent links are looked for.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Connections that the system keeps before they are accepted.
pub const BACKLOG: i32 = 128;
