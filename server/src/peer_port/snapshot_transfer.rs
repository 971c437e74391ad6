//! The two ends of the raw tree that may stand between the packets of a link; its sending end also takes parts of the log.
//!
//! Both ends are read and written by plain threads that may block, while the link belongs to the peer thread. The
//! channels between them are short: neither a slow disk nor a slow network makes anything pile up.

mod incoming;
mod outgoing;

pub use incoming::IncomingSnapshot;
pub(super) use incoming::{GivenBack, incoming};
pub use outgoing::StreamWriter;
pub(super) use outgoing::{OutgoingChunk, OutgoingChunks};
