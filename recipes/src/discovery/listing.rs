//! The instances of a service, as they are read and as they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::cache::{Cache, CacheEvent, CacheEvents, CacheState, CachedNode, EventsLost};
use crate::discovery::instance::Instance;
use crate::requests::last_name;

/// The instances of a service.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Instances {
    /// Those that can be read, in the order of their nodes' names.
    pub readable: Vec<Arc<Instance>>,
    /// Those that cannot.
    pub malformed: Vec<Malformed>,
}

/// A node that is no instance, whoever has written it, or that this client may not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the instance {node} cannot be read: {reason}")]
pub struct Malformed {
    /// The node's name.
    pub node: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Instances {
    pub(super) fn add(&mut self, node: &str, read: Result<Arc<Instance>, String>) {
        match read {
            Ok(instance) => self.readable.push(instance),
            Err(reason) => self.malformed.push(Malformed { node: node.to_owned(), reason }),
        }
    }
}

/// An instance, or why it is none.
pub(super) fn read(data: &[u8]) -> Result<Arc<Instance>, String> {
    Instance::from_json(data).map(Arc::new).map_err(|error| error.to_string())
}

/// The instances of a service, in this process, as they change (Curator's `ServiceCache`).
///
/// Handles are cheap to clone and share one copy, which is a [`Cache`]: what that says about its guarantees, lost connections
/// and lost sessions holds here. When it does not follow any more, what was known last can still be read.
#[derive(Clone, Debug)]
pub struct InstanceCache {
    instances: watch::Receiver<Arc<Instances>>,
    states: watch::Receiver<CacheState>,
    _task: Arc<Task>,
}

/// Ends with the last handle, and the cache's own task with it.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl InstanceCache {
    pub(super) fn new(cache: Cache, service: &str) -> InstanceCache {
        let (nodes, events) = cache.snapshot_and_events();
        let mut copy = Copy { service: service.to_owned(), nodes: BTreeMap::new() };
        copy.fill(nodes);
        let (sender, instances) = watch::channel(copy.instances());
        let states = cache.watch();
        let task = tokio::spawn(follow(cache, events, copy, sender));
        InstanceCache { instances, states, _task: Arc::new(Task(task.abort_handle())) }
    }

    /// The instances now, also those that are not enabled.
    pub fn instances(&self) -> Arc<Instances> {
        Arc::clone(&self.instances.borrow())
    }

    /// Watches them; it ends when they are not followed any more. A reader that is slow sees the latest ones and not
    /// all in between.
    pub fn watch(&self) -> watch::Receiver<Arc<Instances>> {
        self.instances.clone()
    }

    /// Whether they are followed.
    pub fn state(&self) -> CacheState {
        self.states.borrow().clone()
    }
}

/// What is known of a service's nodes, by their paths.
struct Copy {
    service: String,
    nodes: BTreeMap<String, Result<Arc<Instance>, Malformed>>,
}

impl Copy {
    fn fill(&mut self, nodes: BTreeMap<String, Arc<CachedNode>>) {
        self.nodes.clear();
        for (path, node) in nodes {
            self.put(path, &node);
        }
    }

    fn put(&mut self, path: String, node: &CachedNode) {
        let read = read(&node.data).map_err(|reason| {
            let malformed = Malformed { node: last_name(&path).to_owned(), reason };
            tracing::warn!(service = self.service, %malformed);
            malformed
        });
        self.nodes.insert(path, read);
    }

    fn instances(&self) -> Arc<Instances> {
        let mut instances = Instances::default();
        for node in self.nodes.values() {
            match node {
                Ok(instance) => instances.readable.push(Arc::clone(instance)),
                Err(malformed) => instances.malformed.push(malformed.clone()),
            }
        }
        Arc::new(instances)
    }
}

/// Reads what changes, and says so: once for all that has come already.
async fn follow(
    cache: Cache,
    mut events: CacheEvents,
    mut copy: Copy,
    sender: watch::Sender<Arc<Instances>>,
) {
    let mut is_told = true;
    loop {
        let event = tokio::select! {
            biased;
            event = events.next() => event,
            () = std::future::ready(()), if !is_told => {
                sender.send_replace(copy.instances());
                is_told = true;
                continue;
            }
        };
        is_told = false;
        match event {
            Some(Ok(CacheEvent::Created(path, node) | CacheEvent::Changed(path, node))) => {
                copy.put(path, &node)
            }
            Some(Ok(CacheEvent::Deleted(path, _))) => drop(copy.nodes.remove(&path)),
            Some(Ok(CacheEvent::Resynced)) => {}
            Some(Err(EventsLost(_))) => {
                let (nodes, later) = cache.snapshot_and_events();
                copy.fill(nodes);
                events = later;
            }
            Some(Ok(CacheEvent::Over(_))) | None => {
                sender.send_replace(copy.instances());
                return;
            }
        }
    }
}
