//! The envelope of a transaction.

use crate::ids::{SessionId, Zxid};
use crate::jute::{DecodeError, JuteWrite, Reader};

use super::body::TxnBody;
use super::digest::TxnDigest;

/// In front of every transaction; 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnHeader {
    /// The session that asked for it.
    pub session: SessionId,
    /// The xid of its request; 0 for internal ones.
    pub cxid: i32,
    /// Its place in the order of all transactions.
    pub zxid: Zxid,
    /// The leader's clock when it was prepared, milliseconds since 1970.
    pub time_ms: i64,
    /// The operation's number; -1 for an error.
    pub kind: i32,
}

impl TxnHeader {
    /// Bytes of the encoded form.
    pub const LENGTH: usize = 32;

    /// Reads the header.
    pub fn read(reader: &mut Reader<'_>) -> Result<TxnHeader, DecodeError> {
        Ok(TxnHeader {
            session: SessionId::new(reader.i64()?),
            cxid: reader.i32()?,
            zxid: Zxid::from_wire(reader.i64()?),
            time_ms: reader.i64()?,
            kind: reader.i32()?,
        })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; TxnHeader::LENGTH];
        bytes[0..8].copy_from_slice(&self.session.get().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.cxid.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.zxid.to_wire().to_be_bytes());
        bytes[20..28].copy_from_slice(&self.time_ms.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.kind.to_be_bytes());
        out.put_bytes(&bytes);
    }
}

/// A whole transaction: what one log record holds and one proposal carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction<'a> {
    /// Who, when, which number.
    pub header: TxnHeader,
    /// What.
    pub body: TxnBody<'a>,
    /// The tree's digest afterwards, if the leader computes it.
    pub digest: Option<TxnDigest>,
}

impl<'a> Transaction<'a> {
    /// Reads an envelope. A digest is there if bytes remain after the body.
    pub fn read(envelope: &'a [u8]) -> Result<Transaction<'a>, DecodeError> {
        let mut reader = Reader::new(envelope);
        let header = TxnHeader::read(&mut reader)?;
        let body = TxnBody::read(header.kind, &mut reader)?;
        let digest = if reader.left() >= 12 { Some(TxnDigest::read(&mut reader)?) } else { None };
        Ok(Transaction { header, body, digest })
    }

    /// Appends the envelope.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        self.body.write(out);
        if let Some(digest) = &self.digest {
            digest.write(out);
        }
    }
}
