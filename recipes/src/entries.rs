//! Queues out of nodes that are deleted by who takes them: what all kinds have in common.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use ferrokeeper_client::{Client, Create, Error, ErrorCode, Version, child_path};
use tokio::sync::{Notify, oneshot};

use crate::delay_queue::{by_due_time, now_ms, pack, unpack, until};
use crate::error::RecipeError;
use crate::mutex::Mutex;
use crate::requests::{children, create_containers, create_lasting, fired, through_losses};

/// What names of kazoo's entries begin with.
pub(crate) const PRIORITY_STEM: &str = "entry-";
/// And those of Curator's simple queues.
pub(crate) const FIFO_STEM: &str = "qn-";

/// How the entries of a queue are named and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    Fifo,
    Priority,
    Delay,
}

/// The entries that may be taken.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Ready {
    /// The first one first.
    pub names: Vec<String>,
    /// When the next one may be taken, by the system's clock, if that is known.
    pub next_ms: Option<i64>,
}

impl Layout {
    fn ready(self, names: Vec<String>) -> Ready {
        match self {
            Layout::Fifo => Ready { names: in_order(names, FIFO_STEM), next_ms: None },
            Layout::Priority => Ready { names: in_order(names, PRIORITY_STEM), next_ms: None },
            Layout::Delay => by_due_time(names, now_ms()),
        }
    }

    /// What an entry with these data holds.
    fn items(self, data: Vec<u8>) -> VecDeque<Vec<u8>> {
        match self {
            Layout::Fifo | Layout::Priority => VecDeque::from([data]),
            Layout::Delay => unpack(&data).unwrap_or_else(|| VecDeque::from([data])),
        }
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
pub(crate) struct Entries {
    client: Client,
    path: String,
    layout: Layout,
    line: Mutex,
    returned: Arc<Returned>,
}

/// What was taken and has no owner yet: the entries of futures that were dropped, one for each at most, and what came
/// in one node with what somebody has got.
#[derive(Debug, Default)]
struct Returned {
    items: Lock<VecDeque<Vec<u8>>>,
    /// Rung when something comes.
    bell: Notify,
}

/// What is in an entry, until somebody has it: what nobody takes up returns.
struct Loot {
    items: VecDeque<Vec<u8>>,
    returned: Arc<Returned>,
}

impl Loot {
    /// The first item; the others return.
    fn take(mut self) -> Option<Vec<u8>> {
        self.items.pop_front()
    }

    /// It was somebody else who has got it.
    fn forget(mut self) {
        self.items.clear();
    }

    /// It was perhaps somebody else who has got it.
    fn doubtful(mut self) -> Vec<u8> {
        match self.items.len() {
            1 => self.items.pop_front().unwrap_or_default(),
            _ => pack(mem::take(&mut self.items)),
        }
    }
}

impl Drop for Loot {
    fn drop(&mut self) {
        if !self.items.is_empty() {
            let mut items = self.returned.items.lock().unwrap_or_else(PoisonError::into_inner);
            items.append(&mut self.items);
            self.returned.bell.notify_one();
        }
    }
}

impl Entries {
    pub fn new(client: &Client, path: &str, layout: Layout) -> Entries {
        Entries {
            client: client.clone(),
            path: path.to_owned(),
            layout,
            line: Mutex::new(client, &format!("{path}-takers")),
            returned: Arc::default(),
        }
    }

    pub async fn put(&self, stem: &str, data: &[u8]) -> Result<(), RecipeError> {
        while !put(&self.client, &self.path, stem, data).await? {
            self.create_path().await?;
        }
        Ok(())
    }

    async fn create_path(&self) -> Result<(), Error> {
        match self.layout {
            Layout::Fifo => create_containers(&self.client, &self.path).await,
            // kazoo's queues and Curator's with delays do not create it twice.
            Layout::Priority | Layout::Delay => create_lasting(&self.client, &self.path).await,
        }
    }

    pub async fn take(&self) -> Result<Vec<u8>, RecipeError> {
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
                Ok((names, _, changed)) => (names, changed),
                Err(Error::Refused(ErrorCode::NoNode)) => {
                    self.create_path().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Ready { names, next_ms } = self.layout.ready(names);
            let is_empty = names.is_empty();
            if let Some(data) = self.take_first(names).await? {
                break data;
            }
            if is_empty {
                tokio::select! {
                    fired = fired(changed) => fired?,
                    () = self.returned.bell.notified() => {}
                    () = until(next_ms) => {}
                }
            }
        };
        // Nobody needs to wait for the answer.
        drop(first_in_line);
        Ok(data)
    }

    pub async fn try_take(&self) -> Result<Option<Vec<u8>>, RecipeError> {
        loop {
            if let Some(data) = self.returned() {
                return Ok(Some(data));
            }
            let names = self.layout.ready(children(&self.client, &self.path).await?).names;
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
        let mut items = self.returned.items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.pop_front();
        if !items.is_empty() {
            // The bell has rung once for several.
            self.returned.bell.notify_one();
        }
        item
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
            let loot = Loot { items: self.layout.items(data), returned: Arc::clone(&self.returned) };
            let (sender, taken) = oneshot::channel();
            let client = self.client.clone();
            // A task, because nobody can take a deletion back: if this future is dropped, it says what became of it.
            tokio::spawn(async move {
                // If nobody listens any more, the loot returns.
                let _ = sender.send(delete_entry(&client, &path, loot).await);
            });
            let loot = taken.await.unwrap_or(Err(Error::Closed.into()))?;
            if let Some(item) = loot.and_then(Loot::take) {
                return Ok(Some(item));
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
                    _ if is_in_doubt => return Err(RecipeError::PerhapsTaken(loot.doubtful())),
                    Error::Refused(ErrorCode::NoNode) => {
                        loot.forget();
                        return Ok(None);
                    }
                    error => {
                        loot.forget();
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

    fn loot(items: &[&[u8]], returned: &Arc<Returned>) -> Loot {
        let items = items.iter().map(|item| item.to_vec()).collect();
        Loot { items, returned: Arc::clone(returned) }
    }

    #[test]
    fn loot_that_nobody_takes_up_returns() {
        let returned = Arc::new(Returned::default());
        assert_eq!(loot(&[b"a"], &returned).take().as_deref(), Some(&b"a"[..]));
        loot(&[b"b"], &returned).forget();
        assert_eq!(loot(&[b"c"], &returned).doubtful(), b"c");
        assert!(returned.items.lock().unwrap().is_empty());
        drop(loot(&[b"d"], &returned));
        assert_eq!(*returned.items.lock().unwrap(), [b"d".to_vec()]);
    }

    #[test]
    fn what_comes_with_what_is_taken_is_left_for_the_next_taker() {
        let returned = Arc::new(Returned::default());
        assert_eq!(loot(&[b"a", b"b", b"c"], &returned).take().as_deref(), Some(&b"a"[..]));
        assert_eq!(*returned.items.lock().unwrap(), [b"b".to_vec(), b"c".to_vec()]);
        let both = loot(&[b"d", b"e"], &returned).doubtful();
        assert_eq!(unpack(&both), Some(VecDeque::from([b"d".to_vec(), b"e".to_vec()])));
        assert_eq!(returned.items.lock().unwrap().len(), 2, "what is in doubt does not return");
    }
}
