//! A copy of nodes that follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ferrokeeper_client::{
    Advice, Call, Client, Error, ErrorCode, Stat, StreamEvent, WatchDepth, WatchStream, child_path,
};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::error::RecipeError;
use crate::requests::{BATCH, through_losses};

/// The pause before servers that could not answer are asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// How many events wait for a slow reader.
const EVENTS_MAX: usize = 1_024;

/// How many nodes a cache holds unless it is told otherwise. With the usual small data that is some ten megabytes.
const NODES_MAX: usize = 50_000;

/// A copy of a part of the tree, in this process, that follows what happens to it.
///
/// Handles are cheap to clone and share one copy; when the last one is dropped, the watch goes. A task of its own keeps a
/// persistent watch, recursive unless it is for a single node, and reads what it names.
///
/// **Guarantees.** Every node is at some time shown as it was then, and no older than before; and in the end as it is.
/// Nodes are read one by one, so that two nodes may be shown as they never were at the same time. After a lost connection,
/// or more events than the watch holds ([`Limits::stream_events`](ferrokeeper_client::Limits)), everything is read again
/// and compared: nothing is missed, though changes that cancel each other out are not told. Without a connection the copy
/// stays as it was; [`Client::states`] tells. Nodes that this client may not read are not shown.
///
/// **A lost session** ends it with [`CacheState::Over`]; the copy can still be read.
///
/// **Others.** Curator's `CuratorCache`, `TreeCache`, `PathChildrenCache` and `NodeCache`, and kazoo's `TreeCache`, do the
/// same for their users; no nodes are written. Servers have to know persistent watches (ZooKeeper 3.6).
#[derive(Clone, Debug)]
pub struct Cache {
    owner: Arc<Owner>,
    /// The sender is the task's.
    states: watch::Receiver<CacheState>,
}

/// Which nodes a [`Cache`] copies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CacheScope {
    /// The node (Curator's `NodeCache`). It need not exist.
    Node,
    /// Its children (Curator's `PathChildrenCache`).
    Children,
    /// The node and everything below it (Curator's `TreeCache`).
    Tree,
}

/// A node as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CachedNode {
    /// Its data.
    pub data: Vec<u8>,
    /// Its stat. How many children it has is not followed.
    pub stat: Stat,
}

/// What a [`Cache`] has learned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheEvent {
    /// There is a node that was not there before.
    Created(String, Arc<CachedNode>),
    /// A node has other data, or was deleted and created again.
    Changed(String, Arc<CachedNode>),
    /// A node is not there any more; this is how it was seen last.
    Deleted(String, Arc<CachedNode>),
    /// Everything was read again, because something may have been missed; the events in front of this say what was.
    Resynced,
    /// The cache does not follow any more, and this is why.
    Over(RecipeError),
}

/// How a [`Cache`] stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheState {
    /// It follows.
    Following,
    /// Something may have been missed, and everything is being read again.
    Resyncing,
    /// It does not follow any more, and this is why.
    Over(RecipeError),
}

/// The events of a [`Cache`], for one reader.
#[derive(Debug)]
pub struct CacheEvents(broadcast::Receiver<CacheEvent>);

/// A reader of [`CacheEvents`] was too slow, and so many events are lost to it: the copy itself is as it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} events of the cache came too fast and are lost")]
pub struct EventsLost(pub u64);

/// Dropped with the last handle.
#[derive(Debug)]
struct Owner {
    mirror: Arc<Mirror>,
    task: AbortHandle,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Nodes = BTreeMap<String, Arc<CachedNode>>;

/// What the task writes and handles read.
#[derive(Debug)]
struct Mirror {
    nodes: RwLock<Nodes>,
    events: broadcast::Sender<CacheEvent>,
}

impl Cache {
    /// Copies nodes, and returns when all have been read. Fails with [`RecipeError::TooManyNodes`] if there are more than
    /// 50,000.
    ///
    /// Cancel-safe: dropping the future leaves nothing behind.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(client: &Client, path: &str, scope: CacheScope) -> Result<Cache, RecipeError> {
        Cache::start_with_limit(client, path, scope, NODES_MAX).await
    }

    /// Likewise, with another limit: as soon as there are more nodes, it ends.
    pub async fn start_with_limit(
        client: &Client,
        path: &str,
        scope: CacheScope,
        nodes_max: usize,
    ) -> Result<Cache, RecipeError> {
        let mirror =
            Arc::new(Mirror { nodes: RwLock::default(), events: broadcast::Sender::new(EVENTS_MAX) });
        let follower = Follower {
            client: client.clone(),
            root: path.to_owned(),
            scope,
            nodes_max,
            mirror: Arc::clone(&mirror),
        };
        let stream = follower.watch().await?;
        follower.resync().await?;
        let (sender, states) = watch::channel(CacheState::Following);
        let task = tokio::spawn(follower.follow(stream, sender)).abort_handle();
        Ok(Cache { owner: Arc::new(Owner { mirror, task }), states })
    }

    /// A node, if there is one.
    pub fn get(&self, path: &str) -> Option<Arc<CachedNode>> {
        self.nodes(|nodes| nodes.get(path).cloned())
    }

    /// All nodes at this moment, by their paths. The nodes themselves are not copied.
    pub fn snapshot(&self) -> BTreeMap<String, Arc<CachedNode>> {
        self.nodes(Nodes::clone)
    }

    /// The names of a node's children, in order. It walks over everything below the node.
    pub fn children(&self, path: &str) -> Vec<String> {
        let start = child_path(path, "");
        self.nodes(|nodes| {
            let below = nodes.range(start.clone()..).map_while(|(path, _)| path.strip_prefix(&start));
            below.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
        })
    }

    /// The events from now on, for a reader of one's own.
    pub fn events(&self) -> CacheEvents {
        CacheEvents(self.owner.mirror.events.subscribe())
    }

    /// All nodes at this moment, and the events from then on.
    pub fn snapshot_and_events(&self) -> (BTreeMap<String, Arc<CachedNode>>, CacheEvents) {
        self.nodes(|nodes| (nodes.clone(), self.events()))
    }

    /// How it stands.
    pub fn state(&self) -> CacheState {
        self.states.borrow().clone()
    }

    /// Watches how it stands. A reader that is slow sees the latest state and not every one in between.
    pub fn watch(&self) -> watch::Receiver<CacheState> {
        self.states.clone()
    }

    fn nodes<T>(&self, look: impl FnOnce(&Nodes) -> T) -> T {
        look(&self.owner.mirror.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CacheEvents {
    /// The next event; `None` when all handles of the cache are gone and all events were read. A reader that is more than a thousand events
    /// behind is told how many it has lost, and goes on behind them. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<CacheEvent, EventsLost>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Err(EventsLost(count))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Mirror {
    /// Puts in what was read of a node; what lies below one that is not there goes along.
    fn put(&self, path: &str, node: Option<CachedNode>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        // Told under the lock, so that a snapshot and its events fit together.
        for event in put(&mut nodes, path, node) {
            // If nobody listens, nobody wants to know.
            let _ = self.events.send(event);
        }
    }

    /// Replaces everything.
    fn replace(&self, new: Nodes) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<String> = nodes.keys().filter(|path| !new.contains_key(*path)).cloned().collect();
        let mut events = Vec::new();
        for path in gone {
            events.extend(put(&mut nodes, &path, None));
        }
        for (path, node) in new {
            events.extend(put(&mut nodes, &path, Some(Arc::unwrap_or_clone(node))));
        }
        events.push(CacheEvent::Resynced);
        for event in events {
            let _ = self.events.send(event);
        }
    }

    fn len(&self) -> usize {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Changes a node, and tells what that means.
fn put(nodes: &mut Nodes, path: &str, node: Option<CachedNode>) -> Vec<CacheEvent> {
    let Some(node) = node else {
        let below = child_path(path, "");
        let mut gone: Vec<String> = nodes
            .range(below.clone()..)
            .map_while(|(path, _)| path.starts_with(&below).then(|| path.clone()))
            .collect();
        gone.push(path.to_owned());
        let removed = gone.into_iter().filter_map(|path| nodes.remove(&path).map(|node| (path, node)));
        return removed.map(|(path, node)| CacheEvent::Deleted(path, node)).collect();
    };
    let before = nodes.get(path).map(|node| (node.stat.mzxid, node.stat.czxid));
    if before.is_some_and(|(mzxid, czxid)| (mzxid, czxid) >= (node.stat.mzxid, node.stat.czxid)) {
        return Vec::new();
    }
    let node = Arc::new(node);
    nodes.insert(path.to_owned(), Arc::clone(&node));
    let event = match before {
        Some(_) => CacheEvent::Changed(path.to_owned(), node),
        None => CacheEvent::Created(path.to_owned(), node),
    };
    vec![event]
}

/// The task's side.
struct Follower {
    client: Client,
    root: String,
    scope: CacheScope,
    nodes_max: usize,
    mirror: Arc<Mirror>,
}

impl Follower {
    async fn watch(&self) -> Result<WatchStream, Error> {
        let depth = match self.scope {
            CacheScope::Node => WatchDepth::Node,
            CacheScope::Children | CacheScope::Tree => WatchDepth::Recursive,
        };
        through_losses(|| self.client.watch(&self.root, depth)).await
    }

    /// Whether a node is one that is copied.
    fn concerns(&self, path: &str) -> bool {
        let below = path.strip_prefix(child_path(&self.root, "").as_str()).filter(|below| !below.is_empty());
        match self.scope {
            CacheScope::Node => path == self.root,
            CacheScope::Children => below.is_some_and(|below| !below.contains('/')),
            CacheScope::Tree => path == self.root || below.is_some(),
        }
    }

    async fn follow(self, mut stream: WatchStream, states: watch::Sender<CacheState>) {
        loop {
            let error = match self.follow_stream(&mut stream, &states).await {
                Ok(()) => None,
                Err(RecipeError::Client(error)) if error.advice() != Advice::GiveUp => None,
                Err(error) => Some(error),
            };
            states.send_replace(CacheState::Resyncing);
            // The new watch comes before the old one goes.
            let error = match error {
                Some(error) => error,
                None => match self.watch().await {
                    Ok(new) => {
                        stream = new;
                        continue;
                    }
                    Err(error) if error.advice() == Advice::GiveUp => error.into(),
                    Err(_) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            states.send_replace(CacheState::Over(error.clone()));
            let _ = self.mirror.events.send(CacheEvent::Over(error));
            return;
        }
    }

    /// Reads what a watch tells, after everything if this is not the first one; returns when the watch has ended.
    async fn follow_stream(
        &self,
        stream: &mut WatchStream,
        states: &watch::Sender<CacheState>,
    ) -> Result<(), RecipeError> {
        let mut must_resync = *states.borrow() != CacheState::Following;
        // Paths of which something is new.
        let mut dirty = BTreeSet::new();
        loop {
            let next = tokio::select! {
                biased;
                next = stream.next(), if dirty.len() < BATCH => Some(next),
                // Nothing more has come yet.
                () = std::future::ready(()), if must_resync || !dirty.is_empty() => None,
            };
            match next {
                Some(Some(Ok(StreamEvent::Node(event)))) => {
                    if self.concerns(&event.path) {
                        dirty.insert(event.path);
                    }
                }
                Some(Some(Ok(StreamEvent::Resumed))) => {
                    must_resync = true;
                    states.send_replace(CacheState::Resyncing);
                }
                Some(Some(Err(end))) => {
                    return match end.session_error() {
                        Some(error) => Err(error.into()),
                        None => Ok(()),
                    };
                }
                Some(None) => return Ok(()),
                None if must_resync => {
                    dirty.clear();
                    self.resync().await?;
                    must_resync = false;
                    states.send_replace(CacheState::Following);
                }
                None => {
                    self.refresh(std::mem::take(&mut dirty)).await?;
                    self.check_limit(self.mirror.len())?;
                }
            }
        }
    }

    async fn refresh(&self, dirty: BTreeSet<String>) -> Result<(), Error> {
        let paths: Vec<String> = dirty.into_iter().collect();
        for (path, node) in paths.iter().zip(self.read(&paths).await?) {
            self.mirror.put(path, node);
        }
        Ok(())
    }

    /// Reads everything.
    async fn resync(&self) -> Result<(), RecipeError> {
        let mut new = Nodes::new();
        let mut to_list = match self.scope {
            CacheScope::Node => Vec::new(),
            CacheScope::Children | CacheScope::Tree => vec![self.root.clone()],
        };
        let mut to_read = match self.scope {
            CacheScope::Children => Vec::new(),
            CacheScope::Node | CacheScope::Tree => vec![self.root.clone()],
        };
        while !to_list.is_empty() || !to_read.is_empty() {
            let paths = to_read.split_off(to_read.len().saturating_sub(BATCH));
            for (path, node) in paths.iter().zip(self.read(&paths).await?) {
                if let Some(node) = node {
                    new.insert(path.clone(), Arc::new(node));
                }
            }
            let paths = to_list.split_off(to_list.len().saturating_sub(BATCH));
            for (path, names) in paths.iter().zip(self.list(&paths).await?) {
                let below = names.iter().map(|name| child_path(path, name));
                if self.scope == CacheScope::Tree {
                    to_list.extend(below.clone());
                }
                to_read.extend(below);
            }
            self.check_limit(new.len() + to_read.len())?;
        }
        self.mirror.replace(new);
        Ok(())
    }

    async fn read(&self, paths: &[String]) -> Result<Vec<Option<CachedNode>>, Error> {
        let answers = all(paths, |path| self.client.get(path)).await?;
        Ok(answers.into_iter().map(|answer| answer.map(|(data, stat)| CachedNode { data, stat })).collect())
    }

    async fn list(&self, paths: &[String]) -> Result<Vec<Vec<String>>, Error> {
        let answers = all(paths, |path| self.client.children(path)).await?;
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn check_limit(&self, count: usize) -> Result<(), RecipeError> {
        match count > self.nodes_max {
            true => Err(RecipeError::TooManyNodes(self.nodes_max)),
            false => Ok(()),
        }
    }
}

/// Asks for all at once; `None` for nodes that are not there, or that this client may not read.
async fn all<T>(paths: &[String], call: impl Fn(&str) -> Call<T>) -> Result<Vec<Option<T>>, Error> {
    let calls: Vec<Call<T>> = paths.iter().map(|path| call(path)).collect();
    let mut answers = Vec::with_capacity(calls.len());
    for (path, first) in paths.iter().zip(calls) {
        let answer = match first.await {
            Err(Error::ConnectionLost(_)) => through_losses(|| call(path)).await,
            answer => answer,
        };
        answers.push(match answer {
            Ok(answer) => Some(answer),
            Err(Error::Refused(ErrorCode::NoNode | ErrorCode::NoAuth)) => None,
            Err(error) => return Err(error),
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use ferrokeeper_client::Zxid;

    use super::*;

    fn node(czxid: i64, mzxid: i64) -> CachedNode {
        let (czxid, mzxid) = (Zxid::from_wire(czxid), Zxid::from_wire(mzxid));
        CachedNode { data: Vec::new(), stat: Stat { czxid, mzxid, ..Stat::default() } }
    }

    fn told(events: Vec<CacheEvent>) -> Vec<String> {
        let tell = |event| match event {
            CacheEvent::Created(path, _) => format!("+{path}"),
            CacheEvent::Changed(path, _) => format!("={path}"),
            CacheEvent::Deleted(path, _) => format!("-{path}"),
            CacheEvent::Resynced | CacheEvent::Over(_) => String::new(),
        };
        events.into_iter().map(tell).collect()
    }

    #[test]
    fn what_is_new_is_told_and_what_is_old_is_not() {
        let mut nodes = Nodes::new();
        assert_eq!(told(put(&mut nodes, "/a", Some(node(1, 1)))), ["+/a"]);
        assert!(put(&mut nodes, "/a", Some(node(1, 1))).is_empty());
        assert_eq!(told(put(&mut nodes, "/a", Some(node(1, 2)))), ["=/a"]);
        assert!(put(&mut nodes, "/a", Some(node(1, 1))).is_empty(), "an old reading changes nothing");
        assert_eq!(told(put(&mut nodes, "/a", Some(node(3, 3)))), ["=/a"], "created again");
        assert!(put(&mut nodes, "/b", None).is_empty());
    }

    #[test]
    fn what_lies_below_a_node_goes_with_it_and_what_begins_like_it_does_not() {
        let mut nodes = Nodes::new();
        for path in ["/a", "/a/b", "/a/b/c", "/a-b", "/ab"] {
            put(&mut nodes, path, Some(node(1, 1)));
        }
        assert_eq!(told(put(&mut nodes, "/a", None)), ["-/a/b", "-/a/b/c", "-/a"]);
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["/a-b", "/ab"]);
    }
}
