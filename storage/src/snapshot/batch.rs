//! Records of a snapshot on their way from the thread that reads them to the one that uses them.

use std::borrow::Cow;
use std::ops::Range;

use protocol::snapshot::NodeRecord;
use protocol::{AclSlice, Reader, SessionId, StatPersisted};

use super::{Refusal, SnapshotSink};
use crate::read_ahead::BATCH_BYTES;

/// What a sink takes.
pub(super) enum Record<'a> {
    Session(SessionId, i32),
    Acl(i64, AclSlice<'a>),
    Node(NodeRecord<'a>),
    NodesEnd,
}

impl Record<'_> {
    pub(super) fn give_to(self, sink: &mut dyn SnapshotSink) -> Result<(), Refusal> {
        match self {
            Record::Session(session, timeout_ms) => sink.session(session, timeout_ms),
            Record::Acl(id, acl) => sink.acl(id, acl),
            Record::Node(node) => sink.node(&node),
            Record::NodesEnd => sink.nodes_end(),
        }
    }
}

/// Some records, copied out of the reader's buffer.
pub(super) struct Batch {
    /// Paths, one behind the other.
    text: String,
    /// Data and ACL lists likewise.
    bytes: Vec<u8>,
    /// Each with its offset in the stream.
    records: Vec<(u64, Held)>,
}

enum Held {
    Session(SessionId, i32),
    Acl(i64, Range<usize>),
    Node { path: Range<usize>, data: Option<Range<usize>>, acl_id: i64, stat: StatPersisted },
    NodesEnd,
}

impl Batch {
    pub(super) fn new() -> Batch {
        // Room for the usual mixture; what is unusual grows.
        Batch {
            text: String::with_capacity(BATCH_BYTES / 4),
            bytes: Vec::with_capacity(BATCH_BYTES / 2),
            records: Vec::with_capacity(BATCH_BYTES / 2 / size_of::<(u64, Held)>()),
        }
    }

    pub(super) fn push(&mut self, offset: u64, record: &Record<'_>) {
        let held = match record {
            Record::Session(session, timeout_ms) => Held::Session(*session, *timeout_ms),
            Record::Acl(id, acl) => Held::Acl(*id, self.keep(acl.as_bytes())),
            Record::Node(node) => {
                let path_start = self.text.len();
                self.text.push_str(&node.path);
                Held::Node {
                    path: path_start..self.text.len(),
                    data: node.data.map(|data| self.keep(data)),
                    acl_id: node.acl_id,
                    stat: node.stat,
                }
            }
            Record::NodesEnd => Held::NodesEnd,
        };
        self.records.push((offset, held));
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() + self.bytes.len() + self.records.len() * size_of::<(u64, Held)>() >= BATCH_BYTES
    }

    /// Hands everything over; gives the first refusal with its offset.
    pub(super) fn give_to(&self, sink: &mut dyn SnapshotSink) -> Result<(), (u64, Refusal)> {
        for (offset, held) in &self.records {
            let record = match held {
                Held::Session(session, timeout_ms) => Record::Session(*session, *timeout_ms),
                Held::Acl(id, range) => {
                    let acl = AclSlice::read(&mut Reader::new(&self.bytes[range.clone()]));
                    Record::Acl(*id, acl.expect("the reader has read this list"))
                }
                Held::Node { path, data, acl_id, stat } => Record::Node(NodeRecord {
                    path: Cow::Borrowed(&self.text[path.clone()]),
                    data: data.clone().map(|data| &self.bytes[data]),
                    acl_id: *acl_id,
                    stat: *stat,
                }),
                Held::NodesEnd => Record::NodesEnd,
            };
            record.give_to(sink).map_err(|refusal| (*offset, refusal))?;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}
