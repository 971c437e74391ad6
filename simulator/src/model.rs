//! The state as it should be: maps from paths to values, kept for every zxid.
//!
//! Written for the checkers and shares no code with the tree: it knows the rules from ZooKeeper's behaviour alone.
//! Every transaction that the server prepares is judged against it ([`judge`]) and applied to it ([`apply`]); every
//! reply is compared with what it says at the reply's zxid ([`read`]).

pub mod apply;
pub mod judge;
pub mod read;
mod view;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::OnceLock;

use protocol::txn::{NodeKind, node_digest};
use protocol::{Acl, AclSlice, Id, Perms, Reader, SessionId, Stat, StatPersisted, Zxid};

pub use view::View;

/// One node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Its ACL, encoded.
    pub acl: Vec<u8>,
    /// Its stat as it is stored.
    pub stat: StatPersisted,
    /// How many children it has.
    pub children: usize,
}

impl Node {
    /// The stat that clients see.
    pub fn client_stat(&self) -> Stat {
        self.stat.for_client(self.data.as_ref().map_or(0, Vec::len), self.children)
    }

    /// What kind of node it is.
    pub fn kind(&self) -> NodeKind {
        NodeKind::from_owner(self.stat.ephemeral_owner)
    }

    /// Whether somebody may do this.
    pub fn allows(&self, wanted: Perms, who: Who) -> bool {
        who.may(wanted, &self.acl)
    }
}

/// On whose behalf something is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// A connection that has not proved to be anybody.
    Anyone,
    /// A connection that has presented [`BOB_SECRET`].
    Bob,
    /// A connection that has presented [`SUPER_SECRET`]: it may do everything.
    Super,
}

/// What Bob proves his identity with.
pub const BOB_SECRET: &[u8] = b"bob:pw";
/// What an operator proves his identity with.
pub const SUPER_SECRET: &[u8] = b"super:power";
/// The operators' identity in the digest scheme.
pub const SUPER: &str = "super:zUgvnrHrOtRV0A/teuH0e/IUu2A=";
/// Bob's identity in the digest scheme.
pub const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";

impl Who {
    /// What it proves itself with, if it is anybody.
    pub fn secret(self) -> Option<&'static [u8]> {
        match self {
            Who::Anyone => None,
            Who::Bob => Some(BOB_SECRET),
            Who::Super => Some(SUPER_SECRET),
        }
    }

    /// Whether an encoded list permits this.
    pub fn may(self, wanted: Perms, acl: &[u8]) -> bool {
        let list = AclSlice::read(&mut Reader::new(acl)).and_then(AclSlice::to_vec).unwrap_or_default();
        list.is_empty()
            || self == Who::Super
            || list.iter().any(|acl| {
                let his = match acl.id.scheme.as_str() {
                    "world" => true,
                    "digest" => self == Who::Bob && acl.id.id == BOB,
                    _ => false,
                };
                his && acl.perms.intersects(wanted)
            })
    }
}

/// The list that the scheme "auth" with all permissions turns into for Bob, encoded.
pub fn bobs_own_list() -> AclSlice<'static> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut out = Vec::new();
        protocol::acl::write_acls(&mut out, &[Acl { perms: Perms::ALL, id: Id::new("digest", BOB) }]);
        out
    });
    AclSlice::read(&mut Reader::new(bytes)).expect("the list was just written")
}

/// What a transaction did to a node, for the watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To which node.
    pub path: String,
    /// The node's ACL (before it went): who may not read it does not hear of it.
    pub acl: Vec<u8>,
    /// Its parent's, if that matters.
    pub parent_acl: Vec<u8>,
}

/// See [`Change`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// It came into being.
    Created,
    /// It went.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// A transaction and what must come of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its zxid.
    pub zxid: Zxid,
    /// Whose.
    pub session: SessionId,
    /// The client's number for it.
    pub cxid: i32,
    /// The code in the header of the reply.
    pub error: i32,
    /// The body of the reply.
    pub reply: Vec<u8>,
    /// What watches see.
    pub changes: Vec<Change>,
    /// The tree's digest afterwards.
    pub digest: u64,
}

/// What a path held, by zxid; `None` from where on there was no node.
type Versions = Vec<(Zxid, Option<Rc<Node>>)>;

/// The history of everything. Versions of a value stand in the order of their zxids.
pub struct Model {
    nodes: BTreeMap<String, Versions>,
    sessions: BTreeMap<SessionId, Vec<(Zxid, Option<i32>)>>,
    records: Vec<Record>,
    digest: u64,
}

impl Model {
    /// The nodes of a new server.
    pub fn new() -> Model {
        let mut model =
            Model { nodes: BTreeMap::new(), sessions: BTreeMap::new(), records: Vec::new(), digest: 0 };
        let mut read_only = Vec::new();
        protocol::acl::write_acls(&mut read_only, &[Acl::read_only()]);
        let open = AclSlice::OPEN.as_bytes().to_vec();
        let built_in = |acl: &[u8], children, aversion| Node {
            data: Some(Vec::new()),
            acl: acl.to_vec(),
            stat: StatPersisted { aversion, ..StatPersisted::default() },
            children,
        };
        model.put(Zxid::ZERO, "/", Some(built_in(&open, 1, 0)));
        model.put(Zxid::ZERO, "/zookeeper", Some(built_in(&open, 2, 0)));
        model.put(Zxid::ZERO, "/zookeeper/quota", Some(built_in(&open, 0, 0)));
        model.put(Zxid::ZERO, "/zookeeper/config", Some(built_in(&read_only, 0, -1)));
        model
    }

    /// The last transaction.
    pub fn last(&self) -> Zxid {
        self.records.last().map_or(Zxid::ZERO, |record| record.zxid)
    }

    /// The digest after the last transaction.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The digest after a transaction.
    pub fn digest_at(&self, zxid: Zxid) -> Option<u64> {
        if zxid == Zxid::ZERO {
            return Some(Model::new().digest);
        }
        self.record(zxid).map(|record| record.digest)
    }

    /// A transaction by its zxid.
    pub fn record(&self, zxid: Zxid) -> Option<&Record> {
        let at = self.records.binary_search_by_key(&zxid, |record| record.zxid).ok()?;
        Some(&self.records[at])
    }

    /// The transactions behind one zxid, up to another.
    pub fn records_between(&self, after: Zxid, up_to: Zxid) -> &[Record] {
        let from = self.records.partition_point(|record| record.zxid <= after);
        let to = self.records.partition_point(|record| record.zxid <= up_to).max(from);
        &self.records[from..to]
    }

    /// A node as of a zxid; `""` is the root, too.
    pub fn node_at(&self, path: &str, zxid: Zxid) -> Option<&Rc<Node>> {
        let versions = self.nodes.get(if path.is_empty() { "/" } else { path })?;
        let at = versions.partition_point(|(since, _)| *since <= zxid);
        versions[..at].last()?.1.as_ref()
    }

    /// All nodes as of a zxid, by path.
    pub fn nodes_at(&self, zxid: Zxid) -> impl Iterator<Item = (&str, &Rc<Node>)> {
        self.nodes.keys().filter_map(move |path| Some((path.as_str(), self.node_at(path, zxid)?)))
    }

    /// The names of a node's children as of a zxid, sorted.
    pub fn children_at(&self, path: &str, zxid: Zxid) -> Vec<String> {
        let prefix = if path == "/" || path.is_empty() { "/".to_owned() } else { format!("{path}/") };
        self.nodes
            .range(prefix.clone()..)
            .map_while(|(path, _)| Some((path, path.strip_prefix(&prefix)?)))
            .filter(|(_, name)| !name.is_empty() && !name.contains('/'))
            .filter(|(path, _)| self.node_at(path, zxid).is_some())
            .map(|(_, name)| name.to_owned())
            .collect()
    }

    /// How many nodes there are below another.
    pub fn descendants_at(&self, path: &str, zxid: Zxid) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        below.filter(|(path, _)| path.len() > 1 && self.node_at(path, zxid).is_some()).count()
    }

    /// The ephemeral nodes of a session as of a zxid, sorted.
    pub fn ephemerals_at(&self, session: SessionId, zxid: Zxid) -> Vec<String> {
        self.nodes_at(zxid)
            .filter(|(_, node)| node.kind() == NodeKind::Ephemeral(session))
            .map(|(path, _)| path.to_owned())
            .collect()
    }

    /// The timeout of a session as of a zxid.
    pub fn session_at(&self, session: SessionId, zxid: Zxid) -> Option<i32> {
        let versions = self.sessions.get(&session)?;
        let at = versions.partition_point(|(since, _)| *since <= zxid);
        versions[..at].last()?.1
    }

    /// The open sessions as of a zxid.
    pub fn sessions_at(&self, zxid: Zxid) -> Vec<(SessionId, i32)> {
        self.sessions.keys().filter_map(|&session| Some((session, self.session_at(session, zxid)?))).collect()
    }

    /// Whether there ever was a session of that id.
    pub fn knew_session(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Forgets every transaction behind a zxid: a crash took them.
    pub fn truncate(&mut self, last: Zxid) {
        self.nodes.retain(|_, versions| {
            versions.retain(|(since, _)| *since <= last);
            !versions.is_empty()
        });
        self.sessions.retain(|_, versions| {
            versions.retain(|(since, _)| *since <= last);
            !versions.is_empty()
        });
        self.records.retain(|record| record.zxid <= last);
        self.digest = self.records.last().map_or_else(|| Model::new().digest, |record| record.digest);
    }

    fn put(&mut self, zxid: Zxid, path: &str, node: Option<Node>) {
        let digest = |node: &Node| node_digest(path, node.data.as_deref(), &node.stat);
        let versions = self.nodes.entry(path.to_owned()).or_default();
        if let Some((_, Some(old))) = versions.last() {
            self.digest = self.digest.wrapping_sub(digest(old));
        }
        if let Some(new) = &node {
            self.digest = self.digest.wrapping_add(digest(new));
        }
        versions.push((zxid, node.map(Rc::new)));
    }
}

impl Default for Model {
    fn default() -> Model {
        Model::new()
    }
}
