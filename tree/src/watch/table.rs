//! The table of watches: adding, looking up and removing.
//!
//! ```text
//! path "/a" ─► watch ◄─► watch ◄─► watch      in the order in which they were set
//!                │         │         │
//!             watcher 7  watcher 9  watcher 4 ─► … its other watches
//! ```
//! A watch is one entry of 28 bytes in two doubly linked lists. Three hash indices lead to paths, to watchers and to
//! the watch of a pair, so that every operation costs the same in front of one watch and of a hundred thousand; a
//! connection that goes touches its own watches only. A path is stored once, however many watch it. No order that
//! can be seen comes from a hash.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use protocol::client::watch::WatcherType;

use super::modes::Modes;
use super::slots::{KEPT_WHEN_EMPTY, NONE, Slots};

/// A connection, as the table knows it. The caller issues the numbers and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WatcherId(u64);

impl WatcherId {
    /// Wraps the number.
    pub const fn new(value: u64) -> WatcherId {
        WatcherId(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Head and tail of a list of watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) first: u32,
    last: u32,
}

/// The neighbours in a list of watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    previous: u32,
    pub(super) next: u32,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { first: NONE, last: NONE }
    }
}

impl Default for Links {
    fn default() -> Links {
        Links { previous: NONE, next: NONE }
    }
}

/// What one watcher wants to hear about one path.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) path: u32,
    pub(super) watcher: u32,
    pub(super) modes: Modes,
    /// Among the watches of the path.
    pub(super) on_path: Links,
    /// Among the watches of the watcher.
    pub(super) of_watcher: Links,
}

#[derive(Debug, Default)]
pub(super) struct WatchedPath {
    pub(super) path: Box<str>,
    pub(super) watches: Ends,
}

#[derive(Debug, Default)]
pub(super) struct Watcher {
    pub(super) id: WatcherId,
    pub(super) watches: Ends,
    /// The trigger that reached this watcher last: nobody is told twice by one.
    pub(super) reached_by: u64,
}

/// Everybody's watches. See the module for how it is built and [`crate::watch`] for what it means.
#[derive(Debug, Default)]
pub struct WatchTable {
    /// Differs from run to run, so that nobody can choose paths that collide; nothing that can be seen depends on it.
    hasher: RandomState,
    pub(super) watches: Slots<Watch>,
    pub(super) paths: Slots<WatchedPath>,
    pub(super) watchers: Slots<Watcher>,
    path_index: HashTable<u32>,
    watcher_index: HashTable<u32>,
    pair_index: HashTable<u32>,
    pub(super) in_data: usize,
    pub(super) in_child: usize,
    /// How many recursive watches stand on paths of each length in bytes: tells which ancestors of a changed path
    /// are worth a look, usually none.
    pub(super) recursive_lengths: BTreeMap<usize, usize>,
    pub(super) trigger: u64,
    pub(super) reached: Vec<WatcherId>,
}

impl WatchTable {
    /// Nobody watches anything.
    pub fn new() -> WatchTable {
        WatchTable::default()
    }

    /// The one-shot watch of getData and exists.
    pub fn add_data(&mut self, watcher: WatcherId, path: &str) {
        self.add(watcher, path, Modes::DATA);
    }

    /// The one-shot watch of getChildren.
    pub fn add_child(&mut self, watcher: WatcherId, path: &str) {
        self.add(watcher, path, Modes::CHILD);
    }

    /// The watch of addWatch in mode 0: stays until removed.
    pub fn add_persistent(&mut self, watcher: WatcherId, path: &str) {
        self.add(watcher, path, Modes::PERSISTENT);
    }

    /// The watch of addWatch in mode 1: stays until removed, sees everything below.
    pub fn add_recursive(&mut self, watcher: WatcherId, path: &str) {
        self.add(watcher, path, Modes::RECURSIVE);
    }

    /// Whether the watcher has a watch of this kind on exactly this path.
    pub fn check(&self, watcher: WatcherId, path: &str, kind: WatcherType) -> bool {
        self.find(watcher, path).is_some_and(|watch| self.watches[watch].modes.intersects(Modes::of(kind)))
    }

    /// Removes the watcher's watches of this kind from exactly this path; false if there were none.
    pub fn remove(&mut self, watcher: WatcherId, path: &str, kind: WatcherType) -> bool {
        let Some(watch) = self.find(watcher, path) else {
            return false;
        };
        let modes = self.watches[watch].modes;
        self.set_modes(watch, modes.without(Modes::of(kind)));
        modes.intersects(Modes::of(kind))
    }

    /// Removes every watch of a connection that is gone.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        let Some(slot) = self.find_watcher(watcher) else {
            return;
        };
        let mut watch = self.watchers[slot].watches.first;
        while watch != NONE {
            let next = self.watches[watch].of_watcher.next;
            self.set_modes(watch, Modes::default());
            watch = next;
        }
    }

    fn add(&mut self, watcher: WatcherId, path: &str, modes: Modes) {
        let watch = match self.find(watcher, path) {
            Some(watch) => watch,
            None => self.insert(watcher, path),
        };
        self.set_modes(watch, self.watches[watch].modes.with(modes));
    }

    pub(super) fn find_path(&self, path: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(path);
        self.path_index.find(hash, |slot| *self.paths[*slot].path == *path).copied()
    }

    fn find_watcher(&self, watcher: WatcherId) -> Option<u32> {
        let hash = self.hasher.hash_one(watcher);
        self.watcher_index.find(hash, |slot| self.watchers[*slot].id == watcher).copied()
    }

    fn find(&self, watcher: WatcherId, path: &str) -> Option<u32> {
        let pair = (self.find_path(path)?, self.find_watcher(watcher)?);
        let is_it = |slot: &u32| (self.watches[*slot].path, self.watches[*slot].watcher) == pair;
        self.pair_index.find(self.hasher.hash_one(pair), is_it).copied()
    }

    /// A new watch, for which there must be none yet; it has no mode and must get one.
    fn insert(&mut self, watcher: WatcherId, path: &str) -> u32 {
        let path = self.find_path(path).unwrap_or_else(|| self.insert_path(path));
        let watcher = self.find_watcher(watcher).unwrap_or_else(|| self.insert_watcher(watcher));
        let on_path = Links { previous: self.paths[path].watches.last, next: NONE };
        let of_watcher = Links { previous: self.watchers[watcher].watches.last, next: NONE };
        let watch =
            self.watches.insert(Watch { path, watcher, modes: Modes::default(), on_path, of_watcher });
        match on_path.previous {
            NONE => self.paths[path].watches.first = watch,
            previous => self.watches[previous].on_path.next = watch,
        }
        self.paths[path].watches.last = watch;
        match of_watcher.previous {
            NONE => self.watchers[watcher].watches.first = watch,
            previous => self.watches[previous].of_watcher.next = watch,
        }
        self.watchers[watcher].watches.last = watch;
        let (hasher, watches) = (&self.hasher, &self.watches);
        self.pair_index.insert_unique(hasher.hash_one((path, watcher)), watch, |slot| {
            hasher.hash_one((watches[*slot].path, watches[*slot].watcher))
        });
        watch
    }

    fn insert_path(&mut self, path: &str) -> u32 {
        let slot = self.paths.insert(WatchedPath { path: path.into(), watches: Ends::default() });
        let (hasher, paths) = (&self.hasher, &self.paths);
        self.path_index
            .insert_unique(hasher.hash_one(path), slot, |slot| hasher.hash_one(&*paths[*slot].path));
        slot
    }

    fn insert_watcher(&mut self, id: WatcherId) -> u32 {
        let slot = self.watchers.insert(Watcher { id, watches: Ends::default(), reached_by: 0 });
        let (hasher, watchers) = (&self.hasher, &self.watchers);
        self.watcher_index
            .insert_unique(hasher.hash_one(id), slot, |slot| hasher.hash_one(watchers[*slot].id));
        slot
    }

    /// Gives a watch its modes; one without any goes, and path and watcher go with their last watch.
    pub(super) fn set_modes(&mut self, watch: u32, modes: Modes) {
        let Watch { path, modes: before, .. } = self.watches[watch];
        self.in_data += usize::from(modes.intersects(Modes::IN_DATA));
        self.in_data -= usize::from(before.intersects(Modes::IN_DATA));
        self.in_child += usize::from(modes.intersects(Modes::IN_CHILD));
        self.in_child -= usize::from(before.intersects(Modes::IN_CHILD));
        match (before.intersects(Modes::RECURSIVE), modes.intersects(Modes::RECURSIVE)) {
            (false, true) => *self.recursive_lengths.entry(self.paths[path].path.len()).or_default() += 1,
            (true, false) => self.forget_recursive_length(self.paths[path].path.len()),
            _ => {}
        }
        self.watches[watch].modes = modes;
        if modes.is_empty() {
            self.unlink(watch);
        }
    }

    fn forget_recursive_length(&mut self, length: usize) {
        let count = self.recursive_lengths.get_mut(&length).expect("every recursive watch was counted");
        *count -= 1;
        if *count == 0 {
            self.recursive_lengths.remove(&length);
        }
    }

    fn unlink(&mut self, watch: u32) {
        let Watch { path, watcher, .. } = self.watches[watch];
        remove_from(&mut self.pair_index, self.hasher.hash_one((path, watcher)), watch);
        let Watch { on_path, of_watcher, .. } = self.watches.remove(watch);
        match on_path.previous {
            NONE => self.paths[path].watches.first = on_path.next,
            previous => self.watches[previous].on_path.next = on_path.next,
        }
        match on_path.next {
            NONE => self.paths[path].watches.last = on_path.previous,
            next => self.watches[next].on_path.previous = on_path.previous,
        }
        match of_watcher.previous {
            NONE => self.watchers[watcher].watches.first = of_watcher.next,
            previous => self.watches[previous].of_watcher.next = of_watcher.next,
        }
        match of_watcher.next {
            NONE => self.watchers[watcher].watches.last = of_watcher.previous,
            next => self.watches[next].of_watcher.previous = of_watcher.previous,
        }
        if self.paths[path].watches.first == NONE {
            remove_from(&mut self.path_index, self.hasher.hash_one(&*self.paths[path].path), path);
            self.paths.remove(path);
        }
        if self.watchers[watcher].watches.first == NONE {
            remove_from(&mut self.watcher_index, self.hasher.hash_one(self.watchers[watcher].id), watcher);
            self.watchers.remove(watcher);
        }
    }
}

/// Takes a slot out of an index that holds it.
fn remove_from(index: &mut HashTable<u32>, hash: u64, slot: u32) {
    if let Ok(entry) = index.find_entry(hash, |candidate| *candidate == slot) {
        entry.remove();
    }
    if index.is_empty() && index.capacity() > 2 * KEPT_WHEN_EMPTY {
        *index = HashTable::new();
    }
}
