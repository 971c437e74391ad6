//! The bounds of everything that can grow.

/// Transactions applied while readers are kept off the tree: at about 1 µs each a reader waits 0.2 ms at most.
pub const APPLY_BATCH: usize = 200;

/// Bytes of answers gathered before they are handed over, for the same reason.
pub const APPLY_BATCH_BYTES: usize = 1 << 20;

/// Room of the output buffer that is kept between batches: above the usual, below the harmful.
pub const OUTPUT_BYTES_KEPT: usize = 4 << 20;

/// The largest ConnectRequest that is looked at. A real one has 45 bytes.
pub const CONNECT_REQUEST_BYTES_MAX: usize = 4096;

/// Sessions expired in one tick; the others follow in the next. Bounds what one tick puts into the queue.
pub const EXPIRED_PER_TICK: usize = 2_000;

/// Sessions that a leader does not know and is asked for, while a quorum confirms that it leads. Whoever asks when there are
/// so many is sent away: all of a server's clients fit.
pub const DOUBTS_MAX: usize = 20_000;

/// Renewals that a learner waits for, its own clients' and those of the observers that it serves. The sum is that of
/// [`DOUBTS_MAX`]: the leader keeps as many.
pub const RENEWALS_MAX: usize = 20_000;

/// Syncs of observers that a follower has passed on and the leader has not answered: a few megabytes. The observer that
/// asks for more is parted with.
pub const OBSERVER_SYNCS_MAX: usize = 50_000;

/// Bytes of requests that a follower keeps for one observer, because they must not leave before a sync is answered. As
/// many as are read of a connection before they are processed; an observer beyond that is parted with.
pub const HELD_BYTES_MAX: usize = 32 << 20;
