//! The bounds of the client port.

/// Bytes read from a socket at once; one buffer for all connections of a thread.
pub const READ_CHUNK_BYTES: usize = 64 << 10;

/// Unsent bytes of a connection beyond which nothing more is read from it.
pub const OUTBOX_PAUSE_BYTES: usize = 1 << 20;

/// Unsent bytes of a connection beyond which it is closed: a client that sets watches or asks for large answers
/// and does not read. One large answer may pass it, a second one behind it does not fit.
pub const OUTBOX_CLOSE_BYTES: usize = 64 << 20;

/// Requests of one connection under way beyond which nothing more is read from it.
pub const PENDING_MAX: u32 = 4096;

/// Connections that have not said who they are; further ones are closed at once. 10,000 sockets with a few bytes
/// each are harmless, and more do not arrive within the ten seconds that each is given.
pub const UNKNOWN_CONNECTIONS_MAX: usize = 10_000;

/// Unused output buffers that a thread keeps for its connections.
pub const BUFFERS_KEPT: usize = 256;

/// Room of a buffer above which it is not kept.
pub const BUFFER_BYTES_KEPT: usize = 256 << 10;
