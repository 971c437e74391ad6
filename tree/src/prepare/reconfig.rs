//! A change of the ensemble, as far as the tree is concerned: the data of `/zookeeper/config`.

use std::borrow::Cow;

use protocol::txn::TxnBody;
use protocol::{ErrorCode, Perms};

use super::{Pending, PrepareContext, Prepared, Sink};
use crate::tree::CONFIG_PATH;

/// The data version that the node has after every change of the ensemble.
const VERSION: i32 = -1;

impl Pending {
    /// `membership` is looked at when its turn in the order of checks comes: after switch and session, before permission.
    pub(super) fn reconfig(
        &mut self,
        ctx: &PrepareContext<'_>,
        membership: Result<&str, ErrorCode>,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        if !ctx.rules.reconfig_enabled {
            return Err(ErrorCode::ReconfigDisabled);
        }
        ctx.session_check?;
        let data = membership?.as_bytes();
        let mut node = self.changes.find(ctx, CONFIG_PATH).ok_or(ErrorCode::NoNode)?;
        ctx.rules.auth.check(&node.acl, Perms::WRITE, ctx.ids)?;
        // The node is in no digest, like everything below /zookeeper.
        let share = node.share();
        node.stat.version = VERSION;
        node.stat.mzxid = ctx.zxid;
        node.stat.mtime_ms = ctx.time_ms;
        node.data_length = data.len();
        self.changes.put(ctx, CONFIG_PATH, share, Some(node));
        let (path, data) = (Cow::Borrowed(CONFIG_PATH), Some(data));
        sink.put(ctx, &TxnBody::SetData { path, data, version: VERSION, reconfig: true });
        Ok(Prepared::default())
    }
}
