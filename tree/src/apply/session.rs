//! What the beginning and the end of a session change.

use std::borrow::Cow;

use protocol::SessionId;
use protocol::txn::TxnHeader;

use crate::change::{ChangeObserver, Outcome};
use crate::tree::Tree;

impl Tree {
    pub(super) fn create_session(&mut self, session: SessionId, timeout_ms: i32) -> Outcome {
        self.sessions.insert(session, timeout_ms);
        Outcome::SessionCreated { timeout_ms }
    }

    /// First the nodes that the leader listed, in its order; then what else the session owns here, which is nothing
    /// unless the log was written without lists (`DataTree.killSession`). All at the zxid of the closing.
    pub(super) fn close_session(
        &mut self,
        header: &TxnHeader,
        paths: Option<&[Cow<'_, str>]>,
        observer: &mut dyn ChangeObserver,
    ) -> Outcome {
        for path in paths.unwrap_or_default() {
            // A missing node is none of our business: a fuzzy snapshot may be ahead.
            self.delete(header.zxid, path, observer);
        }
        let left: Vec<String> = self.ephemerals(header.session).collect();
        for path in left {
            self.delete(header.zxid, &path, observer);
        }
        self.sessions.remove(&header.session);
        Outcome::SessionClosed
    }
}
