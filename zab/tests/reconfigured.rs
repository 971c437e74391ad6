//! What a follower makes of a leader with other members: it goes by them when they are in force, and not before; and where
//! reconfiguration is switched off it must not go on with the members of its start.

use bytes::Bytes;
use protocol::peer::{
    FromLeader, FromLearner, LearnerKind, Member, MemberRole, Membership, Notification, ServerState, Vote,
};
use protocol::txn::{Transaction, TxnBody, TxnHeader};
use protocol::{Epoch, OpCode, ServerId, SessionId, Zxid};
use zab::{Action, Epochs, LinkId, Peer, PeerSettings, Role};

fn membership(version: i64) -> Membership {
    let member = |id: i64| Member::parse(&format!("127.0.0.1:{}:{}:participant", 2_000 + id, 3_000 + id));
    let members = (1..=3).map(|id| (ServerId::new(id), member(id).expect("a member"))).collect();
    let membership = Membership { version, members, ..Membership::default() };
    assert!(membership.members.values().all(|member| member.role == MemberRole::Participant));
    membership
}

/// Server 1, which has found that 3 leads, and has accepted its epoch.
struct Follower {
    peer: Peer,
    link: LinkId,
    out: Vec<Action>,
}

impl Follower {
    fn new() -> Follower {
        Follower::with_reconfig(false)
    }

    fn with_reconfig(reconfig_enabled: bool) -> Follower {
        let mut follower = Follower::awaiting_plan(reconfig_enabled, None, Zxid::ZERO);
        follower.hear(FromLeader::Diff { zxid: Zxid::ZERO });
        follower
    }

    /// Its log ends at `last`, and it has heard of `proposed`.
    fn awaiting_plan(reconfig_enabled: bool, proposed: Option<Membership>, last: Zxid) -> Follower {
        let settings = PeerSettings { reconfig_enabled, tick_ms: 100, ..PeerSettings::new(ServerId::new(1)) };
        let mut out = Vec::new();
        let peer = Peer::member(settings, membership(7), proposed, Epochs::default(), last);
        let mut peer = peer.expect("three voters can be counted");
        peer.start(0, &mut out);
        let vote = Some(Vote { leader: ServerId::new(3), zxid: Zxid::ZERO, peer_epoch: 1 });
        for (from, state) in [(2, ServerState::Following), (3, ServerState::Leading)] {
            let notification = Notification { state, vote, round: 1, membership: None };
            peer.on_notification(0, ServerId::new(from), notification, &mut out);
        }
        let link = out.iter().find_map(|action| match action {
            Action::ConnectLeader { link, .. } => Some(*link),
            _ => None,
        });
        let link = link.expect("a leader was found");
        peer.on_leader_connected(0, link, &mut out);
        let mut follower = Follower { peer, link, out };
        follower.hear(FromLeader::LeaderInfo { epoch: Epoch::new(1) });
        follower
    }

    fn hear(&mut self, message: FromLeader) {
        self.out.clear();
        self.peer.on_leader_message(0, self.link, message, &mut self.out);
    }

    fn new_leader(&mut self, version: i64) {
        let membership = Some(membership(version).to_string());
        self.hear(FromLeader::NewLeader { epoch: Epoch::new(1), membership });
    }

    /// Why it has given the leader up, if it has.
    fn gave_up(&self) -> Option<&'static str> {
        self.out.iter().find_map(|action| match action {
            Action::Became(Role::Looking { why }) => Some(*why),
            _ => None,
        })
    }
}

#[test]
fn a_leader_with_later_members_is_not_followed() {
    let mut follower = Follower::new();
    follower.new_leader(8);
    assert!(follower.gave_up().unwrap().contains("reconfigured"));
}

#[test]
fn a_leader_with_the_same_or_unreadable_members_is_followed() {
    for text in [membership(7).to_string(), membership(0).to_string(), "no members".to_owned()] {
        let mut follower = Follower::new();
        follower.hear(FromLeader::NewLeader { epoch: Epoch::new(1), membership: Some(text) });
        assert_eq!(follower.gave_up(), None);
        follower.hear(FromLeader::UpToDate);
        assert!(follower.peer.learns_from(follower.link));
    }
}

#[test]
fn a_reconfiguration_ends_following() {
    let (zxid, leader) = (Zxid::new(Epoch::new(1), 1), ServerId::new(3));
    let envelope = Bytes::from_static(b"members");
    for message in [
        FromLeader::CommitAndActivate { zxid, leader },
        FromLeader::InformAndActivate { zxid, leader, envelope: envelope.clone() },
    ] {
        let mut follower = Follower::new();
        follower.new_leader(7);
        follower.hear(FromLeader::UpToDate);
        assert_eq!(follower.gave_up(), None);
        follower.hear(FromLeader::Proposal { zxid, envelope: envelope.clone() });
        follower.hear(message);
        assert!(follower.gave_up().unwrap().contains("reconfigured"));
    }
}

/// The membership that the follower goes by from now on, if there is a new one.
fn activated(follower: &Follower) -> Option<i64> {
    follower.out.iter().find_map(|action| match action {
        Action::Activate(membership) => Some(membership.version),
        _ => None,
    })
}

#[test]
fn the_leaders_members_are_in_force_when_it_is_established() {
    let first = Zxid::new(Epoch::new(1), 0).to_wire();
    let mut follower = Follower::with_reconfig(true);
    follower.new_leader(first);
    assert_eq!(activated(&follower), None);
    follower.hear(FromLeader::UpToDate);
    assert_eq!(activated(&follower), Some(first));
    assert!(follower.peer.learns_from(follower.link));
}

#[test]
fn members_that_are_only_proposed_are_not_in_force_whatever_newleader_says() {
    // A Java leader with a reconfiguration under way tells of it in NEWLEADER.
    let proposed = Zxid::new(Epoch::new(1), 1).to_wire();
    let mut follower = Follower::with_reconfig(true);
    follower.new_leader(proposed);
    follower.hear(FromLeader::UpToDate);
    assert_eq!(activated(&follower), None);
    assert_eq!(follower.peer.proposed_membership().map(|membership| membership.version), Some(proposed));
    assert!(follower.peer.learns_from(follower.link));
}

#[test]
fn members_that_nobody_proposed_are_not_activated() {
    let mut follower = Follower::with_reconfig(true);
    follower.new_leader(7);
    follower.hear(FromLeader::UpToDate);
    let zxid = Zxid::new(Epoch::new(1), 1);
    follower.hear(FromLeader::Proposal { zxid, envelope: Bytes::from_static(b"something else") });
    follower.hear(FromLeader::CommitAndActivate { zxid, leader: ServerId::new(3) });
    assert!(follower.gave_up().unwrap().contains("not proposed"));
}

#[test]
fn members_found_in_the_state_count_like_proposed_ones() {
    let mut follower = Follower::with_reconfig(true);
    let (older, newer) = (membership(8), membership(9));
    for (found, known) in [(membership(6), None), (newer, Some(9)), (older, Some(9))] {
        follower.out.clear();
        follower.peer.on_membership_found(0, found, &mut follower.out);
        assert_eq!(follower.peer.proposed_membership().map(|membership| membership.version), known);
    }
}

#[test]
fn what_the_leaders_tree_does_not_hold_came_to_nothing() {
    let (lost, later) = (Zxid::from_wire(9), Zxid::new(Epoch::new(1), 5));
    for (found, kept) in [(membership(7), None), (membership(lost.to_wire()), Some(lost.to_wire()))] {
        let mut follower = Follower::awaiting_plan(true, Some(membership(lost.to_wire())), lost);
        follower.peer.on_membership_found(0, found, &mut follower.out);
        follower.peer.on_snapshot_installed(0, follower.link, later, &mut follower.out);
        follower.new_leader(7);
        assert_eq!(follower.gave_up(), None);
        assert_eq!(follower.peer.proposed_membership().map(|membership| membership.version), kept);
    }
}

#[test]
fn what_was_heard_of_and_not_logged_came_to_nothing() {
    let mut follower = Follower::awaiting_plan(true, Some(membership(9)), Zxid::ZERO);
    let zxid = Zxid::new(Epoch::new(1), 1);
    follower.hear(FromLeader::Diff { zxid });
    follower.hear(FromLeader::Proposal { zxid, envelope: Bytes::from_static(b"something else") });
    follower.hear(FromLeader::Commit { zxid });
    follower.new_leader(7);
    assert_eq!(follower.gave_up(), None);
    assert_eq!(follower.peer.proposed_membership(), None);
}

#[test]
fn a_learner_that_goes_by_the_proposed_members_says_that_they_are_in_force() {
    for (version, expected) in [(7, None), (8, Some(8))] {
        let settings =
            PeerSettings { reconfig_enabled: true, tick_ms: 100, ..PeerSettings::new(ServerId::new(1)) };
        let mut out = Vec::new();
        let peer = Peer::member(
            settings,
            membership(7),
            Some(membership(8)),
            Epochs::default(),
            Zxid::new(Epoch::new(1), 1),
        );
        let mut peer = peer.expect("three voters can be counted");
        peer.start(0, &mut out);
        let vote = Some(Vote { leader: ServerId::new(1), zxid: Zxid::new(Epoch::new(1), 1), peer_epoch: 0 });
        for from in [2, 3] {
            let notification = Notification { state: ServerState::Looking, vote, round: 1, membership: None };
            peer.on_notification(0, ServerId::new(from), notification, &mut out);
        }
        assert!(out.contains(&Action::Became(Role::Preparing)), "{out:?}");
        out.clear();
        let link = LinkId::new(1);
        peer.on_learner_connected(0, link, &mut out);
        let info = FromLearner::Info {
            kind: LearnerKind::Follower,
            accepted_epoch: Epoch::new(0),
            server: Some(ServerId::new(2)),
            protocol_version: 0x10000,
            membership_version: version,
            late_syncs: true,
            turns_epochs: true,
        };
        peer.on_learner_message(0, link, info, &mut out);
        let activated = out.iter().find_map(|action| match action {
            Action::Activate(membership) => Some(membership.version),
            _ => None,
        });
        assert_eq!(activated, expected);
        let looks = out.iter().any(|action| matches!(action, Action::Became(Role::Looking { .. })));
        assert_eq!(looks, expected.is_some());
    }
}

/// A reconfiguration, as it is proposed.
fn proposal(zxid: Zxid) -> FromLeader {
    let kind = OpCode::Reconfig.to_wire();
    let header = TxnHeader { session: SessionId::NONE, cxid: 0, zxid, time_ms: 0, kind };
    let text = membership(zxid.to_wire()).to_string();
    let (path, data) = ("/zookeeper/config".into(), Some(text.as_bytes()));
    let body = TxnBody::SetData { path, data, version: -1, reconfig: true };
    let mut envelope = Vec::new();
    Transaction { header, body, digest: None }.write(&mut envelope);
    FromLeader::Proposal { zxid, envelope: envelope.into() }
}

#[test]
fn the_leaders_members_are_in_force_when_it_proposes_the_next_ones() {
    // The leader is established, and this server still on its way: were it to forget the members in between, it would
    // count the quorums of those before and those to come, and of none that is in force.
    let first = Zxid::new(Epoch::new(1), 0).to_wire();
    let mut follower = Follower::with_reconfig(true);
    follower.new_leader(first);
    assert_eq!(activated(&follower), None);
    let next = Zxid::new(Epoch::new(1), 1);
    follower.hear(proposal(next));
    assert_eq!(activated(&follower), Some(first));
    let proposed = follower.peer.proposed_membership().map(|membership| membership.version);
    assert_eq!(proposed, Some(next.to_wire()));
}
