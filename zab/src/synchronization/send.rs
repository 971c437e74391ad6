//! Carrying out a [`Plan`]: what a learner is sent before NEWLEADER.

use protocol::peer::FromLeader;

use super::plan::Plan;
use crate::action::Action;
use crate::context::Context;
use crate::link::LinkId;

/// Sends DIFF, TRUNC or SNAP, then everything committed that the learner misses behind that. Whether it is sent a whole
/// tree, which takes its time.
pub(crate) fn send(context: &mut Context<'_>, link: LinkId, plan: Plan) -> bool {
    let committed = context.history.committed();
    let (first, after) = match plan {
        Plan::Diff { after } => {
            (Action::ToLearner { link, message: FromLeader::Diff { zxid: committed } }, after)
        }
        Plan::Truncate { to } => (Action::ToLearner { link, message: FromLeader::Truncate { zxid: to } }, to),
        Plan::Snapshot => (Action::SendSnapshot { link }, committed),
    };
    let takes_tree = matches!(first, Action::SendSnapshot { .. });
    context.out.push(first);
    for entry in context.history.known_committed().filter(|entry| entry.zxid > after) {
        let (zxid, envelope) = (entry.zxid, entry.envelope.clone());
        context.out.push(Action::ToLearner { link, message: FromLeader::Proposal { zxid, envelope } });
        context.out.push(Action::ToLearner { link, message: FromLeader::Commit { zxid } });
    }
    takes_tree
}
