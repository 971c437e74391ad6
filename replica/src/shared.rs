//! What readers and the one writer share.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tree::{Rules, Tree, WatchTable};

use crate::sessions::SessionTracker;
use crate::status::Status;

/// The tree, the watches on it, and the rules for reading it.
///
/// Readers hold the tree's lock shared, once per chunk of input; only [`crate::Replica`] holds it exclusively,
/// for bounded batches. The watch table's lock is only taken by somebody who holds the tree's, so that setting a
/// watch and reading what it watches are one act.
pub struct Shared {
    tree: RwLock<Tree>,
    /// Never locked without holding the tree's lock, except to forget a connection.
    pub watches: Mutex<WatchTable>,
    /// Who is alive. Locked when sessions come and go and on ticks, never for a ping.
    pub sessions: Mutex<SessionTracker>,
    /// The same for everybody.
    pub rules: Rules,
    /// For operators.
    pub status: Status,
    watch_bytes: AtomicU64,
}

impl Shared {
    /// Wraps a recovered tree.
    pub fn new(tree: Tree, rules: Rules, tick_ms: u64) -> Shared {
        Shared {
            tree: RwLock::new(tree),
            watches: Mutex::new(WatchTable::new()),
            sessions: Mutex::new(SessionTracker::new(tick_ms)),
            rules,
            status: Status::default(),
            watch_bytes: AtomicU64::new(0),
        }
    }

    /// For reading. Do not ask twice at once: a waiting writer stands between.
    pub fn tree(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read()
    }

    /// Puts another tree in the place of this one: a leader's, or what a shortened log says. Nobody may be served
    /// meanwhile. Whoever walks through the old one for a snapshot finds none running in the new one.
    pub fn replace_tree(&self, tree: Tree) {
        let mut guard = self.tree.write();
        let old = std::mem::replace(&mut *guard, tree);
        drop(guard);
        // Not while readers wait: it may be large.
        drop(old);
    }

    /// For the replica alone.
    pub(crate) fn lock(&self) -> &RwLock<Tree> {
        &self.tree
    }

    /// Tracks the tree's sessions anew, all with a full timeout.
    pub(crate) fn restart_sessions(&self, now_ms: u64) {
        let tree = self.tree();
        self.sessions.lock().restart(tree.sessions(), now_ms);
    }

    /// Counts bytes of watch events.
    pub(crate) fn count_watch_bytes(&self, bytes: usize) {
        self.watch_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of watch events ever produced.
    pub fn watch_bytes(&self) -> u64 {
        self.watch_bytes.load(Ordering::Relaxed)
    }
}
