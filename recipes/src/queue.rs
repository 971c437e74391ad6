//! Queues whose entries are taken once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Version, child_path};
use tokio::sync::{Notify, oneshot};

use crate::error::RecipeError;
use crate::mutex::Mutex;
use crate::requests::{children, create_containers, create_lasting, fired, through_losses};

/// A queue: first in, first out.
///
/// **Guarantees.** Each entry is taken by one consumer at most: who deletes its node has it. Entries leave in the order of
/// their numbers, as far as consumers do not overtake each other on the way. An entry outlives who has put it, and is
/// lost with a consumer that dies after taking it; a [`LockingQueue`](crate::LockingQueue) gets such entries back. Of those
/// who wait for an entry only one is woken by it: they stand in line (a [`Mutex`] at `<path>-takers`), and the first one
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

/// What names of kazoo's entries begin with.
pub(crate) const PRIORITY_STEM: &str = "entry-";
const FIFO_STEM: &str = "qn-";

impl Queue {
    /// The queue of a path. Nothing is sent yet; the path is created when it is needed, and goes when it has been empty
    /// for a while.
    pub fn new(client: &Client, path: &str) -> Queue {
        Queue(Entries::new(client, path, FIFO_STEM))
    }

    /// Puts an entry at the end. If the connection is lost and the entry may have been put,
    /// [`RecipeError::Unknown`].
    ///
    /// Dropping the future puts the entry, or does not.
    pub async fn put(&self, data: &[u8]) -> Result<(), RecipeError> {
        let Entries { client, path, .. } = &self.0;
        while !put(client, path, FIFO_STEM, data).await? {
            create_containers(client, path).await?;
        }
        Ok(())
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
        PriorityQueue(Entries::new(client, path, PRIORITY_STEM))
    }

    /// Puts an entry behind those that are as urgent. If the connection is lost and the entry may have been put,
    /// [`RecipeError::Unknown`].
    pub async fn put(&self, data: &[u8], priority: Priority) -> Result<(), RecipeError> {
        let Entries { client, path, .. } = &self.0;
        while !put(client, path, &priority.stem(), data).await? {
            create_lasting(client, path).await?;
        }
        Ok(())
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

/// Puts an entry below a path; false if there is no such node.
pub(crate) async fn put(client: &Client, path: &str, stem: &str, data: &[u8]) -> Result<bool, RecipeError> {
    let stem = child_path(path, stem);
    loop {
        match client.create(Create::new(&stem, data).sequential()).await {
            Ok(_) => return Ok(true),
            Err(Error::Refused(ErrorCode::NoNode)) => return Ok(false),
            // The node has no mark of ours: others sort by its name, and take its data.
            Err(error) if error.may_have_happened() => return Err(RecipeError::Unknown),
            Err(Error::ConnectionLost(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The entries among a node's children, the next one first.
pub(crate) fn in_order(mut names: Vec<String>, stem: &str) -> Vec<String> {
    names.retain(|name| name.starts_with(stem));
    names.sort_unstable();
    names
}

/// The nodes of a queue.
#[derive(Clone, Debug)]
struct Entries {
    client: Client,
    path: String,
    stem: &'static str,
    line: Mutex,
    returned: Arc<Returned>,
}

/// Entries that were taken for somebody who did not wait for them: one for each future that was dropped, at most.
#[derive(Debug, Default)]
struct Returned {
    data: Lock<VecDeque<Vec<u8>>>,
    /// Rung when something comes.
    bell: Notify,
}

/// The data of an entry, until somebody has it: if nobody takes it up, it returns.
struct Loot {
    data: Option<Vec<u8>>,
    returned: Arc<Returned>,
}

impl Loot {
    fn take(mut self) -> Vec<u8> {
        self.data.take().unwrap_or_default()
    }
}

impl Drop for Loot {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            self.returned.data.lock().unwrap_or_else(PoisonError::into_inner).push_back(data);
            self.returned.bell.notify_one();
        }
    }
}

impl Entries {
    fn new(client: &Client, path: &str, stem: &'static str) -> Entries {
        Entries {
            client: client.clone(),
            path: path.to_owned(),
            stem,
            line: Mutex::new(client, &format!("{path}-takers")),
            returned: Arc::default(),
        }
    }

    async fn take(&self) -> Result<Vec<u8>, RecipeError> {
        let first_in_line = loop {
            if let Some(data) = self.try_take().await? {
                return Ok(data);
            }
            tokio::select! {
                first_in_line = self.line.lock() => break first_in_line?,
                () = self.returned.bell.notified() => {}
            }
        };
        let data = loop {
            if let Some(data) = self.returned() {
                break data;
            }
            let (names, changed) = match through_losses(|| self.client.children_and_watch(&self.path)).await {
                Ok((names, _, changed)) => (in_order(names, self.stem), changed),
                Err(Error::Refused(ErrorCode::NoNode)) => {
                    match self.stem {
                        FIFO_STEM => create_containers(&self.client, &self.path).await?,
                        _ => create_lasting(&self.client, &self.path).await?,
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let is_empty = names.is_empty();
            if let Some(data) = self.take_first(names).await? {
                break data;
            }
            if is_empty {
                tokio::select! {
                    fired = fired(changed) => fired?,
                    () = self.returned.bell.notified() => {}
                }
            }
        };
        // Nobody needs to wait for the answer.
        drop(first_in_line);
        Ok(data)
    }

    async fn try_take(&self) -> Result<Option<Vec<u8>>, RecipeError> {
        loop {
            if let Some(data) = self.returned() {
                return Ok(Some(data));
            }
            let names = in_order(children(&self.client, &self.path).await?, self.stem);
            if names.is_empty() {
                return Ok(None);
            }
            if let Some(data) = self.take_first(names).await? {
                return Ok(Some(data));
            }
            // Others have taken all of these; so somebody gets on.
        }
    }

    fn returned(&self) -> Option<Vec<u8>> {
        self.returned.data.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The first of these entries that nobody else gets.
    async fn take_first(&self, names: Vec<String>) -> Result<Option<Vec<u8>>, RecipeError> {
        for name in names {
            let path = child_path(&self.path, &name);
            let data = match through_losses(|| self.client.get(&path)).await {
                Ok((data, _)) => data,
                Err(Error::Refused(ErrorCode::NoNode)) => continue,
                Err(error) => return Err(error.into()),
            };
            let loot = Loot { data: Some(data), returned: Arc::clone(&self.returned) };
            let (sender, taken) = oneshot::channel();
            let client = self.client.clone();
            // A task, because nobody can take a deletion back: if this future is dropped, it says what became of it.
            tokio::spawn(async move {
                // If nobody listens any more, the loot returns.
                let _ = sender.send(delete_entry(&client, &path, loot).await);
            });
            if let Some(loot) = taken.await.unwrap_or(Err(Error::Closed.into()))? {
                return Ok(Some(loot.take()));
            }
        }
        Ok(None)
    }
}

/// Deletes an entry's node; nothing if somebody else has done so.
async fn delete_entry(client: &Client, path: &str, loot: Loot) -> Result<Option<Loot>, RecipeError> {
    let mut is_in_doubt = false;
    loop {
        match client.delete(path, Version::Any).await {
            Ok(()) => return Ok(Some(loot)),
            Err(error) => {
                is_in_doubt |= error.may_have_happened();
                match error {
                    // It is still there, or not: the next attempt tells.
                    Error::ConnectionLost(_) => {}
                    // Even if it is there still, it may go yet: then it was this.
                    _ if is_in_doubt => return Err(RecipeError::PerhapsTaken(loot.take())),
                    Error::Refused(ErrorCode::NoNode) => {
                        drop(loot.take());
                        return Ok(None);
                    }
                    error => {
                        drop(loot.take());
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_names_as_in_other_peoples_clients() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let all = names(&[
            "entry-100-0000000003",
            "qn-0000000007",
            "entry-099-0000000009",
            "junk",
            "qn-0000000006",
            "entry-100-0000000002",
        ]);
        assert_eq!(in_order(all.clone(), FIFO_STEM), names(&["qn-0000000006", "qn-0000000007"]));
        let urgent_first = ["entry-099-0000000009", "entry-100-0000000002", "entry-100-0000000003"];
        assert_eq!(in_order(all, PRIORITY_STEM), names(&urgent_first));
    }

    #[test]
    fn a_priority_has_three_digits() {
        assert_eq!(Priority::new(1000), None);
        assert_eq!(Priority::new(999), Some(Priority::LAST));
        assert_eq!(Priority::new(7).map(Priority::stem).as_deref(), Some("entry-007-"));
        assert_eq!(Priority::default().to_string(), "100");
    }

    #[test]
    fn loot_that_nobody_takes_up_returns() {
        let returned = Arc::new(Returned::default());
        let loot = |data: &[u8]| Loot { data: Some(data.to_vec()), returned: Arc::clone(&returned) };
        assert_eq!(loot(b"a").take(), b"a");
        assert!(returned.data.lock().unwrap().is_empty());
        drop(loot(b"b"));
        assert_eq!(*returned.data.lock().unwrap(), [b"b".to_vec()]);
    }
}
