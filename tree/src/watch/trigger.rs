//! Which watches a change reaches (`WatchManager.triggerWatch`, and who calls it in `DataTree`).

use protocol::client::watch::EventType;

use crate::acl_table::AclList;
use crate::change::Change;

use super::modes::Modes;
use super::slots::NONE;
use super::table::{WatchTable, WatcherId};

/// Receives one trigger that reached somebody: the event, its path, the list whose READ permission decides who may
/// hear of it, and the watchers: those on the path itself in the order in which they set their watches, then those
/// on its ancestors, nearest first.
pub type WatchSink<'s> = dyn FnMut(EventType, &str, &AclList, &[WatcherId]) + 's;

impl WatchTable {
    /// Tells the sink who hears of a change, once per trigger that reaches anybody, and takes the one-shot watches
    /// that it used up out of the table, whether or not the sink then finds that their owners may not hear of it.
    pub fn fire(&mut self, change: &Change<'_>, sink: &mut WatchSink<'_>) {
        if self.watches.len() == 0 {
            return;
        }
        match *change {
            Change::Created { path, acl, parent, parent_acl } => {
                self.next_trigger();
                self.reach_data(path);
                self.deliver(EventType::NodeCreated, path, acl, sink);
                self.fire_children_changed(parent, parent_acl, sink);
            }
            Change::Deleted { path, acl, parent, parent_acl } => {
                self.next_trigger();
                self.reach_data(path);
                self.deliver(EventType::NodeDeleted, path, acl, sink);
                // Still the same trigger: who was told through DATA is not told again through CHILD.
                self.reach_at(path, Modes::IN_CHILD, Modes::CHILD);
                self.deliver(EventType::NodeDeleted, path, acl, sink);
                self.fire_children_changed(parent, parent_acl, sink);
            }
            Change::DataChanged { path, acl } => {
                self.next_trigger();
                self.reach_data(path);
                self.deliver(EventType::NodeDataChanged, path, acl, sink);
            }
        }
    }

    fn fire_children_changed(&mut self, parent: &str, acl: &AclList, sink: &mut WatchSink<'_>) {
        self.next_trigger();
        self.reach_at(parent, Modes::IN_CHILD, Modes::CHILD);
        self.deliver(EventType::NodeChildrenChanged, parent, acl, sink);
    }

    fn next_trigger(&mut self) {
        self.trigger += 1;
    }

    /// The DATA table: watches on the path itself, recursive ones on its ancestors.
    fn reach_data(&mut self, path: &str) {
        self.reach_at(path, Modes::IN_DATA, Modes::DATA);
        if self.recursive_lengths.is_empty() {
            return;
        }
        let mut below = path.len();
        while let Some((&length, _)) = self.recursive_lengths.range(..below).next_back() {
            below = length;
            match length {
                // A watch on "" is accepted and never hears anything: that is not how the root is written.
                0 => {}
                1 => self.reach_at("/", Modes::RECURSIVE, Modes::default()),
                _ if path.as_bytes()[length] == b'/' => {
                    self.reach_at(&path[..length], Modes::RECURSIVE, Modes::default());
                }
                _ => {}
            }
        }
    }

    /// Collects who stands at exactly this path with one of the wanted modes, and takes the consumed ones away.
    fn reach_at(&mut self, path: &str, wanted: Modes, consumed: Modes) {
        let Some(slot) = self.find_path(path) else {
            return;
        };
        let mut watch = self.paths[slot].watches.first;
        while watch != NONE {
            let next = self.watches[watch].on_path.next;
            let modes = self.watches[watch].modes;
            if modes.intersects(wanted) {
                let watcher = &mut self.watchers[self.watches[watch].watcher];
                if watcher.reached_by != self.trigger {
                    watcher.reached_by = self.trigger;
                    self.reached.push(watcher.id);
                }
                if modes.intersects(consumed) {
                    self.set_modes(watch, modes.without(consumed));
                }
            }
            watch = next;
        }
    }

    fn deliver(&mut self, event: EventType, path: &str, acl: &AclList, sink: &mut WatchSink<'_>) {
        if !self.reached.is_empty() {
            sink(event, path, acl, &self.reached);
            self.reached.clear();
        }
    }
}
