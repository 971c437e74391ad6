//! Carrying out a [`Plan`]: what a learner is sent before NEWLEADER.

use protocol::peer::FromLeader;

use super::plan::Plan;
use crate::action::Action;
use crate::breakage::Breakage;
use crate::context::Context;
use crate::link::LinkId;

/// Sends DIFF, TRUNC or SNAP, then everything committed that the learner misses behind that, from the log on disk where it
/// comes before what is in memory. Whether it is sent more than fits into a moment.
pub(crate) fn send(context: &mut Context<'_>, link: LinkId, plan: Plan) -> bool {
    let (base, committed) = (context.history.base(), context.history.committed());
    let say = |context: &mut Context<'_>, message| context.out.push(Action::ToLearner { link, message });
    let (after, sends_tree) = match plan {
        Plan::Diff { after } => {
            say(context, FromLeader::Diff { zxid: committed });
            (after, false)
        }
        Plan::Truncate { to } => {
            let keeps_tail = context.makes(Breakage::KeepTail);
            let (diff, truncate) = (FromLeader::Diff { zxid: committed }, FromLeader::Truncate { zxid: to });
            say(context, if keeps_tail { diff } else { truncate });
            (to, false)
        }
        // Whoever does not consult the log sends a snapshot.
        Plan::Snapshot | Plan::ConsultLog => {
            context.out.push(Action::SendSnapshot { link });
            (committed, true)
        }
    };
    let sends_log = after < base;
    if sends_log {
        context.out.push(Action::SendLog { link, after, up_to: base });
    }
    for entry in context.history.known_committed().filter(|entry| entry.zxid > after) {
        let (zxid, envelope) = (entry.zxid, entry.envelope.clone());
        context.out.push(Action::ToLearner { link, message: FromLeader::Proposal { zxid, envelope } });
        context.out.push(Action::ToLearner { link, message: FromLeader::Commit { zxid } });
    }
    sends_tree || sends_log
}
