//! The handshake, and what follows it on every frame: the headers.

use crate::ids::{SessionId, Xid, Zxid};
use crate::jute::{DecodeError, JuteWrite, Reader};

/// The first frame of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectRequest<'a> {
    /// The highest zxid that the client has seen; a server behind it must refuse. Negative values pass.
    pub last_zxid_seen: i64,
    /// The session timeout that the client asks for.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session: SessionId,
    /// The password of the session to be taken up again.
    pub password: &'a [u8],
    /// Whether the client is content with a read-only server; `None` from clients up to 3.3, which must then be
    /// answered in their own, shorter form.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads the payload of the first frame. Trailing bytes are ignored.
    pub fn read(payload: &'a [u8]) -> Result<ConnectRequest<'a>, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.i32()?; // The protocol version has been 0 for ever and is not looked at.
        Ok(ConnectRequest {
            last_zxid_seen: reader.i64()?,
            timeout_ms: reader.i32()?,
            session: SessionId::new(reader.i64()?),
            password: reader.buffer()?.unwrap_or_default(),
            read_only: if reader.left() > 0 { Some(reader.bool()?) } else { None },
        })
    }

    /// Appends the payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(0);
        out.put_i64(self.last_zxid_seen);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.get());
        out.put_buffer(Some(self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }
}

/// The answer to a [`ConnectRequest`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectResponse {
    /// The negotiated timeout; 0 or less says that the session is gone.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; 16],
    /// Whether the server is read-only; `None` leaves the byte out, for clients that did not send theirs.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer that tells a client that its session has expired.
    pub fn expired(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse { timeout_ms: 0, session: SessionId::NONE, password: [0; 16], read_only }
    }

    /// Appends the payload.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(0);
        out.put_i32(self.timeout_ms);
        out.put_i64(self.session.get());
        out.put_buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            out.put_bool(read_only);
        }
    }

    /// Reads the payload.
    pub fn read(payload: &[u8]) -> Result<ConnectResponse, DecodeError> {
        let mut reader = Reader::new(payload);
        reader.i32()?;
        let timeout_ms = reader.i32()?;
        let session = SessionId::new(reader.i64()?);
        let offset = reader.offset();
        let bytes = reader.buffer()?.unwrap_or_default();
        let password =
            bytes.try_into().map_err(|_| DecodeError::BadLength { offset, length: bytes.len() as i32 })?;
        let read_only = if reader.left() > 0 { Some(reader.bool()?) } else { None };
        Ok(ConnectResponse { timeout_ms, session, password, read_only })
    }
}

/// In front of every request after the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// Echoed in the reply.
    pub xid: Xid,
    /// The operation's number, known or not.
    pub op: i32,
}

impl RequestHeader {
    /// Reads the header.
    pub fn read(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: Xid::new(reader.i32()?), op: reader.i32()? })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_i32(self.xid.get());
        out.put_i32(self.op);
    }
}

/// In front of every frame from the server after the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// The request's number, or one of the reserved ones.
    pub xid: Xid,
    /// The last zxid applied on the server; some errors carry -1 and auth replies 0.
    pub zxid: i64,
    /// 0, or an error code.
    pub error: i32,
}

impl ReplyHeader {
    /// A header that says that all is well.
    pub fn ok(xid: Xid, zxid: Zxid) -> ReplyHeader {
        ReplyHeader { xid, zxid: zxid.to_wire(), error: 0 }
    }

    /// Reads the header.
    pub fn read(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: Xid::new(reader.i32()?), zxid: reader.i64()?, error: reader.i32()? })
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 16];
        bytes[0..4].copy_from_slice(&self.xid.get().to_be_bytes());
        bytes[4..12].copy_from_slice(&self.zxid.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.error.to_be_bytes());
        out.put_bytes(&bytes);
    }
}
