//! What the log of a server should hold: the whole history that led to its state, snapshots or not.

use bytes::Bytes;
use protocol::Zxid;
use protocol::txn::Transaction;

/// One server's history, kept by the simulator beside the real log.
#[derive(Clone, Default)]
pub struct LogView {
    entries: Vec<(Zxid, Bytes)>,
    /// So many of them are on stable storage.
    durable: usize,
    /// Histories that a crash now might leave instead: a snapshot or a cut is being put into effect.
    instead: Vec<Vec<(Zxid, Bytes)>>,
}

impl LogView {
    /// The whole history.
    pub fn entries(&self) -> &[(Zxid, Bytes)] {
        &self.entries
    }

    /// How many transactions are on stable storage.
    pub fn durable(&self) -> usize {
        self.durable
    }

    /// How many transactions there are up to this one; `None` if it is not in the history.
    pub fn count_to(&self, zxid: Zxid) -> Option<usize> {
        count_to(&self.entries, zxid)
    }

    /// The history up to a transaction.
    pub fn up_to(&self, zxid: Zxid) -> Vec<(Zxid, Bytes)> {
        let count = self.entries.partition_point(|(at, _)| *at <= zxid);
        self.entries[..count].to_vec()
    }

    /// The digest that the tree must have after a transaction, if that one says so.
    pub fn digest_at(&self, zxid: Zxid) -> Option<u64> {
        digest_at(&self.entries, zxid)
    }

    /// A transaction was given to the log.
    pub fn append(&mut self, zxid: Zxid, envelope: Bytes) {
        self.entries.push((zxid, envelope));
    }

    /// The log says that it is durable up to here.
    pub fn synced(&mut self, up_to: Zxid) {
        self.durable = self.durable.max(self.entries.partition_point(|(zxid, _)| *zxid <= up_to));
    }

    /// The history is about to be replaced by another: until [`LogView::replaced`], a crash may leave either.
    pub fn replace(&mut self, by: Vec<(Zxid, Bytes)>) {
        self.durable = self.durable.min(common(&self.entries, &by));
        self.instead.push(by);
    }

    /// It is not to be replaced after all.
    pub fn not_replaced(&mut self) {
        self.instead.clear();
        self.durable = self.entries.len();
    }

    /// It is replaced, and durable.
    pub fn replaced(&mut self) {
        if let Some(by) = self.instead.pop() {
            self.entries = by;
        }
        self.instead.clear();
        self.durable = self.entries.len();
    }

    /// A restart has found a tree of this digest, and `last` as the end of the history.
    ///
    /// # Errors
    /// In words, if that cannot be.
    pub fn recovered(&mut self, last: Zxid, digest: u64) -> Result<(), String> {
        let ends: Vec<String> = std::iter::once(&self.entries)
            .chain(&self.instead)
            .map(|entries| entries.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid).to_string())
            .collect();
        let durable = self.durable;
        let candidates = std::mem::take(&mut self.instead);
        let fits = |entries: &Vec<(Zxid, Bytes)>| {
            count_to(entries, last)
                .filter(|_| digest_at(entries, last).is_none_or(|expected| expected == digest))
        };
        let found = std::iter::once(std::mem::take(&mut self.entries))
            .chain(candidates)
            .find_map(|entries| fits(&entries).map(|count| (entries, count)));
        let Some((mut entries, count)) = found else {
            return Err(format!(
                "a restart found {last} with the digest {digest:#x}; its histories ended at {}",
                ends.join(" or ")
            ));
        };
        entries.truncate(count);
        self.entries = entries;
        if count < durable {
            return Err(format!(
                "a restart found only {count} transactions, up to {last}; {durable} were durable"
            ));
        }
        self.durable = count;
        Ok(())
    }
}

fn count_to(entries: &[(Zxid, Bytes)], zxid: Zxid) -> Option<usize> {
    if zxid == Zxid::ZERO {
        return Some(0);
    }
    entries.binary_search_by_key(&zxid, |(at, _)| *at).ok().map(|at| at + 1)
}

fn digest_at(entries: &[(Zxid, Bytes)], zxid: Zxid) -> Option<u64> {
    let count = count_to(entries, zxid).filter(|&count| count > 0)?;
    let txn = Transaction::read(&entries[count - 1].1).ok()?;
    txn.digest.map(|digest| digest.tree_digest)
}

fn common(a: &[(Zxid, Bytes)], b: &[(Zxid, Bytes)]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
