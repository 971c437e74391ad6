//! Votes and messages as people read and write them.

use protocol::peer::{Notification, ServerState, Vote};
use protocol::{ServerId, Zxid};
use scenario::number;

/// `epoch/zxid/leader`, the order in which votes are compared.
pub(super) fn vote(vote: Option<Vote>) -> String {
    let Some(vote) = vote else { return "no vote".to_owned() };
    format!("{}/{}/{}", vote.peer_epoch, vote.zxid, vote.leader)
}

pub(super) fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Looking => "LOOKING",
        ServerState::Following => "FOLLOWING",
        ServerState::Leading => "LEADING",
        ServerState::Observing => "OBSERVING",
    }
}

pub(super) fn notification(notification: &Notification) -> String {
    let Notification { state: does, vote: says, round, membership } = notification;
    let form = if membership.is_some() { "" } else { " old" };
    format!("{} {} round={round}{form}", state(*does), vote(*says))
}

/// The way back from [`vote`], where `none` is no vote.
pub(super) fn parse_vote(text: &str) -> Option<Vote> {
    if text == "none" {
        return None;
    }
    let parts: Vec<&str> = text.split('/').collect();
    let [peer_epoch, zxid, leader] = parts[..] else { panic!("{text:?} is not epoch/zxid/leader") };
    let (peer_epoch, leader) = (number(peer_epoch), ServerId::new(number(leader)));
    Some(Vote { leader, zxid: Zxid::from_wire(number(zxid)), peer_epoch })
}

pub(super) fn parse_state(text: &str) -> ServerState {
    match text {
        "LOOKING" => ServerState::Looking,
        "FOLLOWING" => ServerState::Following,
        "LEADING" => ServerState::Leading,
        "OBSERVING" => ServerState::Observing,
        other => panic!("{other:?} is no state"),
    }
}
