//! Applying transactions: the only way in which the tree changes, the same for live traffic and for the replay of
//! a log.
//!
//! Live, `prepare` has refused everything that does not fit, so nothing here fails. A replay may start from a
//! fuzzy snapshot of Java's, which holds effects of transactions that are then applied once more: creates find
//! their node there, deletes find nothing, and still the stats of the parents must come out right.

mod create;
mod delete;
mod session;
mod set;

use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{ErrorCode, Zxid};

use crate::change::{ChangeObserver, Outcome};
use crate::tree::Tree;

impl Tree {
    /// Applies a transaction and tells the observer of every change. The last zxid moves when all of it is done,
    /// and never back.
    pub fn apply(&mut self, txn: &Transaction<'_>, observer: &mut dyn ChangeObserver) -> Outcome {
        let outcome = self.apply_body(&txn.header, &txn.body, observer);
        self.advance(txn.header.zxid);
        outcome
    }

    /// Applies a transaction whose outcome nobody waits for. Not to move the outcome around saves a tenth of the
    /// time of a replay.
    pub fn replay(&mut self, txn: &Transaction<'_>) {
        self.apply_body(&txn.header, &txn.body, &mut ());
        self.advance(txn.header.zxid);
    }

    fn apply_body(
        &mut self,
        header: &TxnHeader,
        body: &TxnBody<'_>,
        observer: &mut dyn ChangeObserver,
    ) -> Outcome {
        match body {
            TxnBody::Create(create) => self.create(header, create, observer),
            TxnBody::Delete { path, .. } => self.delete(header.zxid, path, observer),
            TxnBody::SetData { path, data, version, .. } => {
                self.set_data(header, path, *data, *version, observer)
            }
            TxnBody::SetAcl { path, acl, version } => self.set_acl(path, *acl, *version),
            TxnBody::Check { .. } => Outcome::Checked,
            TxnBody::CreateSession { timeout_ms } => self.create_session(header.session, *timeout_ms),
            TxnBody::CloseSession { paths } => self.close_session(header, paths.as_deref(), observer),
            TxnBody::Error { code } => Outcome::Failed(*code),
            TxnBody::Multi(subs) => self.multi(header, subs, observer),
        }
    }

    /// All or nothing: an error among the operations says that the request was refused as a whole.
    fn multi(
        &mut self,
        header: &TxnHeader,
        subs: &[TxnBody<'_>],
        observer: &mut dyn ChangeObserver,
    ) -> Outcome {
        let failed = subs.iter().position(|sub| matches!(sub, TxnBody::Error { .. }));
        let Some(failed) = failed else {
            return Outcome::Multi(subs.iter().map(|sub| self.apply_body(header, sub, observer)).collect());
        };
        let code = |(at, sub): (usize, &TxnBody<'_>)| match sub {
            TxnBody::Error { code } => *code,
            _ if at < failed => 0,
            _ => ErrorCode::RuntimeInconsistency.to_wire(),
        };
        Outcome::Multi(subs.iter().enumerate().map(|sub| Outcome::Failed(code(sub))).collect())
    }
}

/// A path of a transaction as parent and name. What no path can be is refused here, whatever a log holds.
fn split(path: &str) -> Result<(&str, &str), ErrorCode> {
    match protocol::path::split(path) {
        Some((parent, name)) if !name.is_empty() && parent != "/" => Ok((parent, name)),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// As clients and watches know the root.
fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// What a delete does to its parent, found or not.
fn raise_pzxid(pzxid: &mut Zxid, zxid: Zxid) {
    *pzxid = (*pzxid).max(zxid);
}
