//! The table of watches against a simple model of the reference's two tables, and at sizes that hurt.

use protocol::Acl;
use protocol::client::watch::{EventType, WatcherType};

use super::table::{WatchTable, WatcherId};
use crate::acl_table::AclList;
use crate::change::Change;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Standard,
    Persistent,
    Recursive,
}

/// One table of the reference: entries in the order in which a pair of path and watcher got its first mode.
#[derive(Default)]
struct ModelTable(Vec<(String, u64, Vec<Mode>)>);

impl ModelTable {
    fn add(&mut self, path: &str, watcher: u64, mode: Mode) {
        let entry = self.0.iter_mut().find(|(p, w, _)| p == path && *w == watcher);
        match entry {
            Some((_, _, modes)) if modes.contains(&mode) => {}
            Some((_, _, modes)) => modes.push(mode),
            None => self.0.push((path.into(), watcher, vec![mode])),
        }
    }

    fn remove(&mut self, path: &str, watcher: u64, mode: Option<Mode>) -> bool {
        let mut found = false;
        for (p, w, modes) in &mut self.0 {
            if p == path && *w == watcher {
                modes.retain(|m| {
                    let gone = mode.is_none_or(|mode| *m == mode);
                    found |= gone;
                    !gone
                });
            }
        }
        self.0.retain(|(_, _, modes)| !modes.is_empty());
        found
    }

    fn has(&self, path: &str, watcher: u64, mode: Option<Mode>) -> bool {
        let mut entries = self.0.iter().filter(|(p, w, _)| p == path && *w == watcher);
        entries.any(|(_, _, modes)| mode.is_none_or(|mode| modes.contains(&mode)))
    }

    fn trigger(&mut self, path: &str, told: &[u64]) -> Vec<u64> {
        let mut reached = Vec::new();
        let mut at = path.to_owned();
        loop {
            for (p, w, modes) in &mut self.0 {
                if *p == at && (at == path || modes.contains(&Mode::Recursive)) {
                    reached.push(*w);
                    if at == path {
                        modes.retain(|mode| *mode != Mode::Standard);
                    }
                }
            }
            if at == "/" {
                break;
            }
            at.truncate(at.rfind('/').unwrap_or(0).max(1));
        }
        self.0.retain(|(_, _, modes)| !modes.is_empty());
        let mut unique = Vec::new();
        for watcher in reached {
            if !unique.contains(&watcher) && !told.contains(&watcher) {
                unique.push(watcher);
            }
        }
        unique
    }
}

#[derive(Default)]
struct Model {
    data: ModelTable,
    child: ModelTable,
}

type Fired = Vec<(EventType, String, Vec<u64>)>;

impl Model {
    fn fire(&mut self, change: &Change<'_>) -> Fired {
        let mut fired = Vec::new();
        let mut note = |event, path: &str, reached: Vec<u64>| {
            if !reached.is_empty() {
                fired.push((event, path.to_owned(), reached));
            }
        };
        match *change {
            Change::Created { path, parent, .. } => {
                note(EventType::NodeCreated, path, self.data.trigger(path, &[]));
                note(EventType::NodeChildrenChanged, parent, self.child.trigger(parent, &[]));
            }
            Change::Deleted { path, parent, .. } => {
                let told = self.data.trigger(path, &[]);
                note(EventType::NodeDeleted, path, told.clone());
                note(EventType::NodeDeleted, path, self.child.trigger(path, &told));
                note(EventType::NodeChildrenChanged, parent, self.child.trigger(parent, &[]));
            }
            Change::DataChanged { path, .. } => {
                note(EventType::NodeDataChanged, path, self.data.trigger(path, &[]));
            }
        }
        fired
    }
}

fn fire(table: &mut WatchTable, change: &Change<'_>) -> Fired {
    let mut fired = Vec::new();
    table.fire(change, &mut |event, path, _, watchers| {
        fired.push((event, path.to_owned(), watchers.iter().map(|watcher| watcher.get()).collect()));
    });
    fired
}

/// A small generator of numbers; the same seed gives the same run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const PATHS: &[(&str, &str)] =
    &[("/a", "/"), ("/b", "/"), ("/a/b", "/a"), ("/a/c", "/a"), ("/a/b/c", "/a/b"), ("/ab", "/")];
const TYPES: &[(WatcherType, Option<Mode>)] = &[
    (WatcherType::Children, Some(Mode::Standard)),
    (WatcherType::Data, Some(Mode::Standard)),
    (WatcherType::Any, None),
    (WatcherType::Persistent, Some(Mode::Persistent)),
    (WatcherType::PersistentRecursive, Some(Mode::Recursive)),
];

fn in_order(mut fired: Fired) -> Fired {
    // The model keeps its two tables apart, so that only who is told can be compared, not in which order.
    fired.iter_mut().for_each(|(_, _, reached)| reached.sort_unstable());
    fired
}

#[test]
fn the_table_agrees_with_the_reference_for_every_sequence_of_operations() {
    let acl = AclList::new(vec![Acl::open()]);
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let (mut table, mut model) = (WatchTable::new(), Model::default());
        for step in 0..300 {
            let watcher = numbers.below(5) as u64;
            let id = WatcherId::new(watcher);
            let (path, parent) = PATHS[numbers.below(PATHS.len())];
            let watched = if numbers.below(8) == 0 { "/" } else { path };
            match numbers.below(12) {
                0 | 1 => {
                    table.add_data(id, watched);
                    model.data.add(watched, watcher, Mode::Standard);
                }
                2 | 3 => {
                    table.add_child(id, watched);
                    model.child.add(watched, watcher, Mode::Standard);
                }
                4 => {
                    table.add_persistent(id, watched);
                    model.data.add(watched, watcher, Mode::Persistent);
                    model.child.add(watched, watcher, Mode::Persistent);
                }
                5 => {
                    table.add_recursive(id, watched);
                    model.data.add(watched, watcher, Mode::Recursive);
                }
                6 => {
                    let (kind, mode) = TYPES[numbers.below(TYPES.len())];
                    let in_data = kind != WatcherType::Children && model.data.remove(watched, watcher, mode);
                    let in_child = !matches!(kind, WatcherType::Data | WatcherType::PersistentRecursive)
                        && model.child.remove(watched, watcher, mode);
                    assert_eq!(
                        table.remove(id, watched, kind),
                        in_data || in_child,
                        "seed {seed} step {step}"
                    );
                }
                7 if numbers.below(4) == 0 => {
                    table.remove_watcher(id);
                    model.data.0.retain(|(_, w, _)| *w != watcher);
                    model.child.0.retain(|(_, w, _)| *w != watcher);
                }
                7 => {
                    let (kind, mode) = TYPES[numbers.below(TYPES.len())];
                    let in_data = kind != WatcherType::Children && model.data.has(watched, watcher, mode);
                    let in_child = matches!(kind, WatcherType::Any | WatcherType::Children)
                        && model.child.has(watched, watcher, mode);
                    assert_eq!(
                        table.check(id, watched, kind),
                        in_data || in_child,
                        "seed {seed} step {step}"
                    );
                }
                kind => {
                    let change = match kind {
                        8 => Change::Created { path, acl: &acl, parent, parent_acl: &acl },
                        9 => Change::Deleted { path, acl: &acl, parent, parent_acl: &acl },
                        _ => Change::DataChanged { path: watched, acl: &acl },
                    };
                    let (ours, theirs) = (fire(&mut table, &change), model.fire(&change));
                    assert_eq!(in_order(ours), in_order(theirs), "seed {seed} step {step} {change:?}");
                }
            }
            assert_eq!(table.counts().data, model.data.0.len(), "seed {seed} step {step}");
            assert_eq!(table.counts().child, model.child.0.len(), "seed {seed} step {step}");
        }
        (0..5).for_each(|watcher| table.remove_watcher(WatcherId::new(watcher)));
        assert_eq!((table.watches.len(), table.paths.len(), table.watchers.len()), (0, 0, 0));
        assert!(table.recursive_lengths.is_empty());
    }
}

#[test]
fn watchers_of_a_path_hear_in_the_order_in_which_they_came() {
    let acl = AclList::new(vec![Acl::open()]);
    let mut table = WatchTable::new();
    for watcher in [7, 3, 9, 1] {
        table.add_data(WatcherId::new(watcher), "/a/b");
    }
    table.add_recursive(WatcherId::new(4), "/");
    table.add_recursive(WatcherId::new(5), "/a");
    table.add_recursive(WatcherId::new(3), "/a");
    // A second mode does not move a watcher to the end.
    table.add_persistent(WatcherId::new(7), "/a/b");
    let change = Change::DataChanged { path: "/a/b", acl: &acl };
    assert_eq!(fire(&mut table, &change)[0].2, [7, 3, 9, 1, 5, 4]);
    table.add_data(WatcherId::new(9), "/a/b");
    assert_eq!(fire(&mut table, &change)[0].2, [7, 9, 5, 3, 4]);
}

#[test]
fn a_hundred_thousand_watches_on_one_node_come_and_go_quickly() {
    let acl = AclList::new(vec![Acl::open()]);
    let mut table = WatchTable::new();
    let change = Change::DataChanged { path: "/hot", acl: &acl };
    for round in 0..3 {
        (0..100_000).for_each(|watcher| table.add_data(WatcherId::new(watcher), "/hot"));
        if round == 1 {
            // From the middle outwards: with a search through the list this would take minutes.
            (0..50_000).rev().for_each(|watcher| table.remove_watcher(WatcherId::new(watcher)));
            (50_000..100_000).for_each(|watcher| {
                assert!(table.remove(WatcherId::new(watcher), "/hot", WatcherType::Data));
            });
        } else {
            assert_eq!(fire(&mut table, &change)[0].2.len(), 100_000);
        }
        assert_eq!(table.counts().data, 0);
    }
}

#[test]
fn a_watch_on_each_of_a_hundred_thousand_nodes_comes_and_goes_quickly() {
    let acl = AclList::new(vec![Acl::open()]);
    let mut table = WatchTable::new();
    let one = WatcherId::new(1);
    let paths: Vec<String> = (0..100_000).map(|n| format!("/some/service/node-{n}")).collect();
    paths.iter().for_each(|path| table.add_data(one, path));
    for path in &paths[..50_000] {
        assert_eq!(fire(&mut table, &Change::DataChanged { path, acl: &acl }).len(), 1);
    }
    assert_eq!(table.counts().data, 50_000);
    assert!(paths[50_000..75_000].iter().all(|path| table.remove(one, path, WatcherType::Any)));
    table.remove_watcher(one);
    assert_eq!(table.counts().data, 0);
}

#[test]
fn listings_show_the_data_table_in_a_fixed_order() {
    let mut table = WatchTable::new();
    table.add_data(WatcherId::new(2), "/b");
    table.add_recursive(WatcherId::new(1), "/b");
    table.add_persistent(WatcherId::new(1), "/a");
    table.add_child(WatcherId::new(3), "/c");
    let ids = |list: &[u64]| list.iter().map(|id| WatcherId::new(*id)).collect::<Vec<_>>();
    assert_eq!(table.by_path(), [("/a", ids(&[1])), ("/b", ids(&[2, 1]))]);
    assert_eq!(table.by_watcher(), [(WatcherId::new(1), vec!["/b", "/a"]), (WatcherId::new(2), vec!["/b"])]);
    let summary = table.summary();
    assert_eq!((summary.connections, summary.paths, summary.watches), (2, 2, 3));
    assert_eq!((table.counts().data, table.counts().child), (3, 2));
}

#[test]
fn odd_paths_are_watched_literally_and_hear_nothing() {
    let acl = AclList::new(vec![Acl::open()]);
    let mut table = WatchTable::new();
    for path in ["", "x", "/a/", "//", "é"] {
        table.add_recursive(WatcherId::new(1), path);
        assert!(table.check(WatcherId::new(1), path, WatcherType::PersistentRecursive));
    }
    for path in ["/a", "/a/b", "/", "/éé"] {
        assert!(fire(&mut table, &Change::DataChanged { path, acl: &acl }).is_empty(), "{path}");
    }
}
