//! What a learner says of itself in its first packet, whomever it learns from.

use protocol::ServerId;
use protocol::peer::message::PROTOCOL_VERSION;

use crate::context::Context;

/// Why a server that introduces itself like this cannot learn here; `None` if it can.
pub(crate) fn objection(
    context: &Context<'_>,
    server: Option<ServerId>,
    protocol_version: i32,
    membership_version: i64,
) -> Option<&'static str> {
    if protocol_version < PROTOCOL_VERSION {
        return Some("it speaks a protocol from before 3.4");
    }
    if server == Some(context.settings.me) {
        return Some("it claims to be this server");
    }
    let proposed = context.members.proposed().map(|membership| membership.version);
    if membership_version > context.members.version() && Some(membership_version) != proposed {
        return Some("it knows a newer membership");
    }
    None
}
