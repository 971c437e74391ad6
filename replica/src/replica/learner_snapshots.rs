//! Snapshots for learners that have missed too much.
//!
//! A tree keeps the old versions of its nodes for one snapshot at a time, so transfers take turns with each other and
//! with the snapshots that go to the disk.

use std::collections::VecDeque;

use protocol::Zxid;
use tree::Tree;
use zab::LinkId;

use super::Replica;
use crate::output::PeerOutput;

/// Learners that wait for a snapshot, and what it must hold at least. At most one per learner.
#[derive(Default)]
pub(super) struct Transfers {
    waiting: VecDeque<(LinkId, Zxid)>,
}

impl Replica {
    /// A learner is to get the tree as it is when everything committed so far is applied, or later.
    pub(super) fn await_transfer(&mut self, link: LinkId) {
        self.transfers.waiting.push_back((link, self.progress.committed));
        self.peer_outputs.push(PeerOutput::AwaitSnapshot { link });
    }

    /// The learner is gone.
    pub(super) fn forget_transfer(&mut self, link: LinkId) {
        self.transfers.waiting.retain(|(waiting, _)| *waiting != link);
    }

    pub(super) fn forget_transfers(&mut self) {
        self.transfers.waiting.clear();
    }

    /// Whether [`Replica::start_due_transfer`] would do something.
    pub(super) fn transfer_is_due(&self) -> bool {
        let applied = self.shared.status.applied();
        !self.snapshot.running && self.transfers.waiting.front().is_some_and(|(_, least)| *least <= applied)
    }

    /// Begins the next transfer if nothing keeps it from beginning.
    pub(super) fn start_due_transfer(&mut self, tree: &mut Tree) {
        if self.transfer_is_due()
            && let Some((link, _)) = self.transfers.waiting.pop_front()
        {
            self.snapshot.running = true;
            let start = Box::new(tree.begin_snapshot());
            self.peer_outputs.push(PeerOutput::SendSnapshot { link, start });
        }
    }
}
