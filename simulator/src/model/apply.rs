//! What a transaction does, by ZooKeeper's rules for stats, and what the client must be told.

use protocol::client::multi::MultiHeader;
use protocol::txn::{NodeKind, Transaction, TxnBody};
use protocol::{JuteWrite, OpCode, SessionId, Stat, StatPersisted, Zxid, path as znode_path};

use super::{Change, ChangeKind, Model, Node, Record, View};

/// What a transaction marks nodes with.
#[derive(Clone, Copy, Default)]
pub struct Stamp {
    /// Whose transaction it is.
    pub session: SessionId,
    /// Its zxid.
    pub zxid: Zxid,
    /// Its time.
    pub time_ms: i64,
}

/// The effect of one operation.
pub struct Effect {
    result: OpResult,
    changes: Vec<Change>,
}

enum OpResult {
    Created { op: OpCode, path: String, stat: Stat },
    Deleted,
    Set(Stat),
    Reconfigured(Vec<u8>, Stat),
    Checked,
    Nothing,
}

impl Model {
    /// Applies the next transaction. `op` is the operation that the client asked for; it decides the form of the
    /// reply.
    ///
    /// # Errors
    /// A transaction that does not fit the state, in words.
    pub fn apply(&mut self, txn: &Transaction<'_>, op: i32) -> Result<(), String> {
        let header = &txn.header;
        let stamp = Stamp { session: header.session, zxid: header.zxid, time_ms: header.time_ms };
        let mut record = Record {
            zxid: header.zxid,
            session: header.session,
            cxid: header.cxid,
            error: 0,
            reply: Vec::new(),
            changes: Vec::new(),
            digest: 0,
        };
        let mut view = View::new(self);
        let mut session_change = None;
        match &txn.body {
            TxnBody::Error { code } => record.error = *code,
            TxnBody::CreateSession { timeout_ms } => session_change = Some(Some(*timeout_ms)),
            TxnBody::CloseSession { paths } => {
                session_change = Some(None);
                for path in paths.iter().flatten() {
                    let deletion = TxnBody::Delete { path: path.as_ref().into(), container: false };
                    record.changes.extend(apply_body(&mut view, &stamp, &deletion)?.changes);
                }
            }
            TxnBody::Multi(subs) => apply_multi(&mut view, &stamp, subs, &mut record)?,
            body => {
                let effect = apply_body(&mut view, &stamp, body)?;
                effect.result.write(op, &mut record.reply);
                record.changes = effect.changes;
            }
        }
        for (path, node) in view.into_changes() {
            self.put(stamp.zxid, &path, node.map(|node| (*node).clone()));
        }
        if let Some(timeout_ms) = session_change {
            self.sessions.entry(stamp.session).or_default().push((stamp.zxid, timeout_ms));
        }
        record.digest = self.digest;
        self.records.push(record);
        Ok(())
    }
}

fn apply_multi(
    view: &mut View<'_>,
    stamp: &Stamp,
    subs: &[TxnBody<'_>],
    record: &mut Record,
) -> Result<(), String> {
    let failed = subs.iter().any(|sub| matches!(sub, TxnBody::Error { .. }));
    for sub in subs {
        if failed {
            let code = if let TxnBody::Error { code } = sub { *code } else { 0 };
            MultiHeader { kind: -1, done: false, error: code }.write(&mut record.reply);
            record.reply.put_i32(code);
        } else {
            let effect = apply_body(view, stamp, sub)?;
            effect.result.write_in_multi(&mut record.reply);
            record.changes.extend(effect.changes);
        }
    }
    MultiHeader::END.write(&mut record.reply);
    Ok(())
}

/// Applies one operation to the view.
///
/// # Errors
/// An operation that does not fit the state, in words.
pub fn apply_body(view: &mut View<'_>, stamp: &Stamp, body: &TxnBody<'_>) -> Result<Effect, String> {
    let zxid = stamp.zxid;
    match body {
        TxnBody::Create(create) => {
            let path = create.path.as_ref();
            let parent_path = znode_path::parent(path).ok_or_else(|| format!("{path} has no parent"))?;
            let parent = view.node(parent_path).ok_or_else(|| format!("the parent of {path} is missing"))?;
            if view.node(path).is_some() {
                return Err(format!("{path} exists"));
            }
            let kind = match create.op {
                OpCode::CreateContainer => NodeKind::Container,
                OpCode::CreateTtl => NodeKind::Ttl(create.ttl_ms),
                _ if create.ephemeral => NodeKind::Ephemeral(stamp.session),
                _ => NodeKind::Persistent,
            };
            let stat = StatPersisted {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime_ms: stamp.time_ms,
                mtime_ms: stamp.time_ms,
                ephemeral_owner: kind.to_owner(),
                ..StatPersisted::default()
            };
            let node = Node {
                data: create.data.map(<[u8]>::to_vec),
                acl: create.acl.as_bytes().to_vec(),
                stat,
                children: 0,
            };
            let mut parent = (*parent).clone();
            parent.children += 1;
            if create.parent_cversion > parent.stat.cversion {
                parent.stat.cversion = create.parent_cversion;
                parent.stat.pzxid = zxid;
            }
            let change = change(ChangeKind::Created, path, &node, Some(&parent));
            let result = OpResult::Created { op: create.op, path: path.to_owned(), stat: node.client_stat() };
            view.set(parent_path, Some(parent));
            view.set(path, Some(node));
            Ok(Effect { result, changes: vec![change] })
        }
        TxnBody::Delete { path, .. } => {
            let node = view.node(path).ok_or_else(|| format!("{path} to be deleted is missing"))?;
            if node.children > 0 {
                return Err(format!("{path} to be deleted has children"));
            }
            let parent_path = znode_path::parent(path).ok_or_else(|| format!("{path} has no parent"))?;
            let parent = view.node(parent_path).ok_or_else(|| format!("the parent of {path} is missing"))?;
            let mut parent = (*parent).clone();
            parent.children -= 1;
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
            let change = change(ChangeKind::Deleted, path, &node, Some(&parent));
            view.set(parent_path, Some(parent));
            view.set(path, None);
            Ok(Effect { result: OpResult::Deleted, changes: vec![change] })
        }
        TxnBody::SetData { path, data, version, reconfig } => {
            let node = view.node(path).ok_or_else(|| format!("{path} to be set is missing"))?;
            let mut node = (*node).clone();
            node.data = data.map(<[u8]>::to_vec);
            node.stat.version = *version;
            node.stat.mzxid = zxid;
            node.stat.mtime_ms = stamp.time_ms;
            let change = change(ChangeKind::DataChanged, path, &node, None);
            let stat = node.client_stat();
            let result = match (reconfig, data) {
                (true, Some(data)) => OpResult::Reconfigured(data.to_vec(), stat),
                _ => OpResult::Set(stat),
            };
            view.set(path, Some(node));
            Ok(Effect { result, changes: vec![change] })
        }
        TxnBody::SetAcl { path, acl, version } => {
            let node = view.node(path).ok_or_else(|| format!("{path} to be changed is missing"))?;
            let mut node = (*node).clone();
            node.acl = acl.as_bytes().to_vec();
            node.stat.aversion = *version;
            let result = OpResult::Set(node.client_stat());
            view.set(path, Some(node));
            Ok(Effect { result, changes: Vec::new() })
        }
        TxnBody::Check { .. } => Ok(Effect { result: OpResult::Checked, changes: Vec::new() }),
        _ => Ok(Effect { result: OpResult::Nothing, changes: Vec::new() }),
    }
}

fn change(kind: ChangeKind, path: &str, node: &Node, parent: Option<&Node>) -> Change {
    let parent_acl = parent.map(|parent| parent.acl.clone()).unwrap_or_default();
    Change { kind, path: path.to_owned(), acl: node.acl.clone(), parent_acl }
}

impl OpResult {
    fn write(&self, op: i32, out: &mut Vec<u8>) {
        match self {
            OpResult::Created { path, stat, .. } => {
                out.put_str(path);
                if op != OpCode::Create.to_wire() {
                    stat.write(out);
                }
            }
            OpResult::Set(stat) => stat.write(out),
            OpResult::Reconfigured(data, stat) => {
                out.put_buffer(Some(data));
                stat.write(out);
            }
            OpResult::Deleted | OpResult::Checked | OpResult::Nothing => {}
        }
    }

    fn write_in_multi(&self, out: &mut Vec<u8>) {
        let kind = match self {
            OpResult::Created { op: OpCode::Create, .. } => OpCode::Create,
            OpResult::Created { .. } => OpCode::Create2,
            OpResult::Deleted => OpCode::Delete,
            OpResult::Set(_) => OpCode::SetData,
            OpResult::Checked | OpResult::Reconfigured(..) | OpResult::Nothing => OpCode::Check,
        };
        MultiHeader { kind: kind.to_wire(), done: false, error: 0 }.write(out);
        self.write(kind.to_wire(), out);
    }
}
