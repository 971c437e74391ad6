//! What survives a crash.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use protocol::Zxid;
use protocol::peer::Membership;

use crate::context::Epochs;
use crate::history::Entry;

/// The two epoch files, what is known of the membership, and the whole history as its log: a snapshot in this world is the log up to some place.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) epochs: Epochs,
    /// The membership in force, unless it is still the one of the start.
    pub(crate) membership: Option<Arc<Membership>>,
    /// A newer one.
    pub(crate) proposed: Option<Arc<Membership>>,
    pub(crate) log: Vec<Entry>,
    /// How many entries are on stable storage.
    pub(crate) synced: usize,
}

impl Hash for Disk {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let version = |membership: &Option<Arc<Membership>>| membership.as_ref().map(|known| known.version);
        (&self.epochs, version(&self.membership), version(&self.proposed)).hash(hasher);
        (&self.log, self.synced).hash(hasher);
    }
}

impl Disk {
    pub(crate) fn last(&self) -> Zxid {
        self.log.last().map_or(Zxid::ZERO, |entry| entry.zxid)
    }

    pub(super) fn truncate(&mut self, to: Zxid) {
        self.log.retain(|entry| entry.zxid <= to);
        self.synced = self.log.len();
    }

    pub(super) fn install(&mut self, entries: Vec<Entry>) {
        self.synced = entries.len();
        self.log = entries;
    }

    pub(super) fn sync(&mut self, up_to: Option<Zxid>) -> Zxid {
        let end = up_to.unwrap_or(self.last());
        self.synced = self.synced.max(self.log.partition_point(|entry| entry.zxid <= end));
        self.log[..self.synced].last().map_or(Zxid::ZERO, |entry| entry.zxid)
    }

    pub(super) fn crash(&mut self, keeps_unsynced: bool) {
        if !keeps_unsynced {
            self.log.truncate(self.synced);
        }
        self.synced = self.log.len();
    }

    /// The last transaction up to `last`, if the log is on stable storage up to and including `up_to`.
    pub(super) fn meet(&self, last: Zxid, up_to: Zxid) -> Option<Zxid> {
        let log = &self.log[..self.synced];
        log.binary_search_by_key(&up_to, |entry| entry.zxid).ok()?;
        log[..log.partition_point(|entry| entry.zxid <= last)].last().map(|entry| entry.zxid)
    }

    /// What is on stable storage behind `after`, up to and including `up_to`.
    pub(super) fn range(&self, after: Zxid, up_to: Zxid) -> &[Entry] {
        let log = &self.log[..self.synced];
        let end = log.binary_search_by_key(&up_to, |entry| entry.zxid).expect("the log is durable to there");
        &log[log.partition_point(|entry| entry.zxid <= after)..=end]
    }

    /// Everything up to `zxid`.
    pub(super) fn up_to(&self, zxid: Zxid) -> Vec<Entry> {
        self.log[..self.log.partition_point(|entry| entry.zxid <= zxid)].to_vec()
    }
}
