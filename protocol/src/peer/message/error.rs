//! What can be wrong with a packet of a known type, and the readings that several types share.

use bytes::Bytes;

use crate::jute::{DecodeError, Reader};
use crate::peer::packet::{QuorumPacket, packet_type};
use crate::txn::TxnHeader;
use crate::{Epoch, Zxid};

use super::SLICED_BYTES_MIN;

/// A packet of a known type does not hold what that type must hold. Close the connection: its sender is broken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} {packet} packet {problem}", article(packet))]
pub struct MessageError {
    /// Java's name for the type.
    pub packet: &'static str,
    /// What is wrong.
    pub problem: MessageProblem,
}

/// What is wrong with a packet of a known type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageProblem {
    /// Null data.
    #[error("has no data")]
    NoData,
    /// Data that ends early.
    #[error("has bad data: {0}")]
    Data(#[from] DecodeError),
    /// Data that is no whole number of entries.
    #[error("has {length} bytes of data, which is no multiple of {entry_length}")]
    Entries {
        /// Bytes of data.
        length: usize,
        /// Bytes of one entry.
        entry_length: usize,
    },
    /// Less data than an introduction has.
    #[error("has {length} bytes of data, and 8 are the least")]
    ShortInfo {
        /// Bytes of data.
        length: usize,
    },
    /// A zxid that no transaction can have.
    #[error("has the zxid {zxid}, which is negative")]
    NegativeZxid {
        /// As on the wire.
        zxid: i64,
    },
    /// An epoch that is negative and not the -1 that means "do not count me".
    #[error("has the epoch {epoch}, which is negative")]
    NegativeEpoch {
        /// As on the wire.
        epoch: i32,
    },
    /// The transaction is another one than the packet says.
    #[error("for {packet_zxid} holds the transaction {envelope_zxid}")]
    OtherTransaction {
        /// The packet's.
        packet_zxid: Zxid,
        /// The envelope's.
        envelope_zxid: Zxid,
    },
}

/// A packet while its meaning is read.
pub(super) struct Decoder<'p> {
    packet_type: i32,
    zxid: i64,
    data: Option<&'p [u8]>,
    received: Option<&'p Bytes>,
}

impl<'p> Decoder<'p> {
    pub(super) fn new(packet: &QuorumPacket<'p>, received: Option<&'p Bytes>) -> Decoder<'p> {
        Decoder { packet_type: packet.packet_type, zxid: packet.zxid, data: packet.data, received }
    }

    /// The error that names this packet.
    pub(super) fn error(&self, problem: impl Into<MessageProblem>) -> MessageError {
        let packet = packet_type::name(self.packet_type).unwrap_or("unknown");
        MessageError { packet, problem: problem.into() }
    }

    /// The zxid of a transaction, or 0. Java compares zxids as signed numbers, so that a negative one comes before
    /// everything; to [`Zxid`] it would come after everything.
    pub(super) fn zxid(&self) -> Result<Zxid, MessageError> {
        if self.zxid < 0 {
            return Err(self.error(MessageProblem::NegativeZxid { zxid: self.zxid }));
        }
        Ok(Zxid::from_wire(self.zxid))
    }

    /// The epoch in the zxid.
    pub(super) fn epoch(&self) -> Result<Epoch, MessageError> {
        Ok(self.zxid()?.epoch())
    }

    /// The data, which must not be null.
    pub(super) fn data(&self) -> Result<&'p [u8], MessageError> {
        self.data.ok_or_else(|| self.error(MessageProblem::NoData))
    }

    /// Reads the data with `read`; bytes that it leaves are left alone, as in Java.
    pub(super) fn fields<T>(
        &self,
        read: impl FnOnce(&mut Reader<'p>) -> Result<T, DecodeError>,
    ) -> Result<T, MessageError> {
        read(&mut Reader::new(self.data()?)).map_err(|problem| self.error(problem))
    }

    /// The transaction in the last part of the data.
    pub(super) fn envelope(&self, bytes: &[u8]) -> Result<Bytes, MessageError> {
        let packet_zxid = self.zxid()?;
        let header = TxnHeader::read(&mut Reader::new(bytes)).map_err(|problem| self.error(problem))?;
        // The envelope goes into the log under its own zxid, and is acknowledged and committed under the packet's.
        if header.zxid != packet_zxid {
            let envelope_zxid = header.zxid;
            return Err(self.error(MessageProblem::OtherTransaction { packet_zxid, envelope_zxid }));
        }
        Ok(self.body(bytes))
    }

    /// A part of the data that outlives the packet.
    pub(super) fn body(&self, bytes: &[u8]) -> Bytes {
        match self.received {
            Some(received) if bytes.len() >= SLICED_BYTES_MIN => received.slice_ref(bytes),
            _ => Bytes::copy_from_slice(bytes),
        }
    }
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['A', 'I', 'O', 'U']) { "an" } else { "a" }
}
