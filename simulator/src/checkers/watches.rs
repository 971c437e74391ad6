//! A watch fires exactly once or the connection is lost, and always before the reply that shows the new data.
//!
//! One value per client. It knows which watches the server holds for the client's connection, and derives from the
//! model's history which events must have come before any frame with a given zxid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::client::request::SetWatches;
use protocol::client::watch::{EventType, WatcherType};
use protocol::{Perms, Zxid, path as znode_path};

use super::{Verdict, Violation, ensure};
use crate::model::{Change, ChangeKind, Model, Who};

const PROMISE: &str = "watches";

/// An event that must come.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Expected {
    zxid: Zxid,
    event: EventType,
    path: String,
    /// The one-shot watches that it used up.
    used: Vec<Used>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Used {
    Data { path: String, existed: bool },
    Child { path: String },
}

/// The watches of one client.
pub struct Watches {
    who: Who,
    /// Data watches, and whether the node existed when they were set.
    data: BTreeMap<String, bool>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
    /// The history up to here is accounted for.
    scanned: Zxid,
    due: VecDeque<Expected>,
    /// Events without a zxid: what setWatches found missed.
    missed: Vec<(EventType, String)>,
    /// Events that the client may not see.
    pub hidden: u64,
}

impl Watches {
    /// None yet; events are for somebody who may read what he may read.
    pub fn new(who: Who) -> Watches {
        Watches {
            who,
            data: BTreeMap::new(),
            child: BTreeSet::new(),
            persistent: BTreeSet::new(),
            recursive: BTreeSet::new(),
            scanned: Zxid::ZERO,
            due: VecDeque::new(),
            missed: Vec::new(),
            hidden: 0,
        }
    }

    /// Whether there is anything to set again after a reconnection.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
            && self.child.is_empty()
            && self.persistent.is_empty()
            && self.recursive.is_empty()
    }

    /// The connection is lost: events that were due may never come, and their watches are still to be served.
    pub fn on_connection_lost(&mut self) {
        for expected in std::mem::take(&mut self.due) {
            for used in expected.used {
                match used {
                    Used::Data { path, existed } => drop(self.data.entry(path).or_insert(existed)),
                    Used::Child { path } => drop(self.child.insert(path)),
                }
            }
        }
        self.missed.clear();
    }

    /// What the client asks for on a new connection. Until the reply comes the server holds nothing.
    pub fn to_set_again(&self, seen: Zxid) -> SetWatches<'static> {
        let data = |wanted| self.data.iter().filter(move |(_, existed)| **existed == wanted);
        SetWatches {
            relative_zxid: seen.to_wire(),
            data: data(true).map(|(path, _)| path.clone().into()).collect(),
            exist: data(false).map(|(path, _)| path.clone().into()).collect(),
            child: self.child.iter().map(|path| path.clone().into()).collect(),
            persistent: self.persistent.iter().map(|path| path.clone().into()).collect(),
            persistent_recursive: self.recursive.iter().map(|path| path.clone().into()).collect(),
        }
    }

    /// An event came.
    pub fn on_event(&mut self, model: &Model, zxid: i64, event: EventType, path: &str) -> Verdict {
        if zxid == -1 {
            self.missed.push((event, path.to_owned()));
            return Ok(());
        }
        let zxid = Zxid::from_wire(zxid);
        self.advance(model, zxid);
        // Events of one transaction may come in any order.
        let place = self
            .due
            .iter()
            .take_while(|due| due.zxid == self.due[0].zxid)
            .position(|due| due.zxid == zxid && due.event == event && due.path == path);
        match place {
            Some(place) => drop(self.due.remove(place)),
            None => {
                let next =
                    self.due.front().map(|due| format!("{:?} of {} at {}", due.event, due.path, due.zxid));
                let detail = format!("{event:?} of {path} at {zxid} came, and the next one due is {next:?}");
                return Err(Violation::new(PROMISE, detail));
            }
        }
        Ok(())
    }

    /// A reply came that shows the state at `zxid`: no event up to there may be missing.
    pub fn on_reply(&mut self, model: &Model, zxid: i64) -> Verdict {
        if zxid <= 0 {
            return Ok(());
        }
        let zxid = Zxid::from_wire(zxid);
        self.advance(model, zxid);
        match self.due.front() {
            Some(due) if due.zxid <= zxid => {
                let detail =
                    format!("a reply at {zxid} came before {:?} of {} at {}", due.event, due.path, due.zxid);
                Err(Violation::new(PROMISE, detail))
            }
            _ => Ok(()),
        }
    }

    /// A read set a data watch.
    pub fn add_data(&mut self, path: &str, existed: bool) {
        self.data.insert(path.to_owned(), existed);
    }

    /// A read set a child watch.
    pub fn add_child(&mut self, path: &str) {
        self.child.insert(path.to_owned());
    }

    /// addWatch was acknowledged.
    pub fn add_lasting(&mut self, path: &str, recursive: bool) {
        let set = if recursive { &mut self.recursive } else { &mut self.persistent };
        set.insert(path.to_owned());
    }

    /// Whether checkWatches must find something.
    pub fn has(&self, path: &str, kind: WatcherType) -> bool {
        match kind {
            WatcherType::Children => self.child.contains(path),
            WatcherType::Data => self.data.contains_key(path),
            WatcherType::Persistent => self.persistent.contains(path),
            WatcherType::PersistentRecursive => self.recursive.contains(path),
            WatcherType::Any => {
                self.child.contains(path)
                    || self.data.contains_key(path)
                    || self.persistent.contains(path)
                    || self.recursive.contains(path)
            }
        }
    }

    /// removeWatches was acknowledged.
    pub fn remove(&mut self, path: &str, kind: WatcherType) {
        let any = kind == WatcherType::Any;
        if any || kind == WatcherType::Children {
            self.child.remove(path);
        }
        if any || kind == WatcherType::Data {
            self.data.remove(path);
        }
        if any || kind == WatcherType::Persistent {
            self.persistent.remove(path);
        }
        if any || kind == WatcherType::PersistentRecursive {
            self.recursive.remove(path);
        }
    }

    /// setWatches was answered at `zxid`: exactly what had changed must have been told.
    pub fn on_set_again(&mut self, model: &Model, asked: &SetWatches<'_>, zxid: i64) -> Verdict {
        let (since, at) = (Zxid::from_wire(asked.relative_zxid), Zxid::from_wire(zxid));
        let mut expected: Vec<(EventType, String)> = Vec::new();
        for path in &asked.data {
            let event = match model.node_at(path, at) {
                None => EventType::NodeDeleted,
                Some(node) if node.stat.mzxid > since => EventType::NodeDataChanged,
                Some(_) => continue,
            };
            self.data.remove(&**path);
            expected.push((event, path.to_string()));
        }
        for path in &asked.exist {
            if model.node_at(path, at).is_some() {
                self.data.remove(&**path);
                expected.push((EventType::NodeCreated, path.to_string()));
            }
        }
        for path in &asked.child {
            let event = match model.node_at(path, at) {
                None => EventType::NodeDeleted,
                Some(node) if node.stat.pzxid > since => EventType::NodeChildrenChanged,
                Some(_) => continue,
            };
            self.child.remove(&**path);
            expected.push((event, path.to_string()));
        }
        self.scanned = self.scanned.max(at);
        let mut found = std::mem::take(&mut self.missed);
        let key = |(event, path): &(EventType, String)| (path.clone(), *event as i32);
        found.sort_by_key(key);
        expected.sort_by_key(key);
        ensure(found == expected, PROMISE, || {
            format!("setWatches since {since} at {at} told {found:?}, and should have told {expected:?}")
        })
    }

    /// Works out which events the transactions up to `zxid` cause.
    fn advance(&mut self, model: &Model, zxid: Zxid) {
        if zxid <= self.scanned {
            return;
        }
        let after = std::mem::replace(&mut self.scanned, zxid);
        if self.is_empty() {
            return;
        }
        for record in model.records_between(after, zxid) {
            for change in &record.changes {
                self.fire(record.zxid, change);
            }
        }
    }

    fn fire(&mut self, zxid: Zxid, change: &Change) {
        let path = &change.path;
        let readable = self.who.may(Perms::READ, &change.acl);
        match change.kind {
            ChangeKind::Created => {
                self.fire_data(zxid, EventType::NodeCreated, path, readable);
                self.fire_parent(zxid, change);
            }
            ChangeKind::DataChanged => {
                self.fire_data(zxid, EventType::NodeDataChanged, path, readable);
            }
            ChangeKind::Deleted => {
                let reached = self.fire_data(zxid, EventType::NodeDeleted, path, readable);
                let used = self.take_child(path);
                if !reached && (!used.is_empty() || self.persistent.contains(path)) {
                    self.expect(zxid, EventType::NodeDeleted, path, used, readable);
                } else if reached
                    && let Some(last) = self.due.back_mut()
                    && readable
                {
                    last.used.extend(used);
                }
                self.fire_parent(zxid, change);
            }
        }
    }

    fn fire_data(&mut self, zxid: Zxid, event: EventType, path: &str, readable: bool) -> bool {
        let used: Vec<Used> = self
            .data
            .remove(path)
            .map(|existed| Used::Data { path: path.to_owned(), existed })
            .into_iter()
            .collect();
        let reached = !used.is_empty() || self.persistent.contains(path) || self.is_below_recursive(path);
        if reached {
            self.expect(zxid, event, path, used, readable);
        }
        reached
    }

    /// Whether a recursive watch sees changes of this node.
    pub fn is_below_recursive(&self, path: &str) -> bool {
        let mut ancestor = Some(path);
        while let Some(path) = ancestor {
            if self.recursive.contains(path) {
                return true;
            }
            ancestor = if path == "/" { None } else { znode_path::parent(path) };
        }
        false
    }

    fn fire_parent(&mut self, zxid: Zxid, change: &Change) {
        let parent = znode_path::parent(&change.path).unwrap_or("/").to_owned();
        let used = self.take_child(&parent);
        if !used.is_empty() || self.persistent.contains(&parent) {
            let readable = self.who.may(Perms::READ, &change.parent_acl);
            self.expect(zxid, EventType::NodeChildrenChanged, &parent, used, readable);
        }
    }

    fn take_child(&mut self, path: &str) -> Vec<Used> {
        if self.child.remove(path) { vec![Used::Child { path: path.to_owned() }] } else { Vec::new() }
    }

    /// An event that the client may not see uses up its watches all the same.
    fn expect(&mut self, zxid: Zxid, event: EventType, path: &str, used: Vec<Used>, readable: bool) {
        if readable {
            self.due.push_back(Expected { zxid, event, path: path.to_owned(), used });
        } else {
            self.hidden += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::txn::{CreateTxn, Transaction, TxnBody, TxnHeader};
    use protocol::{AclSlice, OpCode, SessionId};

    fn model_with_a() -> Model {
        let mut model = Model::new();
        let body = TxnBody::Create(CreateTxn {
            op: OpCode::Create,
            path: "/a".into(),
            data: None,
            acl: AclSlice::OPEN,
            ephemeral: false,
            parent_cversion: 1,
            ttl_ms: -1,
        });
        let header = TxnHeader {
            session: SessionId::new(1),
            cxid: 1,
            zxid: Zxid::from_wire(1),
            time_ms: 0,
            kind: body.kind(),
        };
        model.apply(&Transaction { header, body, digest: None }, 1).unwrap();
        model
    }

    #[test]
    fn an_event_must_come_once_and_before_the_reply_that_shows_its_cause() {
        let model = model_with_a();
        let mut watches = Watches::new(Who::Anyone);
        watches.add_data("/a", false);
        assert!(watches.on_reply(&model, 1).is_err());
        let mut watches = Watches::new(Who::Anyone);
        watches.add_data("/a", false);
        assert!(watches.on_event(&model, 1, EventType::NodeCreated, "/a").is_ok());
        assert!(watches.on_reply(&model, 1).is_ok());
        assert!(watches.on_event(&model, 1, EventType::NodeCreated, "/a").is_err());
    }

    #[test]
    fn what_was_missed_is_told_on_the_next_connection() {
        let model = model_with_a();
        let mut watches = Watches::new(Who::Anyone);
        watches.add_data("/a", false);
        watches.on_connection_lost();
        let asked = watches.to_set_again(Zxid::ZERO);
        assert!(watches.on_event(&model, -1, EventType::NodeCreated, "/a").is_ok());
        assert!(watches.on_set_again(&model, &asked, 1).is_ok());
        let mut silent = Watches::new(Who::Anyone);
        silent.add_data("/a", false);
        assert!(silent.on_set_again(&model, &asked, 1).is_err());
    }
}
