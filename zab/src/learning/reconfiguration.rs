//! What a learner makes of changes of the membership (`Follower.processPacket`, `Observer.processPacket`,
//! `Learner.syncWithLeader`, `QuorumPeer.processReconfig`).

use std::sync::Arc;

use bytes::Bytes;
use protocol::peer::Membership;
use protocol::{ServerId, Zxid};

use super::Learning;
use crate::context::{Context, GiveUp};
use crate::members::{Change, reconfiguration};

/// Whoever went on with the members that it was told at its start would count other quorums than the rest.
pub(super) const SWITCHED_OFF: &str = "the ensemble was reconfigured, and this server has reconfigEnabled=false: set it to true, or \
                            give it the present members";
const UNCOUNTABLE: &str = "the leader has a membership whose votes cannot be counted";

impl Learning {
    /// A server that has heard of a reconfiguration counts the quorums of both memberships from then on, also after a
    /// restart: it is stored before the proposal can be acknowledged.
    pub(super) fn note_reconfiguration(
        &mut self,
        context: &mut Context<'_>,
        zxid: Zxid,
        envelope: &Bytes,
    ) -> Result<(), GiveUp> {
        if !context.settings.reconfig_enabled {
            return Ok(());
        }
        let Some(membership) = reconfiguration(zxid, envelope) else { return Ok(()) };
        let membership = membership.map_err(GiveUp::Look)?;
        // A leader that proposes the next one is established: the one that it began with is in force, and there is room
        // for one that is not.
        self.activate_leader_membership(context)?;
        context.members.propose(membership, context.out).map_err(|_| GiveUp::Look(UNCOUNTABLE))
    }

    /// A reconfiguration that is not in the leader's history came to nothing.
    pub(super) fn forget_what_is_cut(&self, context: &mut Context<'_>, to: Zxid) {
        let proposed = context.members.proposed().map(|membership| Zxid::from_wire(membership.version));
        if proposed.is_some_and(|zxid| zxid > to && zxid.counter() != 0) {
            context.members.forget_proposed(context.out);
        }
    }

    /// NEWLEADER says which membership the leader has heard of last. Like the history that comes with it, it takes the
    /// place of whatever this server has.
    pub(super) fn note_leader_membership(
        &mut self,
        context: &mut Context<'_>,
        text: &str,
    ) -> Result<(), GiveUp> {
        let Ok(membership) = Membership::parse(text) else {
            // Java servers without reconfiguration say it too, and nobody listens.
            let why = "the leader has a membership that cannot be read";
            return if context.settings.reconfig_enabled { Err(GiveUp::Look(why)) } else { Ok(()) };
        };
        if !context.settings.reconfig_enabled {
            let newer = membership.version > context.members.version();
            return if newer { Err(GiveUp::Look(SWITCHED_OFF)) } else { Ok(()) };
        }
        let proposed = context.members.proposed().map_or(0, |proposed| proposed.version);
        if proposed > membership.version && proposed == self.tree_membership {
            // The tree was sent a little later and has it already: its activation is on the way.
            return Ok(());
        }
        self.leader_membership = membership.version;
        if membership.version <= context.members.version() {
            context.members.forget_proposed(context.out);
            return Ok(());
        }
        context.members.propose(membership, context.out).map_err(|_| GiveUp::Look(UNCOUNTABLE))
    }

    /// The leader's tree holds a newer membership than this server goes by.
    pub fn on_membership_found(&mut self, version: i64) {
        self.tree_membership = version;
    }

    /// The leader is established, and with it the membership that it began with. A Java leader also tells of one that is
    /// only proposed: that has to wait for its commit.
    pub(super) fn activate_leader_membership(&mut self, context: &mut Context<'_>) -> Result<(), GiveUp> {
        let begun_with = Zxid::new(self.epoch, 0).max(self.committed).to_wire();
        let membership = context.members.proposed().filter(|membership| {
            membership.version == self.leader_membership && membership.version <= begun_with
        });
        let Some(membership) = membership.cloned() else { return Ok(()) };
        let change = put_into_force(context, membership, Some(self.leader))?;
        if change.is_some_and(|change| change.role || change.leader) {
            return Err(GiveUp::Look("the leader's membership changes who leads, or what this server is"));
        }
        Ok(())
    }

    /// A reconfiguration is committed, and this is who leads from then on.
    pub(super) fn activate_committed(
        &mut self,
        context: &mut Context<'_>,
        zxid: Zxid,
        leader: ServerId,
    ) -> Result<(), GiveUp> {
        let version = zxid.to_wire();
        let membership = match context.members.proposed() {
            Some(membership) if membership.version == version => Some(Arc::clone(membership)),
            _ if context.members.version() >= version => None,
            _ => return Err(GiveUp::Look("the leader activates a membership that it had not proposed")),
        };
        let change = match membership {
            Some(membership) => put_into_force(context, membership, None)?,
            None => None,
        };
        self.on_commit(context, zxid, Some(leader))?;
        if change.is_some_and(|change| change.role) || leader != self.leader {
            return Err(GiveUp::Follow { leader, zxid });
        }
        Ok(())
    }
}

fn put_into_force(
    context: &mut Context<'_>,
    membership: Arc<Membership>,
    leader: Option<ServerId>,
) -> Result<Option<Change>, GiveUp> {
    context.members.activate(membership, leader, context.out).map_err(|_| GiveUp::Look(UNCOUNTABLE))
}
