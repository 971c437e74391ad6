//! One connection that waits for every answer: for what is about time and not about load.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use protocol::client::connect::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};
use protocol::jute::FrameStart;
use protocol::{OpCode, Reader, Xid};

use super::frames::FRAME_BYTES_MAX;

/// A connection with a session.
#[derive(Debug)]
pub struct BlockingConnection {
    socket: TcpStream,
    next_xid: i32,
}

/// A reply to a request.
#[derive(Debug)]
pub struct BlockingReply {
    /// In front of it.
    pub header: ReplyHeader,
    frame: Vec<u8>,
    body_start: usize,
}

impl BlockingReply {
    /// What follows the header.
    pub fn body(&self) -> &[u8] {
        &self.frame[self.body_start..]
    }
}

impl BlockingConnection {
    /// Connects and shakes hands; the server may be silent for `limit`, now and later. The session's timeout in the
    /// answer is 0 if the server refuses it.
    pub fn open(
        server: SocketAddr,
        request: &ConnectRequest<'_>,
        limit: Duration,
    ) -> Result<(BlockingConnection, ConnectResponse)> {
        let socket = TcpStream::connect_timeout(&server, limit)?;
        socket.set_nodelay(true)?;
        let mut connection = BlockingConnection { socket, next_xid: 1 };
        connection.wait_at_most(limit)?;
        let response = connection.exchange(|out| request.write(out))?;
        Ok((connection, ConnectResponse::read(&response)?))
    }

    /// How long the server may be silent from now on.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<()> {
        self.socket.set_read_timeout(Some(limit))?;
        Ok(())
    }

    /// Sends a request and waits for its reply. After an error the connection is of no use any more.
    pub fn call(&mut self, op: OpCode, write_body: impl FnOnce(&mut Vec<u8>)) -> Result<BlockingReply> {
        let xid = Xid::new(self.next_xid);
        self.next_xid += 1;
        let frame = self.exchange(|out| {
            RequestHeader { xid, op: op.to_wire() }.write(out);
            write_body(out);
        })?;
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::read(&mut reader)?;
        ensure!(header.xid == xid, "reply {} instead of {xid}", header.xid);
        let body_start = frame.len() - reader.left();
        Ok(BlockingReply { header, frame, body_start })
    }

    fn exchange(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let frame = FrameStart::open(&mut out);
        write(&mut out);
        frame.close(&mut out);
        self.socket.write_all(&out)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        ensure!(length <= FRAME_BYTES_MAX, std::io::Error::from(ErrorKind::InvalidData));
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload)?;
        Ok(payload)
    }
}
