//! The watches of a session: who waits for what, and what a server must be told after a reconnection.
//!
//! A server keeps one watch per path and kind for a connection, however many watchers there are here. A watch exists
//! here from the answer that set it to its event, to its removal, or to the session's end.

use std::collections::{BTreeMap, BTreeSet};

use protocol::OpCode;
use protocol::client::request::SetWatches;
use protocol::client::watch::{EventType, WatcherType};

use super::output::{NodeEvent, Note};

/// Bytes of paths in one setWatches request, as in Java (`ClientCnxn.SET_WATCHES_MAX_LENGTH`): a batch ends with the
/// path that reaches it, and stays far below what servers accept.
const BATCH_BYTES: usize = 128 << 10;

/// Names a watcher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u64);

/// What a watch looks at, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WatchKind {
    /// A node's data, once.
    Data,
    /// A node that does not exist, once.
    Exist,
    /// A node's children, once.
    Children,
    /// A node and its children, until removed.
    Persistent,
    /// A node and everything below it, until removed.
    Recursive,
}

impl WatchKind {
    fn is_one_shot(self) -> bool {
        matches!(self, WatchKind::Data | WatchKind::Exist | WatchKind::Children)
    }

    /// Whether an event at the watch's own path concerns it.
    fn sees(self, event: EventType) -> bool {
        match self {
            WatchKind::Data | WatchKind::Exist | WatchKind::Recursive => {
                event != EventType::NodeChildrenChanged
            }
            WatchKind::Children => matches!(event, EventType::NodeChildrenChanged | EventType::NodeDeleted),
            WatchKind::Persistent => true,
        }
    }
}

/// Which watches of a path are meant when they are asked for or removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WatchScope {
    /// One-shot watches on the node's data or existence.
    Data,
    /// One-shot watches on its children.
    Children,
    /// Persistent watches. Servers before 3.9 cannot tell them from others and refuse.
    Persistent,
    /// Persistent recursive watches. Servers before 3.9 cannot tell them from others and refuse.
    Recursive,
    /// All.
    Any,
}

impl WatchScope {
    /// As it is written.
    pub fn to_wire(self) -> i32 {
        let kind = match self {
            WatchScope::Data => WatcherType::Data,
            WatchScope::Children => WatcherType::Children,
            WatchScope::Persistent => WatcherType::Persistent,
            WatchScope::Recursive => WatcherType::PersistentRecursive,
            WatchScope::Any => WatcherType::Any,
        };
        kind as i32
    }

    fn covers(self, kind: WatchKind) -> bool {
        match self {
            WatchScope::Any => true,
            WatchScope::Data => matches!(kind, WatchKind::Data | WatchKind::Exist),
            WatchScope::Children => kind == WatchKind::Children,
            WatchScope::Persistent => kind == WatchKind::Persistent,
            WatchScope::Recursive => kind == WatchKind::Recursive,
        }
    }
}

/// A watch that a request asks for.
#[derive(Clone, Debug)]
pub struct Registration<W> {
    /// Whose.
    pub watcher: WatcherId,
    /// The node.
    pub path: String,
    /// What kind, if the node exists.
    pub kind: WatchKind,
    /// Where its events go.
    pub sink: W,
}

#[derive(Debug)]
struct Watcher<W> {
    id: WatcherId,
    kind: WatchKind,
    sink: W,
}

/// The watches of a session.
#[derive(Debug)]
pub struct WatchTable<W> {
    paths: BTreeMap<Box<str>, Vec<Watcher<W>>>,
    recursive: usize,
    /// Asked for and not yet answered; those that nobody wants any more are taken out.
    asked: BTreeSet<WatcherId>,
    /// How many requests that ask for a watch are under way, by path.
    asked_at: BTreeMap<Box<str>, usize>,
}

impl<W: Clone> WatchTable<W> {
    pub fn new() -> WatchTable<W> {
        WatchTable { paths: BTreeMap::new(), recursive: 0, asked: BTreeSet::new(), asked_at: BTreeMap::new() }
    }

    /// A request that asks for a watch is under way.
    pub fn on_asked(&mut self, registration: &Registration<W>) {
        self.asked.insert(registration.watcher);
        *self.asked_at.entry(registration.path.as_str().into()).or_default() += 1;
    }

    /// Such a request has its answer. `kind` is what the server has set; `None` for nothing. Returns whether the
    /// server now keeps a watch that nobody here wants.
    pub fn on_answered(&mut self, registration: Registration<W>, kind: Option<WatchKind>) -> bool {
        let Registration { watcher: id, path, sink, .. } = registration;
        let wanted = self.asked.remove(&id);
        if let Some(count) = self.asked_at.get_mut(path.as_str()) {
            *count -= 1;
            if *count == 0 {
                self.asked_at.remove(path.as_str());
            }
        }
        match kind {
            Some(kind) if wanted => {
                self.recursive += usize::from(kind == WatchKind::Recursive);
                self.paths.entry(path.into()).or_default().push(Watcher { id, kind, sink });
                false
            }
            Some(_) => self.nobody_watches(&path),
            None => false,
        }
    }

    /// All such requests are lost with their connection.
    pub fn on_link_lost(&mut self) {
        self.asked.clear();
        self.asked_at.clear();
    }

    /// Nobody wants a watch any more. Returns whether the server now keeps a watch for nobody.
    pub fn drop_watcher(&mut self, id: WatcherId, path: &str) -> bool {
        if self.asked.remove(&id) {
            return false;
        }
        let Some(watchers) = self.paths.get_mut(path) else { return false };
        let Some(at) = watchers.iter().position(|watcher| watcher.id == id) else { return false };
        let gone = watchers.remove(at);
        self.recursive -= usize::from(gone.kind == WatchKind::Recursive);
        if watchers.is_empty() {
            self.paths.remove(path);
        }
        self.nobody_watches(path)
    }

    /// A request that is under way may set a watch that must not be removed, so it counts too.
    fn nobody_watches(&self, path: &str) -> bool {
        !self.paths.contains_key(path) && !self.asked_at.contains_key(path)
    }

    /// Takes out the watchers that the server has removed, and returns their kinds and sinks.
    pub fn remove(&mut self, path: &str, scope: WatchScope) -> Vec<(WatchKind, W)> {
        let Some(watchers) = self.paths.get_mut(path) else { return Vec::new() };
        let gone: Vec<Watcher<W>> = watchers.extract_if(.., |watcher| scope.covers(watcher.kind)).collect();
        if watchers.is_empty() {
            self.paths.remove(path);
        }
        self.recursive -= gone.iter().filter(|watcher| watcher.kind == WatchKind::Recursive).count();
        gone.into_iter().map(|watcher| (watcher.kind, watcher.sink)).collect()
    }

    /// Who hears of an event; one-shot watches are over with it.
    ///
    /// `made_up` events are those that a server finds out when one-shot watches are set again. Persistent watches do
    /// not hear of them: they are told that they missed something.
    pub fn on_event(&mut self, event: &NodeEvent, made_up: bool, mut tell: impl FnMut(W, Note)) {
        if let Some(watchers) = self.paths.get_mut(event.path.as_str()) {
            watchers.retain(|watcher| {
                let once = watcher.kind.is_one_shot();
                let hears = watcher.kind.sees(event.kind) && (once || !made_up);
                if hears {
                    tell(watcher.sink.clone(), Note::Event(event.clone()));
                }
                !(hears && once)
            });
            if watchers.is_empty() {
                self.paths.remove(event.path.as_str());
            }
        }
        if self.recursive == 0 || made_up || event.kind == EventType::NodeChildrenChanged {
            return;
        }
        let mut below = event.path.as_str();
        while let Some(above) = protocol::path::parent(below).filter(|&above| above != below) {
            for watcher in self.paths.get(above).into_iter().flatten() {
                if watcher.kind == WatchKind::Recursive {
                    tell(watcher.sink.clone(), Note::Event(event.clone()));
                }
            }
            below = above;
        }
    }

    /// The persistent watchers, in the order of their paths.
    pub fn persistent(&self) -> impl Iterator<Item = W> + '_ {
        let all = self.paths.values().flatten();
        all.filter(|watcher| !watcher.kind.is_one_shot()).map(|watcher| watcher.sink.clone())
    }

    /// All watchers; none is left.
    pub fn take_all(&mut self) -> Vec<W> {
        self.on_link_lost();
        self.recursive = 0;
        let paths = std::mem::take(&mut self.paths);
        paths.into_values().flatten().map(|watcher| watcher.sink).collect()
    }

    /// What a new connection must be told. Batches without persistent watches go out as the older operation, which
    /// older servers know.
    pub fn rearm(&self, relative_zxid: i64) -> Vec<(OpCode, SetWatches<'_>)> {
        let kinds = [
            WatchKind::Data,
            WatchKind::Exist,
            WatchKind::Children,
            WatchKind::Persistent,
            WatchKind::Recursive,
        ];
        let mut batches = Vec::new();
        let mut batch = SetWatches { relative_zxid, ..SetWatches::default() };
        let mut bytes = 0;
        for kind in kinds {
            for (path, watchers) in &self.paths {
                if !watchers.iter().any(|watcher| watcher.kind == kind) {
                    continue;
                }
                let list = match kind {
                    WatchKind::Data => &mut batch.data,
                    WatchKind::Exist => &mut batch.exist,
                    WatchKind::Children => &mut batch.child,
                    WatchKind::Persistent => &mut batch.persistent,
                    WatchKind::Recursive => &mut batch.persistent_recursive,
                };
                list.push(path.as_ref().into());
                bytes += path.len();
                if bytes >= BATCH_BYTES {
                    let full =
                        std::mem::replace(&mut batch, SetWatches { relative_zxid, ..SetWatches::default() });
                    batches.push((op_for(&full), full));
                    bytes = 0;
                }
            }
        }
        if bytes > 0 {
            batches.push((op_for(&batch), batch));
        }
        batches
    }
}

fn op_for(batch: &SetWatches<'_>) -> OpCode {
    match batch.persistent.is_empty() && batch.persistent_recursive.is_empty() {
        true => OpCode::SetWatches,
        false => OpCode::SetWatches2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(watches: &[(u64, &str, WatchKind)]) -> WatchTable<u64> {
        let mut table = WatchTable::new();
        for &(id, path, kind) in watches {
            let registration = Registration { watcher: WatcherId(id), path: path.into(), kind, sink: id };
            table.on_asked(&registration);
            assert!(!table.on_answered(registration, Some(kind)));
        }
        table
    }

    fn hear(table: &mut WatchTable<u64>, kind: EventType, path: &str, made_up: bool) -> Vec<u64> {
        let mut heard = Vec::new();
        let event = NodeEvent { kind, path: path.into(), zxid: None };
        table.on_event(&event, made_up, |sink, _| heard.push(sink));
        heard
    }

    use EventType::*;
    use WatchKind::*;

    #[test]
    fn every_kind_hears_what_it_should_and_nothing_else() {
        let all = [
            (1, "/a", Data),
            (2, "/a", Exist),
            (3, "/a", Children),
            (4, "/a", Persistent),
            (5, "/a", Recursive),
        ];
        let heard = |kind, path| hear(&mut table(&all), kind, path, false);
        assert_eq!(heard(NodeCreated, "/a"), [1, 2, 4, 5]);
        assert_eq!(heard(NodeDataChanged, "/a"), [1, 2, 4, 5]);
        assert_eq!(heard(NodeDeleted, "/a"), [1, 2, 3, 4, 5]);
        assert_eq!(heard(NodeChildrenChanged, "/a"), [3, 4]);
        assert_eq!(heard(NodeCreated, "/a/b"), [5]);
        assert_eq!(heard(NodeDeleted, "/a/b/c"), [5]);
        assert_eq!(heard(NodeChildrenChanged, "/a/b"), []);
        assert_eq!(heard(NodeCreated, "/ab"), []);
    }

    #[test]
    fn a_recursive_watch_on_the_root_sees_everything() {
        let mut table = table(&[(1, "/", Recursive)]);
        assert_eq!(hear(&mut table, NodeCreated, "/a/b", false), [1]);
        assert_eq!(hear(&mut table, NodeDataChanged, "/", false), [1]);
    }

    #[test]
    fn one_shots_hear_once_and_persistent_ones_always() {
        let mut table = table(&[(1, "/a", Data), (2, "/a", Persistent)]);
        assert_eq!(hear(&mut table, NodeDataChanged, "/a", false), [1, 2]);
        assert_eq!(hear(&mut table, NodeDataChanged, "/a", false), [2]);
    }

    #[test]
    fn what_a_server_makes_up_while_watches_are_set_again_is_for_one_shots_only() {
        let mut table =
            table(&[(1, "/a", Data), (2, "/a", Children), (3, "/a", Persistent), (4, "/", Recursive)]);
        assert_eq!(hear(&mut table, NodeDeleted, "/a", true), [1, 2]);
        assert_eq!(
            hear(&mut table, NodeDeleted, "/a", true),
            [],
            "the list of children tells it a second time"
        );
    }

    #[test]
    fn a_watch_that_was_dropped_before_its_answer_is_not_kept() {
        let mut table: WatchTable<u64> = WatchTable::new();
        let registration = Registration { watcher: WatcherId(1), path: "/a".into(), kind: Data, sink: 1 };
        table.on_asked(&registration);
        assert!(!table.drop_watcher(WatcherId(1), "/a"), "the server does not keep it yet");
        assert!(table.on_answered(registration, Some(Data)), "but now");
        assert_eq!(hear(&mut table, NodeDataChanged, "/a", false), []);
    }

    #[test]
    fn a_servers_watch_is_removed_only_when_nobody_has_or_asks_for_one() {
        let mut table = table(&[(1, "/a", Data), (2, "/a", Children)]);
        let next = Registration { watcher: WatcherId(3), path: "/a".into(), kind: Data, sink: 3 };
        table.on_asked(&next);
        assert!(!table.drop_watcher(WatcherId(1), "/a"), "2 is there");
        assert!(!table.drop_watcher(WatcherId(2), "/a"), "3 is under way");
        assert!(!table.on_answered(next, Some(Data)));
        assert!(table.drop_watcher(WatcherId(3), "/a"));
    }

    #[test]
    fn batches_end_at_128_kib_and_use_the_old_operation_when_they_can() {
        let long = "x".repeat(100 << 10);
        let watches: Vec<(u64, String, WatchKind)> =
            vec![(1, format!("/1{long}"), Data), (2, format!("/2{long}"), Data), (3, "/3".into(), Recursive)];
        let watches: Vec<(u64, &str, WatchKind)> =
            watches.iter().map(|(id, path, kind)| (*id, path.as_str(), *kind)).collect();
        let table = table(&watches);
        let batches = table.rearm(7);
        let shape: Vec<_> = batches
            .iter()
            .map(|(op, batch)| (*op, batch.relative_zxid, batch.data.len(), batch.persistent_recursive.len()))
            .collect();
        assert_eq!(shape, [(OpCode::SetWatches, 7, 2, 0), (OpCode::SetWatches2, 7, 0, 1)]);
        assert!(WatchTable::<u64>::new().rearm(7).is_empty());
    }
}
