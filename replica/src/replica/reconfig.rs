//! Changes of the ensemble that clients ask for, judged by the leader (`PrepRequestProcessor`, `Leader.isQuorumSynced`).

use protocol::client::request::Request;
use protocol::peer::Membership;
use protocol::{ErrorCode, Zxid};
use tree::Tree;

use super::Replica;
use crate::output::Fact;

/// The membership that a tree holds. A leader's tree may hold one that this server is only going to be told of, and it may
/// crash before: [`crate::PeerInput::SnapshotRead`].
///
/// Not to be heeded at a start: an operator who gives the last server of an ensemble a membership of its own must be
/// obeyed.
pub fn membership_of(tree: &Tree) -> Option<Membership> {
    let node = tree.find(tree::CONFIG_PATH)?;
    Membership::parse(std::str::from_utf8(node.data()?).ok()?).ok()
}

impl Replica {
    /// The text of the membership that the change leads to, as the transaction with this zxid would bring it into force.
    pub(super) fn judge_reconfig(&mut self, request: &Request<'_>, zxid: Zxid) -> Result<String, ErrorCode> {
        let Request::Reconfig { joining, leaving, new_members, config_version } = request else {
            return Err(ErrorCode::BadArguments);
        };
        if self.peer.proposed_membership().is_some() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        let present = self.peer.membership();
        if *config_version != -1 && *config_version != present.version {
            return Err(ErrorCode::BadVersion);
        }
        let changed = match new_members {
            Some(whole) => Membership::replacement(whole),
            None => present.changed(joining.as_deref(), leaving.as_deref()),
        };
        let changed = match changed {
            Ok(changed) => Membership { version: zxid.to_wire(), ..changed },
            Err(error) => return Err(self.refuse_reconfig(error.to_string())),
        };
        let voters = changed.voters().count();
        if voters < self.settings.voters_min {
            let least = self.settings.voters_min;
            return Err(self.refuse_reconfig(format!("{voters} servers would vote, at least {least} must")));
        }
        match self.peer.could_decide(&changed) {
            Ok(true) => Ok(changed.to_string()),
            Ok(false) => Err(ErrorCode::NewConfigNoQuorum),
            Err(error) => Err(self.refuse_reconfig(error.to_string())),
        }
    }

    /// The client only learns that something is wrong, the operator may want to know what.
    fn refuse_reconfig(&mut self, why: String) -> ErrorCode {
        self.outputs.facts.push(Fact::ReconfigRefused { why });
        ErrorCode::BadArguments
    }
}
