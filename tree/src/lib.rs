//! The replicated state of the service, and what may be done to it.
//!
//! [`Tree`] holds the nodes, their ACL lists and the sessions; transactions [change](Tree::apply) it, everything
//! else reads it. Nothing in this crate does I/O, knows the time or draws random numbers, and nothing in it knows
//! how servers agree: the same transactions give the same tree everywhere.
//!
//! Start with [`tree`](Tree) for the state, `apply` for what transactions do and [`change`] for what they tell the
//! rest of the server; `znode` is the memory layout of a node, [`snapshot`] the taking of snapshots while
//! transactions go on, [`load`] the way back.

pub mod acl_table;
mod apply;
pub mod authorize;
pub mod change;
mod edit;
mod index;
mod invariants;
mod lifetime;
pub mod load;
pub mod prepare;
pub mod quota;
mod read;
#[cfg(test)]
mod scenario;
mod slab;
pub mod snapshot;
mod tree;
pub mod watch;
mod znode;

pub use acl_table::AclList;
pub use authorize::{AuthRules, DigestAlgorithm};
pub use change::{Change, ChangeObserver, Outcome};
pub use load::{LoadError, TreeBuilder};
pub use prepare::{Pending, PrepareContext, Prepared, Rules};
pub use quota::{QuotaExcess, QuotaResource, QuotaStatus, QuotaValues, QuotaVerdict};
pub use read::{Children, NodeRef};
pub use snapshot::{SnapshotCursor, SnapshotRemains, SnapshotStart};
pub use tree::{CONFIG_PATH, Tree};
pub use watch::{WatchCounts, WatchSummary, WatchTable, WatcherId};
