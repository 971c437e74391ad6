//! Many readers or one writer.

use std::time::Duration;

use ferrokeeper_client::Client;

use crate::error::RecipeError;
use crate::guard::LockGuard;
use crate::line::Line;
use crate::turns::{Kind, Stems};

const READ: &str = "__READ__";
const WRITE: &str = "__WRIT__";

/// Contenders for a read-write lock: Curator's and ours, and kazoo's.
const STEMS: Stems = &[
    (READ, Kind::Shared),
    (WRITE, Kind::Exclusive),
    ("__rlock__", Kind::Shared),
    ("__lock__", Kind::Exclusive),
];

/// A lock that either one writer holds or any number of readers, in the order in which they came: a reader does not
/// overtake a waiting writer.
///
/// **Guarantees.** No guard of a writer is held together with any other one of the same path, as far as their sessions
/// live; see [`LockGuard`] for what a lost session means. A writer watches the contender in front of it, a reader the
/// last writer in front of it: a release wakes one writer, or the readers who will share.
///
/// **Not re-entrant**, in neither direction: whoever holds one lock and asks for the other one of the same path waits for
/// oneself, unless both are for reading and no writer has come in between.
///
/// **Others.** The layout is that of Curator's `InterProcessReadWriteLock`: `<path>/_c_<guid>-__READ__<number>` and
/// `__WRIT__`; processes with Curator and with this crate may share a lock. kazoo's `ReadLock` and `WriteLock` are
/// respected here, and respect this one if they are told to: `extra_lock_patterns=["__WRIT__"]` and
/// `["__WRIT__", "__READ__"]`.
#[derive(Clone, Debug)]
pub struct ReadWriteLock {
    pub(crate) readers: Line,
    pub(crate) writers: Line,
}

/// As the methods of [`Mutex`](crate::Mutex): what they say about waiting, dropping and panics holds here.
impl ReadWriteLock {
    /// The lock of a path. Nothing is sent yet; the path is created when it is needed, and goes when nobody has used it
    /// for a while.
    pub fn new(client: &Client, path: &str) -> ReadWriteLock {
        ReadWriteLock::with_data(client, path, b"")
    }

    /// Likewise, with data for the nodes of this contender: it may say who it is.
    pub fn with_data(client: &Client, path: &str, data: &[u8]) -> ReadWriteLock {
        let readers = Line {
            client: client.clone(),
            path: path.to_owned(),
            data: data.to_vec(),
            stem: READ,
            stems: STEMS,
        };
        ReadWriteLock { writers: Line { stem: WRITE, ..readers.clone() }, readers }
    }

    /// Waits until it may read.
    pub async fn read(&self) -> Result<LockGuard, RecipeError> {
        self.readers.lock().await
    }

    /// Waits until it may read, but no longer than this: then `None`.
    pub async fn read_within(&self, patience: Duration) -> Result<Option<LockGuard>, RecipeError> {
        self.readers.lock_within(patience).await
    }

    /// The lock for reading, if no writer holds it or waits for it.
    pub async fn try_read(&self) -> Result<Option<LockGuard>, RecipeError> {
        self.readers.try_lock().await
    }

    /// Waits until it may write.
    pub async fn write(&self) -> Result<LockGuard, RecipeError> {
        self.writers.lock().await
    }

    /// Waits until it may write, but no longer than this: then `None`.
    pub async fn write_within(&self, patience: Duration) -> Result<Option<LockGuard>, RecipeError> {
        self.writers.lock_within(patience).await
    }

    /// The lock for writing, if nobody holds it or waits for it.
    pub async fn try_write(&self) -> Result<Option<LockGuard>, RecipeError> {
        self.writers.try_lock().await
    }
}
