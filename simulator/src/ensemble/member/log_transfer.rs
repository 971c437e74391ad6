//! The log on disk for learners that were away for long: looked into, and sent bit by bit.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use protocol::Zxid;
use protocol::peer::FromLeader;
use replica::PeerInput;
use storage::catch_up::{CatchUpError, Missed, find_meeting};
use zab::LinkId;

use super::{Item, Member};
use crate::ensemble::bugs::Bug;
use crate::ensemble::scene::Scene;
use crate::ensemble::schedule::Event;

/// Transactions that are sent at once, at most.
const TRANSACTIONS_AT_ONCE_MAX: u64 = 8;

/// What is being read out of the log for learners.
#[derive(Default)]
pub(super) struct LogTransfers {
    consultations: VecDeque<Consultation>,
    sending: BTreeMap<LinkId, Missed>,
}

struct Consultation {
    link: LinkId,
    last: Zxid,
    up_to: Zxid,
}

impl Member {
    /// The log is to be looked into for a learner; that takes its time.
    pub(super) fn plan_consultation(&mut self, scene: &mut Scene, link: LinkId, last: Zxid, up_to: Zxid) {
        self.log_transfers.consultations.push_back(Consultation { link, last, up_to });
        let delay_us = scene.random.below(scene.options.snapshot_chunk_us_max);
        scene.schedule.after(delay_us, Event::ConsultLog(self.life));
    }

    /// Looks into the log; the answer is given also if the learner is gone meanwhile.
    pub fn consult_log(&mut self, scene: &mut Scene) {
        let Some(Consultation { link, last, up_to }) = self.log_transfers.consultations.pop_front() else {
            return;
        };
        let length_max = scene.options.log_length_max;
        let found = find_meeting(&self.folders, last, up_to, length_max, storage::RECORD_BYTES_MAX);
        scene.note(|| format!("{} looks for {last} up to {up_to} in its log: {found:?}", self.me));
        scene.oracle.tally.note(match &found {
            Ok(_) => "log on disk has what a learner misses",
            Err(CatchUpError::TooLong { .. }) => "log on disk too long for a learner",
            Err(CatchUpError::BeginsLater { .. }) => "log on disk begins too late for a learner",
            Err(CatchUpError::Log(_) | CatchUpError::EndsBefore { .. }) => "log on disk of no use",
        });
        let before = found.ok();
        self.push(scene, Item::Peer(PeerInput::LogConsulted { link, before }));
    }

    /// A learner is to get a part of the log; what is said to it from now on waits.
    pub(super) fn begin_log(&mut self, scene: &mut Scene, link: LinkId, after: Zxid, up_to: Zxid) {
        scene.note(|| format!("{} sends its log behind {after} up to {up_to} on link {link}", self.me));
        self.hold_link(link);
        match Missed::open(&self.folders, after, up_to, storage::RECORD_BYTES_MAX) {
            Ok(missed) => {
                self.log_transfers.sending.insert(link, missed);
                self.plan_part(scene, link);
            }
            Err(error) => self.give_up_sending(scene, link, &error),
        }
    }

    fn plan_part(&self, scene: &mut Scene, link: LinkId) {
        let delay_us = scene.random.below(scene.options.snapshot_chunk_us_max / 4);
        scene.schedule.after(delay_us, Event::SendLog { life: self.life, link: link.get() });
    }

    /// The next part, and behind the last one what has been waiting.
    pub fn send_log(&mut self, scene: &mut Scene, link: u64) {
        let link = LinkId::new(link);
        let Some(mut missed) = self.log_transfers.sending.remove(&link) else { return };
        if self.end_of(link).is_none() {
            return;
        }
        for _ in 0..scene.random.between(1, TRANSACTIONS_AT_ONCE_MAX) {
            match missed.next() {
                Ok(Some(record)) => {
                    let (zxid, envelope) = (record.zxid, Bytes::copy_from_slice(record.envelope));
                    self.put_on_link(scene, link, &FromLeader::Proposal { zxid, envelope });
                    self.put_on_link(scene, link, &FromLeader::Commit { zxid });
                }
                Ok(None) => {
                    scene.oracle.tally.note("synced from the log on disk");
                    return self.release_link(scene, link);
                }
                Err(error) => return self.give_up_sending(scene, link, &error),
            }
        }
        if scene.options.bug == Some(Bug::HalfLog) {
            return self.release_link(scene, link);
        }
        self.log_transfers.sending.insert(link, missed);
        self.plan_part(scene, link);
    }

    /// The learner must not take what it has for all of it.
    fn give_up_sending(&mut self, scene: &mut Scene, link: LinkId, error: &CatchUpError) {
        scene.note(|| format!("{} cannot send its log on link {link}: {error}", self.me));
        scene.oracle.tally.note("log on disk failed half way");
        self.push(scene, Item::Peer(PeerInput::LogFailed(link)));
        self.close_link(scene, link);
    }
}
