//! The transaction log: files of framed records, as Java writes them, that survive a power loss.
//!
//! [`TxnLog`] writes, [`LogReader`] reads and judges; what they share about the bytes is in `format`.

mod file_reader;
mod format;
mod reader;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub(crate) use format::crc32;
pub(crate) use reader::RecordPlace;
pub use reader::{LogEnd, LogReadError, LogReader, LogRecord, Repair};
pub use writer::{Durability, LOG_BATCH_BYTES_MAX, TxnLog, TxnLogError, TxnLogOptions};

use protocol::Zxid;

/// Whether `next` may stand right after `previous`: the same epoch and the next counter, or the first transaction
/// of a later epoch. A leader gives its first transaction the counter 1.
pub fn follows(previous: Zxid, next: Zxid) -> bool {
    if next.epoch() == previous.epoch() {
        previous.counter().checked_add(1) == Some(next.counter())
    } else {
        next.epoch() > previous.epoch() && next.counter() == 1
    }
}
