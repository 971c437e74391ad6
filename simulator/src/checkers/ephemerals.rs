//! Ephemeral nodes live exactly as long as their session: none without one, none left behind.

use protocol::txn::NodeKind;
use protocol::{SessionId, Zxid};
use tree::Tree;

use super::{Verdict, ensure};
use crate::model::Model;

const PROMISE: &str = "ephemerals";

/// Every ephemeral node of the model belongs to a session that is open at that zxid.
pub fn check_model(model: &Model, at: Zxid) -> Verdict {
    for (path, node) in model.nodes_at(at) {
        if let NodeKind::Ephemeral(owner) = node.kind() {
            ensure(model.session_at(owner, at).is_some(), PROMISE, || {
                format!("{path} belongs to session {owner}, which is closed at {at}")
            })?;
        }
    }
    Ok(())
}

/// The tree has exactly the ephemerals of the model, and no strays.
pub fn check_tree(tree: &Tree, model: &Model) -> Verdict {
    let at = tree.last_zxid();
    let strays = tree.stray_ephemerals();
    ensure(strays.is_empty(), PROMISE, || format!("without a session at {at}: {}", strays.join(", ")))?;
    for (session, _) in model.sessions_at(at) {
        check_session(tree, model, session, at)?;
    }
    Ok(())
}

fn check_session(tree: &Tree, model: &Model, session: SessionId, at: Zxid) -> Verdict {
    let mut found: Vec<String> = tree.ephemerals(session).collect();
    found.sort();
    let expected = model.ephemerals_at(session, at);
    ensure(found == expected, PROMISE, || {
        format!("session {session} owns {found:?} at {at}, and should own {expected:?}")
    })
}
