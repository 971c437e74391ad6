//! Queues whose entries are taken once.

use std::fmt;
use std::time::Duration;

use ferrokeeper_client::Client;

use crate::entries::{Entries, FIFO_STEM, Layout, PRIORITY_STEM};
use crate::error::RecipeError;

/// A queue: first in, first out.
///
/// **Guarantees.** Each entry is taken by one consumer at most: who deletes its node has it. Entries leave in the order of
/// their numbers, as far as consumers do not overtake each other on the way. An entry outlives who has put it, and is
/// lost with a consumer that dies after taking it; a [`LockingQueue`](crate::LockingQueue) gets such entries back. Of those
/// who wait for an entry only one is woken by it: they stand in line (a [`Mutex`](crate::Mutex) at `<path>-takers`), and the first one
/// watches. If it hangs, the others learn of new entries when its session ends.
///
/// Each take lists the queue: this is for thousands of entries at a time, not for millions.
///
/// **Lost answers.** Whether an entry was put cannot be known then: [`RecipeError::Unknown`]. Whether it was taken can be
/// known unless it is gone: [`RecipeError::PerhapsTaken`]. **A lost session** ends a wait with an error; a new client
/// goes on where the old one was.
///
/// **Others.** The layout is that of Curator's `SimpleDistributedQueue` and of ZooKeeper's own `DistributedQueue`,
/// `<path>/qn-<number>`: all of them may put and take. kazoo's `Queue.get` takes from it too, but what kazoo puts there
/// belongs to a [`PriorityQueue`] and is overlooked here.
#[derive(Clone, Debug)]
pub struct Queue(Entries);

/// A queue with priorities: the most urgent entry goes first, and among equals the first one.
///
/// Everything that [`Queue`] says holds here. **Others.** The layout is that of kazoo's `Queue`,
/// `<path>/entry-<priority>-<number>`: kazoo and this crate may both put and take. Curator overlooks such entries.
#[derive(Clone, Debug)]
pub struct PriorityQueue(Entries);

/// How urgent an entry is: 0 to 999, the lowest number first. 100 is usual.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u16);

impl Priority {
    /// The most urgent.
    pub const FIRST: Priority = Priority(0);
    /// The least urgent.
    pub const LAST: Priority = Priority(999);

    /// `None` above 999: names have three digits for it.
    pub fn new(number: u16) -> Option<Priority> {
        (number <= Priority::LAST.0).then_some(Priority(number))
    }

    /// What kazoo's entries begin with.
    pub(crate) fn stem(self) -> String {
        format!("{PRIORITY_STEM}{self}-")
    }
}

impl Default for Priority {
    fn default() -> Priority {
        Priority(100)
    }
}

/// Three digits.
impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

impl Queue {
    /// The queue of a path. Nothing is sent yet; the path is created when it is needed, and goes when it has been empty
    /// for a while.
    pub fn new(client: &Client, path: &str) -> Queue {
        Queue(Entries::new(client, path, Layout::Fifo))
    }

    /// Puts an entry at the end. If the connection is lost and the entry may have been put,
    /// [`RecipeError::Unknown`].
    ///
    /// Dropping the future puts the entry, or does not.
    pub async fn put(&self, data: &[u8]) -> Result<(), RecipeError> {
        self.0.put(FIFO_STEM, data).await
    }

    /// Takes the first entry; waits until there is one. Single requests may take as long as the client allows one
    /// operation.
    ///
    /// Cancel-safe: an entry that is being taken when the future is dropped goes to the next taker who asks this queue or
    /// a clone of it, unless the answer is lost too. It is lost when the last of them is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn take(&self) -> Result<Vec<u8>, RecipeError> {
        self.0.take().await
    }

    /// As [`Queue::take`], but no longer than this: then `None`.
    pub async fn take_within(&self, patience: Duration) -> Result<Option<Vec<u8>>, RecipeError> {
        tokio::time::timeout(patience, self.take()).await.ok().transpose()
    }

    /// Takes the first entry if there is one. Cancel-safe, and panics, as [`Queue::take`].
    pub async fn try_take(&self) -> Result<Option<Vec<u8>>, RecipeError> {
        self.0.try_take().await
    }
}

/// As the methods of [`Queue`]: what they say about waiting, dropping and panics holds here.
impl PriorityQueue {
    /// The queue of a path. Nothing is sent yet; the path is created when it is needed, and stays, because kazoo does
    /// not create it twice.
    pub fn new(client: &Client, path: &str) -> PriorityQueue {
        PriorityQueue(Entries::new(client, path, Layout::Priority))
    }

    /// Puts an entry behind those that are as urgent. If the connection is lost and the entry may have been put,
    /// [`RecipeError::Unknown`].
    pub async fn put(&self, data: &[u8], priority: Priority) -> Result<(), RecipeError> {
        self.0.put(&priority.stem(), data).await
    }

    /// Takes the most urgent entry; waits until there is one.
    pub async fn take(&self) -> Result<Vec<u8>, RecipeError> {
        self.0.take().await
    }

    /// As [`PriorityQueue::take`], but no longer than this: then `None`.
    pub async fn take_within(&self, patience: Duration) -> Result<Option<Vec<u8>>, RecipeError> {
        tokio::time::timeout(patience, self.take()).await.ok().transpose()
    }

    /// Takes the most urgent entry if there is one.
    pub async fn try_take(&self) -> Result<Option<Vec<u8>>, RecipeError> {
        self.0.try_take().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_has_three_digits() {
        assert_eq!(Priority::new(1000), None);
        assert_eq!(Priority::new(999), Some(Priority::LAST));
        assert_eq!(Priority::new(7).map(Priority::stem).as_deref(), Some("entry-007-"));
        assert_eq!(Priority::default().to_string(), "100");
    }
}
