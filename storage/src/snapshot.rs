//! Snapshots: the whole state at one zxid, in a file that Java can read and the other way round.
//!
//! ```text
//! header │ sessions │ ACL lists │ nodes, parents first │ "/" │ seal │ ZxidDigest │ seal │ last zxid │ seal
//! ```
//!
//! A seal is the Adler-32 of everything before it (never reset), then "/". The last two sections came with 3.6 and
//! 3.9; older readers do not look at them. Writing is in `writer`, reading in `reader`, choosing in `select`.

mod batch;
mod reader;
mod select;
mod source;
mod stream;
mod writer;
mod xerial;

#[cfg(test)]
mod tests;

pub use reader::{SnapshotError, SnapshotSummary, read_snapshot, read_tree, verify_snapshot};
pub use select::{LoadError, Loaded, load_newest};
pub use stream::{Problem, StreamError};
pub use writer::{
    ReceivedSnapshot, SnapshotChunk, SnapshotHead, SnapshotWriteError, write_received, write_snapshot,
    write_tree,
};

use protocol::snapshot::NodeRecord;
use protocol::{AclSlice, SessionId};

/// How a snapshot is compressed (`zookeeper.snapshot.compression.method`). Readers go by the file's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not at all; the only form that 3.5 reads.
    #[default]
    None,
    /// gzip.
    Gz,
    /// Snappy in the framing of snappy-java.
    Snappy,
}

impl Compression {
    /// What the names of such files end with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gz => ".gz",
            Compression::Snappy => ".snappy",
        }
    }
}

/// Why a state does not accept a record; shown to people only.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Takes the records of a snapshot, in the order of the file. A refusal makes the snapshot invalid.
pub trait SnapshotSink {
    /// Forgets everything that it took: a snapshot was given up halfway, and another follows.
    fn reset(&mut self);
    /// A session and its timeout.
    fn session(&mut self, session: SessionId, timeout_ms: i32) -> Result<(), Refusal>;
    /// An ACL list and its id in this file.
    fn acl(&mut self, id: i64, acl: AclSlice<'_>) -> Result<(), Refusal>;
    /// A node. The root's path is empty; a node whose parent did not come before it must be refused.
    fn node(&mut self, node: &NodeRecord<'_>) -> Result<(), Refusal>;
    /// All nodes have come: the last chance to refuse what shows only now.
    fn nodes_end(&mut self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Takes everything and keeps nothing: for checking a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl SnapshotSink for Discard {
    fn reset(&mut self) {}

    fn session(&mut self, _: SessionId, _: i32) -> Result<(), Refusal> {
        Ok(())
    }

    fn acl(&mut self, _: i64, _: AclSlice<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn node(&mut self, _: &NodeRecord<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}
