//! What both roles work with.

use protocol::{Epoch, ServerId, Zxid};

use crate::action::Action;
use crate::breakage::Breakage;
use crate::history::History;
use crate::members::Members;
use crate::settings::PeerSettings;

/// The two durable numbers (`acceptedEpoch`, `currentEpoch`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epochs {
    /// The highest epoch that this server has promised itself to.
    pub accepted: Epoch,
    /// The epoch of the last leader whose history this server has taken over completely.
    pub current: Epoch,
}

/// What a peer stands on, whatever its role is.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub settings: PeerSettings,
    pub breakage: Option<Breakage>,
    pub members: Members,
    pub history: History,
    pub epochs: Epochs,
    /// Everything up to here is on stable storage.
    pub durable: Zxid,
}

impl Ground {
    /// For one step of a role.
    pub fn context<'a>(&'a mut self, now_ms: u64, out: &'a mut Vec<Action>) -> Context<'a> {
        Context {
            now_ms,
            settings: &self.settings,
            breakage: self.breakage,
            members: &mut self.members,
            history: &mut self.history,
            epochs: &mut self.epochs,
            durable: self.durable,
            out,
        }
    }
}

/// One step's view of the peer.
pub(crate) struct Context<'a> {
    pub now_ms: u64,
    pub settings: &'a PeerSettings,
    pub breakage: Option<Breakage>,
    pub members: &'a mut Members,
    pub history: &'a mut History,
    pub epochs: &'a mut Epochs,
    /// Everything up to here is on stable storage.
    pub durable: Zxid,
    pub out: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Whether this mistake is to be made.
    pub fn makes(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    pub fn store_accepted(&mut self, epoch: Epoch) {
        assert!(epoch > self.epochs.accepted, "an accepted epoch only grows");
        self.epochs.accepted = epoch;
        self.out.push(Action::StoreAcceptedEpoch(epoch));
    }

    pub fn store_current(&mut self, epoch: Epoch) {
        assert!(epoch <= self.epochs.accepted, "epoch {epoch} was never accepted");
        if epoch != self.epochs.current {
            self.epochs.current = epoch;
            self.out.push(Action::StoreCurrentEpoch(epoch));
        }
    }
}

/// Why a role ends, and what comes after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GiveUp {
    /// The peer looks for a leader again.
    Look(&'static str),
    /// A reconfiguration named the next leader: there is no election.
    Follow {
        /// Who leads from now on; perhaps this server.
        leader: ServerId,
        /// The reconfiguration.
        zxid: Zxid,
    },
}
