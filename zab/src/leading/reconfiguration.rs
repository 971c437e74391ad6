//! Changes of who belongs to the ensemble (`Leader.propose`, `tryToCommit`, `getDesignatedLeader`, `startZkServer`).
//!
//! A reconfiguration is a transaction like any other, but from its proposal until its commit quorums of both memberships
//! decide, about it and about everything behind it. Its commit puts the new membership into force everywhere, and names
//! who leads from then on: a leader that has no vote there, or is to be found elsewhere, hands over to somebody who has
//! acknowledged as much as anybody.

use std::sync::Arc;

use bytes::Bytes;
use protocol::peer::{MemberRole, Membership};
use protocol::{ServerId, Zxid};

use super::{Leading, Stage};
use crate::breakage::Breakage;
use crate::context::{Context, GiveUp};
use crate::members::{moves, reconfiguration};
use crate::quorum::{Electorate, VoterSet};

/// Ticks that a leader which hands over waits for its learners to hear of it.
const HAND_OVER_TICKS: u64 = 2;

/// This leader's last act is done: somebody else leads from then on.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct HandOver {
    to: ServerId,
    zxid: Zxid,
    /// Learners that have not left by then will find out by themselves.
    deadline_ms: u64,
}

impl Leading {
    /// The first leader gives the membership that the servers were started with a version, so that all of them store the
    /// same.
    pub(super) fn name_first_membership(&self, context: &mut Context<'_>) {
        let members = &mut *context.members;
        if context.settings.reconfig_enabled && members.version() == 0 && members.proposed().is_none() {
            let version = Zxid::new(self.epoch, 0).to_wire();
            let first = Membership { version, ..Membership::clone(members.committed()) };
            members.propose(first, context.out).expect("the same members can be counted again");
        }
    }

    /// What NEWLEADER says: until this leader is established the newest membership that it has heard of, because that
    /// comes into force with it; afterwards the one in force. One that is proposed comes as a proposal.
    pub(super) fn membership_text(&self, context: &Context<'_>) -> String {
        let inherited = context.members.proposed().filter(|_| !self.is_serving());
        inherited.map_or_else(
            || context.members.committed_text().to_owned(),
            |membership| Membership::to_string(membership),
        )
    }

    /// Quorums of both memberships have taken over the history: the newer one is in force.
    pub(super) fn activate_inherited(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        let Some(membership) = context.members.proposed().cloned() else { return Ok(()) };
        let stays = !moves(context.settings.me, context.members.committed(), &membership);
        self.put_into_force(context, membership);
        if stays { Ok(()) } else { Err(GiveUp::Look("this server is not to lead the present ensemble")) }
    }

    /// Somebody comes who goes by this membership already: if that is the proposed one, it is in force, and those who vote
    /// there say who leads.
    pub(super) fn activate_if_in_force(
        &mut self,
        context: &mut Context<'_>,
        version: i64,
    ) -> Result<(), GiveUp> {
        let proposed = context.members.proposed().filter(|membership| membership.version == version);
        let Some(membership) = proposed.cloned() else { return Ok(()) };
        self.put_into_force(context, membership);
        Err(GiveUp::Look("a newer membership is in force"))
    }

    /// Looks whether the transaction is a reconfiguration.
    pub(super) fn note_reconfiguration(&mut self, context: &mut Context<'_>, zxid: Zxid, envelope: &Bytes) {
        if !context.settings.reconfig_enabled {
            return;
        }
        if let Some(membership) = reconfiguration(zxid, envelope) {
            let membership = membership.expect("this server has written it");
            let before = context.members.electorate.clone();
            context.members.propose(membership, context.out).expect("the voters were counted before");
            self.carry_over(context, &before);
            self.reconfiguration = Some(zxid);
        }
    }

    /// Whether enough servers have a transaction.
    pub(super) fn is_decided(&self, context: &Context<'_>, zxid: Zxid, acks: VoterSet) -> bool {
        let electorate = &context.members.electorate;
        // What was proposed before the reconfiguration is the business of those before it alone.
        let without_newer =
            self.reconfiguration.is_some_and(|newer| zxid < newer || context.makes(Breakage::OldQuorumOnly));
        let enough =
            if without_newer { electorate.decides_committed(acks) } else { electorate.decides(acks) };
        enough && electorate.decides_former(acks)
    }

    /// The reconfiguration is committed, `acks` being who had it: says who leads from now on.
    pub(super) fn activate_proposed(
        &mut self,
        context: &mut Context<'_>,
        zxid: Zxid,
        acks: VoterSet,
    ) -> ServerId {
        self.reconfiguration = None;
        let membership = Arc::clone(context.members.proposed().expect("it was noted when it was proposed"));
        let leader = self.designate(context, &membership, acks);
        self.put_into_force(context, membership);
        if leader != context.settings.me {
            let deadline_ms = context.now_ms + HAND_OVER_TICKS * context.settings.tick_ms;
            self.hand_over = Some(HandOver { to: leader, zxid, deadline_ms });
        }
        leader
    }

    fn put_into_force(&mut self, context: &mut Context<'_>, membership: Arc<Membership>) {
        let electorate = context.members.electorate.clone();
        let before = Arc::clone(context.members.committed());
        context.members.activate(membership, None, context.out).expect("the voters were counted before");
        context.members.keep_former(before);
        self.carry_over(context, &electorate);
    }

    /// This server if it can; otherwise whoever, of those that vote and have the reconfiguration, has most of what was
    /// proposed behind it.
    fn designate(&self, context: &Context<'_>, membership: &Membership, acks: VoterSet) -> ServerId {
        let me = context.settings.me;
        if !moves(me, context.members.committed(), membership) {
            return me;
        }
        let electorate = &context.members.electorate;
        let mut candidates: Vec<ServerId> = electorate
            .voters()
            .filter(|&server| server != me && membership.role_of(server) == Some(MemberRole::Participant))
            .filter(|&server| electorate.contains(acks, server))
            .collect();
        for proposal in &self.pending {
            let have = |&server: &ServerId| proposal.is_acknowledged_by(context, server);
            if !candidates.iter().any(have) {
                break;
            }
            candidates.retain(have);
        }
        candidates.first().copied().unwrap_or(me)
    }

    /// Sets of voters mean something else now.
    pub(super) fn carry_over(&mut self, context: &Context<'_>, before: &Electorate) {
        let electorate = &context.members.electorate;
        for proposal in &mut self.pending {
            proposal.carry_over(electorate, before);
        }
        self.in_sync = electorate.carry_over(self.in_sync, before);
        self.barrier.carry_over(electorate, before);
        if let Some(former) = &mut self.former {
            former.carry_over(electorate, before);
        }
        if let Some(next) = &mut self.next_epoch {
            next.carry_over(electorate, before);
        }
    }

    /// Steps down once everybody who has to know that another server leads has gone there.
    pub(super) fn hand_over_if_due(&self, context: &Context<'_>) -> Result<(), GiveUp> {
        let Some(HandOver { to, zxid, deadline_ms }) = self.hand_over else { return Ok(()) };
        let all_gone = self.links(|learner| learner.is_forwarded_to()).is_empty();
        if all_gone || context.now_ms >= deadline_ms {
            return Err(GiveUp::Follow { leader: to, zxid });
        }
        Ok(())
    }

    /// When that must be looked at.
    pub(super) fn hand_over_deadline_ms(&self) -> Option<u64> {
        self.hand_over.map(|hand_over| hand_over.deadline_ms)
    }

    /// The servers that would take part in a decision now: those in sync that count as voters wherever they may vote.
    pub fn ready_voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.learners
            .values()
            .filter(|learner| learner.stage == Stage::Active)
            .filter_map(|learner| learner.voter())
    }
}
