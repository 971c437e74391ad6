//! A queue whose entries come back until they are consumed.

use std::collections::HashSet;
use std::time::Duration;

use ferrokeeper_client::{Client, Error, ErrorCode, child_path};

use crate::claimed::Claimed;
use crate::entries::{PRIORITY_STEM, in_order, put};
use crate::error::RecipeError;
use crate::guard::{Lost, lost};
use crate::mutex::Mutex;
use crate::queue::Priority;
use crate::requests::{children, create_lasting, fired, guid, through_losses};

/// A queue with priorities whose entries are locked while somebody works on them, and deleted when the work is done.
///
/// **Guarantees.** As far as sessions live, one consumer at a time has an entry, and after [`Taken::consume`] nobody ever
/// gets it again. An entry whose consumer dies or gives it back goes to another one: work is done at least once. Entries
/// leave as from a [`PriorityQueue`](crate::PriorityQueue). Of those who wait only one is woken: they stand in line (a
/// [`Mutex`] at `<path>/takers`), and the first one watches.
///
/// **Lost answers.** Whether an entry was taken or consumed is found out. Whether it was put cannot be known:
/// [`RecipeError::Unknown`]. **A lost session** gives back what it has taken, and ends a wait with an error.
///
/// **Others.** The layout is that of kazoo's `LockingQueue`: entries are `<path>/entries/entry-<priority>-<number>`, and
/// who has one holds the ephemeral node `<path>/taken/` of the same name. kazoo and this crate may both put and take.
///
/// ```no_run
/// # async fn example(client: ferrokeeper_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = ferrokeeper_recipes::LockingQueue::new(&client, "/jobs");
/// jobs.put(b"resize 17", Default::default()).await?;
/// let job = jobs.take().await?;
/// tokio::select! {
///     () = work(job.data()) => job.consume().await?,
///     lost = job.lost() => eprintln!("somebody else may have this job now: {lost:?}"),
/// }
/// # Ok(())
/// # }
/// # async fn work(_: &[u8]) {}
/// ```
#[derive(Clone, Debug)]
pub struct LockingQueue {
    client: Client,
    entries: String,
    taken: String,
    line: Mutex,
}

/// An entry that this process works on, until [`Taken::consume`] or [`Taken::release`], or until this is dropped: then a
/// task in the background gives it back.
///
/// **A lost session gives it back, too**, and the holder may be the last one to learn of it: race the work against
/// [`Taken::lost`].
#[derive(Debug)]
#[must_use = "dropping it gives the entry back"]
pub struct Taken {
    lock: Claimed,
    entry: String,
    data: Vec<u8>,
}

impl LockingQueue {
    /// The queue of a path. Nothing is sent yet; what is needed below the path is created when it is, and stays.
    pub fn new(client: &Client, path: &str) -> LockingQueue {
        LockingQueue {
            client: client.clone(),
            entries: child_path(path, "entries"),
            taken: child_path(path, "taken"),
            line: Mutex::new(client, &child_path(path, "takers")),
        }
    }

    /// Puts an entry behind those that are as urgent. If the connection is lost and the entry may have been put,
    /// [`RecipeError::Unknown`].
    ///
    /// Dropping the future puts the entry, or does not.
    pub async fn put(&self, data: &[u8], priority: Priority) -> Result<(), RecipeError> {
        while !put(&self.client, &self.entries, &priority.stem(), data).await? {
            self.create_paths().await?;
        }
        Ok(())
    }

    /// Takes the most urgent entry that nobody has; waits until there is one. Single requests may take as long as the
    /// client allows one operation.
    ///
    /// Cancel-safe: an entry that is being taken when the future is dropped is given back.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn take(&self) -> Result<Taken, RecipeError> {
        if let Some(taken) = self.try_take().await? {
            return Ok(taken);
        }
        let first_in_line = self.line.lock().await?;
        self.create_paths().await?;
        let taken = loop {
            // Two watches: entries come, and locks go.
            let (names, _, came) = through_losses(|| self.client.children_and_watch(&self.entries)).await?;
            let (locks, _, went) = through_losses(|| self.client.children_and_watch(&self.taken)).await?;
            let names = available(names, locks);
            let is_empty = names.is_empty();
            if let Some(taken) = self.take_first(names).await? {
                break taken;
            }
            if is_empty {
                tokio::select! {
                    fired = fired(came) => fired?,
                    fired = fired(went) => fired?,
                }
            }
        };
        // Nobody needs to wait for the answer.
        drop(first_in_line);
        Ok(taken)
    }

    /// As [`LockingQueue::take`], but no longer than this: then `None`.
    pub async fn take_within(&self, patience: Duration) -> Result<Option<Taken>, RecipeError> {
        // The future that is dropped cleans up.
        tokio::time::timeout(patience, self.take()).await.ok().transpose()
    }

    /// Takes the most urgent entry that nobody has, if there is one. Cancel-safe, and panics, as [`LockingQueue::take`].
    pub async fn try_take(&self) -> Result<Option<Taken>, RecipeError> {
        loop {
            let names = children(&self.client, &self.entries).await?;
            let names = available(names, children(&self.client, &self.taken).await?);
            if names.is_empty() {
                return Ok(None);
            }
            if let Some(taken) = self.take_first(names).await? {
                return Ok(Some(taken));
            }
            // Others have taken all of these; so somebody gets on.
        }
    }

    /// The first of these entries that nobody else gets.
    async fn take_first(&self, names: Vec<String>) -> Result<Option<Taken>, RecipeError> {
        for name in names {
            let (entry, lock) = (child_path(&self.entries, &name), child_path(&self.taken, &name));
            // Nobody else, not even another taker of this session, has these data.
            let claim = match Claimed::claim(&self.client, &lock, guid().as_bytes()).await {
                Err(Error::Refused(ErrorCode::NoNode)) => {
                    self.create_paths().await?;
                    return Ok(None);
                }
                claim => claim?,
            };
            let Some(lock) = claim else { continue };
            match through_losses(|| self.client.get(&entry)).await {
                Ok((data, _)) => return Ok(Some(Taken { lock, entry, data })),
                // It was consumed before it was locked here.
                Err(Error::Refused(ErrorCode::NoNode)) => lock.delete().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn create_paths(&self) -> Result<(), Error> {
        create_lasting(&self.client, &self.taken).await?;
        create_lasting(&self.client, &self.entries).await
    }
}

/// The entries that nobody has, the next one first.
fn available(names: Vec<String>, locks: Vec<String>) -> Vec<String> {
    let locks: HashSet<String> = locks.into_iter().collect();
    let mut names = in_order(names, PRIORITY_STEM);
    names.retain(|name| !locks.contains(name));
    names
}

impl Taken {
    /// What was put.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The path of the entry's node.
    pub fn path(&self) -> &str {
        &self.entry
    }

    /// Waits until the entry is lost, or can no longer be relied upon. Cancel-safe: called again it says so again, as
    /// long as it is so.
    pub async fn lost(&self) -> Lost {
        lost(self.lock.client(), self.lock.path(), self.lock.czxid()).await
    }

    /// Deletes the entry: the work is done. Fails with [`RecipeError::Evicted`], and leaves the entry to others, if somebody
    /// has deleted its lock; unless the connection is lost at the same time and another consumer, who has got it then, is
    /// faster: the entry is consumed all the same.
    ///
    /// When another failure is returned, or the future is dropped, the entry is consumed or given back.
    pub async fn consume(self) -> Result<(), RecipeError> {
        match self.lock.delete_with(&self.entry).await? {
            true => Ok(()),
            false => Err(RecipeError::Evicted),
        }
    }

    /// Gives the entry back and waits until that is done. When it fails although the session lives, or the future is
    /// dropped, it goes on in the background.
    pub async fn release(self) -> Result<(), Error> {
        self.lock.delete().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_is_not_available() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let entries = names(&["entry-100-0000000001", "entry-100-0000000000", "entry-001-0000000002", "x"]);
        let locks = names(&["entry-001-0000000002", "entry-100-0000000009"]);
        let expected = names(&["entry-100-0000000000", "entry-100-0000000001"]);
        assert_eq!(available(entries, locks), expected);
    }
}
