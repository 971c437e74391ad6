//! Watches as an application holds them: told of everything once, in order, before what shows it, across any number of
//! connections; or told that they may have missed something, where they are of the kind that is.
//!
//! What a one-shot watch cannot know is part of the protocol: a node that came and went while there was no connection was
//! never there. So after a reconnection such a watch is held against how things are.

use std::collections::{BTreeMap, VecDeque};

use ferrokeeper_client::WatchScope;
use ferrokeeper_client::session::{NodeEvent, Note, WatchKind};
use protocol::Zxid;
use protocol::client::watch::EventType;
use protocol::path as znode_path;

use super::figures::Tally;
use crate::checkers::{Verdict, Violation, ensure};
use crate::model::{Change, ChangeKind, Model};

const PROMISE: &str = "watches";

type Happened = (Zxid, EventType, String);

/// A watch.
#[derive(Debug)]
struct Watcher {
    path: String,
    kind: WatchKind,
    /// When it was set.
    set_at: Zxid,
    /// What it saw then: the last change of the data or of the list of children; `None` for no node.
    found: Option<Zxid>,
    /// The server has it on this connection, and the history up to here is accounted for.
    scanned: Option<Zxid>,
    /// What it must be told.
    due: VecDeque<Happened>,
    /// It was told of the present connection.
    resumed: bool,
}

impl Watcher {
    fn is_one_shot(&self) -> bool {
        self.kind.mode().is_none()
    }

    fn sees(&self, (_, event, path): &Happened) -> bool {
        let is_list = *event == EventType::NodeChildrenChanged;
        match self.kind {
            WatchKind::Data | WatchKind::Exist => path == &self.path && !is_list,
            WatchKind::Children => path == &self.path && (is_list || *event == EventType::NodeDeleted),
            WatchKind::Persistent => path == &self.path,
            WatchKind::Recursive => {
                let below = match self.path.as_str() {
                    "/" => Some(""),
                    above => path.strip_prefix(above),
                };
                !is_list
                    && below
                        .is_some_and(|below| below.is_empty() || below.starts_with('/') || self.path == "/")
            }
        }
    }

    /// Works out what the history up to a zxid means for it.
    fn advance(&mut self, model: &Model, up_to: Zxid) {
        let Some(after) = self.scanned.filter(|&after| after < up_to) else { return };
        self.scanned = Some(up_to);
        let happened = happened_between(model, after, up_to);
        let mine: Vec<Happened> = happened.filter(|happened| self.sees(happened)).collect();
        self.due.extend(mine);
    }

    /// How what it looks at is.
    fn look(&self, model: &Model, at: Zxid) -> Option<Zxid> {
        let stat = &model.node_at(&self.path, at)?.stat;
        Some(if self.kind == WatchKind::Children { stat.pzxid } else { stat.mzxid })
    }
}

/// What watches could be told of a part of the history.
fn happened_between(model: &Model, after: Zxid, up_to: Zxid) -> impl Iterator<Item = Happened> + '_ {
    model.records_between(after, up_to).iter().flat_map(|record| {
        record
            .changes
            .iter()
            .flat_map(move |change| events_of(change).map(|(event, path)| (record.zxid, event, path)))
    })
}

fn events_of(change: &Change) -> impl Iterator<Item = (EventType, String)> {
    let parent = znode_path::parent(&change.path).unwrap_or("/").to_owned();
    let (event, list) = match change.kind {
        ChangeKind::Created => (EventType::NodeCreated, true),
        ChangeKind::Deleted => (EventType::NodeDeleted, true),
        ChangeKind::DataChanged => (EventType::NodeDataChanged, false),
    };
    let list = list.then_some((EventType::NodeChildrenChanged, parent));
    std::iter::once((event, change.path.clone())).chain(list)
}

/// The watches of a session that were set and are not over.
#[derive(Debug, Default)]
pub struct Watchers {
    live: BTreeMap<u64, Watcher>,
    removing: Vec<(String, WatchScope)>,
}

impl Watchers {
    /// One of them, and its path.
    pub fn some(&self, at: u64) -> Option<(u64, String)> {
        let place = at as usize % self.live.len().max(1);
        self.live.iter().nth(place).map(|(&id, watcher)| (id, watcher.path.clone()))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    /// A watch was set by an answer as of this zxid; where it looks at a node, that was so old.
    pub fn on_set(&mut self, id: u64, path: &str, kind: WatchKind, at: Zxid, found: Option<Zxid>) {
        let watcher = Watcher {
            path: path.to_owned(),
            kind,
            set_at: at,
            found,
            scanned: Some(at),
            due: VecDeque::new(),
            resumed: true,
        };
        self.live.insert(id, watcher);
    }

    /// The application does not want it any more.
    pub fn on_dropped(&mut self, id: u64) {
        self.live.remove(&id);
    }

    /// The application asks for the removal of a path's watches.
    pub fn on_removing(&mut self, path: &str, scope: WatchScope) {
        self.removing.push((path.to_owned(), scope));
    }

    /// The connection is gone, and with it what was due. Whoever waits hears of it on the next one.
    pub fn on_connection_lost(&mut self) {
        for watcher in self.live.values_mut() {
            watcher.scanned = None;
            watcher.due.clear();
            watcher.resumed = false;
        }
    }

    /// A watch is told something.
    pub fn on_note(&mut self, model: &Model, id: u64, note: Note, tally: &mut Tally) -> Verdict {
        tally.figures.notes += 1;
        let unknown =
            || Violation::new(PROMISE, format!("watch {id} is not set, or over, and is told {note:?}"));
        let watcher = self.live.get_mut(&id).ok_or_else(unknown)?;
        match note {
            Note::Event(event) => {
                let once = watcher.is_one_shot();
                on_event(watcher, model, &event, tally)?;
                if once {
                    self.live.remove(&id);
                }
            }
            Note::Resumed => {
                let in_time = !watcher.is_one_shot() && watcher.scanned.is_none() && !watcher.resumed;
                watcher.resumed = true;
                tally.note("persistent watch resumed");
                ensure(in_time, PROMISE, || format!("watch {id} resumes without a need: {watcher:?}"))?;
            }
            Note::Removed => {
                let asked = self.removing.iter().any(|(path, _)| *path == watcher.path);
                ensure(asked, PROMISE, || format!("watch {id} is removed, and nobody asked for it"))?;
                tally.note("watch removed by its path");
                self.live.remove(&id);
            }
            Note::Ended(_) => drop(self.live.remove(&id)),
        }
        Ok(())
    }

    /// The session is over: every watch must have heard of it.
    pub fn check_over(&self) -> Verdict {
        ensure(self.live.is_empty(), PROMISE, || {
            format!("the session is over, and nobody told {:?}", self.live)
        })
    }

    /// An answer shows the state at `zxid`: what happened before it was told before.
    pub fn on_answer(&mut self, model: &Model, zxid: Zxid) -> Verdict {
        for (id, watcher) in &mut self.live {
            ensure(watcher.scanned.is_some(), PROMISE, || {
                format!("an answer at {zxid} came, and this connection does not have watch {id}: {watcher:?}")
            })?;
            watcher.advance(model, zxid);
            let missed = watcher.due.front().filter(|(at, ..)| *at <= zxid);
            ensure(missed.is_none(), PROMISE, || {
                format!("an answer at {zxid} came, and {missed:?} was not told to watch {id}: {watcher:?}")
            })?;
        }
        Ok(())
    }

    /// The watches are set on a new connection, as of `zxid`. Whoever was not told that something is different now finds
    /// everything as it was.
    pub fn on_set_again(&mut self, model: &Model, zxid: Zxid, tally: &mut Tally) -> Verdict {
        for (id, watcher) in &mut self.live {
            // What was set on this connection is not set again.
            if watcher.scanned.is_some() {
                continue;
            }
            watcher.scanned = Some(zxid);
            if !watcher.is_one_shot() {
                ensure(watcher.resumed, PROMISE, || {
                    format!("watch {id} was not told that it may have missed something")
                })?;
                continue;
            }
            let found = watcher.look(model, zxid);
            ensure(found == watcher.found, PROMISE, || {
                format!("watch {id} was not told that what it saw is {found:?} at {zxid}: {watcher:?}")
            })?;
            tally.note("one-shot watch set again");
        }
        Ok(())
    }
}

/// What is told has happened, is due, and was not told before.
fn on_event(watcher: &mut Watcher, model: &Model, event: &NodeEvent, tally: &mut Tally) -> Verdict {
    let NodeEvent { kind, path, zxid } = event;
    let Some(zxid) = *zxid else {
        // Found out by the server when the watch was set again: of what, it does not say.
        let mut happened = happened_between(model, watcher.set_at, model.last());
        let is_true = happened.any(|happened| watcher.sees(&happened));
        tally.note("one-shot watch fired for what was missed");
        return ensure(watcher.is_one_shot() && is_true, PROMISE, || {
            format!("{kind:?} of {path} is told, and nothing happened: {watcher:?}")
        });
    };
    tally.note(if watcher.is_one_shot() { "one-shot watch fired" } else { "persistent watch told" });
    watcher.advance(model, zxid);
    // Events of one transaction may come in any order.
    let next = watcher.due.front().map(|(at, ..)| *at);
    let place = watcher
        .due
        .iter()
        .take_while(|(at, ..)| Some(*at) == next)
        .position(|due| *due == (zxid, *kind, path.clone()));
    match place {
        Some(place) => drop(watcher.due.remove(place)),
        None => {
            let detail = format!("{kind:?} of {path} at {zxid} is told, and is not due: {watcher:?}");
            return Err(Violation::new(PROMISE, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recursive_watch_sees_its_node_and_what_is_below_but_no_lists_and_no_namesakes() {
        let watcher = |path: &str| Watcher {
            path: path.to_owned(),
            kind: WatchKind::Recursive,
            set_at: Zxid::ZERO,
            found: None,
            scanned: None,
            due: VecDeque::new(),
            resumed: false,
        };
        let at = |path: &str| (Zxid::ZERO, EventType::NodeCreated, path.to_owned());
        assert!(
            watcher("/a").sees(&at("/a")) && watcher("/a").sees(&at("/a/b")) && watcher("/").sees(&at("/a"))
        );
        assert!(!watcher("/a").sees(&at("/ab")) && !watcher("/a").sees(&at("/")));
        assert!(!watcher("/a").sees(&(Zxid::ZERO, EventType::NodeChildrenChanged, "/a".to_owned())));
    }
}
