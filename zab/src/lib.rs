//! Agreement: election, discovery, synchronization, broadcast and membership, as a pure machine.
//!
//! Events go in, actions come out; there is no socket, file, clock, thread or random number here, and transactions are
//! opaque bytes. Whoever drives a peer carries out its actions in their order.
//!
//! Start with [`Peer`]; the roles are in [`election`], `leading`, `learning` and, for a
//! follower with observers, `serving_observers`.

pub mod action;
#[doc(hidden)]
pub mod breakage;
mod context;
pub mod election;
#[cfg(test)]
mod explore;
#[cfg(test)]
mod harness;
pub mod history;
mod introduction;
pub mod invariants;
mod leading;
mod learning;
pub mod link;
mod members;
pub mod peer;
pub mod quorum;
#[cfg(test)]
mod scenario;
mod serving_observers;
pub mod settings;
pub mod synchronization;

pub use action::{Action, Role};
pub use context::Epochs;
pub use leading::LearnerCounts;
pub use link::LinkId;
pub use peer::Peer;
pub use serving_observers::leaders_turn;
pub use settings::PeerSettings;
