//! Creating nodes: create, create2, createContainer, createTTL.

use std::borrow::Cow;
use std::sync::Arc;

use protocol::client::request::{CreateFlags, CreateRequest};
use protocol::txn::{CreateTxn, NodeKind, TTL_MS_MAX, TxnBody, node_digest_prefix};
use protocol::{AclSlice, ErrorCode, OpCode, Perms, Reader, StatPersisted, path};

use crate::acl_table::AclList;

use super::pending::NodeState;
use super::sequence::numbered;
use super::{Pending, PrepareContext, Prepared, Sink};

impl Pending {
    pub(super) fn create(
        &mut self,
        ctx: &PrepareContext<'_>,
        request: &CreateRequest<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        let flags = CreateFlags::from_wire(request.flags).ok_or(ErrorCode::BadArguments)?;
        let kind = node_kind(ctx, request, flags)?;
        check_session(ctx, kind)?;
        let parent_path = parent_of(&request.path)?;
        let acl_bytes = ctx.rules.auth.fix_up(request.acl, ctx.ids)?;
        let parent = self.changes.find(ctx, parent_path).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&parent.acl, Perms::CREATE, ctx.ids)?;
        let path = if flags.is_sequential() {
            numbered(&request.path, parent.stat.cversion)?
        } else {
            Cow::Borrowed(&*request.path)
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.changes.exists(ctx, &path) {
            return Err(ErrorCode::NodeExists);
        }
        if parent.is_ephemeral() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_length = request.data.map_or(0, <[u8]>::len);
        let soft_quota = ctx.soft_excess(&path, data_length as i64, 1)?;

        let acl = AclSlice::read(&mut Reader::new(&acl_bytes)).map_err(|_| ErrorCode::MarshallingError)?;
        let node = NodeState {
            stat: fresh_stat(ctx, kind),
            children: 0,
            data_length,
            acl: self.acl_list(ctx, acl)?,
            digest_prefix: if ctx.rules.txn_digest { node_digest_prefix(&path, request.data) } else { None },
        };
        let parent_cversion = self.add_child(ctx, parent_path, parent);
        self.changes.put(ctx, &path, 0, Some(node));
        let create = CreateTxn {
            op: request.op,
            path: Cow::Borrowed(&path),
            data: request.data,
            acl,
            ephemeral: matches!(kind, NodeKind::Ephemeral(_)),
            parent_cversion,
            ttl_ms: request.ttl_ms,
        };
        sink.put(ctx, &TxnBody::Create(create));
        Ok(Prepared { soft_quota, ..Prepared::default() })
    }

    /// The parent after the create; returns the cversion that the transaction gives it. Applying it changes the
    /// parent only if that is greater than before, so at the end of the numbers the parent stays as it is.
    fn add_child(&mut self, ctx: &PrepareContext<'_>, path: &str, mut parent: NodeState) -> i32 {
        let share_before = parent.share();
        let cversion = parent.stat.cversion.saturating_add(1);
        if cversion > parent.stat.cversion {
            parent.stat.cversion = cversion;
            parent.stat.pzxid = ctx.zxid;
        }
        parent.children += 1;
        self.changes.put(ctx, path, share_before, Some(parent));
        cversion
    }

    /// The decoded form of a list: nearly always one that exists already.
    pub(super) fn acl_list(
        &self,
        ctx: &PrepareContext<'_>,
        acl: AclSlice<'_>,
    ) -> Result<Arc<AclList>, ErrorCode> {
        if acl.is_open() {
            return Ok(Arc::clone(&self.open_acl));
        }
        if let Some(list) = ctx.tree.acl_by_bytes(acl.as_bytes()) {
            return Ok(list);
        }
        AclList::parse(acl).map(Arc::new).map_err(|_| ErrorCode::MarshallingError)
    }
}

/// What is stored follows the operation, not the flags: createContainer makes a container whatever its flags say,
/// and only create and create2 make ephemeral nodes. The flags must still be possible ones.
///
/// The reference lets createTTL pass with flags that want no TTL and a TTL of -1, and then dies of the transaction;
/// here that is `BadArguments`, like every other TTL that does not fit the flags.
fn node_kind(
    ctx: &PrepareContext<'_>,
    request: &CreateRequest<'_>,
    flags: CreateFlags,
) -> Result<NodeKind, ErrorCode> {
    if flags.is_ttl() && !ctx.rules.ttl_nodes {
        return Err(ErrorCode::Unimplemented);
    }
    let is_ttl_op = request.op == OpCode::CreateTtl;
    let ttl_fits = !is_ttl_op || (1..=TTL_MS_MAX).contains(&request.ttl_ms);
    if is_ttl_op != flags.is_ttl() || !ttl_fits {
        return Err(ErrorCode::BadArguments);
    }
    Ok(match request.op {
        OpCode::CreateTtl => NodeKind::Ttl(request.ttl_ms),
        OpCode::CreateContainer => NodeKind::Container,
        _ if flags.is_ephemeral() => NodeKind::Ephemeral(ctx.session),
        _ => NodeKind::Persistent,
    })
}

fn check_session(ctx: &PrepareContext<'_>, kind: NodeKind) -> Result<(), ErrorCode> {
    match (ctx.session_check, kind) {
        (Err(ErrorCode::UnknownSession), NodeKind::Ephemeral(_)) => Err(ErrorCode::SessionExpired),
        (Ok(()), NodeKind::Ephemeral(_)) if ctx.session_is_local => Err(ErrorCode::SessionExpired),
        (check, _) => check,
    }
}

/// The text before the last slash, `""` for the root: the only check that comes before the parent is looked up.
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    match path::split(path) {
        Some((parent, _)) if !path.contains('\0') => Ok(parent),
        _ => Err(ErrorCode::BadArguments),
    }
}

fn fresh_stat(ctx: &PrepareContext<'_>, kind: NodeKind) -> StatPersisted {
    StatPersisted {
        czxid: ctx.zxid,
        mzxid: ctx.zxid,
        ctime_ms: ctx.time_ms,
        mtime_ms: ctx.time_ms,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: kind.to_owner(),
        pzxid: ctx.zxid,
    }
}
