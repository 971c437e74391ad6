//! The apply rules once more, on a flat map of paths and with no thought of speed.

use std::collections::BTreeMap;

use protocol::txn::{CreateTxn, NodeKind, Transaction, TxnBody, TxnHeader, node_digest};
use protocol::{AclSlice, OpCode, SessionId, Stat, StatPersisted, Zxid};
use tree::{AclList, NodeRef, Tree};

/// All that can be seen of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeDump {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<u8>,
    pub stat: StatPersisted,
    pub client_stat: Stat,
    /// In no particular order.
    pub children: Vec<String>,
}

/// All that can be seen of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dump {
    pub nodes: BTreeMap<String, NodeDump>,
    pub sessions: Vec<(SessionId, i32)>,
    pub digest: u64,
    pub last_zxid: Zxid,
    pub ephemerals: BTreeMap<SessionId, Vec<String>>,
}

impl Dump {
    /// Reads the whole tree through its public face.
    pub fn of(tree: &Tree) -> Dump {
        let mut nodes = BTreeMap::new();
        let root = tree.find("/").expect("there is a root");
        visit(tree, String::new(), root, &mut nodes);
        assert_eq!(tree.node_count(), nodes.len() + 1);
        assert_eq!(root.descendant_count(), nodes.len() - 1);
        Dump {
            nodes,
            sessions: tree.sessions().collect(),
            digest: tree.digest(),
            last_zxid: tree.last_zxid(),
            ephemerals: tree
                .ephemeral_owners()
                .map(|(owner, count)| {
                    let mut paths: Vec<String> = tree.ephemerals(owner).collect();
                    assert_eq!(paths.len(), count);
                    paths.sort();
                    (owner, paths)
                })
                .collect(),
        }
    }

    /// Without the data of usage nodes, which no transaction determines.
    pub fn without_usage(mut self) -> Dump {
        for (path, node) in &mut self.nodes {
            if path.ends_with("/zookeeper_stats") {
                node.data = None;
                node.client_stat.data_length = 0;
            }
        }
        self
    }
}

fn visit(tree: &Tree, path: String, node: NodeRef<'_>, nodes: &mut BTreeMap<String, NodeDump>) {
    let mut children: Vec<String> = node.children().map(str::to_owned).collect();
    assert_eq!(children.len(), node.child_count());
    for name in &children {
        let child_path = format!("{path}/{name}");
        let child = tree.find(&child_path).expect("a child is found by its path");
        assert_eq!(child.name(), name);
        visit(tree, child_path, child, nodes);
    }
    children.sort();
    let dump = NodeDump {
        data: node.data().map(<[u8]>::to_vec),
        acl: node.acl().as_bytes().to_vec(),
        stat: node.stat(),
        client_stat: node.client_stat(),
        children,
    };
    nodes.insert(path, dump);
}

/// A node of the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelNode {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<u8>,
    pub stat: StatPersisted,
}

/// The model: paths and sessions.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: BTreeMap<String, ModelNode>,
    pub sessions: BTreeMap<SessionId, i32>,
    pub last_zxid: Zxid,
}

impl Model {
    pub fn new() -> Model {
        let mut model = Model { nodes: BTreeMap::new(), sessions: BTreeMap::new(), last_zxid: Zxid::ZERO };
        for path in ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            let mut node = ModelNode {
                data: Some(Vec::new()),
                acl: AclSlice::OPEN.as_bytes().to_vec(),
                stat: StatPersisted::default(),
            };
            if path == "/zookeeper/config" {
                node.acl = AclList::new(vec![protocol::Acl::read_only()]).as_bytes().to_vec();
                node.stat.aversion = -1;
            }
            model.nodes.insert(path.to_owned(), node);
        }
        model
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let below = self.nodes.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        below
            .filter_map(|(path, _)| path.get(prefix.len()..))
            .filter(|rest| !rest.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    /// As the tree should show itself.
    pub fn dump(&self) -> Dump {
        let mut ephemerals: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        let mut digest = 0_u64;
        let mut nodes = BTreeMap::new();
        for (path, node) in &self.nodes {
            let mut children = self.children(path);
            children.sort();
            digest = digest.wrapping_add(node_digest(path, node.data.as_deref(), &node.stat));
            if let NodeKind::Ephemeral(owner) = NodeKind::from_owner(node.stat.ephemeral_owner) {
                ephemerals.entry(owner).or_default().push(path.clone());
            }
            let length = node.data.as_ref().map_or(0, Vec::len);
            let dump = NodeDump {
                data: node.data.clone(),
                acl: node.acl.clone(),
                stat: node.stat,
                client_stat: node.stat.for_client(length, children.len()),
                children,
            };
            nodes.insert(path.clone(), dump);
        }
        let sessions = self.sessions.iter().map(|(session, timeout)| (*session, *timeout)).collect();
        Dump { nodes, sessions, digest, last_zxid: self.last_zxid, ephemerals }
    }

    /// Applies a transaction; says whether all of it fitted.
    pub fn apply(&mut self, txn: &Transaction<'_>) -> bool {
        let fitted = self.apply_body(&txn.header, &txn.body);
        self.last_zxid = self.last_zxid.max(txn.header.zxid);
        fitted
    }

    fn apply_body(&mut self, header: &TxnHeader, body: &TxnBody<'_>) -> bool {
        match body {
            TxnBody::Create(create) => self.create(header, create),
            TxnBody::Delete { path, .. } => self.delete(header.zxid, path),
            TxnBody::SetData { path, data, version, .. } => {
                let Some(node) = self.nodes.get_mut(key(path)) else {
                    return false;
                };
                node.data = data.map(<[u8]>::to_vec);
                node.stat.version = *version;
                node.stat.mzxid = header.zxid;
                node.stat.mtime_ms = header.time_ms;
                true
            }
            TxnBody::SetAcl { path, acl, version } => {
                let Some(node) = self.nodes.get_mut(key(path)) else {
                    return false;
                };
                node.acl = acl.as_bytes().to_vec();
                node.stat.aversion = *version;
                true
            }
            TxnBody::Check { .. } => true,
            TxnBody::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
                true
            }
            TxnBody::CloseSession { paths } => {
                for path in paths.iter().flatten() {
                    self.delete(header.zxid, path);
                }
                let owner = header.session.get();
                let owned = self.nodes.iter().filter(|(_, node)| node.stat.ephemeral_owner == owner);
                let owned: Vec<String> = owned.map(|(path, _)| path.clone()).collect();
                for path in owned {
                    self.delete(header.zxid, &path);
                }
                self.sessions.remove(&header.session);
                true
            }
            TxnBody::Error { .. } => false,
            TxnBody::Multi(subs) => {
                let refused = subs.iter().any(|sub| matches!(sub, TxnBody::Error { .. }));
                if refused {
                    return false;
                }
                let misfits = subs.iter().filter(|sub| !self.apply_body(header, sub));
                misfits.count() == 0
            }
        }
    }

    fn create(&mut self, header: &TxnHeader, txn: &CreateTxn<'_>) -> bool {
        let (parent, _) = txn.path.rsplit_once('/').expect("paths of transactions have a slash");
        let exists = self.nodes.contains_key(&*txn.path);
        let Some(parent) = self.nodes.get_mut(parent) else {
            return false;
        };
        let cversion = if txn.parent_cversion == -1 { parent.stat.cversion + 1 } else { txn.parent_cversion };
        if cversion > parent.stat.cversion {
            parent.stat.cversion = cversion;
            parent.stat.pzxid = header.zxid;
        }
        let acl = txn.acl.as_bytes().to_vec();
        if exists {
            self.nodes.entry(txn.path.to_string()).and_modify(|node| node.acl = acl);
            return false;
        }
        let kind = match txn.op {
            OpCode::CreateContainer => NodeKind::Container,
            OpCode::CreateTtl if txn.ttl_ms > 0 => NodeKind::Ttl(txn.ttl_ms),
            _ if txn.ephemeral => NodeKind::Ephemeral(header.session),
            _ => NodeKind::Persistent,
        };
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime_ms: header.time_ms,
            mtime_ms: header.time_ms,
            ephemeral_owner: kind.to_owner(),
            ..StatPersisted::default()
        };
        let node = ModelNode { data: txn.data.map(<[u8]>::to_vec), acl, stat };
        self.nodes.insert(txn.path.to_string(), node);
        true
    }

    fn delete(&mut self, zxid: Zxid, path: &str) -> bool {
        let (parent, _) = path.rsplit_once('/').expect("paths of transactions have a slash");
        let Some(parent) = self.nodes.get_mut(parent) else {
            return false;
        };
        parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        let below = format!("{path}/");
        self.nodes.retain(|path, _| !path.starts_with(&below));
        self.nodes.remove(path).is_some()
    }
}

fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}
