//! What the administrative commands show of the watches.

use super::modes::Modes;
use super::slots::NONE;
use super::table::{WatchTable, WatcherId};

/// How many watches there are, counted as `mntr` does: entries of the two tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchCounts {
    /// Entries of the DATA table.
    pub data: usize,
    /// Entries of the CHILD table.
    pub child: usize,
}

/// What `wchs` prints; the DATA table only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchSummary {
    /// Connections with at least one watch.
    pub connections: usize,
    /// Paths that somebody watches.
    pub paths: usize,
    /// Watches.
    pub watches: usize,
}

impl WatchTable {
    /// The number of watches; costs nothing.
    pub fn counts(&self) -> WatchCounts {
        WatchCounts { data: self.in_data, child: self.in_child }
    }

    /// For `wchs`. Looks at every watch once.
    pub fn summary(&self) -> WatchSummary {
        let paths = self.paths.all().iter().filter(|path| self.on_path(path.watches.first).next().is_some());
        let connections = self
            .watchers
            .all()
            .iter()
            .filter(|watcher| self.of_watcher(watcher.watches.first).next().is_some());
        WatchSummary { connections: connections.count(), paths: paths.count(), watches: self.in_data }
    }

    /// For `wchp`: every path with a DATA watch, sorted, and its watchers in the order in which they came.
    pub fn by_path(&self) -> Vec<(&str, Vec<WatcherId>)> {
        let mut list: Vec<_> = self
            .paths
            .all()
            .iter()
            .map(|path| (&*path.path, self.on_path(path.watches.first).collect::<Vec<_>>()))
            .filter(|(_, watchers)| !watchers.is_empty())
            .collect();
        list.sort_unstable_by_key(|(path, _)| *path);
        list
    }

    /// For `wchc`: every connection with a DATA watch, sorted, and its paths in the order in which they came.
    pub fn by_watcher(&self) -> Vec<(WatcherId, Vec<&str>)> {
        let mut list: Vec<_> = self
            .watchers
            .all()
            .iter()
            .map(|watcher| (watcher.id, self.of_watcher(watcher.watches.first).collect::<Vec<_>>()))
            .filter(|(_, paths)| !paths.is_empty())
            .collect();
        list.sort_unstable_by_key(|(watcher, _)| *watcher);
        list
    }

    /// The watchers in the DATA table of a path's list of watches.
    fn on_path(&self, first: u32) -> impl Iterator<Item = WatcherId> {
        follow(first, |watch| self.watches[watch].on_path.next)
            .map(|watch| &self.watches[watch])
            .filter(|watch| watch.modes.intersects(Modes::IN_DATA))
            .map(|watch| self.watchers[watch.watcher].id)
    }

    /// The paths in the DATA table of a watcher's list of watches.
    fn of_watcher(&self, first: u32) -> impl Iterator<Item = &str> {
        follow(first, |watch| self.watches[watch].of_watcher.next)
            .map(|watch| &self.watches[watch])
            .filter(|watch| watch.modes.intersects(Modes::IN_DATA))
            .map(|watch| &*self.paths[watch.path].path)
    }
}

/// The slots of a linked list.
fn follow(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    let is_watch = |slot: &u32| *slot != NONE;
    std::iter::successors(Some(first).filter(is_watch), move |slot| Some(next(*slot)).filter(is_watch))
}
