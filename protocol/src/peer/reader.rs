//! Takes messages out of what a connection has received.

use bytes::{Buf, Bytes, BytesMut};

use super::message::{FromLeader, FromLearner, MessageError, SLICED_BYTES_MIN};
use super::packet::{Extent, PacketError, QuorumPacket};

/// What a [`PacketReader`] can read: [`FromLeader`] at a learner, [`FromLearner`] at a leader.
pub trait FromPacket: Sized {
    /// Reads what the packet means. Bodies of [`SLICED_BYTES_MIN`] and more become slices of `received`, if that is
    /// given, and are copied if not; the packet must then have been read from `received`.
    ///
    /// # Errors
    /// A packet of a known type without what that type must hold.
    fn from_packet(packet: QuorumPacket<'_>, received: Option<&Bytes>) -> Result<Self, MessageError>;
}

/// Why a connection on the quorum port cannot go on: close it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerError {
    /// No packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A packet that does not say what its type must say.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// Takes packets off the front of a receive buffer.
///
/// Reserves nothing on the word of the sender: what a packet may take is what the connection has received of it. A
/// body of [`SLICED_BYTES_MIN`] and more is not copied but keeps the allocation of the receive buffer alive; receive
/// into a buffer of moderate size (64 KiB), or a large one will live as long as the oldest body in it.
#[derive(Clone, Debug)]
pub struct PacketReader {
    data_bytes_max: usize,
    /// Less than this in the buffer is no whole packet.
    wanted: usize,
}

impl PacketReader {
    /// For a connection whose packets may hold `data_bytes_max` bytes of data (`jute.maxbuffer` and what is added to
    /// it).
    pub fn new(data_bytes_max: usize) -> PacketReader {
        PacketReader { data_bytes_max, wanted: 0 }
    }

    /// Bytes that the buffer must hold before [`PacketReader::next`] can return anything else than it did; at most
    /// a little more than the greatest data allowed. Meant for reserving room once a packet has begun to arrive.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Takes the next message off the front of `buffer`; `None` when it is not all there yet. Bytes behind it are left
    /// alone: those of a snapshot follow its packet.
    ///
    /// # Errors
    /// The connection sends what is no packet, or a packet without what its type must hold. Nothing more can be read
    /// from it.
    pub fn next<M: FromPacket>(&mut self, buffer: &mut BytesMut) -> Result<Option<M>, PeerError> {
        if buffer.len() < self.wanted {
            return Ok(None);
        }
        let layout = match Extent::of(buffer, self.data_bytes_max)? {
            Extent::Whole(layout) => layout,
            Extent::AtLeast(wanted) => {
                self.wanted = wanted;
                return Ok(None);
            }
        };
        self.wanted = 0;
        let message = if layout.data_length.is_some_and(|length| length >= SLICED_BYTES_MIN) {
            let received = buffer.split_to(layout.length).freeze();
            M::from_packet(layout.packet(&received)?, Some(&received))?
        } else {
            let message = M::from_packet(layout.packet(buffer)?, None)?;
            buffer.advance(layout.length);
            message
        };
        Ok(Some(message))
    }
}

impl FromPacket for FromLeader {
    fn from_packet(packet: QuorumPacket<'_>, received: Option<&Bytes>) -> Result<FromLeader, MessageError> {
        FromLeader::decode_from(packet, received)
    }
}

impl FromPacket for FromLearner {
    fn from_packet(packet: QuorumPacket<'_>, received: Option<&Bytes>) -> Result<FromLearner, MessageError> {
        FromLearner::decode_from(packet, received)
    }
}
