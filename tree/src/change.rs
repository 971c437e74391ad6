//! What applying a transaction tells the rest of the server: each change as it happens, and the outcome.

use protocol::{ErrorCode, Stat, Zxid};

use crate::acl_table::AclList;

/// One visible change of one node, at the moment when it has just happened. Watches fire from it.
///
/// `parent` is `/` for top-level nodes. The lists are those whose READ permission decides who may hear of it.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A node came into being.
    Created {
        /// The node.
        path: &'a str,
        /// The node's ACL.
        acl: &'a AclList,
        /// Its parent.
        parent: &'a str,
        /// The parent's ACL.
        parent_acl: &'a AclList,
    },
    /// A node went.
    Deleted {
        /// The node.
        path: &'a str,
        /// The ACL that the node had.
        acl: &'a AclList,
        /// Its parent.
        parent: &'a str,
        /// The parent's ACL.
        parent_acl: &'a AclList,
    },
    /// A node's data was set, if only to what it was before.
    DataChanged {
        /// The node.
        path: &'a str,
        /// The node's ACL.
        acl: &'a AclList,
    },
}

/// Hears of changes while a transaction is applied.
pub trait ChangeObserver {
    /// One change; called in order and before [`crate::Tree::apply`] returns. All changes of a transaction carry
    /// its zxid.
    fn on_change(&mut self, zxid: Zxid, change: Change<'_>);
}

/// Nobody listens: replay of a log, loading, tests.
impl ChangeObserver for () {
    fn on_change(&mut self, _zxid: Zxid, _change: Change<'_>) {}
}

/// What became of a transaction (`DataTree.ProcessTxnResult`). The stats are those right after the operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A node was created.
    Created {
        /// The fresh node's stat.
        stat: Stat,
    },
    /// A node was deleted.
    Deleted,
    /// A node's data was set.
    DataSet {
        /// The node's stat.
        stat: Stat,
    },
    /// A node's ACL was set.
    AclSet {
        /// The node's stat.
        stat: Stat,
    },
    /// A version was checked; nothing changed.
    Checked,
    /// A session began.
    SessionCreated {
        /// Its timeout, milliseconds.
        timeout_ms: i32,
    },
    /// A session ended.
    SessionClosed,
    /// Nothing was applied. The number on the wire: as the error transaction carries it (0 for an operation in
    /// front of the one that failed in a multi), or the code of an operation that does not fit the tree, which
    /// happens only when a log is replayed over a fuzzy snapshot.
    Failed(i32),
    /// The outcomes of a multi's operations, in order.
    Multi(Vec<Outcome>),
}

impl Outcome {
    pub(crate) fn refused(code: ErrorCode) -> Outcome {
        Outcome::Failed(code.to_wire())
    }

    /// The code that Java reports for the whole transaction: 0, the code of a failure, or the first code that is
    /// not 0 among the operations of a multi.
    pub fn code(&self) -> i32 {
        match self {
            Outcome::Failed(code) => *code,
            Outcome::Multi(outcomes) => {
                outcomes.iter().map(Outcome::code).find(|&code| code != 0).unwrap_or(0)
            }
            _ => 0,
        }
    }
}
