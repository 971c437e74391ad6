//! Changes of the ensemble that clients ask for, judged by the leader (`PrepRequestProcessor`, `Leader.isQuorumSynced`).

use protocol::client::request::Request;
use protocol::peer::Membership;
use protocol::{ErrorCode, Zxid};

use super::Replica;
use crate::input::Now;
use crate::output::Fact;

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

    /// A leader's tree may hold a membership that this server is only going to be told of, and it may crash before.
    ///
    /// Not at a start: an operator who gives the last server of an ensemble a membership of its own must be obeyed.
    pub(super) fn heed_membership_of_tree(&mut self, now: Now) {
        let tree = self.shared.tree();
        let text = tree.find(tree::CONFIG_PATH).and_then(|node| node.data().map(<[u8]>::to_vec));
        drop(tree);
        let membership = text.and_then(|text| Membership::parse(std::str::from_utf8(&text).ok()?).ok());
        if let Some(membership) = membership.filter(|found| found.version > self.peer.membership().version) {
            self.peer.on_membership_found(now.monotonic_ms, membership, &mut self.actions);
        }
    }

    /// The client only learns that something is wrong, the operator may want to know what.
    fn refuse_reconfig(&mut self, why: String) -> ErrorCode {
        self.outputs.facts.push(Fact::ReconfigRefused { why });
        ErrorCode::BadArguments
    }
}
