//! The end of a session, with its ephemeral nodes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use protocol::txn::TxnBody;
use protocol::{ErrorCode, path};

use super::{Pending, PrepareContext, Prepared, Sink};

impl Pending {
    /// All ephemeral nodes of the session go at this zxid, in the order of their paths: those in the tree, without
    /// those about to be deleted, with those about to be created.
    pub(super) fn close_session(
        &mut self,
        ctx: &PrepareContext<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<Prepared, ErrorCode> {
        let mut paths: BTreeSet<String> = ctx.tree.ephemerals(ctx.session).collect();
        for (path, node) in self.changes.iter() {
            match node {
                Some(node) if node.is_ephemeral() && node.stat.ephemeral_owner == ctx.session.get() => {
                    paths.insert(path.to_owned());
                }
                // Gone, or made anew by somebody else.
                _ => {
                    paths.remove(path);
                }
            }
        }
        for path in &paths {
            let parent_path = path::split(path).map_or("", |(parent, _)| parent);
            let node = self.changes.find(ctx, path).expect("a session's nodes are in the tree or pending");
            let parent =
                self.changes.find(ctx, parent_path).expect("a node that is there has a parent that is there");
            self.remove(ctx, (path, &node), (parent_path, parent));
        }
        let listed = ctx.rules.close_session_paths;
        let paths = listed.then(|| paths.iter().map(|path| Cow::Borrowed(path.as_str())).collect());
        sink.put(ctx, &TxnBody::CloseSession { paths });
        Ok(Prepared::default())
    }
}
