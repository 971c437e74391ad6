//! The workshop's proof: a whole server on a lying disk under virtual time, and decoders against arbitrary bytes.

pub mod bugs;
pub mod checkers;
pub mod client;
pub mod disk;
pub mod ensemble;
pub mod fuzz;
pub mod model;
pub mod oracle;
pub mod random;
pub mod seeds;
pub mod server;
pub mod tally;
pub mod trace;
pub mod workload;
pub mod world;
