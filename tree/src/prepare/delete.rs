//! Deleting nodes, by clients and by the reaper of containers.

use std::borrow::Cow;

use protocol::txn::TxnBody;
use protocol::{ErrorCode, Perms, path};

use super::pending::NodeState;
use super::{Pending, PrepareContext, Prepared, Sink};

impl Pending {
    pub(super) fn delete(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        version: i32,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        ctx.session_check?;
        let parent_path = parent_of(path)?;
        let parent = self.changes.find(ctx, parent_path).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&parent.acl, Perms::DELETE, ctx.ids)?;
        let node = self.changes.find(ctx, path).ok_or(ErrorCode::NoNode)?;
        super::set::next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove(ctx, (path, &node), (parent_path, parent));
        sink.put(ctx, &TxnBody::Delete { path: Cow::Borrowed(path), container: false });
        Ok(Prepared::default())
    }

    pub(super) fn delete_container(
        &mut self,
        ctx: &PrepareContext<'_>,
        path: &str,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        let parent_path = parent_of(path)?;
        let node = self.changes.find(ctx, path).ok_or(ErrorCode::NoNode)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        // Somebody may have put another node in the place of the one that the reaper saw. Java refuses only ephemeral
        // ones, and so deletes a persistent node that nobody asked to delete.
        if !node.is_reapable() {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.changes.find(ctx, parent_path).ok_or(ErrorCode::NoNode)?;
        self.remove(ctx, (path, &node), (parent_path, parent));
        sink.put(ctx, &TxnBody::Delete { path: Cow::Borrowed(path), container: true });
        Ok(Prepared::default())
    }

    /// A node goes and its parent notices. The parent's cversion counts creates only.
    pub(super) fn remove(
        &mut self,
        ctx: &PrepareContext<'_>,
        (path, node): (&str, &NodeState),
        (parent_path, mut parent): (&str, NodeState),
    ) {
        let share_before = parent.share();
        parent.children = parent.children.saturating_sub(1);
        parent.stat.pzxid = ctx.zxid;
        self.changes.put(ctx, parent_path, share_before, Some(parent));
        self.changes.put(ctx, path, node.share(), None);
    }
}

/// The parent of a node that may be deleted; the path is not checked further, since it is only looked up.
fn parent_of(path: &str) -> Result<&str, ErrorCode> {
    let is_reserved = matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config");
    match path::split(path) {
        Some((parent, _)) if !is_reserved && !path.contains('\0') => Ok(parent),
        _ => Err(ErrorCode::BadArguments),
    }
}
