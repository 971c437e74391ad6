//! The tree from outside: against a naive model, under snapshots, and through loading and replay.

mod apply;
mod fuzzy;
mod load;
mod model;
mod ops;
mod quota;
mod snapshot;
