//! The name of a connection on the quorum port.

pub use zab::LinkId;
