//! What transaction a request must become: the rules of ZooKeeper's request preparation, in their order.

use std::borrow::Cow;

use protocol::client::multi::MultiOp;
use protocol::client::request::{CreateFlags, CreateRequest, Request};
use protocol::txn::{CreateTxn, NodeKind, TTL_MS_MAX, TxnBody};
use protocol::{AclSlice, ErrorCode, OpCode, Perms, SessionId, path as znode_path};

use super::apply::{Stamp, apply_body};
use super::{Model, View, Who, bobs_own_list};

const UNDELETABLE: &[&str] = &["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// The transaction that a request must become in the newest state. The paths of closeSession are sorted.
pub fn expected_body<'r>(
    model: &Model,
    session: SessionId,
    who: Who,
    request: &'r Request<'r>,
) -> TxnBody<'r> {
    let view = View::new(model);
    let judged = match request {
        Request::Create(create) => judge_create(&view, who, create),
        Request::Delete { path, version } => judge_delete(&view, who, path, *version),
        Request::SetData { path, data, version } => judge_set(&view, who, path, *data, *version),
        Request::SetAcl { path, acl, version } => judge_set_acl(&view, who, path, *acl, *version),
        Request::Multi(ops) => Ok(judge_multi(model, session, who, ops)),
        Request::CloseSession => {
            let paths = model.ephemerals_at(session, model.last());
            Ok(TxnBody::CloseSession { paths: Some(paths.into_iter().map(Cow::Owned).collect()) })
        }
        _ => Err(ErrorCode::Unimplemented),
    };
    judged.unwrap_or_else(|code| TxnBody::Error { code: code.to_wire() })
}

/// The transaction that the reaper's deletion of a node must become in the newest state.
pub fn expected_reaping<'r>(model: &Model, path: &'r str) -> TxnBody<'r> {
    let view = View::new(model);
    let judged = match view.node(path) {
        None => Err(ErrorCode::NoNode),
        Some(node) if node.children > 0 => Err(ErrorCode::NotEmpty),
        Some(node) if matches!(node.kind(), NodeKind::Ephemeral(_)) => Err(ErrorCode::BadVersion),
        Some(_) => Ok(TxnBody::Delete { path: Cow::Borrowed(path), container: true }),
    };
    judged.unwrap_or_else(|code| TxnBody::Error { code: code.to_wire() })
}

fn judge_create<'r>(
    view: &View<'_>,
    who: Who,
    create: &'r CreateRequest<'r>,
) -> Result<TxnBody<'r>, ErrorCode> {
    let flags = CreateFlags::from_wire(create.flags).ok_or(ErrorCode::BadArguments)?;
    let ttl_fits = if flags.is_ttl() {
        create.op == OpCode::CreateTtl && (1..=TTL_MS_MAX).contains(&create.ttl_ms)
    } else {
        create.ttl_ms < 0 && create.op != OpCode::CreateTtl
    };
    if !ttl_fits || !create.path.contains('/') || create.path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    let acl = fix_up(create.acl, who)?;
    let (parent_path, _) = znode_path::split(&create.path).ok_or(ErrorCode::BadArguments)?;
    let parent = view.node(parent_path).ok_or(ErrorCode::NoNode)?;
    if !parent.allows(Perms::CREATE, who) {
        return Err(ErrorCode::NoAuth);
    }
    let path: Cow<'r, str> = if flags.is_sequential() {
        format!("{}{:010}", create.path, parent.stat.cversion).into()
    } else {
        Cow::Borrowed(&*create.path)
    };
    znode_path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
    if view.node(&path).is_some() {
        return Err(ErrorCode::NodeExists);
    }
    if matches!(parent.kind(), NodeKind::Ephemeral(_)) {
        return Err(ErrorCode::NoChildrenForEphemerals);
    }
    Ok(TxnBody::Create(CreateTxn {
        op: create.op,
        path,
        data: create.data,
        acl,
        ephemeral: flags.is_ephemeral(),
        parent_cversion: parent.stat.cversion + 1,
        ttl_ms: create.ttl_ms,
    }))
}

fn judge_delete<'r>(
    view: &View<'_>,
    who: Who,
    path: &'r str,
    version: i32,
) -> Result<TxnBody<'r>, ErrorCode> {
    if !path.contains('/') || path.contains('\0') || UNDELETABLE.contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    let (parent_path, _) = znode_path::split(path).ok_or(ErrorCode::BadArguments)?;
    let parent = view.node(parent_path).ok_or(ErrorCode::NoNode)?;
    if !parent.allows(Perms::DELETE, who) {
        return Err(ErrorCode::NoAuth);
    }
    let node = view.node(path).ok_or(ErrorCode::NoNode)?;
    check_version(version, node.stat.version)?;
    if node.children > 0 {
        return Err(ErrorCode::NotEmpty);
    }
    Ok(TxnBody::Delete { path: Cow::Borrowed(path), container: false })
}

fn judge_set<'r>(
    view: &View<'_>,
    who: Who,
    path: &'r str,
    data: Option<&'r [u8]>,
    version: i32,
) -> Result<TxnBody<'r>, ErrorCode> {
    znode_path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    let node = view.node(path).ok_or(ErrorCode::NoNode)?;
    if !node.allows(Perms::WRITE, who) {
        return Err(ErrorCode::NoAuth);
    }
    check_version(version, node.stat.version)?;
    let version = node.stat.version + 1;
    Ok(TxnBody::SetData { path: Cow::Borrowed(path), data, version, reconfig: false })
}

fn judge_set_acl<'r>(
    view: &View<'_>,
    who: Who,
    path: &'r str,
    acl: AclSlice<'r>,
    version: i32,
) -> Result<TxnBody<'r>, ErrorCode> {
    znode_path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    let acl = fix_up(acl, who)?;
    let node = view.node(path).ok_or(ErrorCode::NoNode)?;
    if !node.allows(Perms::ADMIN, who) {
        return Err(ErrorCode::NoAuth);
    }
    check_version(version, node.stat.aversion)?;
    Ok(TxnBody::SetAcl { path: Cow::Borrowed(path), acl, version: node.stat.aversion + 1 })
}

fn judge_check<'r>(view: &View<'_>, who: Who, path: &'r str, version: i32) -> Result<TxnBody<'r>, ErrorCode> {
    znode_path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    let node = view.node(path).ok_or(ErrorCode::NoNode)?;
    if !node.allows(Perms::READ, who) {
        return Err(ErrorCode::NoAuth);
    }
    check_version(version, node.stat.version)?;
    Ok(TxnBody::Check { path: Cow::Borrowed(path), version: node.stat.version + 1 })
}

/// The scheme "auth" stands for the identities of whoever asks. The simulated clients send it alone, with all
/// permissions, and every other list ready for use.
fn fix_up<'r>(acl: AclSlice<'r>, who: Who) -> Result<AclSlice<'r>, ErrorCode> {
    let entries = acl.to_vec().map_err(|_| ErrorCode::MarshallingError)?;
    match (entries.first().map(|entry| entry.id.scheme.as_str()), who) {
        (None, _) | (Some("auth"), Who::Anyone | Who::Super) => Err(ErrorCode::InvalidAcl),
        (Some("auth"), Who::Bob) => Ok(bobs_own_list()),
        (Some(_), _) => Ok(acl),
    }
}

fn check_version(expected: i32, found: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == found { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

/// Each operation sees those before it. The first failure is recorded as such, what follows is not even looked at.
fn judge_multi<'r>(model: &Model, session: SessionId, who: Who, ops: &'r [MultiOp<'r>]) -> TxnBody<'r> {
    let stamp = Stamp { session, ..Stamp::default() };
    let mut view = View::new(model);
    let mut subs = Vec::new();
    let mut failed = false;
    for op in ops {
        if failed {
            subs.push(TxnBody::Error { code: ErrorCode::RuntimeInconsistency.to_wire() });
            continue;
        }
        let judged = match op {
            MultiOp::Create(create) => judge_create(&view, who, create),
            MultiOp::Delete { path, version } => judge_delete(&view, who, path, *version),
            MultiOp::SetData { path, data, version } => judge_set(&view, who, path, *data, *version),
            MultiOp::Check { path, version } => judge_check(&view, who, path, *version),
            MultiOp::GetData { .. } | MultiOp::GetChildren { .. } => Err(ErrorCode::MarshallingError),
        };
        match judged {
            Ok(body) => {
                let effect = apply_body(&mut view, &stamp, &body);
                debug_assert!(effect.is_ok(), "what was judged possible is possible");
                subs.push(body);
            }
            Err(code) => {
                failed = true;
                // Those before it become errors, too, with the code for "no error".
                subs.fill(TxnBody::Error { code: 0 });
                subs.push(TxnBody::Error { code: code.to_wire() });
            }
        }
    }
    TxnBody::Multi(subs)
}
