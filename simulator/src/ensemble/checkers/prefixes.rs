//! All servers apply the same transactions in the same order.

use bytes::Bytes;
use protocol::{ServerId, Zxid};
use storage::txn_log::follows;

use crate::checkers::{Verdict, Violation, ensure};

const PROMISE: &str = "committed prefixes agree";

/// The committed history, as the first server that served it had it.
#[derive(Default)]
pub struct Ledger {
    entries: Vec<(Zxid, Bytes)>,
}

impl Ledger {
    /// All of it.
    pub fn entries(&self) -> &[(Zxid, Bytes)] {
        &self.entries
    }

    /// The last committed transaction.
    pub fn last(&self) -> Zxid {
        self.entries.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// A server serves the state after these; from `agreed` on they were not compared before.
    pub fn compare(&self, server: ServerId, served: &[(Zxid, Bytes)], agreed: usize) -> Verdict {
        let pairs = served.iter().zip(&self.entries).enumerate().skip(agreed);
        for (at, (here, elsewhere)) in pairs {
            ensure(here == elsewhere, PROMISE, || {
                format!(
                    "transaction number {} is {} at server {server}, and was {} elsewhere{}",
                    at + 1,
                    here.0,
                    elsewhere.0,
                    if here.0 == elsewhere.0 { ", with another content" } else { "" }
                )
            })?;
        }
        Ok(())
    }

    /// The next transaction is committed.
    pub fn push(&mut self, zxid: Zxid, envelope: Bytes) -> Verdict {
        let last = self.last();
        if !follows(last, zxid) {
            return Err(Violation::new(PROMISE, format!("{zxid} is committed after {last}")));
        }
        self.entries.push((zxid, envelope));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Epoch;

    fn entry(epoch: u32, counter: u32) -> (Zxid, Bytes) {
        (Zxid::new(Epoch::new(epoch), counter), Bytes::from_static(b"x"))
    }

    #[test]
    fn another_transaction_and_a_hole_are_seen() {
        let mut ledger = Ledger::default();
        let server = ServerId::new(1);
        for (zxid, envelope) in [entry(1, 1), entry(1, 2)] {
            ledger.push(zxid, envelope).unwrap();
        }
        assert!(ledger.compare(server, &[entry(1, 1)], 0).is_ok());
        assert!(ledger.compare(server, &[entry(1, 1), entry(2, 1)], 0).is_err());
        assert!(ledger.push(entry(1, 4).0, Bytes::new()).is_err());
        assert!(ledger.push(entry(2, 1).0, Bytes::new()).is_ok());
    }
}
