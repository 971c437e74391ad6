//! The digest of the tree is the one in its transactions, the model's, and what counting gives.

use protocol::Zxid;
use protocol::txn::TxnDigest;
use tree::Tree;

use super::{Verdict, Violation, ensure};
use crate::model::Model;

const PROMISE: &str = "digest";

/// A transaction carries the digest that the model has after it.
pub fn check_transaction(zxid: Zxid, carried: Option<TxnDigest>, model: &Model) -> Verdict {
    let Some(carried) = carried else { return Ok(()) };
    ensure(carried.tree_digest == model.digest(), PROMISE, || {
        format!(
            "transaction {zxid} carries {:#x}, and the model has {:#x}",
            carried.tree_digest,
            model.digest()
        )
    })
}

/// The tree's digest is the model's, and everything that the tree keeps twice agrees with the nodes.
pub fn check_tree(tree: &Tree, model: &Model) -> Verdict {
    let at = tree.last_zxid();
    if let Some(expected) = model.digest_at(at) {
        ensure(tree.digest() == expected, PROMISE, || {
            format!("the tree has {:#x} at {at}, and the model {expected:#x}", tree.digest())
        })?;
    }
    tree.check_invariants().map_err(|complaint| Violation::new(PROMISE, format!("at {at}: {complaint}")))
}
