//! The shell around a replica: sockets, threads, clocks, files, configuration.
//!
//! Nothing here decides what replicas must agree on. Threads: I/O threads own connections
//! ([`client_port::io_thread`]), one core thread owns the replica and the log ([`driver`]), a housekeeper does what
//! nobody waits for, and a snapshot is written by a thread of its own. They are started and joined in [`run`].

pub mod client_port;
pub mod clock;
pub mod config;
pub mod context;
pub mod driver;
pub mod dynamic_config;
pub mod ensemble;
mod housekeeping;
pub mod intake;
pub mod mailbox;
pub mod peer_port;
pub mod post_office;
mod recovery_target;
pub mod run;
mod snapshots;
pub mod stats;
pub mod version;

pub use recovery_target::TreeTarget;
pub use run::{RunError, Server};
