//! Watches: which connections want to hear of what, and who hears of a change.
//!
//! ZooKeeper keeps two tables, DATA and CHILD, each with a set of modes per (path, connection). Here that is one
//! table with one entry per (path, connection) and a few bits. Nothing in it knows of sockets or permissions:
//! whoever calls [`WatchTable::fire`] filters by READ permission and delivers.

pub mod listing;
mod modes;
mod slots;
pub mod table;
mod trigger;

#[cfg(test)]
mod model_tests;

pub use listing::{WatchCounts, WatchSummary};
pub use table::{WatchTable, WatcherId};
