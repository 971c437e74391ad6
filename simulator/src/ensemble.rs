//! A whole ensemble: servers with lying disks and drifting clocks, a lying network between them, clients that read,
//! write and watch, all under virtual time and driven by one seed.
//!
//! ```text
//! world ── pops one event at a time: a packet arrives, a server wakes, a client acts, something breaks
//!   host ── a machine: its disk, its clock, and the server that lives and dies on it
//!   network ── connections, delays, partitions: order within a connection, none between them
//!   client ── sessions that wander from server to server
//!   application ── the product's own client, in a mode of its own
//!   operator ── the changes of the ensemble that some of them ask for
//!   oracle ── the one history that all of them must agree on, and the checkers
//! ```
//!
//! The servers run the product's replica, log, snapshots and recovery; the shell around them does what the production
//! shell does with sockets and threads.

pub mod application;
pub mod bugs;
mod chances;
mod checkers;
mod client;
mod clock;
mod host;
mod log_view;
mod member;
mod nemesis;
mod network;
mod operator;
mod oracle;
mod party;
mod roster;
mod scene;
mod schedule;
pub mod tally;
pub mod world;
