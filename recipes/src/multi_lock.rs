//! Several locks as one.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ferrokeeper_client::{Client, Error, Zxid};

use crate::error::RecipeError;
use crate::guard::Lost;
use crate::line::Line;
use crate::mutex::Mutex;
use crate::protected::ProtectedNode;
use crate::read_write_lock::ReadWriteLock;
use crate::requests::through_losses;
use crate::semaphore::Semaphore;

/// Several locks that are taken as one: all of them, or none.
///
/// **Order.** They are taken in the order of their paths and given back in the reverse order, whatever the order in which
/// they were named. So whoever takes several locks with this never waits in a circle with others who do. It needs that
/// all name them by the same paths: by clients with the same root. Whoever takes them one by one, or with Curator's
/// `InterProcessMultiLock`, which goes by the order that it is told, has to keep to the order of the paths too.
///
/// **What is named twice is taken once**; of reading and writing the same, writing is what is taken.
///
/// **Guarantees.** When it is taken, all locks were held at one moment, as far as their sessions live; each of them keeps
/// its own promises. While it waits for one lock, it holds those in front of it.
///
/// **Lost connections** are waited out. **A lost session** ends the wait with an error, and frees what was held with it.
/// A wait that fails, is dropped or takes too long gives back what it had.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use ferrokeeper_recipes::{MultiLock, Mutex, ReadWriteLock};
///
/// let transfer = MultiLock::new()
///     .mutex(&Mutex::new(&client, "/accounts/7"))
///     .mutex(&Mutex::new(&client, "/accounts/3"))
///     .read(&ReadWriteLock::new(&client, "/rates"));
/// let guard = transfer.lock().await?;
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MultiLock {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Mutex(Line),
    Write(Line),
    Read(Line),
    Lease(Semaphore),
}

/// What is held until [`MultiGuard::release`], or until this is dropped: then tasks in the background give all of it back.
///
/// What [`LockGuard`](crate::LockGuard) says about sessions holds here, for each lock.
#[derive(Debug)]
#[must_use = "dropping it releases the locks"]
pub struct MultiGuard {
    /// In the order in which they were taken.
    nodes: Vec<ProtectedNode>,
}

impl MultiLock {
    /// Of nothing, yet.
    pub fn new() -> MultiLock {
        MultiLock::default()
    }

    /// The mutexes of some paths.
    pub fn of_mutexes<P: AsRef<str>>(client: &Client, paths: impl IntoIterator<Item = P>) -> MultiLock {
        let add = |all: MultiLock, path: P| all.mutex(&Mutex::new(client, path.as_ref()));
        paths.into_iter().fold(MultiLock::new(), add)
    }

    /// And this one.
    pub fn mutex(self, mutex: &Mutex) -> MultiLock {
        self.with(Part::Mutex(mutex.0.clone()))
    }

    /// And this one, for reading.
    pub fn read(self, lock: &ReadWriteLock) -> MultiLock {
        self.with(Part::Read(lock.readers.clone()))
    }

    /// And this one, for writing.
    pub fn write(self, lock: &ReadWriteLock) -> MultiLock {
        self.with(Part::Write(lock.writers.clone()))
    }

    /// And a lease of this one. Only one: two who had one each and wanted two would wait for each other.
    pub fn lease(self, semaphore: &Semaphore) -> MultiLock {
        self.with(Part::Lease(semaphore.clone()))
    }

    fn with(mut self, part: Part) -> MultiLock {
        self.parts.push(part);
        self.parts.sort_by(|one, other| one.rank().cmp(&other.rank()));
        // Of what is the same the first one stays, and writing ranks in front of reading.
        self.parts.dedup_by(|later, earlier| later.thing() == earlier.thing());
        self
    }

    /// Waits for all locks, for as long as it takes. Fails with [`RecipeError::Evicted`] if somebody has deleted the node
    /// of one that it had already.
    ///
    /// Cancel-safe: dropping the future gives everything back.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn lock(&self) -> Result<MultiGuard, RecipeError> {
        let mut guard = MultiGuard { nodes: Vec::with_capacity(self.parts.len()) };
        for part in &self.parts {
            guard.nodes.push(part.take().await?);
        }
        guard.check().await?;
        Ok(guard)
    }

    /// As [`MultiLock::lock`], but no longer than this for all together: then `None`.
    pub async fn lock_within(&self, patience: Duration) -> Result<Option<MultiGuard>, RecipeError> {
        // The future that is dropped cleans up.
        tokio::time::timeout(patience, self.lock()).await.ok().transpose()
    }

    /// All locks, if all are free; it waits for servers but not for other contenders.
    ///
    /// Cancel-safe, and panics, as [`MultiLock::lock`].
    pub async fn try_lock(&self) -> Result<Option<MultiGuard>, RecipeError> {
        let mut guard = MultiGuard { nodes: Vec::with_capacity(self.parts.len()) };
        for part in &self.parts {
            match part.try_take().await? {
                Some(node) => guard.nodes.push(node),
                None => {
                    // If this fails, it goes on in the background, or the session is over; nothing is held either way.
                    let _ = guard.release().await;
                    return Ok(None);
                }
            }
        }
        guard.check().await?;
        Ok(Some(guard))
    }
}

impl Part {
    /// Its place in the order in which all take them.
    fn rank(&self) -> (&str, u8) {
        match self {
            Part::Mutex(line) => (&line.path, 0),
            Part::Write(line) => (&line.path, 1),
            Part::Read(line) => (&line.path, 2),
            Part::Lease(semaphore) => (semaphore.path(), 3),
        }
    }

    /// What it takes, however it takes it.
    fn thing(&self) -> (&str, u8) {
        match self.rank() {
            // The two sides of a lock.
            (path, 2) => (path, 1),
            rank => rank,
        }
    }

    async fn take(&self) -> Result<ProtectedNode, RecipeError> {
        match self {
            Part::Mutex(line) | Part::Write(line) | Part::Read(line) => Ok(line.lock().await?.into_node()),
            Part::Lease(semaphore) => Ok(semaphore.acquire().await?.into_node()),
        }
    }

    async fn try_take(&self) -> Result<Option<ProtectedNode>, RecipeError> {
        Ok(match self {
            Part::Mutex(line) | Part::Write(line) | Part::Read(line) => {
                line.try_lock().await?.map(|guard| guard.into_node())
            }
            Part::Lease(semaphore) => semaphore.try_acquire().await?.map(|lease| lease.into_node()),
        })
    }
}

impl MultiGuard {
    /// The fencing token of the mutex or read-write lock of a path, if it is held. What
    /// [`LockGuard::fencing_token`](crate::LockGuard::fencing_token) says holds here.
    pub fn fencing_token(&self, path: &str) -> Option<Zxid> {
        self.nodes.iter().find(|node| node.parent() == path).map(ProtectedNode::czxid)
    }

    /// The paths of the nodes, in the order in which they were taken.
    pub fn paths(&self) -> Vec<String> {
        self.nodes.iter().map(ProtectedNode::path).collect()
    }

    /// Waits until one of the locks is lost, or can no longer be relied upon; for ever, if there is none. Cancel-safe:
    /// called again it says so again, as long as it is so.
    pub async fn lost(&self) -> Lost {
        let mut each: Vec<Pin<Box<_>>> = self.nodes.iter().map(|node| Box::pin(node.lost())).collect();
        poll_fn(|cx| {
            let mut lost = each.iter_mut().map(|lost| lost.as_mut().poll(cx));
            lost.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    /// Gives everything back, the last one first, and waits until that is done. When one of them fails, the others are
    /// given back all the same, and what has failed first is told; if the session lives, it goes on in the background, as
    /// it does when the future is dropped.
    pub async fn release(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(node) = self.nodes.pop() {
            result = result.and(node.delete().await);
        }
        result
    }

    /// Fails if a node has gone: while the others were waited for, nobody has looked.
    async fn check(&self) -> Result<(), RecipeError> {
        // What was taken last was there just now.
        for node in self.nodes.iter().rev().skip(1) {
            let path = node.path();
            let stat = through_losses(|| node.client().exists(&path)).await?;
            if stat.is_none_or(|stat| stat.czxid != node.czxid()) {
                return Err(RecipeError::Evicted);
            }
        }
        Ok(())
    }
}

impl Drop for MultiGuard {
    fn drop(&mut self) {
        // Each deletes its node.
        while self.nodes.pop().is_some() {}
    }
}
