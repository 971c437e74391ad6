//! Recipes: what applications build from nodes, sessions and watches, on [`ferrokeeper_client`]. They work with every
//! server that the client works with, and share their nodes with Curator and kazoo as far as each one says.
//!
//! - [`Mutex`]: one holder at a time.
//! - [`ReadWriteLock`]: one writer or many readers.
//! - [`Semaphore`]: a number of holders at a time.
//! - [`MultiLock`]: several of them as one.
//! - [`LeaderLatch`]: one leader among candidates; [`LeaderSelector`]: they lead in turns.
//! - [`Barrier`]: everybody waits until it is taken away.
//! - [`DoubleBarrier`]: a number of members begin together and end together.
//! - [`Queue`], [`PriorityQueue`]: entries that one consumer takes.
//! - [`DelayQueue`]: entries that wait for their time.
//! - [`LockingQueue`]: entries that come back until they are consumed.
//! - [`Counter`], [`AtomicValue`]: changed only from what was seen.
//! - [`IdGenerator`]: numbers that nobody else gets; [`WorkerId`]: a small number, held.
//! - [`Group`]: who is there; [`KeptNode`]: an ephemeral node that comes back.
//! - [`Cache`]: a copy of nodes that follows them.
//! - [`Retry`]: when to try again what has failed.
//! - [`Discovery`]: which processes offer a service, and where; [`Provider`] chooses one.
//! - [`ProtectedNode`]: a node that is created once, whatever becomes of the answer; contenders are made of it.
//!
//! **Lost connections** are waited out. Where a lost answer leaves open whether a change was made, the error says so
//! ([`RecipeError::Unknown`], [`RecipeError::PerhapsTaken`]); ephemeral nodes never leave that open. **A lost session** ends
//! everything that was held with it; start anew with a new client. Until the loss is known here, somebody else may hold the
//! lock already: only a fencing token, checked by what the lock protects, is safe against that.
//!
//! **Futures** may be dropped at any time; a contender that is dropped leaves no node behind. What puts or changes
//! something that lasts has then done so, or not.
//!
//! **Waiters** are woken one by one, or together where all of them go on.
//!
//! Not there: ACLs for the recipes' nodes (they are open to all), revocation, semaphores whose number of leases changes,
//! numbers that are watched.

mod atomic_value;
mod barrier;
mod cache;
mod claimed;
mod counter;
mod delay_queue;
mod discovery;
mod double_barrier;
mod entries;
mod error;
mod group;
mod guard;
mod id_generator;
mod kept_node;
mod leader_latch;
mod leader_selector;
mod line;
mod locking_queue;
mod multi_lock;
mod mutex;
mod protected;
mod queue;
mod read_write_lock;
mod requests;
mod retry;
mod semaphore;
mod turns;
mod worker_id;

pub use atomic_value::{AtomicValue, Reading};
pub use barrier::Barrier;
pub use cache::{Cache, CacheEvent, CacheEvents, CacheScope, CacheState, CachedNode, EventsLost};
pub use counter::{Counter, CounterEncoding};
pub use delay_queue::DelayQueue;
pub use discovery::{
    Discovery, DownPolicy, Instance, InstanceCache, Instances, Malformed, Provider, Registration,
    ServiceType, Strategy, UriPart, UriSpec, UriSpecError,
};
pub use double_barrier::{DoubleBarrier, Inside};
pub use error::RecipeError;
pub use group::Group;
pub use guard::{LockGuard, Lost};
pub use id_generator::IdGenerator;
pub use kept_node::{Keeping, KeptNode};
pub use leader_latch::{LeaderLatch, Leadership};
pub use leader_selector::{LeaderSelector, Led, Participant};
pub use locking_queue::{LockingQueue, Taken};
pub use multi_lock::{MultiGuard, MultiLock};
pub use mutex::Mutex;
pub use protected::ProtectedNode;
pub use queue::{Priority, PriorityQueue, Queue};
pub use read_write_lock::ReadWriteLock;
pub use retry::{Failure, Retry};
pub use semaphore::{Lease, Semaphore};
pub use worker_id::WorkerId;
