//! The workshop's proof: a whole server on a lying disk under virtual time, whole ensembles of them on a lying network,
//! and decoders against arbitrary bytes.

pub mod bugs;
mod checkers;
mod client;
mod disk;
pub mod ensemble;
pub mod fuzz;
mod model;
mod oracle;
mod random;
pub mod seeds;
mod server;
pub mod tally;
pub mod trace;
mod workload;
pub mod world;
