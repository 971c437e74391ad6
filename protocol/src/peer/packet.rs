//! The frame of the quorum port (`QuorumPacket`).
//!
//! `type (4) · zxid (8) · data (length 4, bytes) · identities (count 4, then scheme and name)`, packets back to back
//! with no length in front. What the types mean is [`message`](super::message)'s business; reading them from a
//! connection is [`PacketReader`](super::PacketReader)'s.

use std::borrow::Cow;

use crate::Id;
use crate::jute::{JuteWrite, Reader};

/// The numbers of the packet types, as `Leader` names them.
pub mod packet_type {
    /// A learner forwards a client's request.
    pub const REQUEST: i32 = 1;
    /// A transaction to log.
    pub const PROPOSAL: i32 = 2;
    /// It is logged.
    pub const ACK: i32 = 3;
    /// It is to be applied.
    pub const COMMIT: i32 = 4;
    /// Sign of life, with touched sessions on the way back.
    pub const PING: i32 = 5;
    /// Whether a session is alive.
    pub const REVALIDATE: i32 = 6;
    /// A client's sync is done.
    pub const SYNC: i32 = 7;
    /// A committed transaction, for observers.
    pub const INFORM: i32 = 8;
    /// A reconfiguration is to be applied.
    pub const COMMIT_AND_ACTIVATE: i32 = 9;
    /// The end of the history that a learner must have.
    pub const NEW_LEADER: i32 = 10;
    /// A follower introduces itself.
    pub const FOLLOWER_INFO: i32 = 11;
    /// Clients may be served.
    pub const UP_TO_DATE: i32 = 12;
    /// What is missing follows.
    pub const DIFF: i32 = 13;
    /// Drop the end of the log.
    pub const TRUNC: i32 = 14;
    /// The whole tree follows.
    pub const SNAP: i32 = 15;
    /// An observer introduces itself.
    pub const OBSERVER_INFO: i32 = 16;
    /// The epoch that the leader proposes.
    pub const LEADER_INFO: i32 = 17;
    /// The epoch is accepted.
    pub const ACK_EPOCH: i32 = 18;
    /// A committed reconfiguration, for observers.
    pub const INFORM_AND_ACTIVATE: i32 = 19;

    /// Java's name for a type; `None` for a number that this release does not know.
    pub fn name(number: i32) -> Option<&'static str> {
        Some(match number {
            REQUEST => "REQUEST",
            PROPOSAL => "PROPOSAL",
            ACK => "ACK",
            COMMIT => "COMMIT",
            PING => "PING",
            REVALIDATE => "REVALIDATE",
            SYNC => "SYNC",
            INFORM => "INFORM",
            COMMIT_AND_ACTIVATE => "COMMITANDACTIVATE",
            NEW_LEADER => "NEWLEADER",
            FOLLOWER_INFO => "FOLLOWERINFO",
            UP_TO_DATE => "UPTODATE",
            DIFF => "DIFF",
            TRUNC => "TRUNC",
            SNAP => "SNAP",
            OBSERVER_INFO => "OBSERVERINFO",
            LEADER_INFO => "LEADERINFO",
            ACK_EPOCH => "ACKEPOCH",
            INFORM_AND_ACTIVATE => "INFORMANDACTIVATE",
            _ => return None,
        })
    }
}

/// Identities in one packet. A connection has a handful: its address and what it authenticated as.
pub const IDS_MAX: usize = 1_024;

/// Bytes of all schemes and names of one packet together: 1 KiB for each of [`IDS_MAX`] identities, which is several
/// times the longest distinguished name in use.
pub const IDS_BYTES_MAX: usize = 1 << 20;

/// Type, zxid and the length of the data.
const HEAD_LENGTH: usize = 16;
/// A length or a count.
const LENGTH_LENGTH: usize = 4;

/// One packet, its data still in the buffer that it was received in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuorumPacket<'a> {
    /// One of [`packet_type`], or anything.
    pub packet_type: i32,
    /// As on the wire; what it says depends on the type.
    pub zxid: i64,
    /// The body. `None` (null) and empty are different things to Java.
    pub data: Option<&'a [u8]>,
    /// Only in REQUEST packets: who the client is. Written as null when empty.
    pub ids: Cow<'a, [Id]>,
}

/// Why bytes are no packet. Nothing that follows on the connection can be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// A length or a count is negative and not the -1 that means "none", or too great.
    #[error("a packet of type {packet_type} says {value} for {field}, and at most {max} is allowed")]
    OutOfBounds {
        /// The packet's type.
        packet_type: i32,
        /// What the number counts.
        field: &'static str,
        /// The number.
        value: i64,
        /// The greatest that is accepted.
        max: usize,
    },
    /// Half of an identity is null.
    #[error("a packet of type {packet_type} has an identity whose {field} is null")]
    NullIdentity {
        /// The packet's type.
        packet_type: i32,
        /// Which half.
        field: &'static str,
    },
}

/// How far the packet at the start of some bytes goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// All of it is there.
    Whole(Layout),
    /// It is cut off; no sense in looking again before there are so many bytes.
    AtLeast(usize),
}

/// Where the parts of a whole packet lie, its lengths checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    packet_type: i32,
    zxid: i64,
    /// `None` for null.
    pub data_length: Option<usize>,
    /// Bytes of the whole packet.
    pub length: usize,
}

impl Extent {
    /// Looks at lengths alone; errors as in [`QuorumPacket::read`].
    pub(super) fn of(bytes: &[u8], data_bytes_max: usize) -> Result<Extent, PacketError> {
        let mut head = Reader::new(bytes);
        let (Ok(packet_type), Ok(zxid), Ok(length)) = (head.i32(), head.i64(), head.i32()) else {
            // The shortest packet ends with the count of identities.
            return Ok(Extent::AtLeast(HEAD_LENGTH + LENGTH_LENGTH));
        };
        let data_length = bounded(packet_type, "the length of its data", length, data_bytes_max)?;
        let ids_start = HEAD_LENGTH + data_length.unwrap_or(0);
        Ok(match walk_ids(packet_type, bytes, ids_start, |_| ())? {
            Walk::End(length) => Extent::Whole(Layout { packet_type, zxid, data_length, length }),
            Walk::AtLeast(length) => Extent::AtLeast(length),
        })
    }
}

impl Layout {
    /// The packet at the start of the bytes that this is the layout of.
    pub(super) fn packet<'a>(&self, bytes: &'a [u8]) -> Result<QuorumPacket<'a>, PacketError> {
        let ids_start = HEAD_LENGTH + self.data_length.unwrap_or(0);
        let mut halves = Vec::new();
        // Bytes that are not UTF-8 become U+FFFD, as in Java.
        walk_ids(self.packet_type, bytes, ids_start, |half| halves.push(String::from_utf8_lossy(half)))?;
        let ids = halves.chunks_exact(2).map(|half| Id::new(half[0].as_ref(), half[1].as_ref())).collect();
        let data = self.data_length.map(|_| &bytes[HEAD_LENGTH..ids_start]);
        Ok(QuorumPacket { packet_type: self.packet_type, zxid: self.zxid, data, ids: Cow::Owned(ids) })
    }
}

impl<'a> QuorumPacket<'a> {
    /// A packet without identities, as all are but requests.
    pub fn new(packet_type: i32, zxid: i64, data: Option<&'a [u8]>) -> QuorumPacket<'a> {
        QuorumPacket { packet_type, zxid, data, ids: Cow::Borrowed(&[]) }
    }

    /// Reads the packet at the start of `bytes` and says how many of them it takes; `None` if it is cut off. Looks at
    /// lengths alone until everything is there, so that a cut packet costs the same however long it will be.
    ///
    /// # Errors
    /// Data longer than `data_bytes_max`, more identities than [`IDS_MAX`] or [`IDS_BYTES_MAX`], negative lengths.
    pub fn read(
        bytes: &'a [u8],
        data_bytes_max: usize,
    ) -> Result<Option<(QuorumPacket<'a>, usize)>, PacketError> {
        match Extent::of(bytes, data_bytes_max)? {
            Extent::AtLeast(_) => Ok(None),
            Extent::Whole(layout) => Ok(Some((layout.packet(bytes)?, layout.length))),
        }
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let data: Option<&[&[u8]]> = match &self.data {
            Some(data) => Some(std::slice::from_ref(data)),
            None => None,
        };
        write(out, self.packet_type, self.zxid, data, &self.ids);
    }
}

/// Appends a packet whose data comes in pieces.
pub(super) fn write(out: &mut Vec<u8>, packet_type: i32, zxid: i64, data: Option<&[&[u8]]>, ids: &[Id]) {
    let length = data.map(|pieces| pieces.iter().map(|piece| piece.len()).sum::<usize>());
    out.reserve(HEAD_LENGTH + length.unwrap_or(0) + LENGTH_LENGTH);
    out.put_i32(packet_type);
    out.put_i64(zxid);
    match length {
        Some(length) => out.put_length(length),
        None => out.put_i32(-1),
    }
    data.into_iter().flatten().for_each(|piece| out.put_bytes(piece));
    if ids.is_empty() {
        return out.put_i32(-1);
    }
    out.put_length(ids.len());
    for id in ids {
        out.put_str(&id.scheme);
        out.put_str(&id.id);
    }
}

/// Where a walk through the identities has ended.
enum Walk {
    /// Behind the last one, at this offset.
    End(usize),
    /// At the end of the bytes; it takes so many to get further.
    AtLeast(usize),
}

/// Shows schemes and names in turn to `visit`, from the offset of their count on.
fn walk_ids<'a>(
    packet_type: i32,
    bytes: &'a [u8],
    start: usize,
    mut visit: impl FnMut(&'a [u8]),
) -> Result<Walk, PacketError> {
    let mut at = start + LENGTH_LENGTH;
    let Some(count) = i32_at(bytes, start) else {
        return Ok(Walk::AtLeast(at));
    };
    let count = bounded(packet_type, "the number of its identities", count, IDS_MAX)?.unwrap_or(0);
    let mut left = IDS_BYTES_MAX;
    for half in 0..2 * count {
        let shortest_end = at + (2 * count - half) * LENGTH_LENGTH;
        let Some(length) = i32_at(bytes, at) else {
            return Ok(Walk::AtLeast(shortest_end));
        };
        let field = ["scheme", "name"][half % 2];
        let length = bounded(packet_type, "the length of an identity", length, left)?
            .ok_or(PacketError::NullIdentity { packet_type, field })?;
        at += LENGTH_LENGTH;
        let Some(bytes) = bytes.get(at..at + length) else {
            return Ok(Walk::AtLeast(shortest_end + length));
        };
        visit(bytes);
        at += length;
        left -= length;
    }
    Ok(Walk::End(at))
}

/// The 32-bit number at an offset, if all of it is there.
fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A length or a count that may be at most `max`; `None` for -1.
fn bounded(
    packet_type: i32,
    field: &'static str,
    value: i32,
    max: usize,
) -> Result<Option<usize>, PacketError> {
    match usize::try_from(value) {
        Ok(length) if length <= max => Ok(Some(length)),
        Err(_) if value == -1 => Ok(None),
        _ => Err(PacketError::OutOfBounds { packet_type, field, value: value.into(), max }),
    }
}
