//! The membership before the present one, which goes on having its say until a quorum of it knows that it is over.
//!
//! With Java's leaders the new membership decides alone from its commit on. When such a leader dies then, newcomers who
//! have not heard that their membership is in force may be all that has what it committed. Those of before would know
//! nothing of it and begin without it. Not so here: what comes behind a reconfiguration needs the old quorum as well,
//! until so many have answered behind the word that the new membership is in force, or come with it.

use protocol::ServerId;
use protocol::peer::FromLeader;

use super::learner::PingFor;
use super::{Leading, Stage};
use crate::action::Action;
use crate::context::{Context, GiveUp};
use crate::link::LinkId;
use crate::quorum::{Electorate, VoterSet};

/// Taking leave of the membership before.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) struct Former {
    /// Who knows that it is over.
    told: VoterSet,
    since_ms: u64,
}

impl Former {
    /// The voters are others now.
    pub fn carry_over(&mut self, electorate: &Electorate, before: &Electorate) {
        self.told = electorate.carry_over(self.told, before);
    }
}

impl Leading {
    /// Everybody has been told that the new membership is in force.
    pub(super) fn take_leave_of_former(&mut self, context: &mut Context<'_>) {
        if !context.members.has_former() {
            return;
        }
        self.former = Some(Former { told: VoterSet::default(), since_ms: context.now_ms });
        for link in self.links(|learner| learner.stage == Stage::Active) {
            self.ask_whether_it_knows(context, link);
        }
        self.on_former_heard(context, context.settings.me);
    }

    /// What this learner answers now comes behind the word that the new membership is in force.
    pub(super) fn ask_whether_it_knows(&mut self, context: &mut Context<'_>, link: LinkId) {
        if self.former.is_some()
            && let Some(learner) = self.learners.get_mut(&link)
        {
            learner.pings.push_back(PingFor::Former);
            let message = FromLeader::Ping { zxid: self.last_proposed };
            context.out.push(Action::ToLearner { link, message });
        }
    }

    /// Somebody comes who goes by this membership: whoever changes its role leaves before it answers.
    pub(super) fn note_membership_of(&mut self, context: &mut Context<'_>, server: ServerId, version: i64) {
        if version >= context.members.version() {
            self.on_former_heard(context, server);
        }
    }

    /// This server knows which membership is in force.
    pub(super) fn on_former_heard(&mut self, context: &mut Context<'_>, server: ServerId) {
        let Some(former) = &mut self.former else { return };
        context.members.electorate.insert(&mut former.told, server);
        if context.members.electorate.decides_former(former.told) {
            self.former = None;
            let before = context.members.electorate.clone();
            context.members.forget_former();
            self.carry_over(context, &before);
            self.commit_decided(context);
        }
    }

    /// Those of before may be gone for good. An election among those of now needs none of them.
    pub(super) fn check_former(&self, context: &Context<'_>) -> Result<(), GiveUp> {
        match &self.former {
            Some(former) if context.now_ms > former.since_ms + context.settings.sync_ms() => {
                Err(GiveUp::Look("no quorum of the members before says that it knows the present ones"))
            }
            _ => Ok(()),
        }
    }
}
